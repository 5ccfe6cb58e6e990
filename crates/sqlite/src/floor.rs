//! The floor of a database: how much of its WAL it cannot do without (D7).
//!
//! SQLite takes a WAL as far as its checksums hold. Of one that was copied to the database, in whole or in part, a flipped
//! bit therefore makes it show old pages over newer ones. So before a checkpoint copies anything, the number of frames up
//! to which it may go is made durable in a file beside; and who opens the database looks whether they are all there.
//!
//! ```text
//!  checkpoint:  flush the WAL ──► floor: these salts, so many frames; flushed ──► copy pages, flush the database
//!  start:       floor ──► the WAL has these salts: its first so many frames must be good
//!                     └─► it has others: it was started over, which SQLite does once all of it is copied and flushed
//!                     └─► it has no good header, or is not there: damaged; it had one when the floor was written
//!
//!  db.sqlite-floor, 40 bytes:  "QRLFLOOR" | version | salts | frames | XXH3-64 of the 32 bytes before     (u64, little-endian)
//! ```
//!
//! Invariants:
//! * No page is copied from a frame above the floor, and no frame below it is written again before the WAL starts over.
//! * It names only frames that were flushed, so no loss of power is taken for damage.
//! * It lies within one sector, is written in place, and never goes down while the salts stay.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::faults::{self, Action, FileFaults};
use crate::frames::Frames;
use crate::pages;

pub(crate) const SUFFIX: &str = "-floor";
const MAGIC: [u8; 8] = *b"QRLFLOOR";
const VERSION: u64 = 1;
const BYTES: usize = 40;

/// What the WAL must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    /// The WAL's life, as its header names it.
    pub(crate) salts: [u8; 8],
    /// Frames from its start.
    pub(crate) frames: u32,
}

/// Makes `floor` durable for the database at `database`; a higher one of the same salts stays. Blocks on the disk.
///
/// The frames that it names are flushed.
///
/// # Errors
///
/// [`Error::Poisoned`] after an earlier failure, [`Error::Node`] on this one; none is ever retried (D5).
/// [`Error::Damaged`] and [`Error::Foreign`] for a file that is not a floor.
pub(crate) fn raise(database: &Path, floor: Floor) -> Result<(), Error> {
    let path = pages::beside(database, SUFFIX);
    if faults::is_poisoned(&path) {
        return Err(Error::Poisoned { path });
    }
    let known = read(&path)?;
    let stays = known.filter(|known| known.salts == floor.salts && known.frames > floor.frames);
    let bytes = encode(stays.unwrap_or(floor));
    write(&path, &bytes, known.is_none()).map_err(|error| {
        faults::poison(&path);
        Error::Node {
            what: format!("write {}", path.display()),
            message: error.to_string(),
        }
    })
}

/// Makes it durable that the database at `database` cannot do without any frame of its WAL, which is flushed.
///
/// # Errors
///
/// As [`raise`], and [`Error::Io`]; [`Error::Damaged`] for a WAL without frames.
pub(crate) fn raise_to_end(database: &Path) -> Result<(), Error> {
    let wal = pages::beside(database, "-wal");
    let reading = || Error::io(format!("read {}", wal.display()));
    let Some(mut frames) = Frames::open(&wal).map_err(reading())? else {
        return Err(headless(&wal, "it was just written"));
    };
    let floor = Floor {
        salts: frames.salts(),
        frames: frames.count(u32::MAX).map_err(reading())?,
    };
    raise(database, floor)
}

/// Looks whether the WAL of the database at `database` holds what it must. No connection is open on it.
///
/// Reads the WAL up to the floor.
///
/// # Errors
///
/// [`Error::Damaged`] when it does not; [`Error::Foreign`] for a floor of a newer release; [`Error::Io`].
pub(crate) fn check(database: &Path) -> Result<(), Error> {
    #[cfg(feature = "mutations")]
    if mutation::is(mutation::Mutation::NoWalFloor) {
        return Ok(());
    }
    let path = pages::beside(database, SUFFIX);
    let Some(floor) = read(&path)? else {
        return Ok(());
    };
    let wal = pages::beside(database, "-wal");
    let reading = || Error::io(format!("read {}", wal.display()));
    let Some(mut frames) = Frames::open(&wal).map_err(reading())? else {
        let unless = format!(
            "if another program has opened the database, and copied the WAL and removed it, remove {}",
            path.display()
        );
        return Err(headless(&wal, &unless));
    };
    if frames.salts() != floor.salts || frames.count(floor.frames).map_err(reading())? == floor.frames {
        return Ok(());
    }
    let found = format!(
        "its frames end after {}, and through {} they were to be copied to the database",
        frames.count(floor.frames).map_err(reading())?,
        floor.frames
    );
    Err(damaged(&wal, frames.offset(), found))
}

/// The floor in the file at `path`; `None` when none was ever written there.
pub(crate) fn read(path: &Path) -> Result<Option<Floor>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("read {}", path.display()))(error)),
    };
    // A loss of power before the first flush leaves nothing, or zeros. Nothing was copied then.
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let Ok(bytes) = <[u8; BYTES]>::try_from(bytes) else {
        return Err(damaged(path, 0, "it has the wrong length".to_owned()));
    };
    if number(&bytes, 32) != xxh3_64(&bytes[..32]) {
        return Err(damaged(path, 0, "its checksum does not match".to_owned()));
    }
    let (version, frames) = (number(&bytes, 8), u32::try_from(number(&bytes, 24)));
    let (true, VERSION, Ok(frames)) = (bytes[..8] == MAGIC, version, frames) else {
        return Err(Error::Foreign {
            path: path.to_owned(),
            reason: format!("has version {version}, this release reads {VERSION}: upgrade this node"),
        });
    };
    Ok(Some(Floor {
        salts: number(&bytes, 16).to_le_bytes(),
        frames,
    }))
}

fn encode(floor: Floor) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&floor.salts);
    bytes[24..32].copy_from_slice(&u64::from(floor.frames).to_le_bytes());
    let sum = xxh3_64(&bytes[..32]);
    bytes[32..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn number(bytes: &[u8; BYTES], offset: usize) -> u64 {
    bytes[offset..offset + 8]
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Writes and flushes the file; the name of a new one first, so that what it says is never durable without it.
fn write(path: &Path, bytes: &[u8; BYTES], is_new: bool) -> io::Result<()> {
    let watcher = faults::watcher(path);
    let watcher = watcher.as_deref();
    act(watcher, |it| it.on_open(path), || Ok(()))?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    if is_new {
        faults::sync_folder_of(path, watcher)?;
    }
    act(
        watcher,
        |it| it.on_write(path, 0, bytes),
        || file.write_all_at(bytes, 0),
    )?;
    act(watcher, |it| it.on_sync(path), || file.sync_data())?;
    if let Some(watcher) = watcher {
        watcher.synced(path);
    }
    Ok(())
}

/// Carries out an operation as who stands in for the disk decides.
fn act(
    watcher: Option<&dyn FileFaults>,
    question: impl FnOnce(&dyn FileFaults) -> Action,
    operation: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    match watcher.map_or(Action::Proceed, question) {
        Action::Proceed => operation(),
        Action::Pretend => Ok(()),
        Action::Fail => Err(io::Error::other("injected")),
        Action::Full => Err(io::ErrorKind::StorageFull.into()),
    }
}

fn headless(wal: &Path, unless: &str) -> Error {
    damaged(
        wal,
        0,
        format!(
            "it is missing or its header is not good, and frames of it were to be copied to the database ({unless})"
        ),
    )
}

fn damaged(path: &Path, offset: u64, found: String) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        offset,
        found,
    }
}

#[cfg(test)]
mod tests;

//! Where databases live, and how one takes the place of another (design §4).
//!
//! Owns the folder `db` of the data directory. Knows nothing of what is inside a database.
//!
//! ```text
//!  db/current        which generation counts: the only truth
//!  db/7/db.sqlite    the current one, with its -wal and -shm
//!  db/8/db.sqlite    one that is being built, or an old one that somebody still reads
//!  db/scratch-0      what a backup was working on when the process died
//!
//!  begin ──► folder 8 ──► built, validated, flushed ──switch──► current = 8 ──► folder 7 goes with its last user
//!    └───────────── a crash: the next start removes folder 8 ◄──┘└──► … removes folder 7
//!
//!  current, 32 bytes:  "QUORLDB\0" | version | generation | XXH3-64 of the 24 bytes before     (u64, little-endian)
//! ```
//!
//! Invariants:
//! * `current` is replaced as a whole: written aside, flushed, renamed, and its folder flushed. At each moment, and after
//!   a crash at each moment, it names one whole generation.
//! * It names a generation only once every byte of that is flushed.
//! * What is not recognised is refused by name, never removed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::strip;

const FOLDER: &str = "db";
const POINTER: &str = "current";
const POINTER_ASIDE: &str = "current.new";
const DATABASE: &str = "db.sqlite";

const MAGIC: [u8; 8] = *b"QUORLDB\0";
const VERSION: u64 = 1;
const POINTER_BYTES: usize = 32;

/// The generations of one data directory; one owner at a time.
#[derive(Debug)]
pub struct Home {
    folder: PathBuf,
    current: Generation,
    /// The greatest number given out: none is used twice while this process lives.
    last: u64,
}

/// A database's folder, held by all who use it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Generation {
    inner: Arc<Inner>,
}

/// A generation that is being built; dropped before it is switched to, it is removed.
#[derive(Debug)]
pub struct Building {
    generation: Generation,
}

#[derive(Debug)]
struct Inner {
    number: u64,
    folder: PathBuf,
    /// The folder goes with its last user: it was replaced, or not yet switched to.
    is_condemned: AtomicBool,
}

impl Home {
    /// Finds the current generation of `data_dir`, or makes an empty first one, and removes what a crash left unfinished.
    ///
    /// Durable on return. No connection may be open on any database in there.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] for what is not ours or is damaged: nothing was removed then. [`Error::Io`].
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        refuse_rqlite(data_dir)?;
        let folder = data_dir.join(FOLDER);
        fs::create_dir_all(&folder).map_err(Error::io(format!("create {}", folder.display())))?;
        flush_folder(data_dir)?;
        let found = generations(&folder)?;
        let number = match read_pointer(&folder.join(POINTER))? {
            Some(number) => number,
            None => {
                refuse_orphans(&folder, &found)?;
                make_folder(&folder, 1)?;
                write_pointer(&folder, 1)?;
                1
            }
        };
        let current = Generation::new(&folder, number, false);
        refuse_missing(&current)?;
        for number in found.iter().filter(|number| **number != current.number()) {
            remove_folder(&folder.join(number.to_string()))?;
        }
        strip::remove_scratch(&folder)?;
        Ok(Self {
            folder,
            last: number,
            current,
        })
    }

    /// Reads what [`Self::open`] would find, and changes nothing: the generation that counts, `None` before there is any,
    /// and the folders of all others, which the next start removes.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub(crate) fn look(data_dir: &Path) -> Result<(Option<Generation>, Vec<PathBuf>), Error> {
        refuse_rqlite(data_dir)?;
        let folder = data_dir.join(FOLDER);
        if !folder.is_dir() {
            return Ok((None, Vec::new()));
        }
        let found = generations(&folder)?;
        let Some(number) = read_pointer(&folder.join(POINTER))? else {
            refuse_orphans(&folder, &found)?;
            return Ok((None, Vec::new()));
        };
        let current = Generation::new(&folder, number, false);
        refuse_missing(&current)?;
        let others = found.iter().filter(|other| **other != number);
        let others = others.map(|other| folder.join(other.to_string())).collect();
        Ok((Some(current), others))
    }

    /// The generation that counts.
    pub fn current(&self) -> &Generation {
        &self.current
    }

    /// Makes an empty folder to build the next database in.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn begin(&mut self) -> Result<Building, Error> {
        self.last += 1;
        make_folder(&self.folder, self.last)?;
        Ok(Building {
            generation: Generation::new(&self.folder, self.last, true),
        })
    }

    /// Makes `building` the current generation and condemns the one before: its folder goes with its last user.
    ///
    /// Flushes every file of it first; no connection may be open on it. Durable on return.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: which one is current is then only known after a restart, and a failed flush is fatal (D5).
    pub fn switch(&mut self, building: Building) -> Result<Generation, Error> {
        let next = building.generation;
        flush_files(next.folder())?;
        flush_folder(&self.folder)?;
        write_pointer(&self.folder, next.number())?;
        next.inner.is_condemned.store(false, Ordering::Release);
        let previous = std::mem::replace(&mut self.current, next.clone());
        previous.inner.is_condemned.store(true, Ordering::Release);
        Ok(next)
    }
}

impl Generation {
    fn new(home: &Path, number: u64, is_condemned: bool) -> Self {
        Self {
            inner: Arc::new(Inner {
                number,
                folder: home.join(number.to_string()),
                is_condemned: AtomicBool::new(is_condemned),
            }),
        }
    }

    /// Its number: greater than that of every generation before it.
    pub fn number(&self) -> u64 {
        self.inner.number
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.inner.folder
    }

    /// Its database file.
    pub fn database(&self) -> PathBuf {
        self.inner.folder.join(DATABASE)
    }

    /// The folder of all generations: the place for files of no use after a crash, which the next start removes there.
    pub fn home(&self) -> &Path {
        // A generation's folder is made as a child of its home.
        self.inner.folder.parent().unwrap_or(&self.inner.folder)
    }
}

impl Building {
    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.generation.folder()
    }

    /// Where its database file belongs.
    pub fn database(&self) -> PathBuf {
        self.generation.database()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if !*self.is_condemned.get_mut() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            // The next start removes it.
            tracing::warn!(%error, folder = %self.folder.display(), "old database not removed");
        }
    }
}

/// The numbered folders, in order. Anything else there is somebody else's and left alone.
fn generations(home: &Path) -> Result<Vec<u64>, Error> {
    let what = || format!("list {}", home.display());
    let mut numbers = Vec::new();
    for entry in fs::read_dir(home).map_err(Error::io(what()))? {
        let entry = entry.map_err(Error::io(what()))?;
        let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(number) = number.filter(|_| entry.path().is_dir()) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads the pointer; `None` when there is none.
fn read_pointer(path: &Path) -> Result<Option<u64>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(format!("read {}", path.display()))(error)),
    };
    let Ok(bytes) = <[u8; POINTER_BYTES]>::try_from(bytes) else {
        return Err(foreign(path, "not a pointer to a database: it has the wrong length"));
    };
    let (body, sum) = bytes.split_at(POINTER_BYTES - 8);
    if body[..8] != MAGIC {
        return Err(foreign(path, "not a pointer to a database: unknown magic"));
    }
    if xxh3_64(body) != number_of(sum) {
        return Err(foreign(path, "damaged: its checksum does not match; re-seed this node"));
    }
    let version = number_of(&body[8..16]);
    if version != VERSION {
        let reason = format!("has version {version}, this release reads {VERSION}: upgrade this node");
        return Err(foreign(path, &reason));
    }
    Ok(Some(number_of(&body[16..24])))
}

/// Replaces the pointer, durably.
fn write_pointer(home: &Path, number: u64) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(POINTER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    let aside = home.join(POINTER_ASIDE);
    let write = || -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&aside, home.join(POINTER))
    };
    write().map_err(Error::io(format!("write {}", home.join(POINTER).display())))?;
    flush_folder(home)
}

fn number_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn make_folder(home: &Path, number: u64) -> Result<(), Error> {
    let folder = home.join(number.to_string());
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        result => result.map_err(Error::io(format!("create {}", folder.display())))?,
    }
    flush_folder(home)
}

fn remove_folder(folder: &Path) -> Result<(), Error> {
    fs::remove_dir_all(folder).map_err(Error::io(format!("remove {}", folder.display())))
}

fn flush_files(folder: &Path) -> Result<(), Error> {
    let flush = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            File::open(entry?.path())?.sync_all()?;
        }
        Ok(())
    };
    flush().map_err(Error::io(format!("flush the files of {}", folder.display())))?;
    flush_folder(folder)
}

fn flush_folder(folder: &Path) -> Result<(), Error> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io(format!("flush {}", folder.display())))
}

/// Without a pointer no database may be there: which one counts would be a guess.
fn refuse_orphans(home: &Path, found: &[u64]) -> Result<(), Error> {
    for number in found {
        let database = home.join(number.to_string()).join(DATABASE);
        if fs::metadata(&database).is_ok_and(|file| file.len() > 0) {
            return Err(foreign(
                &database,
                "db/current, which says whether it counts, is missing: move this folder away",
            ));
        }
    }
    Ok(())
}

fn refuse_missing(current: &Generation) -> Result<(), Error> {
    if current.folder().is_dir() {
        return Ok(());
    }
    let reason = "the current database's folder is missing: restore it, or remove db/current to start empty";
    Err(foreign(current.folder(), reason))
}

fn refuse_rqlite(data_dir: &Path) -> Result<(), Error> {
    let log = data_dir.join("raft.db");
    if log.exists() {
        let reason = "this is a data directory of rqlite: start with an empty one, and load a backup taken from rqlite";
        return Err(foreign(&log, reason));
    }
    Ok(())
}

fn foreign(path: &Path, reason: &str) -> Error {
    Error::Foreign {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests;

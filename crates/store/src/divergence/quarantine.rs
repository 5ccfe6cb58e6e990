//! Quarantine: a node whose database is wrong serves nothing until another database has taken its place.
//!
//! Kept in the file `quarantine` of the data directory, which names the generation that is wrong: the switch to another
//! generation is what ends it, so a crash at any moment leaves the one or the other. Drawn in docs/formats.md.
//!
//! ```text
//!  found wrong ──► file written, flushed ──► no reads, no lead, nothing applied ──► another generation ──► file removed
//!                                                     a crash anywhere in between: found again at the start
//! ```

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message;
use tracing::{error, info};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;

const FILE: &str = "quarantine";
const MAGIC: [u8; 8] = *b"QUORLQTN";
const VERSION: u64 = 1;

/// Magic, version, checksum.
const HEADER_BYTES: usize = 24;

/// What the file says.
#[derive(Clone, PartialEq, Eq, Message)]
struct Record {
    /// The generation of the database that is wrong.
    #[prost(uint64, tag = "1")]
    generation: u64,
    /// Why, for a person.
    #[prost(string, tag = "2")]
    reason: String,
}

/// Whether this node is in quarantine, and why.
#[derive(Debug)]
pub(crate) struct Quarantine {
    /// `None` where nothing is kept: tests.
    path: Option<PathBuf>,
    /// The same as whether a reason is known; read with every request.
    is_on: AtomicBool,
    reason: Mutex<Option<String>>,
    /// How many times this process found the node in quarantine, or put it there; and why last.
    entered: Mutex<(u64, String)>,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self::new(None, None)
    }
}

impl Quarantine {
    /// Reads what the data directory says of the current `generation`; a file about another is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] for a file that is not ours or is damaged, with the way out; [`Error::Io`].
    pub(crate) fn open(dir: &Path, generation: u64) -> Result<Self, Error> {
        let path = dir.join(FILE);
        let reason = match read(&path)? {
            Some(record) if record.generation == generation => Some(record.reason),
            Some(_) => {
                remove(&path)?;
                None
            }
            None => None,
        };
        if let Some(reason) = &reason {
            error!(%reason, "this node is in quarantine: it serves nothing until it is re-seeded");
        }
        Ok(Self::new(Some(path), reason))
    }

    fn new(path: Option<PathBuf>, reason: Option<String>) -> Self {
        let entered = reason.clone().map_or((0, String::new()), |reason| (1, reason));
        Self {
            path,
            is_on: AtomicBool::new(reason.is_some()),
            reason: Mutex::new(reason),
            entered: Mutex::new(entered),
        }
    }

    /// Serves nothing, leads nobody, applies nothing.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Acquire)
    }

    /// Why; `None` while there is none.
    pub(crate) fn reason(&self) -> Option<String> {
        self.lock().clone()
    }

    /// How many times this process found the node in quarantine, or put it there; and why last.
    pub(crate) fn entered(&self) -> (u64, String) {
        self.entered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        // A whole value at every moment.
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts this node into quarantine, for the database of `generation`. Durable on return, unless the disk refuses, which
    /// is told. Blocks for two flushes.
    pub(crate) fn enter(&self, generation: u64, reason: &str) {
        if self.is_on() {
            return;
        }
        // In memory first: from now on nothing is served.
        *self.lock() = Some(reason.to_owned());
        self.is_on.store(true, Ordering::Release);
        {
            let mut entered = self.entered.lock().unwrap_or_else(PoisonError::into_inner);
            *entered = (entered.0 + 1, reason.to_owned());
        }
        error!(%reason, "replicas differ: this node goes into quarantine, and serves nothing until it is re-seeded");
        let record = Record {
            generation,
            reason: reason.to_owned(),
        };
        if let Some(path) = &self.path
            && let Err(error) = write(path, &record)
        {
            error!(%error, "quarantine not written: a restart would forget it");
        }
    }

    /// Another generation has taken the place of the database, durably.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: harmless, since the file names the generation before.
    pub(crate) fn lift(&self) -> Result<(), Error> {
        if !self.is_on() {
            return Ok(());
        }
        self.is_on.store(false, Ordering::Release);
        *self.lock() = None;
        info!("quarantine is over");
        self.path.as_deref().map_or(Ok(()), remove)
    }
}

fn write(path: &Path, record: &Record) -> io::Result<()> {
    let payload = record.encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&xxh3_64(&payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    let aside = path.with_extension("new");
    let mut file = File::create(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)?;
    flush_folder(path)
}

fn remove(path: &Path) -> Result<(), Error> {
    let removed = match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.and_then(|()| flush_folder(path)),
    };
    removed.map_err(|source| Error::Io {
        what: format!("remove {}", path.display()),
        source,
    })
}

fn flush_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn read(path: &Path) -> Result<Option<Record>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Io {
                what: format!("read {}", path.display()),
                source,
            });
        }
    };
    decode(&bytes).map(Some).map_err(|what| Error::Foreign {
        path: path.to_owned(),
        what: format!("{what}; remove this file to let the node serve what it has"),
    })
}

fn decode(bytes: &[u8]) -> Result<Record, String> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("ends at offset {}", bytes.len()));
    };
    let number = |at: usize| {
        (0..8)
            .rev()
            .fold(0_u64, |number, byte| number << 8 | u64::from(header[at + byte]))
    };
    if header[..8] != MAGIC {
        return Err("is no quarantine file: unknown magic".to_owned());
    }
    if number(8) != VERSION {
        return Err(format!(
            "has version {}, this release reads {VERSION}: upgrade this node",
            number(8)
        ));
    }
    if number(16) != xxh3_64(payload) {
        return Err("is damaged: its checksum does not match".to_owned());
    }
    Record::decode(payload).map_err(|error| format!("does not decode: {error}"))
}

#[cfg(test)]
mod tests;

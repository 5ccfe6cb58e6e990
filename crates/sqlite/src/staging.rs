//! What is gathered before it is loaded: a file for each load, written as its chunks come (docs/decisions/0003-load.md).
//!
//! Owns the files `db/load-…`. Knows nothing of what is in them, nor how many bytes of one count: that stands in the
//! database ([`KeptLoad`]), and commits with it. A file may be longer than that, never shorter.
//!
//! A file becomes the database without being copied, so it must not be open anywhere else by then: closing it would drop
//! the locks that SQLite holds on it for this process. Whoever opens one besides the apply core says so by a [`Use`].
//!
//! Invariants:
//! * Writing a chunk again changes nothing.
//! * After [`Staging::flush`] what was written before it is durable: the log below may go (D6).

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use command::rows::CellRef;
use rusqlite::Connection;

use crate::error::Error;
use crate::pages;
use crate::writer::Writer;

/// What the names of the files begin with; the load's number follows, in hexadecimal.
const PREFIX: &str = "load-";

const LOADS: &str = "SELECT id, bytes, used FROM sqlite_quorlite_loads ORDER BY id";
const KEEP_LOAD: &str = "REPLACE INTO sqlite_quorlite_loads(id, bytes, used) VALUES(?1,?2,?3)";
const FORGET_LOAD: &str = "DELETE FROM sqlite_quorlite_loads WHERE id=?1";

/// A load under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptLoad {
    /// Its number, random.
    pub id: u64,
    /// Bytes gathered.
    pub bytes: u64,
    /// The log index of its last chunk.
    pub used: u64,
}

impl Writer {
    /// The loads under way, with what the running transaction has changed.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn loads(&self) -> Result<Vec<KeptLoad>, Error> {
        let mut loads = Vec::new();
        self.visit_own(LOADS, &[], |row| {
            if let [CellRef::Integer(id), CellRef::Integer(bytes), CellRef::Integer(used)] = *row {
                loads.push(KeptLoad {
                    id: id as u64,
                    bytes: bytes as u64,
                    used: used as u64,
                });
            }
        })?;
        Ok(loads)
    }

    /// Keeps how far a load is, within the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn keep_load(&self, load: &KeptLoad) -> Result<(), Error> {
        let values = [load.id, load.bytes, load.used].map(|number| CellRef::Integer(number as i64));
        self.run_own(KEEP_LOAD, &values)
    }

    /// Forgets a load, within the transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn forget_load(&self, id: u64) -> Result<(), Error> {
        self.run_own(FORGET_LOAD, &[CellRef::Integer(id as i64)])
    }
}

/// How many times the files of loads are open besides the apply core, by path.
static USES: Mutex<BTreeMap<PathBuf, usize>> = Mutex::new(BTreeMap::new());

/// A file of a load is open somewhere besides the apply core.
#[derive(Debug)]
pub struct Use {
    path: PathBuf,
}

impl Use {
    /// Says so, before it is opened. Blocks while a file becomes the database.
    pub fn begin(path: &Path) -> Self {
        *uses().entry(path.to_owned()).or_default() += 1;
        Self { path: path.to_owned() }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let mut uses = uses();
        if let Some(count) = uses.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                uses.remove(&self.path);
            }
        }
    }
}

/// Runs `act` while no [`Use`] can begin, and tells it whether one of `path` is under way.
pub fn exclusively<T>(path: &Path, act: impl FnOnce(bool) -> T) -> T {
    let uses = uses();
    act(uses.contains_key(path))
}

fn uses() -> MutexGuard<'static, BTreeMap<PathBuf, usize>> {
    // Counts change in single steps: a poisoned lock still guards whole ones.
    USES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The files of one node.
#[derive(Debug)]
pub struct Staging {
    folder: PathBuf,
    is_owner: bool,
    files: BTreeMap<u64, Gathering>,
}

#[derive(Debug)]
struct Gathering {
    // Before the use, so that it is closed first.
    file: File,
    is_flushed: bool,
    _use: Option<Use>,
}

impl Staging {
    /// The files in `folder`, which is there, for the apply core.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            is_owner: true,
            files: BTreeMap::new(),
        }
    }

    /// The same for somebody else, whose every file is a [`Use`].
    pub fn visiting(folder: &Path) -> Self {
        Self {
            is_owner: false,
            ..Self::new(folder)
        }
    }

    /// Closes the file of `load`: it is to become the database.
    pub fn close(&mut self, load: u64) {
        self.files.remove(&load);
    }

    /// Where the file of `load` is, or would be.
    pub fn path(&self, load: u64) -> PathBuf {
        path(&self.folder, load)
    }

    /// Whether any file is there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.list()?.is_empty())
    }

    /// Writes a chunk at its place. Not durable on return.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: the node must stop.
    pub fn write(&mut self, load: u64, offset: u64, chunk: &[u8]) -> Result<(), Error> {
        let path = self.path(load);
        let written = self.gathering(load).and_then(|gathering| {
            gathering.is_flushed = false;
            gathering.file.write_all_at(chunk, offset)?;
            // So that a flush finds little to do.
            begin_writing(&gathering.file, offset, chunk.len());
            Ok(())
        });
        written.map_err(Error::io(format!("write {}", path.display())))
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; never retried (D5).
    pub fn flush(&mut self) -> Result<(), Error> {
        let dirty = self.files.values_mut().filter(|gathering| !gathering.is_flushed);
        let mut is_new = false;
        for gathering in dirty {
            gathering
                .file
                .sync_all()
                .map_err(Error::io("flush what is gathered to be loaded"))?;
            gathering.is_flushed = true;
            is_new = true;
        }
        if is_new {
            let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
            folder.map_err(Error::io(format!("flush {}", self.folder.display())))?;
        }
        Ok(())
    }

    /// Removes the file of `load`, if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn remove(&mut self, load: u64) -> Result<(), Error> {
        self.close(load);
        pages::remove_if_there(&self.path(load))
    }

    /// Removes the files of all loads but `known`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn keep_only(&mut self, known: &[u64]) -> Result<(), Error> {
        for load in self.list()? {
            if !known.contains(&load) {
                self.remove(load)?;
            }
        }
        Ok(())
    }

    /// The loads that have files.
    fn list(&self) -> Result<Vec<u64>, Error> {
        let what = || format!("list {}", self.folder.display());
        let mut loads = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(Error::io(what()))? {
            let name = entry.map_err(Error::io(what()))?.file_name();
            loads.extend(number(&name.to_string_lossy()));
        }
        Ok(loads)
    }

    fn gathering(&mut self, load: u64) -> io::Result<&mut Gathering> {
        let path = self.path(load);
        Ok(match self.files.entry(load) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => entry.insert(Gathering {
                _use: (!self.is_owner).then(|| Use::begin(&path)),
                file: OpenOptions::new().create(true).truncate(false).write(true).open(path)?,
                is_flushed: false,
            }),
        })
    }
}

/// Where the file of `load` is in `folder`, or would be.
pub fn path(folder: &Path, load: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{load:016x}"))
}

pub(crate) fn number(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_prefix(PREFIX)?, 16).ok()
}

/// The loads that a snapshot holds.
pub(crate) fn read_loads(snapshot: &Connection) -> Result<Vec<KeptLoad>, Error> {
    let read = || -> rusqlite::Result<Vec<KeptLoad>> {
        let mut statement = snapshot.prepare(LOADS)?;
        let loads = statement.query_map([], |row| {
            Ok(KeptLoad {
                id: row.get::<_, i64>(0)? as u64,
                bytes: row.get::<_, i64>(1)? as u64,
                used: row.get::<_, i64>(2)? as u64,
            })
        });
        loads?.collect()
    };
    read().map_err(Error::sqlite("read the loads under way"))
}

/// Asks the operating system to write these bytes to the disk soon; it may decline.
fn begin_writing(file: &File, offset: u64, length: usize) {
    // A hint: what it does not do, the flush does.
    let _ = rustix::fs::fadvise(
        file,
        offset,
        std::num::NonZeroU64::new(length as u64),
        rustix::fs::Advice::DontNeed,
    );
}

#[cfg(test)]
mod tests;

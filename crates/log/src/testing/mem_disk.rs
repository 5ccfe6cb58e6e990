//! A [`Disk`] in memory that forgets, tears, fails and flips.
//!
//! Models what a disk may do, at its worst, short of lying:
//! * What was written and not flushed is, after a crash, for each sector of 512 bytes, any of its versions since the last
//!   flush: sectors persist independently and in any order.
//! * After a failed flush the kernel believes the pages to be clean: they can be read, and a later flush does not write
//!   them, but a crash may still lose them.
//! * Names persist in order, as journalled file systems do it: after a crash some first part of the renames, creations and
//!   deletions since the last flush of the directory has happened.
//!
//! Files that were open before a crash refuse everything afterwards, like those of a dead process. A restart without a
//! crash ([`MemDisk::restart`]) keeps what was written, like the page cache after `kill -9`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{Disk, File};

/// The unit in which unflushed bytes persist.
const SECTOR_BYTES: usize = 512;

/// A directory in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct MemDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    names: BTreeMap<String, usize>,
    /// What a crash cannot undo.
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since the directory was flushed.
    renames: Vec<Change>,
    files: Vec<Content>,
    /// Grows with each crash or restart.
    life: u64,
    syncs: u64,
    faults: Faults,
}

#[derive(Debug, Default)]
struct Faults {
    /// Calls that still succeed.
    writes_left: Option<u64>,
    syncs_left: Option<u64>,
    creates_left: Option<u64>,
    /// Flushes do nothing, and say that they did.
    lying: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Create(String, usize),
    Rename(String, String),
    Delete(String),
}

#[derive(Debug, Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    /// Versions of each sector that were written since it was last flushed, oldest first.
    unflushed: BTreeMap<usize, Vec<Vec<u8>>>,
    /// The same, of sectors that a failed flush left: no flush writes them any more.
    abandoned: BTreeMap<usize, Vec<Vec<u8>>>,
}

struct MemFile {
    disk: MemDisk,
    file: usize,
    life: u64,
}

impl MemDisk {
    /// An empty disk.
    pub fn new() -> MemDisk {
        MemDisk::default()
    }

    /// Loses power: what was not flushed persists or not, sector by sector. `choose(n)` answers a number below `n`.
    pub fn crash(&self, choose: &mut dyn FnMut(u64) -> u64) {
        let mut state = self.state();
        let kept = pick(choose, state.renames.len() + 1);
        let changes: Vec<Change> = state.renames.drain(..).take(kept).collect();
        for change in changes {
            change.apply(&mut state.durable_names);
        }
        state.names = state.durable_names.clone();
        for content in &mut state.files {
            content.crash(choose);
        }
        state.life += 1;
        state.faults = Faults {
            lying: state.faults.lying,
            ..Faults::default()
        };
    }

    /// The process dies and starts again; the operating system lives on, and with it all that was written.
    pub fn restart(&self) {
        let mut state = self.state();
        state.life += 1;
        state.faults = Faults {
            lying: state.faults.lying,
            ..Faults::default()
        };
    }

    /// After `count` more writes, every write fails, the first of them half done.
    pub fn fail_writes_after(&self, count: u64) {
        self.state().faults.writes_left = Some(count);
    }

    /// After `count` more flushes, of files or names, every flush fails.
    pub fn fail_syncs_after(&self, count: u64) {
        self.state().faults.syncs_left = Some(count);
    }

    /// After `count` more creations, every creation fails: the disk is full.
    pub fn fail_creates_after(&self, count: u64) {
        self.state().faults.creates_left = Some(count);
    }

    /// From now on flushes do nothing and say that they did, or no longer.
    pub fn lie(&self, lying: bool) {
        self.state().faults.lying = lying;
    }

    /// Flips one bit, which is durable.
    ///
    /// # Panics
    ///
    /// If there is no such file, or it is shorter.
    pub fn flip(&self, name: &str, offset: usize, bit: u8) {
        let mut state = self.state();
        let file = state.names[name];
        let content = &mut state.files[file];
        content.current[offset] ^= 1 << bit;
        content.durable[offset] ^= 1 << bit;
    }

    /// The names and sizes of all files, in the order of names.
    pub fn files(&self) -> Vec<(String, usize)> {
        let state = self.state();
        state
            .names
            .iter()
            .map(|(name, file)| (name.clone(), state.files[*file].current.len()))
            .collect()
    }

    /// The bytes of a file, as a reader sees them.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].current.clone()
    }

    /// Puts a file there, durably.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.files.len();
        state.files.push(Content {
            durable: bytes.clone(),
            current: bytes,
            ..Content::default()
        });
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    /// Flushes of files so far.
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &State, file: usize) -> Box<dyn File> {
        Box::new(MemFile {
            disk: self.clone(),
            file,
            life: state.life,
        })
    }
}

impl Disk for MemDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let state = self.state();
        let file = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(&state, file))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        spend(&mut state.faults.creates_left, io::ErrorKind::StorageFull)?;
        let zeros = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
        let file = state.files.len();
        state.files.push(Content {
            durable: zeros.clone(),
            current: zeros,
            ..Content::default()
        });
        state.change(Change::Create(name.to_owned(), file));
        Ok(self.handle(&state, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Delete(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.state();
        spend(&mut state.faults.syncs_left, io::ErrorKind::Other)?;
        if !state.faults.lying {
            state.renames.clear();
            state.durable_names = state.names.clone();
        }
        Ok(())
    }
}

impl MemFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        if state.life == self.life {
            Ok(state)
        } else {
            Err(io::Error::other("the process that opened this is dead"))
        }
    }
}

impl File for MemFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.state()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let held = state.files[self.file].current.get(offset..offset + bytes.len());
        bytes.copy_from_slice(held.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let result = spend(&mut state.faults.writes_left, io::ErrorKind::Other);
        let bytes = if result.is_ok() {
            bytes
        } else {
            &bytes[..bytes.len() / 2]
        };
        state.files[self.file].write(bytes, offset);
        result
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.syncs += 1;
        let result = spend(&mut state.faults.syncs_left, io::ErrorKind::Other);
        let lying = state.faults.lying;
        let content = &mut state.files[self.file];
        match result {
            Ok(()) if lying => {}
            Ok(()) => content.flush(),
            Err(_) => content.abandon(),
        }
        result
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.state()?.files[self.file].current.len() as u64)
    }
}

impl State {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.renames.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Create(name, file) => {
                names.insert(name.clone(), *file);
            }
            Change::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            Change::Delete(name) => {
                names.remove(name);
            }
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.current.len() < end {
            self.current.resize(end, 0);
        }
        self.current[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let version = self.current[span(sector, self.current.len())].to_vec();
            self.unflushed.entry(sector).or_default().push(version);
        }
    }

    fn flush(&mut self) {
        self.durable.resize(self.current.len(), 0);
        for (sector, mut versions) in std::mem::take(&mut self.unflushed) {
            // The page is written as a whole, and with it what a failed flush had left.
            self.abandoned.remove(&sector);
            if let Some(version) = versions.pop() {
                self.persist(sector, &version);
            }
        }
    }

    fn abandon(&mut self) {
        for (sector, versions) in std::mem::take(&mut self.unflushed) {
            self.abandoned.entry(sector).or_default().extend(versions);
        }
    }

    fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        self.durable.resize(self.current.len(), 0);
        let mut candidates = std::mem::take(&mut self.abandoned);
        for (sector, versions) in std::mem::take(&mut self.unflushed) {
            candidates.entry(sector).or_default().extend(versions);
        }
        for (sector, versions) in candidates {
            // As likely as not, nothing of it persisted.
            let chosen = if choose(2) == 0 {
                versions.len()
            } else {
                pick(choose, versions.len())
            };
            if let Some(version) = versions.get(chosen) {
                self.persist(sector, version);
            }
        }
        self.current = self.durable.clone();
    }

    fn persist(&mut self, sector: usize, version: &[u8]) {
        let span = span(sector, self.durable.len());
        self.durable[span.start..span.start + version.len()].copy_from_slice(version);
    }
}

fn span(sector: usize, length: usize) -> std::ops::Range<usize> {
    sector * SECTOR_BYTES..length.min((sector + 1) * SECTOR_BYTES)
}

fn spend(left: &mut Option<u64>, kind: io::ErrorKind) -> io::Result<()> {
    match left {
        None => Ok(()),
        Some(0) => Err(io::Error::new(kind, "injected fault")),
        Some(left) => {
            *left -= 1;
            Ok(())
        }
    }
}

/// A number below `count`.
fn pick(choose: &mut dyn FnMut(u64) -> u64, count: usize) -> usize {
    usize::try_from(choose(count as u64)).unwrap_or(0)
}

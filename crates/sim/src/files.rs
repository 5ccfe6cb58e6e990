//! SQLite's files on one machine, as seen through the VFS: what is flushed of each, and what power loss leaves.
//!
//! Each process of a machine works in a folder of its own on the real file system, so that the process before it, which
//! nothing kills, disturbs nobody. [`MachineFiles::move_to`] carries the survivors over.
//!
//! ```text
//!  process 1: folder i1 ──VFS──► images (by relative path) ──death──► folder i2 ──► process 2
//! ```
//!
//! What is not opened through the VFS (identity, the pointer to the current database) is flushed by its owner before it
//! counts, and is carried over as it stands.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use mutation::Mutation;
use sqlite::faults::{Action, FileFaults};
use xxhash_rust::xxh3::xxh3_64;

use crate::chance::{Chance, lock};
use crate::life::{Death, Fate, Life};
use crate::rot::BITS_MAX;
use crate::trace::Trace;

mod image;

use image::Image;

/// The images of one machine's files, by path below the data directory.
#[derive(Clone, Default)]
pub struct MachineFiles(Arc<Mutex<BTreeMap<PathBuf, Image>>>);

/// The files as one process sees them.
pub struct ProcessFiles {
    files: MachineFiles,
    folder: PathBuf,
    life: Arc<Life>,
    trace: Trace,
    /// Flushes that still succeed.
    flushes_left: Mutex<Option<u64>>,
}

impl MachineFiles {
    /// Fills the empty folder `to` with what a death leaves of `from`.
    ///
    /// # Errors
    ///
    /// When the real file system refuses.
    pub fn move_to(&self, from: &Path, to: &Path, death: Death, chance: &mut Chance) -> io::Result<()> {
        let mut images = lock(&self.0);
        if death == Death::Wipe {
            images.clear();
            return Ok(());
        }
        images.retain(|path, _| from.join(path).exists());
        if death == Death::PowerLoss {
            for image in images.values_mut() {
                image.lose_power(chance);
            }
        }
        copy(from, to, Path::new(""), &images)
    }

    /// Flips some bits, near each other, in a WAL that stands in `folder`, which no process has open; false when there is
    /// none.
    ///
    /// # Errors
    ///
    /// When the real file system refuses.
    pub fn flip_wal(&self, folder: &Path, chance: &mut Chance) -> io::Result<bool> {
        self.flip(folder, chance, b"-wal")
    }

    /// The same in the file of a database.
    ///
    /// # Errors
    ///
    /// When the real file system refuses.
    pub fn flip_pages(&self, folder: &Path, chance: &mut Chance) -> io::Result<bool> {
        self.flip(folder, chance, b"/db.sqlite")
    }

    fn flip(&self, folder: &Path, chance: &mut Chance, suffix: &[u8]) -> io::Result<bool> {
        let mut images = lock(&self.0);
        let is_meant = |path: &Path| path.as_os_str().as_encoded_bytes().ends_with(suffix);
        let mut meant = images.iter_mut().filter(|(path, _)| is_meant(path));
        let Some((path, image)) = meant.find(|(path, image)| !image.current().is_empty() && folder.join(path).exists())
        else {
            return Ok(false);
        };
        let size = image.current().len();
        let start = chance.index(size);
        for _ in 0..=chance.below(BITS_MAX) {
            let offset = (start + chance.index(64)).min(size - 1);
            image.flip(offset, u8::try_from(chance.below(8)).unwrap_or(0));
        }
        fs::write(folder.join(path), image.current())?;
        Ok(true)
    }

    /// Forgets files that are not in `folder` any more: they were removed without SQLite.
    pub fn prune(&self, folder: &Path) {
        lock(&self.0).retain(|path, _| folder.join(path).exists());
    }
}

/// Copies a folder; files that have an image are written from it.
fn copy(from: &Path, to: &Path, below: &Path, images: &BTreeMap<PathBuf, Image>) -> io::Result<()> {
    fs::create_dir_all(to.join(below))?;
    for entry in fs::read_dir(from.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(from, to, &path, images)?;
        } else if let Some(image) = images.get(&path) {
            fs::write(to.join(&path), image.current())?;
        } else if !entry.file_name().to_string_lossy().ends_with("-shm") {
            // The WAL's index lives in memory and is rebuilt by the first who opens the database.
            fs::copy(entry.path(), to.join(&path))?;
        }
    }
    Ok(())
}

impl ProcessFiles {
    /// The view that `life` has of `files`, which stand in `folder`.
    pub fn new(files: MachineFiles, folder: PathBuf, life: Arc<Life>, trace: Trace) -> ProcessFiles {
        ProcessFiles {
            files,
            folder,
            life,
            trace,
            flushes_left: Mutex::new(None),
        }
    }

    /// After `count` more flushes every flush fails.
    pub fn fail_flushes_after(&self, count: u64) {
        *lock(&self.flushes_left) = Some(count);
    }

    /// Changes the image of `path`, unless the process is dead.
    fn change(&self, what: &'static str, bytes: usize, path: &Path, change: impl FnOnce(&mut Image)) -> Action {
        let Ok(below) = path.strip_prefix(&self.folder) else {
            return Action::Proceed;
        };
        self.trace.fold(what, &[], below.as_os_str().as_encoded_bytes());
        let fate = self.life.operate(bytes as u64);
        if fate != Fate::Dead {
            change(lock(&self.files.0).entry(below.to_owned()).or_default());
        }
        if fate == Fate::Done {
            Action::Proceed
        } else {
            Action::Fail
        }
    }

    fn is_flush_refused(&self) -> bool {
        match &mut *lock(&self.flushes_left) {
            None => false,
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
        }
    }

    fn is_lie(&self, path: &Path) -> bool {
        mutation::is(Mutation::NoSqliteSync) && path.as_os_str().as_encoded_bytes().ends_with(b"-wal")
    }
}

impl FileFaults for ProcessFiles {
    fn on_open(&self, path: &Path) -> Action {
        let Ok(below) = path.strip_prefix(&self.folder) else {
            return Action::Proceed;
        };
        if !self.life.is_alive() {
            return Action::Fail;
        }
        let mut images = lock(&self.files.0);
        if !images.contains_key(below) {
            // Read before SQLite has it open: to close it afterwards would drop SQLite's locks.
            let Ok(bytes) = fs::read(path) else {
                return Action::Proceed;
            };
            images.insert(below.to_owned(), Image::flushed(bytes));
        }
        Action::Proceed
    }

    fn on_read(&self, _path: &Path, _offset: u64, _length: usize) -> Action {
        if self.life.is_alive() {
            Action::Proceed
        } else {
            Action::Fail
        }
    }

    fn on_write(&self, path: &Path, offset: u64, data: &[u8]) -> Action {
        self.trace.fold("data", &[offset], &xxh3_64(data).to_le_bytes());
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.change("write", data.len(), path, |image| image.write(offset, data))
    }

    fn on_truncate(&self, path: &Path, size: u64) -> Action {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.change("resize", 0, path, |image| image.resize(size))
    }

    fn on_sync(&self, path: &Path) -> Action {
        if self.is_flush_refused() {
            self.change("failed flush", 0, path, Image::abandon);
            return Action::Fail;
        }
        if self.is_lie(path) {
            return self.change("lie", 0, path, |_| {});
        }
        // A process that dies in a flush dies before it: what was written is torn.
        let is_alive = self.life.is_alive();
        let action = self.change("flush", 0, path, |_| {});
        if is_alive && action == Action::Proceed {
            self.flush(path);
        }
        action
    }

    fn on_sync_folder(&self, _folder: &Path) -> Action {
        // Names are durable at once here: what is left to try is that the flush fails.
        match self.is_flush_refused() {
            true => Action::Fail,
            false => Action::Pretend,
        }
    }

    fn on_delete(&self, path: &Path) -> Action {
        let action = self.change("delete", 0, path, |_| {});
        if let Ok(below) = path.strip_prefix(&self.folder)
            && action == Action::Proceed
        {
            lock(&self.files.0).remove(below);
        }
        action
    }
}

impl ProcessFiles {
    fn flush(&self, path: &Path) {
        if let Ok(below) = path.strip_prefix(&self.folder)
            && let Some(image) = lock(&self.files.0).get_mut(below)
        {
            image.flush();
        }
    }
}

//! What the VFS saw of the disk, and who may stand in for the disk.
//!
//! Every file that SQLite opens through our VFS is announced here. A failed operation is noted for the thread it
//! happened on: SQLite is synchronous, so whoever runs a statement finds its disk failures there afterwards, whatever
//! result code SQLite made of them (D4). A file whose flush failed is poisoned: it is never flushed again (D5).
//!
//! A simulator owns the files below a folder by [`install`]ing a [`FileFaults`]: it sees every write with its bytes and
//! every flush, and decides what becomes of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::Error;

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Proceed,
    /// It is reported as done, and nothing happens to the file.
    Pretend,
    /// It fails as by a broken disk.
    Fail,
    /// It fails as by a full disk.
    Full,
}

/// Watches and decides over the files below a folder. Each method is asked before the operation.
pub trait FileFaults: Send + Sync {
    /// A file is opened, or created.
    fn on_open(&self, _path: &Path) -> Action {
        Action::Proceed
    }
    /// `length` bytes are read at `offset`; [`Action::Pretend`] is taken as [`Action::Proceed`].
    fn on_read(&self, _path: &Path, _offset: u64, _length: usize) -> Action {
        Action::Proceed
    }
    /// `data` is written at `offset`.
    fn on_write(&self, _path: &Path, _offset: u64, _data: &[u8]) -> Action {
        Action::Proceed
    }
    /// The file is cut or grown to `size` bytes.
    fn on_truncate(&self, _path: &Path, _size: u64) -> Action {
        Action::Proceed
    }
    /// Everything written to the file so far is flushed.
    fn on_sync(&self, _path: &Path) -> Action {
        Action::Proceed
    }
    /// The names in a folder are flushed.
    fn on_sync_folder(&self, _folder: &Path) -> Action {
        Action::Proceed
    }
    /// A flush has succeeded: what was written before it is durable.
    fn synced(&self, _path: &Path) {}
    /// The file is deleted.
    fn on_delete(&self, _path: &Path) -> Action {
        Action::Proceed
    }
}

/// A disk or memory failure that our VFS or allocator saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The operation, such as `write`.
    pub operation: &'static str,
    /// The file; `None` for a temporary file and for memory.
    pub path: Option<PathBuf>,
    /// What the operating system said.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} {}: {}", self.operation, path.display(), self.message),
            None => write!(f, "{}: {}", self.operation, self.message),
        }
    }
}

type Installed = Vec<(PathBuf, Arc<dyn FileFaults>)>;

static INSTALLED: Mutex<Installed> = Mutex::new(Vec::new());
static POISONED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Spares healthy nodes the lock of [`POISONED`].
static ANY_POISONED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static FAILURE: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Lets `faults` watch every file below `prefix` that is opened from now on.
///
/// Stands for a new process on these files: flush failures below `prefix` are forgotten. Replaces what was installed
/// under the same prefix.
pub fn install(prefix: impl Into<PathBuf>, faults: Arc<dyn FileFaults>) {
    let prefix = prefix.into();
    remove(&prefix);
    lock(&INSTALLED).push((prefix, faults));
}

/// Ends what [`install`] began, and forgets flush failures below `prefix`; files that are open keep their watcher.
pub fn remove(prefix: &Path) {
    lock(&INSTALLED).retain(|(installed, _)| installed != prefix);
    lock(&POISONED).retain(|path| !path.starts_with(prefix));
}

/// The watcher of `path`: the one with the longest prefix.
pub(crate) fn watcher(path: &Path) -> Option<Arc<dyn FileFaults>> {
    lock(&INSTALLED)
        .iter()
        .filter(|(prefix, _)| path.starts_with(prefix))
        .max_by_key(|(prefix, _)| prefix.as_os_str().len())
        .map(|(_, faults)| Arc::clone(faults))
}

/// Makes the name of `path` durable, by a flush of its folder.
///
/// # Errors
///
/// The folder's, or the watcher's. Never retried (D5): the caller poisons `path`.
pub(crate) fn sync_folder_of(path: &Path, watcher: Option<&dyn FileFaults>) -> io::Result<()> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    match watcher.map_or(Action::Proceed, |it| it.on_sync_folder(folder)) {
        Action::Proceed => File::open(folder)?.sync_all(),
        Action::Pretend => Ok(()),
        Action::Fail | Action::Full => Err(io::Error::other("injected")),
    }
}

/// A flush of `path` failed: none succeeds any more in this process.
pub(crate) fn poison(path: &Path) {
    lock(&POISONED).insert(path.to_owned());
    ANY_POISONED.store(true, Ordering::Release);
}

/// A flush of `path` failed before.
pub(crate) fn is_poisoned(path: &Path) -> bool {
    ANY_POISONED.load(Ordering::Acquire) && lock(&POISONED).contains(path)
}

/// Notes a failure for this thread; the first one stays until it is taken.
pub(crate) fn note(failure: Failure) {
    FAILURE.with_borrow_mut(|noted| {
        noted.get_or_insert(failure);
    });
}

/// Forgets what was noted on this thread: an operation of another owner begins.
pub(crate) fn forget() {
    FAILURE.with_borrow_mut(|noted| *noted = None);
}

/// The failure seen on this thread since [`forget`], as the error of the operation `what`.
///
/// # Errors
///
/// [`Error::Node`] when there was one.
pub(crate) fn check(what: &str) -> Result<(), Error> {
    FAILURE.with_borrow_mut(|noted| match noted.take() {
        None => Ok(()),
        Some(failure) => Err(Error::Node {
            what: what.to_owned(),
            message: failure.to_string(),
        }),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way through a change, so a poisoned lock still guards a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

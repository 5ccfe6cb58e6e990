//! The `-wal` file, flushed through a descriptor of our own: what makes an applied index durable (design §4).
//!
//! SQLite's connection flushes the WAL only when it checkpoints. The descriptor is opened once and kept, so that an
//! error of the kernel's write-back between two flushes is reported to us; POSIX locks are on the database and
//! shared-memory files, so opening and closing this one disturbs none.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::faults::{self, Action, FileFaults};

/// The WAL of one database.
pub(crate) struct Wal {
    path: PathBuf,
    file: Option<File>,
}

impl Wal {
    /// The WAL beside the database at `path`.
    pub(crate) fn beside(database: &Path) -> Self {
        let mut path = OsString::from(database);
        path.push("-wal");
        Self {
            path: path.into(),
            file: None,
        }
    }

    /// Flushes everything written to it. Without a WAL file everything is in the database, flushed by who closed it.
    ///
    /// # Errors
    ///
    /// [`Error::Poisoned`] after an earlier failure, [`Error::Node`] on this one; none is ever retried (D5).
    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if faults::is_poisoned(&self.path) {
            return Err(Error::Poisoned {
                path: self.path.clone(),
            });
        }
        let watcher = faults::watcher(&self.path);
        let action = watcher.as_ref().map_or(Action::Proceed, |it| it.on_sync(&self.path));
        let result = match action {
            Action::Proceed => self.flush(watcher.as_deref()),
            Action::Pretend => Ok(()),
            Action::Fail | Action::Full => Err(io::Error::other("injected")),
        };
        if let Err(error) = result {
            faults::poison(&self.path);
            return Err(Error::Node {
                what: format!("sync {}", self.path.display()),
                message: error.to_string(),
            });
        }
        if let Some(watcher) = watcher {
            watcher.synced(&self.path);
        }
        Ok(())
    }

    fn flush(&mut self, watcher: Option<&dyn FileFaults>) -> io::Result<()> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => {
                    // SQLite creates the file; its name must survive as well.
                    faults::sync_folder_of(&self.path, watcher)?;
                    self.file = Some(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }
}

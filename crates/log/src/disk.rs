//! The disk as the log sees it: one flat directory of files.
//!
//! The log does all its input and output through these two traits, so that tests and the simulator can own the disk.
//! Nothing here is asynchronous: each call returns when the operating system has done it.

use std::io;

/// One directory.
pub trait Disk: Send + Sync + 'static {
    /// The names of all files, in any order.
    ///
    /// # Errors
    /// The directory cannot be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// There is no such file, or it cannot be opened.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Creates a file of `bytes` zeros, really written and flushed when this returns, so that a later write inside it changes no
    /// metadata. The name itself is durable only after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The name is taken, or the disk is full.
    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>>;

    /// Renames a file; files that are open stay open. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The operating system refused.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file; files that are open stay readable. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// The operating system refused.
    fn delete(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable.
    ///
    /// # Errors
    /// The flush failed.
    fn sync_dir(&self) -> io::Result<()>;

    /// The file's name for a message to a human; a path where there is one.
    fn describe(&self, name: &str) -> String {
        name.to_owned()
    }
}

/// One open file. Used by several threads at once: one writes, others read what was written before.
pub trait File: Send + Sync {
    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// The read failed, or the file ends before `bytes` is full.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`. Not durable until [`File::sync`] has returned.
    ///
    /// # Errors
    /// The write failed; part of it may have happened.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written before durable, and the file's size (`fdatasync`).
    ///
    /// # Errors
    /// The flush failed; what was written is durable or not, and the file must not be used again (D5).
    fn sync(&self) -> io::Result<()>;

    /// Size in bytes.
    ///
    /// # Errors
    /// The operating system refused.
    fn size(&self) -> io::Result<u64>;
}

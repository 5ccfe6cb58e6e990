//! What can go wrong in the log, one variant for each thing that a caller does differently.

use std::io;
use std::sync::Arc;

/// An error of the log. Cheap to clone: one failed flush is reported to everybody who waits for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The disk refused an operation. From [`crate::open`]: the caller does not start. From a completion: see `Failed`.
    #[error("{operation} {file}")]
    Io {
        /// What was tried: `open`, `write`, `sync`, …
        operation: &'static str,
        /// The file, as [`crate::Disk::describe`] names it.
        file: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// The log was closed; the operation did not happen.
    #[error("the log is closed")]
    Closed,
    /// A write or flush failed, now or earlier: whether the operation reached the disk is unknown, nothing will complete
    /// any more, and the process must stop (D5).
    #[error("the log stopped for good after a failed write or flush")]
    Failed {
        /// The failure that stopped the log.
        source: Arc<Error>,
    },
    /// Bytes that were flushed do not match their checksum, or a file is missing: the node must not start, or go on (D7).
    #[error(
        "{file} is damaged at offset {offset}: {found}; nothing was changed; check the disk, then restore this file from \
         a copy of it, or remove this node from the cluster and let it join again with an empty data directory"
    )]
    Damaged {
        /// The file, as [`crate::Disk::describe`] names it.
        file: String,
        /// Offset in the file of the first bad byte range.
        offset: u64,
        /// What is wrong there.
        found: String,
    },
    /// The file was not written by this program, or by a later release of it.
    #[error("{file} has {what}; this release reads log format version {version_max} and older: {remedy}")]
    Unknown {
        /// The file, as [`crate::Disk::describe`] names it.
        file: String,
        /// What is unknown: the magic, the version, or a kind of record.
        what: String,
        /// The newest version that this release reads.
        version_max: u32,
        /// What to do.
        remedy: &'static str,
    },
    /// The records do not continue the log, or the position named is not in it. A mistake of the caller; nothing happened.
    #[error("the log continues at {expected}, not at {found}")]
    OutOfOrder {
        /// The index, or position, that would be right.
        expected: String,
        /// What was given.
        found: String,
    },
    /// The record or vote is larger than the format allows; nothing happened.
    #[error("{bytes} bytes in one record, and the log takes {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl Error {
    /// An [`Error::Io`] on `file`.
    pub(crate) fn io(operation: &'static str, file: String) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            operation,
            file,
            source: Arc::new(source),
        }
    }
}

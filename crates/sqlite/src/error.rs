//! Why the SQLite boundary could not do what was asked.
//!
//! A statement's own failure is not here: it is an outcome of the request (`command::reply`), with SQLite's text
//! unchanged. What stands here stops an operation of this node.

use std::path::PathBuf;

/// A failure of this room.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node's disk or memory failed, as our VFS or SQLite's allocator saw it (D4): this node stops applying.
    #[error("node failure: {what}: {message}")]
    Node {
        /// The operation and its object.
        what: String,
        /// What the disk, the allocator or SQLite said.
        message: String,
    },
    /// A flush of this file failed earlier; it is never retried (D5).
    #[error("sync {}: an earlier flush of this file failed, restart the node", path.display())]
    Poisoned {
        /// The file whose flush failed.
        path: PathBuf,
    },
    /// SQLite refused an operation that this room itself issued.
    #[error("{what}")]
    Sqlite {
        /// The operation and its object.
        what: &'static str,
        /// SQLite's own error.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is a database, but not one that this program made, or it is damaged.
    #[error("{}: {reason}", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that were flushed are not what was written: the database must not be opened (D7).
    #[error(
        "{} is damaged at offset {offset}: {found}; nothing was changed; check the disk, then remove this node from the \
         cluster and let it join again with an empty data directory, or start it alone with one and load a backup",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the first bad bytes begin.
        offset: u64,
        /// What is wrong there.
        found: String,
    },
    /// The database is not what the log makes of it, or SQLite finds its pages damaged, with a disk that reported no
    /// failure: another node's must take its place.
    #[error("{what}: {message}")]
    Unsound {
        /// The operation and its object.
        what: String,
        /// What is wrong.
        message: String,
    },
    /// Operating-system failure outside SQLite.
    #[error("{what}")]
    Io {
        /// The operation and its object.
        what: String,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
    /// Every reader is on loan, and none came back in time.
    #[error("no read connection became free in time")]
    Busy,
    /// A snapshot was held for as long as one may be (D10).
    #[error("a snapshot was held for more than {age_max:?}")]
    Expired {
        /// The bound.
        age_max: std::time::Duration,
    },
    /// A database that was sent is not the one that arrived (D7).
    #[error("received database: {0}")]
    Transfer(String),
    /// A database that was given to be loaded cannot be one of ours.
    #[error("invalid SQLite data: {0}")]
    Unfit(String),
    /// The operation was interrupted: its client went away, or the node stops.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// Wraps a rusqlite error of the operation `what`; for use with `map_err`.
    pub fn sqlite(what: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Sqlite { what, source }
    }

    /// What is on the disk is not what was written there: trying again does not help.
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Foreign { .. } | Self::Damaged { .. } | Self::Unsound { .. } => true,
            Self::Sqlite { source, .. } => {
                matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
            }
            Self::Node { .. }
            | Self::Poisoned { .. }
            | Self::Io { .. }
            | Self::Busy
            | Self::Expired { .. }
            | Self::Transfer(_)
            | Self::Unfit(_)
            | Self::Interrupted => false,
        }
    }

    /// Wraps an operating-system error of the operation `what`; for use with `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io {
            what: what.into(),
            source,
        }
    }
}

/// SQLite's text for a failure, without code prefix or position: what a user sees (spec §7.6).
pub fn text(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(message)) => message.clone(),
        rusqlite::Error::SqliteFailure(code, None) => rusqlite::ffi::code_to_str(code.extended_code).to_owned(),
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    }
}

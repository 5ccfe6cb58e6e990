//! The store's errors: a variant for each thing that a caller does differently.

use std::io;
use std::path::PathBuf;

use crate::member::Peer;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This node does not lead; certain: the request was not appended.
    #[error("not leader")]
    NotLeader {
        /// The leader, when one is known.
        leader: Option<Peer>,
    },
    /// The outcome is unknown: leadership was lost after the append.
    #[error("leadership lost while committing log")]
    LeadershipLost,
    /// The outcome is unknown: the request was appended but not applied in time.
    #[error("timed out waiting for the entry to be applied")]
    Unconfirmed,
    /// Certain: the request was not appended in time.
    #[error("timed out enqueuing operation")]
    Enqueue,
    /// Certain: leadership is being handed over.
    #[error("leadership transfer in progress")]
    Transferring,
    /// The node has more work than it may queue; certain: not appended.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    /// The disk is nearly full; certain: not appended.
    #[error("disk nearly full: {free} bytes free, writes are refused below {watermark}; free some space")]
    DiskFull {
        /// Bytes free.
        free: u64,
        /// The watermark.
        watermark: u64,
    },
    /// This node's database differs from a majority's, or is damaged: it serves nothing until another is in its place.
    #[error("this node is in quarantine and serves nothing until it is re-seeded: {0}")]
    Quarantined(String),
    /// The state is not open yet.
    #[error("store not open")]
    NotOpen,
    /// The node has not yet applied what it knew to be committed.
    #[error("store not ready")]
    NotReady,
    /// Freshness was asked for and is not there.
    #[error("stale read")]
    Stale,
    /// A read waited for an index in vain.
    #[error("index {index}: timeout waiting for fsm")]
    ReadTimeout {
        /// The index waited for.
        index: u64,
    },
    /// A read could not confirm leadership with a majority.
    #[error("failed to verify leader: {0}")]
    Unverified(String),
    /// A membership change was refused.
    #[error("{0}")]
    Membership(String),
    /// No node by that name.
    #[error("node not found in cluster")]
    UnknownNode,
    /// The target of a transfer already leads.
    #[error("cannot step down to the current Leader")]
    AlreadyLeader,
    /// Nobody to hand leadership to.
    #[error("cannot find peer")]
    NoPeer,
    /// The request is too large for one log entry.
    #[error("request of {bytes} bytes is too large: the limit is {limit}; split it into several")]
    TooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// An entry that cannot be passed over.
    #[error("entry {index} {what}: only one that is committed and still waits, or runs, can be skipped")]
    Unskippable {
        /// Its index.
        index: u64,
        /// Why not.
        what: &'static str,
    },
    /// The data directory is used by another process.
    #[error("data directory {0} is used by another process: stop it, or choose another directory")]
    Locked(PathBuf),
    /// The data directory holds something that this release cannot or must not touch.
    #[error("data directory {path}: {what}")]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What was found, and the way out.
        what: String,
    },
    /// The node has stopped, or stopped itself to protect data; the outcome of a write is unknown.
    #[error("node stopped: {0}")]
    Stopped(String),
    /// A file operation failed.
    #[error("{what}")]
    Io {
        /// Operation and object.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The log failed.
    #[error("log")]
    Log(#[from] log::Error),
    /// SQLite failed as a node, not as an answer (D4).
    #[error("database")]
    Sqlite(#[from] sqlite::Error),
}

/// What is known of a write that failed (D9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not appended, and may be tried again.
    NotAppended,
    /// It may or may not have happened.
    Unknown,
    /// It was not appended, and would fail again as it is.
    Refused,
}

impl Error {
    /// What is known of the write that failed so.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NotLeader { .. }
            | Self::Enqueue
            | Self::Transferring
            | Self::Overloaded(_)
            | Self::DiskFull { .. }
            | Self::NotOpen
            | Self::Quarantined(_)
            | Self::NotReady => Outcome::NotAppended,
            Self::LeadershipLost
            | Self::Unconfirmed
            | Self::Stopped(_)
            | Self::Io { .. }
            | Self::Log(_)
            | Self::Sqlite(_) => Outcome::Unknown,
            Self::Stale
            | Self::ReadTimeout { .. }
            | Self::Unverified(_)
            | Self::Membership(_)
            | Self::UnknownNode
            | Self::AlreadyLeader
            | Self::NoPeer
            | Self::TooLarge { .. }
            | Self::Unskippable { .. }
            | Self::Locked(_)
            | Self::Foreign { .. } => Outcome::Refused,
        }
    }
}

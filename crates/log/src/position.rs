//! Where an entry stands in the log, and an entry as the log sees it: a position and bytes.

use std::fmt;

use bytes::Bytes;

/// The place of an entry: its term, then its index. Ordered in that order, as consensus compares logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Term of the leader that proposed the entry.
    pub term: u64,
    /// Place in the log; neighbours differ by one.
    pub index: u64,
}

/// One entry: a position and bytes that the log does not interpret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// What it says; at most [`crate::RECORD_BYTES_MAX`] bytes.
    pub bytes: Bytes,
}

/// The facts that the log knows besides its records. Each segment starts with those that hold at its start, so that
/// older segments can go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The log starts after this position.
    pub purged: Option<Position>,
    /// The last record, or `purged` when there is none.
    pub last: Option<Position>,
    /// The committed position, as last saved.
    pub committed: Option<Position>,
    /// The vote, as last saved.
    pub vote: Option<Bytes>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.index)
    }
}

//! What a write request answered: the same on every replica, storable for retries.

use crate::statement::Value;

/// The answer to one write request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// One outcome for each statement that was run and is not empty text.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<Outcome>,
    /// Failure of the request as a whole; then nothing took effect.
    #[prost(message, optional, tag = "2")]
    pub error: Option<Failure>,
    /// The log index at which it was applied; 0 when it never reached the log.
    #[prost(uint64, tag = "3")]
    pub index: u64,
}

/// A request-level failure.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failure {
    /// The text that the user sees.
    #[prost(string, tag = "1")]
    pub message: String,
    /// A stable machine-readable word, such as `key_reused`; empty when there is none.
    #[prost(string, tag = "2")]
    pub code: String,
}

/// What one statement answered.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Outcome {
    /// The answer.
    #[prost(oneof = "OutcomeKind", tags = "1, 2, 3")]
    pub kind: Option<OutcomeKind>,
    /// Time spent in SQLite on the answering node, in nanoseconds; never part of replicated state.
    #[prost(uint64, tag = "4")]
    pub elapsed_ns: u64,
}

/// The forms an [`Outcome`] takes.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum OutcomeKind {
    /// A write's counters, possibly stale, as spec §5.2 has them.
    #[prost(message, tag = "1")]
    Changes(Changes),
    /// Rows of a read or of RETURNING.
    #[prost(message, tag = "2")]
    Rows(Rows),
    /// The statement failed before it could answer rows: SQLite's text, unchanged.
    #[prost(string, tag = "3")]
    Error(String),
}

/// A write's counters.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Changes {
    /// `last_insert_rowid()` after the statement.
    #[prost(sint64, tag = "1")]
    pub last_insert_id: i64,
    /// `changes()` after the statement.
    #[prost(sint64, tag = "2")]
    pub rows_affected: i64,
}

/// Rows, held in memory; only for what runs in apply.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Rows {
    /// SQLite's result-column names.
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
    /// Declared types, lower-cased; empty where there is none.
    #[prost(string, repeated, tag = "2")]
    pub types: Vec<String>,
    /// The rows.
    #[prost(message, repeated, tag = "3")]
    pub rows: Vec<Row>,
    /// The statement failed while it ran; the rows before it stand in `rows`.
    #[prost(string, optional, tag = "4")]
    pub error: Option<String>,
}

/// One row: as many cells as the result has columns.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Row {
    /// The cells.
    #[prost(message, repeated, tag = "1")]
    pub cells: Vec<Cell>,
}

/// One cell.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Cell {
    /// The value; `None` is NULL.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4")]
    pub value: Option<Value>,
}

impl Reply {
    /// A request-level failure with text and code.
    pub fn failed(message: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            outcomes: Vec::new(),
            error: Some(Failure {
                message: message.into(),
                code: code.into(),
            }),
            index: 0,
        }
    }
}

impl Outcome {
    /// An outcome whose time is not yet known.
    pub fn new(kind: OutcomeKind) -> Self {
        Self {
            kind: Some(kind),
            elapsed_ns: 0,
        }
    }
}

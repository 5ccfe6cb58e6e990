//! Why a request did not count: each kind is a line of the report.

use std::borrow::Cow;
use std::time::Duration;

/// A request that was not answered as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No connection: nothing was sent.
    #[error("connect: {0}")]
    Connect(String),
    /// The connection ended before the answer was complete.
    #[error("connection lost: {0}")]
    Lost(String),
    /// No answer in time; the connection is given up.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer is not HTTP as we know it.
    #[error("answer is not HTTP: {0}")]
    Protocol(&'static str),
    /// A status other than 200.
    #[error("status {status}: {text}")]
    Status {
        /// HTTP status.
        status: u16,
        /// First line of the body.
        text: String,
    },
    /// `error` beside `results`: the request as a whole failed.
    #[error("request failed: {0}")]
    Request(String),
    /// `error` inside a result: a statement failed.
    #[error("statement failed: {0}")]
    Statement(String),
    /// The answer says success, and is not true or not readable: the server lies.
    #[error("wrong answer: {0}")]
    Wrong(String),
}

impl Failure {
    /// The name under which failures of this kind are counted.
    pub fn kind(&self) -> Cow<'static, str> {
        match self {
            Failure::Connect(_) => "connect".into(),
            Failure::Lost(_) => "connection lost".into(),
            Failure::Timeout(_) => "timeout".into(),
            Failure::Protocol(_) => "not HTTP".into(),
            Failure::Status { status, .. } => format!("status {status}").into(),
            Failure::Request(_) => "request error".into(),
            Failure::Statement(_) => "statement error".into(),
            Failure::Wrong(_) => "wrong answer".into(),
        }
    }

    /// Whether another node may do better: this one is gone, silent or without a leader.
    pub fn blames_node(&self) -> bool {
        match self {
            Failure::Connect(_) | Failure::Lost(_) | Failure::Timeout(_) | Failure::Protocol(_) => true,
            Failure::Status { status, .. } => *status >= 500,
            Failure::Request(_) | Failure::Statement(_) | Failure::Wrong(_) => false,
        }
    }
}

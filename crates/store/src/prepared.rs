//! A write that may be proposed more than once.
//!
//! Whoever repeats a write gives it a key first, or it may take effect twice (D9).

use std::sync::Arc;
use std::time::Duration;

use command::entry::{Action, Command};
use command::reply::Reply;
use command::request::Write;

use crate::consensus::types::Proposal;
use crate::error::Error;
use crate::node::Node;

/// A write with the bytes that go into the log: encoded once, however often it is proposed.
#[derive(Clone, Debug)]
pub struct Prepared(Proposal);

impl Prepared {
    /// Encodes `write`.
    pub fn new(write: Write) -> Self {
        Self(Proposal::new(Command::new(Some(Action::Write(write)))))
    }

    /// The write, copied only while consensus still holds it.
    pub fn into_write(self) -> Write {
        let command = Arc::unwrap_or_clone(self.0.into_command());
        match command.action {
            Some(Action::Write(write)) => write,
            Some(Action::Skip(_) | Action::Settings(_) | Action::Chunk(_) | Action::Load(_) | Action::Verify(_))
            | None => {
                unreachable!("it is made from a write")
            }
        }
    }
}

impl Node {
    /// As [`Node::write`], for a write that is kept for another try.
    ///
    /// # Errors
    ///
    /// As [`Node::write`].
    pub async fn write_prepared(&self, prepared: &Prepared, timeout: Duration) -> Result<Reply, Error> {
        self.inner.disk.check()?;
        self.propose_encoded(prepared.0.clone(), timeout).await
    }
}

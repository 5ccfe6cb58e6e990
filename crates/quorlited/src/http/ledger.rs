//! What the API asks of a node, so that it can be tested without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use command::reply::Reply;
use command::request::{Kind, Write};
use command::rows::RowSink;
use command::statement::Statement;
use sqlite::{Cancel, Class, QueryOptions};
use store::Error;
use store::member::Peer;
use store::metrics::Metrics;
use store::node::{ContentHash, Node};
use store::prepared::Prepared;
use store::read::{Confirmed, ReadRequest};
use store::status::Status;
use store::transport::BoxFuture;

/// What the statements of a request need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Readers can run all of them.
    Readers,
    /// At least one goes through the log.
    Log,
}

/// What SQLite's grammar says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// There is no statement in it.
    Nothing,
    /// It can be read.
    Sound,
    /// It cannot, and why.
    Wrong(String),
}

/// A node, as the API sees it.
pub trait Ledger: Send + Sync + 'static {
    /// This node.
    fn peer(&self) -> Peer;
    /// The leader, when one is known.
    fn leader(&self) -> Option<Peer>;
    /// There was a leader a moment ago: if none is known now, the next is being elected.
    fn expects_leader(&self) -> bool;
    /// This node is that leader.
    fn leads(&self) -> bool {
        self.leader().is_some_and(|leader| leader.id == self.peer().id)
    }
    /// Everything about this node, without waiting.
    fn status(&self) -> Status;
    /// Stamps a write with clock and seed.
    fn stamp(&self, statements: Vec<Statement>, kind: Kind, atomic: bool) -> Write;
    /// Proposes a write and waits until it is applied here.
    fn write(&self, write: Write, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>>;
    /// As [`Self::write`], for a write that is kept for another try.
    fn write_prepared<'a>(&'a self, prepared: &'a Prepared, timeout: Duration) -> BoxFuture<'a, Result<Reply, Error>>;
    /// Waits until a local read at this level may begin.
    fn confirm(&self, read: ReadRequest) -> BoxFuture<'_, Result<Confirmed, Error>>;
    /// Runs reads and shows their results to `sink`. Blocks.
    ///
    /// # Errors
    ///
    /// What is no statement's failure.
    fn query(
        &self,
        statements: &[Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<(), sqlite::Error>;
    /// Runs reads at once, on this thread, if they are known to be brief; false if they must run by [`Self::query`],
    /// from the start. Does not block.
    fn query_at_once(&self, _: &[Statement], _: &QueryOptions, _: &mut dyn RowSink) -> bool {
        false
    }
    /// [`Self::query_at_once`] would try: all of `statements` are known to be reads, and brief. Does not block.
    fn are_brief(&self, _: &[Statement]) -> bool {
        false
    }
    /// What `statements` need, as far as the database is known here. Blocks.
    ///
    /// # Errors
    ///
    /// No reader could be had.
    fn need(&self, statements: &[Statement]) -> Result<Need, sqlite::Error>;
    /// Whether SQLite can read each of `statements`, whatever the database holds. Blocks.
    ///
    /// # Errors
    ///
    /// No reader could be had.
    fn syntax(&self, statements: &[Statement]) -> Result<Vec<Syntax>, sqlite::Error>;
    /// What this node's store measures.
    fn metrics(&self) -> Arc<Metrics>;
    /// Reading connections that are open, of how many at most; 0 = without limit.
    fn readers_open(&self) -> (usize, usize);
    /// The content hash at a pinned index.
    fn content_hash(&self) -> BoxFuture<'_, Result<ContentHash, Error>>;
    /// Removes a node by name (leader only).
    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>>;
    /// Hands leadership over and waits for it (leader only).
    fn transfer<'a>(&'a self, target: Option<&'a str>, timeout: Duration) -> BoxFuture<'a, Result<(), Error>>;
    /// Makes the applied index durable and purges the log; false if there was nothing to do.
    fn snapshot(&self, trailing: Option<u64>) -> BoxFuture<'_, Result<bool, Error>>;
    /// Passes over an entry that waits, or runs (leader only).
    fn skip(&self, index: u64, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>>;
    /// Has all nodes verify what they hold at the index that the reply names (leader only).
    fn verify(&self, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>>;
}

/// SQLite's texts for what its grammar does not allow.
fn is_grammar(message: &str) -> bool {
    message.ends_with("syntax error") || message == "incomplete input" || message.starts_with("unrecognized token")
}

impl Ledger for Node {
    fn peer(&self) -> Peer {
        Node::peer(self).clone()
    }

    fn leader(&self) -> Option<Peer> {
        Node::leader(self)
    }

    fn expects_leader(&self) -> bool {
        Node::expects_leader(self)
    }

    fn leads(&self) -> bool {
        Node::leads(self)
    }

    fn status(&self) -> Status {
        Node::status(self)
    }

    fn stamp(&self, statements: Vec<Statement>, kind: Kind, atomic: bool) -> Write {
        Node::stamp(self, statements, kind, atomic)
    }

    fn write(&self, write: Write, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        Box::pin(Node::write(self, write, timeout))
    }

    fn write_prepared<'a>(&'a self, prepared: &'a Prepared, timeout: Duration) -> BoxFuture<'a, Result<Reply, Error>> {
        Box::pin(Node::write_prepared(self, prepared, timeout))
    }

    fn confirm(&self, read: ReadRequest) -> BoxFuture<'_, Result<Confirmed, Error>> {
        Box::pin(Node::confirm(self, read))
    }

    fn query(
        &self,
        statements: &[Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<(), sqlite::Error> {
        let wait = options.deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
        self.readers().check_out(wait)?.query(statements, options, sink, cancel)
    }

    fn query_at_once(&self, statements: &[Statement], options: &QueryOptions, sink: &mut dyn RowSink) -> bool {
        self.readers().query_at_once(statements, options, sink)
    }

    fn are_brief(&self, statements: &[Statement]) -> bool {
        self.readers().are_brief(statements)
    }

    fn need(&self, statements: &[Statement]) -> Result<Need, sqlite::Error> {
        let readers = self.readers();
        let reader = readers.check_out(Duration::MAX)?;
        let is_read = |statement: &Statement| match reader.classify(&statement.sql) {
            // What is refused on every path says so in its element, wherever it is run.
            Class::Empty | Class::Read | Class::Refused(_) => true,
            Class::Write | Class::Unprepared(_) => false,
        };
        Ok(if statements.iter().all(is_read) {
            Need::Readers
        } else {
            Need::Log
        })
    }

    fn syntax(&self, statements: &[Statement]) -> Result<Vec<Syntax>, sqlite::Error> {
        let readers = self.readers();
        let reader = readers.check_out(Duration::MAX)?;
        let syntax = |statement: &Statement| match reader.classify(&statement.sql) {
            Class::Empty => Syntax::Nothing,
            Class::Read | Class::Write | Class::Refused(_) => Syntax::Sound,
            Class::Unprepared(error) if is_grammar(&error.message) => Syntax::Wrong(error.message),
            // It reads well; what it names is not there.
            Class::Unprepared(_) => Syntax::Sound,
        };
        Ok(statements.iter().map(syntax).collect())
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(Node::metrics(self))
    }

    fn readers_open(&self) -> (usize, usize) {
        let readers = self.readers();
        (readers.open_count(), readers.options().connections_max)
    }

    fn content_hash(&self) -> BoxFuture<'_, Result<ContentHash, Error>> {
        Box::pin(Node::content_hash(self))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(Node::remove(self, name))
    }

    fn transfer<'a>(&'a self, target: Option<&'a str>, timeout: Duration) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(Node::transfer(self, target, timeout))
    }

    fn snapshot(&self, trailing: Option<u64>) -> BoxFuture<'_, Result<bool, Error>> {
        Box::pin(Node::snapshot(self, trailing))
    }

    fn skip(&self, index: u64, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        Box::pin(Node::skip(self, index, timeout))
    }

    fn verify(&self, timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        Box::pin(Node::verify(self, timeout))
    }
}

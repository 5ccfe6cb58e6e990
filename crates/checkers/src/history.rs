//! What clients did and were told: all that the checkers know of a run, besides what the nodes hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::chance::lock;
use crate::linearizability::Operation;
use crate::lists::Transaction;

/// A moment: a place in the order of everything that clients did.
pub type Moment = u64;

/// A write's name: the client, and its count of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriteId {
    /// The client.
    pub client: u64,
    /// Counts from 1.
    pub sequence: u64,
}

/// What a write does besides leaving its row in `log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    Row,
    /// Adds one to a counter and returns it.
    Increment {
        /// The counter.
        counter: u64,
    },
    /// Moves one unit between two accounts.
    Move {
        /// From here.
        from: u64,
        /// To there.
        to: u64,
    },
    /// Moves one unit, then fails in its last statement: nothing of it may stay.
    Failing,
}

/// What a client was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, at this log index; a counter answered its value.
    Acknowledged {
        /// The log index.
        index: u64,
        /// The counter's value.
        value: Option<i64>,
    },
    /// It has not happened: refused before the log, or failed as a statement.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// A write, from the first attempt to the last answer.
#[derive(Debug, Clone)]
pub struct Write {
    /// Its name.
    pub id: WriteId,
    /// What it does.
    pub effect: Effect,
    /// When it was first sent.
    pub begin: Moment,
    /// When the client knew what it would ever know.
    pub end: Moment,
    /// What it was told.
    pub outcome: Outcome,
}

/// A read, and what it showed.
#[derive(Debug, Clone)]
pub struct Read {
    /// Who answered, for the message.
    pub node: String,
    /// It promised every write acknowledged before it began; otherwise only those of the client that asked.
    pub is_linearizable: bool,
    /// The client whose rows were read.
    pub client: u64,
    /// When it was sent.
    pub begin: Moment,
    /// When it was answered.
    pub end: Moment,
    /// The client's rows, by sequence.
    pub rows: Vec<u64>,
    /// All counters.
    pub counters: BTreeMap<u64, i64>,
    /// The sum over all accounts.
    pub sum: i64,
}

/// What one node holds in the end.
#[derive(Debug, Clone, Default)]
pub struct Holding {
    /// The node.
    pub node: String,
    /// Each row of `log`: its write and its effect.
    pub rows: Vec<(WriteId, Effect)>,
    /// All counters.
    pub counters: BTreeMap<u64, i64>,
    /// All accounts.
    pub accounts: BTreeMap<u64, i64>,
    /// All registers.
    pub registers: BTreeMap<u64, i64>,
    /// All lists.
    pub lists: BTreeMap<u64, Vec<i64>>,
    /// Rows as a trigger counted them.
    pub counted: i64,
    /// The content hash.
    pub hash: u64,
}

/// A content hash as a node told it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The node.
    pub node: String,
    /// The applied index that it saw.
    pub index: u64,
    /// The hash.
    pub hash: u64,
}

/// A run's history; shared by all clients.
#[derive(Default)]
pub struct History {
    inner: Mutex<Inner>,
}

/// Its content.
#[derive(Debug, Default, Clone)]
pub struct Inner {
    /// Writes whose client has given its last word.
    pub writes: Vec<Write>,
    /// Reads that were answered.
    pub reads: Vec<Read>,
    /// Operations on registers.
    pub operations: Vec<Operation>,
    /// Transactions on lists.
    pub transactions: Vec<Transaction>,
    /// Content hashes.
    pub samples: Vec<Sample>,
    /// Clients that ever wrote.
    pub clients: BTreeSet<u64>,
}

impl History {
    /// Adds a write.
    pub fn write(&self, write: Write) {
        let mut inner = lock(&self.inner);
        inner.clients.insert(write.id.client);
        inner.writes.push(write);
    }

    /// Adds a read.
    pub fn read(&self, read: Read) {
        lock(&self.inner).reads.push(read);
    }

    /// Adds an operation on a register.
    pub fn operation(&self, operation: Operation) {
        lock(&self.inner).operations.push(operation);
    }

    /// Adds a transaction on lists.
    pub fn transaction(&self, transaction: Transaction) {
        lock(&self.inner).transactions.push(transaction);
    }

    /// Adds a content hash.
    pub fn sample(&self, sample: Sample) {
        lock(&self.inner).samples.push(sample);
    }

    /// Everything so far.
    pub fn content(&self) -> Inner {
        lock(&self.inner).clone()
    }
}

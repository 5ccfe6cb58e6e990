//! A node: the one handle through which the rest of the server uses the store.
#![allow(clippy::todo)]

use std::sync::Arc;
use std::time::Duration;

use command::reply::Reply;
use command::request::{Kind, Write};
use command::statement::Statement;

use crate::config::Config;
use crate::environment::Environment;
use crate::error::Error;
use crate::member::{Member, Peer};
use crate::read::{Confirmed, ReadRequest};
use crate::status::Status;
use crate::transport::{Channel, Duplex};

/// A running node; cheap to clone.
#[derive(Clone)]
pub struct Node {
    _inner: Arc<()>,
}

/// What became of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Added as a learner; a voter is promoted once it has caught up.
    Added,
    /// Already a member with this identity and address.
    Unchanged,
    /// An older entry under this name or address was removed first.
    Replaced,
}

/// A content hash and the log index at which it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash {
    /// The applied index that the hashed transaction saw.
    pub index: u64,
    /// XXH3 over the content as design.md §5 defines it.
    pub hash: u64,
}

impl Node {
    /// Opens the data directory and starts consensus: replays the tail of the log, joins nobody.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Foreign`], and what log and SQLite report.
    pub async fn open(_config: Config, _environment: Environment) -> Result<Self, Error> {
        todo!()
    }

    /// Serves one incoming stream of a peer; returns when it breaks. [`Channel::Service`] does not come here.
    pub async fn accept(&self, _channel: Channel, _duplex: Duplex) {
        todo!()
    }

    /// This node.
    pub fn peer(&self) -> &Peer {
        todo!()
    }

    /// The log holds a membership: the node has been part of a cluster.
    pub fn is_initialized(&self) -> bool {
        todo!()
    }

    /// The leader, when one is known.
    pub fn leader(&self) -> Option<Peer> {
        todo!()
    }

    /// Everything about this node, without waiting.
    pub fn status(&self) -> Status {
        todo!()
    }

    /// Stamps a write with clock and seed.
    pub fn stamp(&self, _statements: Vec<Statement>, _kind: Kind, _atomic: bool) -> Write {
        todo!()
    }

    /// Proposes a write and waits until it is applied here. On return it is flushed on a majority (D1).
    ///
    /// # Errors
    ///
    /// The variants of [`Error`] say whether the outcome is known.
    pub async fn write(&self, _write: Write, _timeout: Duration) -> Result<Reply, Error> {
        todo!()
    }

    /// Waits until a local read at this level may begin.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`] when the read must be forwarded, [`Error::Stale`], [`Error::ReadTimeout`], …
    pub async fn confirm(&self, _read: ReadRequest) -> Result<Confirmed, Error> {
        todo!()
    }

    /// The content hash at a pinned index. Long work: run it off the hot path.
    ///
    /// # Errors
    ///
    /// SQLite's failures.
    pub async fn content_hash(&self) -> Result<ContentHash, Error> {
        todo!()
    }

    /// Forms a new cluster of exactly these voters; this node is one of them.
    ///
    /// # Errors
    ///
    /// [`Error::Membership`] when it is already part of one.
    pub async fn initialize(&self, _voters: Vec<Peer>) -> Result<(), Error> {
        todo!()
    }

    /// Adds a node (leader only): as a learner at once, promoted in the background when `voter`.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::Membership`].
    pub async fn add(&self, _peer: Peer, _voter: bool) -> Result<Joined, Error> {
        todo!()
    }

    /// Removes a node by name (leader only); an unknown name is success.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::Membership`].
    pub async fn remove(&self, _name: &str) -> Result<(), Error> {
        todo!()
    }

    /// Hands leadership to the named voter, or to the most up-to-date one, and waits for the hand-over.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::UnknownNode`], [`Error::AlreadyLeader`], [`Error::NoPeer`].
    pub async fn transfer(&self, _target: Option<&str>, _timeout: Duration) -> Result<(), Error> {
        todo!()
    }

    /// Membership as last known here.
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }

    /// Makes the applied index durable and purges the log below it, less the tail; false if there was nothing to do.
    ///
    /// # Errors
    ///
    /// SQLite's and the log's failures.
    pub async fn snapshot(&self, _trailing: Option<u64>) -> Result<bool, Error> {
        todo!()
    }

    /// Waits until this node has applied everything that it knew to be committed at start, and knows a leader.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] after `timeout`.
    pub async fn ready(&self, _timeout: Duration) -> Result<(), Error> {
        todo!()
    }

    /// Resolves with the reason when the node has stopped itself to protect data; the process must then exit.
    pub async fn stopped(&self) -> String {
        todo!()
    }

    /// Stops consensus, makes the database durable, closes everything.
    pub async fn shutdown(&self) {
        todo!()
    }
}

//! The types that openraft is run with, and the proposal that flows through it.
//!
//! The standard leader id (term only) makes log ids `Copy` and total by term and index.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use command::entry::Command;
use command::reply::Reply;
use openraft::OptionalSend;
use openraft::impls::leader_id_std;
use openraft::storage::ApplyResponder;
use sqlite::meta::Position;
use tokio::time::Instant;

use crate::consensus::codec;
use crate::consensus::waiter::Waiter;

/// What a member's record says about it, stored in each membership entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The user's node id.
    pub name: String,
    /// The advertised inter-node address.
    pub address: String,
    /// It is to vote; a learner with this set is promoted once it has caught up.
    pub voter: bool,
}

/// A command with its bytes: encoded once, decoded at most once, shared by log, peers and apply.
#[derive(Clone)]
pub(crate) struct Proposal {
    /// The body of the log record, kind byte included.
    bytes: Bytes,
    /// What it says.
    command: Arc<Command>,
    /// When it was proposed here.
    born: Option<Instant>,
}

impl Proposal {
    /// Encodes a command.
    pub(crate) fn new(command: Command) -> Self {
        let bytes = codec::command_body(&command);
        Self {
            bytes,
            command: Arc::new(command),
            born: Some(Instant::now()),
        }
    }

    /// A command that was read from log or wire, with the body it was read from.
    pub(crate) fn decoded(bytes: Bytes, command: Command) -> Self {
        Self {
            bytes,
            command: Arc::new(command),
            born: None,
        }
    }

    /// How long ago it was proposed, if that was here.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.born.map(|born| born.elapsed())
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn command(&self) -> &Arc<Command> {
        &self.command
    }

    pub(crate) fn into_command(self) -> Arc<Command> {
        self.command
    }
}

/// When it was proposed is no part of what it is.
impl PartialEq for Proposal {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.command == other.command
    }
}

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.bytes.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The reply as it travels from apply to the waiting writer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer(pub Reply);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reply of index {}", self.0.index)
    }
}

/// How Quorlite runs openraft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Types;

// Written out, since openraft's macro cannot say who waits for an answer.
impl openraft::RaftTypeConfig for Types {
    type D = Proposal;
    type R = Answer;
    type NodeId = u64;
    type Node = Record;
    type Term = u64;
    type LeaderId = leader_id_std::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<Proposal, u64, Record>;
    type Entry = openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft_rt_tokio::TokioRuntime;
    type Responder<T>
        = Waiter<T>
    where
        T: OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// What an entry carries, for those outside who look into the log.
pub(crate) use openraft::EntryPayload;

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, Record>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type Responder = ApplyResponder<Types>;

/// A log id from term and index.
pub(crate) fn log_id(position: Position) -> LogId {
    LogId {
        leader_id: position.term.into(),
        index: position.index,
    }
}

/// Term and index of a log id.
pub(crate) fn position(log_id: &LogId) -> Position {
    Position {
        term: log_id.leader_id.term,
        index: log_id.index,
    }
}

//! The types that openraft is run with, and the proposal that flows through it.
//!
//! The standard leader id (term only) makes log ids `Copy` and total by term and index.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use command::entry::Command;
use command::reply::Reply;
use openraft::impls::leader_id_std;
use openraft::storage::ApplyResponder;
use sqlite::meta::Position;

use crate::consensus::codec;

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
#[derive(Clone, PartialEq)]
pub(crate) struct Proposal {
    /// The body of the log record, kind byte included.
    bytes: Bytes,
    /// What it says.
    command: Arc<Command>,
}

impl Proposal {
    /// Encodes a command.
    pub(crate) fn new(command: Command) -> Self {
        let bytes = codec::command_body(&command);
        Self {
            bytes,
            command: Arc::new(command),
        }
    }

    /// A command that was read from log or wire, with the body it was read from.
    pub(crate) fn decoded(bytes: Bytes, command: Command) -> Self {
        Self {
            bytes,
            command: Arc::new(command),
        }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub(crate) fn command(&self) -> &Arc<Command> {
        &self.command
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

openraft::declare_raft_types!(
    /// How Quorlite runs openraft.
    pub(crate) Types:
        D = Proposal,
        R = Answer,
        NodeId = u64,
        Node = Record,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, u64>,
        Vote = openraft::impls::Vote<Self::LeaderId>,
        AsyncRuntime = openraft_rt_tokio::TokioRuntime,
);

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

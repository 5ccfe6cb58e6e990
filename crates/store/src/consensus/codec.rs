//! The bytes of entries, votes and memberships; drawn in docs/formats.md, "Consensus".
//!
//! An entry's body is one kind byte and then a protobuf message. The log frames and checksums it; position and length
//! stand in the log's frame, not here.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Buf, Bytes};
use command::entry::Command;
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;
use prost::Message;
use sqlite::meta::Position;

use crate::consensus::types::{Entry, LogId, Membership, Proposal, Record, StoredMembership, Vote, log_id, position};

const KIND_BLANK: u8 = 0;
const KIND_MEMBERSHIP: u8 = 1;
const KIND_COMMAND: u8 = 2;

/// A position on the wire and on disk.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct PositionMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

/// A vote: who was voted for in a term, and whether a majority has granted it.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct VoteMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(fixed64, tag = "2")]
    pub node: u64,
    #[prost(bool, tag = "3")]
    pub committed: bool,
}

/// A membership: one set of voters, or two while it is joint, and every node's record.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MembershipMessage {
    #[prost(message, repeated, tag = "1")]
    pub voter_sets: Vec<VoterSet>,
    #[prost(message, repeated, tag = "2")]
    pub nodes: Vec<NodeMessage>,
    /// The entry that it came with; absent inside the entry itself.
    #[prost(message, optional, tag = "3")]
    pub position: Option<PositionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VoterSet {
    #[prost(fixed64, repeated, tag = "1")]
    pub ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeMessage {
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "3")]
    pub address: String,
    #[prost(bool, tag = "4")]
    pub voter: bool,
}

impl From<Position> for PositionMessage {
    fn from(position: Position) -> Self {
        Self {
            term: position.term,
            index: position.index,
        }
    }
}

impl From<&LogId> for PositionMessage {
    fn from(id: &LogId) -> Self {
        position(id).into()
    }
}

impl From<PositionMessage> for LogId {
    fn from(message: PositionMessage) -> Self {
        log_id(Position {
            term: message.term,
            index: message.index,
        })
    }
}

impl From<&Vote> for VoteMessage {
    fn from(vote: &Vote) -> Self {
        Self {
            term: vote.leader_id.term,
            node: vote.leader_id.voted_for,
            committed: vote.committed,
        }
    }
}

impl From<VoteMessage> for Vote {
    fn from(message: VoteMessage) -> Self {
        let leader_id = LeaderId {
            term: message.term,
            voted_for: message.node,
        };
        Self {
            leader_id,
            committed: message.committed,
        }
    }
}

/// The body of a command's record.
pub(crate) fn command_body(command: &Command) -> Bytes {
    body(KIND_COMMAND, command)
}

/// The body of an entry's record; free for a command, whose body is kept.
pub(crate) fn entry_body(entry: &Entry) -> Bytes {
    match &entry.payload {
        EntryPayload::Blank => Bytes::from_static(&[KIND_BLANK]),
        EntryPayload::Normal(proposal) => proposal.bytes().clone(),
        EntryPayload::Membership(membership) => body(KIND_MEMBERSHIP, &membership_message(membership, None)),
    }
}

/// Reads an entry back from its position and body.
///
/// # Errors
///
/// `InvalidData` naming the position when the body is of an unknown kind or does not decode.
pub(crate) fn entry(at: Position, mut bytes: Bytes) -> io::Result<Entry> {
    let invalid = |what: String| {
        let text = format!("entry {} of term {}: {what}", at.index, at.term);
        io::Error::new(io::ErrorKind::InvalidData, text)
    };
    let whole = bytes.clone();
    if bytes.is_empty() {
        return Err(invalid("empty body".to_owned()));
    }
    let payload = match bytes.get_u8() {
        KIND_BLANK => EntryPayload::Blank,
        KIND_MEMBERSHIP => {
            let message = MembershipMessage::decode(bytes).map_err(|e| invalid(e.to_string()))?;
            EntryPayload::Membership(membership(&message).map_err(|e| invalid(e.to_string()))?)
        }
        KIND_COMMAND => {
            let command = Command::from_bytes(bytes).map_err(|e| invalid(e.to_string()))?;
            EntryPayload::Normal(Proposal::decoded(whole, command))
        }
        kind => {
            return Err(invalid(format!(
                "kind {kind} is unknown: a newer release wrote it, upgrade this node"
            )));
        }
    };
    Ok(Entry {
        log_id: log_id(at),
        payload,
    })
}

/// The bytes of a vote.
pub(crate) fn vote_bytes(vote: &Vote) -> Bytes {
    VoteMessage::from(vote).encode_to_vec().into()
}

/// Reads a vote back.
///
/// # Errors
///
/// `InvalidData` when the bytes are no vote.
pub(crate) fn vote(bytes: &[u8]) -> io::Result<Vote> {
    VoteMessage::decode(bytes)
        .map(Vote::from)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("decode vote: {e}")))
}

/// The message of a membership, with the position of its entry when it leaves it.
pub(crate) fn membership_message(membership: &Membership, at: Option<&LogId>) -> MembershipMessage {
    let voter_sets = membership
        .get_joint_config()
        .iter()
        .map(|set| VoterSet {
            ids: set.iter().copied().collect(),
        })
        .collect();
    let nodes = membership
        .nodes()
        .map(|(id, record)| NodeMessage {
            id: *id,
            name: record.name.clone(),
            address: record.address.clone(),
            voter: record.voter,
        })
        .collect();
    MembershipMessage {
        voter_sets,
        nodes,
        position: at.map(PositionMessage::from),
    }
}

/// The bytes of a membership and the position of its entry, as the state machine keeps them.
pub(crate) fn stored_membership_bytes(membership: &Membership, at: &LogId) -> Bytes {
    membership_message(membership, Some(at)).encode_to_vec().into()
}

/// Reads what [`stored_membership_bytes`] wrote.
///
/// # Errors
///
/// `InvalidData` when the bytes are no membership.
pub(crate) fn stored_membership(bytes: &[u8]) -> io::Result<StoredMembership> {
    let message = MembershipMessage::decode(bytes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("decode membership: {e}")))?;
    Ok(StoredMembership::new(
        message.position.map(LogId::from),
        membership(&message)?,
    ))
}

fn membership(message: &MembershipMessage) -> io::Result<Membership> {
    let sets: Vec<BTreeSet<u64>> = message
        .voter_sets
        .iter()
        .map(|set| set.ids.iter().copied().collect())
        .collect();
    let nodes: BTreeMap<u64, Record> = message
        .nodes
        .iter()
        .map(|n| {
            (
                n.id,
                Record {
                    name: n.name.clone(),
                    address: n.address.clone(),
                    voter: n.voter,
                },
            )
        })
        .collect();
    if sets.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(sets, nodes)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("invalid membership: {e}")))
}

fn body(kind: u8, message: &impl Message) -> Bytes {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(kind);
    message
        .encode(&mut bytes)
        .unwrap_or_else(|_| unreachable!("a Vec has room for any message"));
    bytes.into()
}

//! Consensus as peers say it: the frames on control, append and bulk streams. Drawn in docs/formats.md, "Peers".
//!
//! Each stream begins with an [`Open`] that names both ends: a node that is addressed under an identity that is not its
//! own closes the stream, so that a wiped node at a known address is never silently appended to.

use std::io;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use prost::Message;
use sqlite::meta::Position;

use crate::consensus::codec::{self, PositionMessage, VoteMessage};
use crate::consensus::types::{LogId, Types, Vote};

/// The version of the protocol between nodes that this release speaks.
pub(crate) const VERSION: u32 = 1;

/// The first frame of every stream.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct Open {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(fixed64, tag = "2")]
    pub from: u64,
    #[prost(fixed64, tag = "3")]
    pub to: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VoteAsk {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteMessage>,
    #[prost(message, optional, tag = "2")]
    pub last_log: Option<PositionMessage>,
    #[prost(bool, tag = "3")]
    pub transfer: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct VoteAnswer {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteMessage>,
    #[prost(bool, tag = "2")]
    pub granted: bool,
    #[prost(message, optional, tag = "3")]
    pub last_log: Option<PositionMessage>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryMessage {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendAsk {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteMessage>,
    #[prost(message, optional, tag = "2")]
    pub prev: Option<PositionMessage>,
    #[prost(message, optional, tag = "3")]
    pub committed: Option<PositionMessage>,
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<EntryMessage>,
    /// The index through which the receiver has acknowledged everything to this leader in this term; 0 when unknown.
    #[prost(uint64, tag = "5")]
    pub acknowledged: u64,
}

/// The answer to an append; exactly one meaning is set by `kind`.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AppendAnswer {
    #[prost(enumeration = "AppendKind", tag = "1")]
    pub kind: i32,
    /// Matched position, or the conflicting one.
    #[prost(message, optional, tag = "2")]
    pub position: Option<PositionMessage>,
    #[prost(message, optional, tag = "3")]
    pub vote: Option<VoteMessage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum AppendKind {
    Unset = 0,
    /// Everything sent is flushed there.
    Success = 1,
    /// Flushed up to `position`.
    Partial = 2,
    /// `position` (the request's previous one) does not match.
    Conflict = 3,
    /// `vote` is higher than the sender's.
    HigherVote = 4,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TransferAsk {
    #[prost(message, optional, tag = "1")]
    pub from: Option<VoteMessage>,
    #[prost(fixed64, tag = "2")]
    pub to: u64,
    #[prost(message, optional, tag = "3")]
    pub last_log: Option<PositionMessage>,
}

/// A request on a control stream.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlAsk {
    /// Counts from 1 on a stream; the answer repeats it, so that a late one is told from the one waited for.
    #[prost(uint64, tag = "15")]
    pub sequence: u64,
    #[prost(oneof = "ControlAskKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<ControlAskKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ControlAskKind {
    #[prost(message, tag = "1")]
    Vote(VoteAsk),
    #[prost(message, tag = "2")]
    PreVote(VoteAsk),
    /// A heartbeat: an append without entries.
    #[prost(message, tag = "3")]
    Heartbeat(AppendAsk),
    #[prost(message, tag = "4")]
    Transfer(TransferAsk),
    /// The index that a linearizable read on the asking node must wait for.
    #[prost(message, tag = "5")]
    ReadIndex(ReadIndexAsk),
    /// What the asked node's database was at some indexes, to be compared.
    #[prost(message, tag = "6")]
    Marks(MarksAsk),
}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct ReadIndexAsk {}

#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct MarksAsk {}

/// A reply on a control stream.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ControlAnswer {
    /// The request's.
    #[prost(uint64, tag = "15")]
    pub sequence: u64,
    #[prost(oneof = "ControlAnswerKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<ControlAnswerKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ControlAnswerKind {
    /// The node could not do it; the text says why.
    #[prost(string, tag = "1")]
    Failed(String),
    #[prost(message, tag = "2")]
    Vote(VoteAnswer),
    #[prost(message, tag = "3")]
    Append(AppendAnswer),
    #[prost(message, tag = "4")]
    Transfer(TransferAnswer),
    #[prost(uint64, tag = "5")]
    ReadIndex(u64),
    #[prost(message, tag = "6")]
    Marks(MarksAnswer),
}

/// What a node says of its database.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct MarksAnswer {
    #[prost(message, repeated, tag = "1")]
    pub marks: Vec<MarkMessage>,
    /// It is in quarantine, and why; empty otherwise. Its marks mean nothing then.
    #[prost(string, tag = "2")]
    pub quarantine: String,
    /// It has met damaged pages, and wants all to be verified.
    #[prost(bool, tag = "3")]
    pub is_suspect: bool,
    /// How many times its process was in quarantine so far.
    #[prost(uint64, tag = "4")]
    pub quarantines: u64,
    /// Why it was last; empty if never.
    #[prost(string, tag = "5")]
    pub last_quarantine: String,
}

/// A number to be compared.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct MarkMessage {
    #[prost(enumeration = "MarkKind", tag = "1")]
    pub kind: i32,
    /// The log index.
    #[prost(uint64, tag = "2")]
    pub index: u64,
    #[prost(fixed64, tag = "3")]
    pub hash: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum MarkKind {
    /// Of a release to come: not compared.
    Unknown = 0,
    Effect = 1,
    Content = 2,
    Memory = 3,
    Check = 4,
}

/// Whether a transfer was taken up.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TransferAnswer {
    /// Empty when it was.
    #[prost(string, tag = "1")]
    pub refused: String,
}

/// A frame on a bulk stream.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BulkAsk {
    #[prost(oneof = "BulkAskKind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<BulkAskKind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum BulkAskKind {
    /// Opens a snapshot.
    #[prost(message, tag = "1")]
    Head(SnapshotHead),
    /// The next bytes of the database file.
    #[prost(bytes = "bytes", tag = "2")]
    Chunk(Bytes),
    /// All bytes are sent; their XXH3.
    #[prost(fixed64, tag = "3")]
    End(u64),
    /// A piece of what is gathered to be loaded, beside the database.
    #[prost(message, tag = "4")]
    Gathered(GatheredPiece),
    /// Asks for the receiver's database; it answers with what else is sent to a follower, or refuses.
    #[prost(message, tag = "5")]
    Seed(SeedAsk),
    /// No database comes, or no more of it, and why.
    #[prost(string, tag = "6")]
    Refused(String),
}

/// A node in quarantine asks for a database.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(crate) struct SeedAsk {
    /// It has applied everything through this index, and wants no older one.
    #[prost(uint64, tag = "1")]
    pub from: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GatheredPiece {
    /// The load's number.
    #[prost(fixed64, tag = "1")]
    pub load: u64,
    /// Where the piece stands in the whole.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub bytes: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotHead {
    #[prost(message, optional, tag = "1")]
    pub vote: Option<VoteMessage>,
    /// The last applied entry in the database.
    #[prost(message, optional, tag = "2")]
    pub last: Option<PositionMessage>,
    /// The membership there, as [`codec::stored_membership_bytes`] writes it.
    #[prost(bytes = "bytes", tag = "3")]
    pub membership: Bytes,
    /// The file's size.
    #[prost(uint64, tag = "4")]
    pub bytes: u64,
}

/// The reply to a whole snapshot.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotAnswer {
    /// Empty on success.
    #[prost(string, tag = "1")]
    pub failed: String,
    /// The receiver's vote.
    #[prost(message, optional, tag = "2")]
    pub vote: Option<VoteMessage>,
}

/// A frame that is not what it should be.
pub(crate) fn invalid(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// Encodes a message as a frame.
pub(crate) fn frame(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// Decodes a frame, sharing its bytes.
///
/// # Errors
///
/// `InvalidData` when it is no message of this kind.
pub(crate) fn read<M: Message + Default>(frame: Bytes) -> io::Result<M> {
    M::decode(frame).map_err(|e| invalid(format_args!("decode frame: {e}")))
}

/// A vote that a message must carry.
///
/// # Errors
///
/// `InvalidData` when it is absent.
pub(crate) fn required_vote(vote: Option<VoteMessage>) -> io::Result<Vote> {
    vote.map(Vote::from).ok_or_else(|| invalid("a message carries no vote"))
}

fn position(message: Option<PositionMessage>) -> Option<LogId> {
    message.map(LogId::from)
}

fn message(id: Option<&LogId>) -> Option<PositionMessage> {
    id.map(PositionMessage::from)
}

impl From<&VoteRequest<Types>> for VoteAsk {
    fn from(ask: &VoteRequest<Types>) -> Self {
        Self {
            vote: Some(VoteMessage::from(&ask.vote)),
            last_log: message(ask.last_log_id.as_ref()),
            transfer: ask.leadership_transfer,
        }
    }
}

impl TryFrom<VoteAsk> for VoteRequest<Types> {
    type Error = io::Error;

    fn try_from(ask: VoteAsk) -> io::Result<Self> {
        let mut request = Self::new(required_vote(ask.vote)?, position(ask.last_log));
        request.leadership_transfer = ask.transfer;
        Ok(request)
    }
}

impl From<&VoteResponse<Types>> for VoteAnswer {
    fn from(answer: &VoteResponse<Types>) -> Self {
        Self {
            vote: Some(VoteMessage::from(&answer.vote)),
            granted: answer.vote_granted,
            last_log: message(answer.last_log_id.as_ref()),
        }
    }
}

impl TryFrom<VoteAnswer> for VoteResponse<Types> {
    type Error = io::Error;

    fn try_from(answer: VoteAnswer) -> io::Result<Self> {
        Ok(Self::new(
            required_vote(answer.vote)?,
            position(answer.last_log),
            answer.granted,
        ))
    }
}

impl From<&AppendEntriesRequest<Types>> for AppendAsk {
    fn from(ask: &AppendEntriesRequest<Types>) -> Self {
        let entries = ask.entries.iter().map(|entry| EntryMessage {
            term: entry.log_id.leader_id.term,
            index: entry.log_id.index,
            body: codec::entry_body(entry),
        });
        Self {
            vote: Some(VoteMessage::from(&ask.vote)),
            prev: message(ask.prev_log_id.as_ref()),
            committed: message(ask.leader_commit.as_ref()),
            entries: entries.collect(),
            acknowledged: 0,
        }
    }
}

impl TryFrom<AppendAsk> for AppendEntriesRequest<Types> {
    type Error = io::Error;

    fn try_from(ask: AppendAsk) -> io::Result<Self> {
        let entries = ask
            .entries
            .into_iter()
            .map(|e| {
                codec::entry(
                    Position {
                        term: e.term,
                        index: e.index,
                    },
                    e.body,
                )
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            vote: required_vote(ask.vote)?,
            prev_log_id: position(ask.prev),
            entries,
            leader_commit: position(ask.committed),
        })
    }
}

impl From<&AppendEntriesResponse<Types>> for AppendAnswer {
    fn from(answer: &AppendEntriesResponse<Types>) -> Self {
        let (kind, at, vote) = match answer {
            AppendEntriesResponse::Success => (AppendKind::Success, None, None),
            AppendEntriesResponse::PartialSuccess(at) => (AppendKind::Partial, message(at.as_ref()), None),
            AppendEntriesResponse::Conflict => (AppendKind::Conflict, None, None),
            AppendEntriesResponse::HigherVote(vote) => (AppendKind::HigherVote, None, Some(VoteMessage::from(vote))),
        };
        Self {
            kind: kind.into(),
            position: at,
            vote,
        }
    }
}

impl TryFrom<AppendAnswer> for AppendEntriesResponse<Types> {
    type Error = io::Error;

    fn try_from(answer: AppendAnswer) -> io::Result<Self> {
        Ok(match answer.kind() {
            AppendKind::Unset => return Err(invalid("an append answer of unknown kind")),
            AppendKind::Success => Self::Success,
            AppendKind::Partial => Self::PartialSuccess(position(answer.position)),
            AppendKind::Conflict => Self::Conflict,
            AppendKind::HigherVote => Self::HigherVote(required_vote(answer.vote)?),
        })
    }
}

/// The answer to one request of a pipelined stream.
pub(crate) fn stream_answer(result: &Result<Option<LogId>, StreamAppendError<Types>>) -> AppendAnswer {
    let (kind, at, vote) = match result {
        Ok(at) => (AppendKind::Success, message(at.as_ref()), None),
        Err(StreamAppendError::Conflict(at)) => (AppendKind::Conflict, Some(PositionMessage::from(at)), None),
        Err(StreamAppendError::HigherVote(vote)) => (AppendKind::HigherVote, None, Some(VoteMessage::from(vote))),
    };
    AppendAnswer {
        kind: kind.into(),
        position: at,
        vote,
    }
}

/// Reads what [`stream_answer`] wrote.
///
/// # Errors
///
/// `InvalidData` for an answer that a stream never gives.
pub(crate) fn stream_result(answer: AppendAnswer) -> io::Result<Result<Option<LogId>, StreamAppendError<Types>>> {
    Ok(match answer.kind() {
        AppendKind::Success | AppendKind::Partial => Ok(position(answer.position)),
        AppendKind::Conflict => {
            let at = position(answer.position).ok_or_else(|| invalid("a conflict names no position"))?;
            Err(StreamAppendError::Conflict(at))
        }
        AppendKind::HigherVote => Err(StreamAppendError::HigherVote(required_vote(answer.vote)?)),
        AppendKind::Unset => return Err(invalid("an append answer of unknown kind")),
    })
}

impl From<&TransferLeaderRequest<Types>> for TransferAsk {
    fn from(ask: &TransferLeaderRequest<Types>) -> Self {
        Self {
            from: Some(VoteMessage::from(ask.from_leader())),
            to: *ask.to_node_id(),
            last_log: message(ask.last_log_id()),
        }
    }
}

impl TryFrom<TransferAsk> for TransferLeaderRequest<Types> {
    type Error = io::Error;

    fn try_from(ask: TransferAsk) -> io::Result<Self> {
        Ok(Self::new(required_vote(ask.from)?, ask.to, position(ask.last_log)))
    }
}

//! Peers' bytes, read through to what consensus is handed, and written again: the fuzzer's way in.
//!
//! Owns no format; everything is `wire`'s and `codec`'s. No production code calls it.

use std::io;

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};
use sqlite::meta::Position;

use crate::consensus::types::Types;
use crate::consensus::wire::{
    AppendAnswer, AppendAsk, BulkAsk, BulkAskKind, ControlAnswer, ControlAnswerKind, ControlAsk, ControlAskKind, Open,
    SnapshotAnswer, TransferAsk, VoteAnswer, VoteAsk,
};
use crate::consensus::{codec, wire};
use crate::divergence::Report;

/// What bytes claim to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first frame of a stream.
    Open,
    /// A request on a control stream.
    ControlAsk,
    /// Its answer.
    ControlAnswer,
    /// A request on an append stream.
    AppendAsk,
    /// Its answer.
    StreamAnswer,
    /// A frame on a bulk stream.
    BulkAsk,
    /// Its answer.
    SnapshotAnswer,
    /// The body of an entry, in the log and in appends.
    Entry,
    /// A vote, in the log.
    Vote,
    /// A membership with its position, in the database and in snapshots.
    Membership,
}

/// Reads `bytes` as a peer or a restart would, and answers what this node would write for the same meaning.
///
/// # Errors
///
/// Whatever closes the stream, or keeps the node from starting.
///
/// # Panics
///
/// When a request loses a field between what came and what consensus is handed.
pub fn reread(kind: Kind, bytes: Bytes) -> io::Result<Bytes> {
    Ok(match kind {
        Kind::Open => wire::frame(&wire::read::<Open>(bytes)?),
        Kind::ControlAsk => wire::frame(&control_ask(wire::read(bytes)?)?),
        Kind::ControlAnswer => wire::frame(&control_answer(wire::read(bytes)?)?),
        Kind::AppendAsk => wire::frame(&append_ask(wire::read(bytes)?)?),
        Kind::StreamAnswer => wire::frame(&wire::stream_answer(&wire::stream_result(wire::read(bytes)?)?)),
        Kind::BulkAsk => wire::frame(&bulk_ask(wire::read(bytes)?)?),
        Kind::SnapshotAnswer => wire::frame(&wire::read::<SnapshotAnswer>(bytes)?),
        Kind::Entry => codec::entry_body(&codec::entry(Position { term: 1, index: 1 }, bytes)?),
        Kind::Vote => codec::vote_bytes(&codec::vote(&bytes)?),
        Kind::Membership => membership(&bytes)?,
    })
}

fn control_ask(ask: ControlAsk) -> io::Result<ControlAsk> {
    let kind = match ask.kind {
        Some(ControlAskKind::Vote(ask)) => Some(ControlAskKind::Vote(vote_ask(ask)?)),
        Some(ControlAskKind::PreVote(ask)) => Some(ControlAskKind::PreVote(vote_ask(ask)?)),
        Some(ControlAskKind::Heartbeat(ask)) => Some(ControlAskKind::Heartbeat(append_ask(ask)?)),
        Some(ControlAskKind::Transfer(ask)) => {
            let again = TransferAsk::from(&TransferLeaderRequest::<Types>::try_from(ask.clone())?);
            assert_eq!(again, ask, "a transfer loses something");
            Some(ControlAskKind::Transfer(again))
        }
        Some(ControlAskKind::ReadIndex(ask)) => Some(ControlAskKind::ReadIndex(ask)),
        Some(ControlAskKind::Marks(ask)) => Some(ControlAskKind::Marks(ask)),
        None => None,
    };
    Ok(ControlAsk {
        sequence: ask.sequence,
        kind,
    })
}

fn control_answer(answer: ControlAnswer) -> io::Result<ControlAnswer> {
    let kind = match answer.kind {
        Some(ControlAnswerKind::Vote(answer)) => {
            let again = VoteAnswer::from(&VoteResponse::<Types>::try_from(answer.clone())?);
            assert_eq!(again, answer, "an answer to a vote loses something");
            Some(ControlAnswerKind::Vote(again))
        }
        Some(ControlAnswerKind::Append(answer)) => {
            let response = AppendEntriesResponse::<Types>::try_from(answer)?;
            Some(ControlAnswerKind::Append(AppendAnswer::from(&response)))
        }
        Some(ControlAnswerKind::Failed(text)) => Some(ControlAnswerKind::Failed(text)),
        Some(ControlAnswerKind::Transfer(answer)) => Some(ControlAnswerKind::Transfer(answer)),
        Some(ControlAnswerKind::ReadIndex(index)) => Some(ControlAnswerKind::ReadIndex(index)),
        Some(ControlAnswerKind::Marks(answer)) => Some(ControlAnswerKind::Marks((&Report::from(answer)).into())),
        None => None,
    };
    Ok(ControlAnswer {
        sequence: answer.sequence,
        kind,
    })
}

fn vote_ask(ask: VoteAsk) -> io::Result<VoteAsk> {
    let again = VoteAsk::from(&VoteRequest::<Types>::try_from(ask.clone())?);
    assert_eq!(again, ask, "a vote loses something");
    Ok(again)
}

fn append_ask(ask: AppendAsk) -> io::Result<AppendAsk> {
    let again = AppendAsk {
        acknowledged: ask.acknowledged,
        ..AppendAsk::from(&AppendEntriesRequest::<Types>::try_from(ask.clone())?)
    };
    let places = |ask: &AppendAsk| -> Vec<(u64, u64)> { ask.entries.iter().map(|at| (at.term, at.index)).collect() };
    assert_eq!(places(&again), places(&ask), "an append loses an entry");
    // Bodies may be written otherwise: members in another order, say.
    let without_entries = |ask: &AppendAsk| AppendAsk {
        entries: Vec::new(),
        ..ask.clone()
    };
    assert_eq!(
        without_entries(&again),
        without_entries(&ask),
        "an append loses something"
    );
    Ok(again)
}

fn bulk_ask(ask: BulkAsk) -> io::Result<BulkAsk> {
    let Some(BulkAskKind::Head(mut head)) = ask.kind else {
        return Ok(ask);
    };
    wire::required_vote(head.vote)?;
    head.membership = membership(&head.membership)?;
    Ok(BulkAsk {
        kind: Some(BulkAskKind::Head(head)),
    })
}

fn membership(bytes: &[u8]) -> io::Result<Bytes> {
    let stored = codec::stored_membership(bytes)?;
    Ok(match stored.log_id() {
        Some(at) => codec::stored_membership_bytes(stored.membership(), at),
        None => wire::frame(&codec::membership_message(stored.membership(), None)),
    })
}

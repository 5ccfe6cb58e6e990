//! What goes to disk and wire comes back the same, and nothing else is taken for it.

use std::collections::{BTreeMap, BTreeSet};

use command::entry::{Action, Command, Skip};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, VoteRequest};
use sqlite::meta::Position;

use crate::consensus::types::{Entry, LogId, Membership, Proposal, Record, Types, Vote, log_id};
use crate::consensus::{codec, wire};

fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

fn vote(term: u64, node: u64) -> Vote {
    Vote {
        leader_id: openraft::impls::leader_id_std::LeaderId { term, voted_for: node },
        committed: true,
    }
}

fn membership() -> Membership {
    let record = |name: &str| Record {
        name: name.to_owned(),
        address: format!("{name}:4002"),
        voter: true,
    };
    let nodes = BTreeMap::from([(7, record("a")), (u64::MAX, record("b")), (9, record("c"))]);
    Membership::new(vec![BTreeSet::from([7, u64::MAX]), BTreeSet::from([7])], nodes).expect("valid membership")
}

fn entries() -> Vec<Entry> {
    let command = Command::new(Some(Action::Skip(Skip { index: 3 })));
    [
        EntryPayload::Blank,
        EntryPayload::Membership(membership()),
        EntryPayload::Normal(Proposal::new(command)),
        EntryPayload::Normal(Proposal::new(Command::new(None))),
    ]
    .into_iter()
    .enumerate()
    .map(|(i, payload)| Entry {
        log_id: log_id(at(4, i as u64 + 1)),
        payload,
    })
    .collect()
}

#[test]
fn every_kind_of_entry_survives_its_bytes() {
    for entry in entries() {
        let read = codec::entry(at(4, entry.log_id.index), codec::entry_body(&entry)).expect("readable");
        assert_eq!(read, entry);
    }
}

#[test]
fn an_unknown_kind_is_refused_by_name() {
    let error = codec::entry(at(2, 5), bytes::Bytes::from_static(&[9, 1, 2])).expect_err("kind 9 is unknown");
    assert!(
        error.to_string().contains("entry 5 of term 2: kind 9 is unknown"),
        "{error}"
    );
    assert!(codec::entry(at(2, 5), bytes::Bytes::new()).is_err());
}

#[test]
fn a_command_of_a_newer_version_is_refused() {
    let mut command = Command::new(None);
    command.version = 99;
    let error = codec::entry(at(1, 1), codec::command_body(&command)).expect_err("newer");
    assert!(error.to_string().contains("version 99"), "{error}");
}

#[test]
fn votes_and_memberships_survive_their_bytes() {
    let vote = vote(3, u64::MAX);
    assert_eq!(codec::vote(&codec::vote_bytes(&vote)).expect("readable"), vote);
    let bytes = codec::stored_membership_bytes(&membership(), &log_id(at(2, 8)));
    let read = codec::stored_membership(&bytes).expect("readable");
    assert_eq!(read.membership(), &membership());
    assert_eq!(read.log_id(), &Some(log_id(at(2, 8))));
}

#[test]
fn appends_and_votes_survive_the_wire() {
    let request = AppendEntriesRequest::<Types> {
        vote: vote(4, 7),
        prev_log_id: None,
        entries: entries(),
        leader_commit: Some(log_id(at(4, 2))),
    };
    let frame = wire::frame(&wire::AppendAsk::from(&request));
    let ask: wire::AppendAsk = wire::read(frame).expect("readable");
    let read = AppendEntriesRequest::<Types>::try_from(ask).expect("whole");
    assert_eq!(
        (read.vote, read.prev_log_id, read.leader_commit),
        (request.vote, None, request.leader_commit)
    );
    assert_eq!(read.entries, request.entries);

    let mut request = VoteRequest::<Types>::new(vote(5, 9), Some(log_id(at(4, 4))));
    request.leadership_transfer = true;
    let ask: wire::VoteAsk = wire::read(wire::frame(&wire::VoteAsk::from(&request))).expect("readable");
    assert_eq!(VoteRequest::<Types>::try_from(ask).expect("whole"), request);
}

#[test]
fn every_append_answer_survives_the_wire() {
    let id = log_id(at(4, 4));
    for response in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::PartialSuccess(Some(id)),
        AppendEntriesResponse::PartialSuccess(None),
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::HigherVote(vote(9, 1)),
    ] {
        let answer: wire::AppendAnswer =
            wire::read(wire::frame(&wire::AppendAnswer::from(&response))).expect("readable");
        assert_eq!(
            AppendEntriesResponse::<Types>::try_from(answer).expect("whole"),
            response
        );
    }
    let results: [Result<Option<LogId>, StreamAppendError<Types>>; 4] = [
        Ok(None),
        Ok(Some(id)),
        Err(StreamAppendError::Conflict(id)),
        Err(StreamAppendError::HigherVote(vote(9, 1))),
    ];
    for result in results {
        let answer: wire::AppendAnswer = wire::read(wire::frame(&wire::stream_answer(&result))).expect("readable");
        assert_eq!(wire::stream_result(answer).expect("whole"), result);
    }
}

#[test]
fn an_answer_without_meaning_is_an_error() {
    let empty = wire::AppendAnswer {
        kind: 0,
        position: None,
        vote: None,
    };
    assert!(wire::stream_result(empty.clone()).is_err());
    assert!(AppendEntriesResponse::<Types>::try_from(empty).is_err());
    assert!(wire::read::<wire::ControlAnswer>(bytes::Bytes::from_static(&[0xff; 7])).is_err());
}

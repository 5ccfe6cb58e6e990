//! A pipelined stream holds itself back, and goes on when it is answered.

use bytes::Bytes;
use command::entry::{Action, Command};
use command::request::Write;
use command::statement::Statement;
use futures_util::stream;
use openraft::EntryPayload;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::AppendEntriesRequest;
use sqlite::meta::Position;
use tokio::sync::mpsc;

use crate::consensus::pipeline::Pipeline;
use crate::consensus::types::{Entry, Proposal, Types, Vote, log_id};
use crate::consensus::wire::{self, AppendAnswer, AppendKind};

/// A request with one entry of about `bytes`.
fn request(index: u64, bytes: usize) -> AppendEntriesRequest<Types> {
    let write = Write {
        statements: vec![Statement::new("x".repeat(bytes))],
        ..Write::default()
    };
    let entry = Entry {
        log_id: log_id(Position { term: 1, index }),
        payload: EntryPayload::Normal(Proposal::new(Command::new(Some(Action::Write(write))))),
    };
    AppendEntriesRequest {
        vote: Vote {
            leader_id: LeaderId { term: 1, voted_for: 1 },
            committed: true,
        },
        prev_log_id: None,
        leader_commit: None,
        entries: vec![entry],
    }
}

fn success() -> Bytes {
    wire::frame(&AppendAnswer {
        kind: AppendKind::Success.into(),
        position: None,
        vote: None,
    })
}

/// Takes frames until no more come by themselves; answers their bytes.
async fn drain(rx: &mut mpsc::Receiver<Bytes>) -> (usize, usize) {
    let (mut frames, mut bytes) = (0, 0);
    // The pump runs between two looks: on this runtime nothing else does.
    for _ in 0..10_000 {
        tokio::task::yield_now().await;
        while let Ok(frame) = rx.try_recv() {
            frames += 1;
            bytes += frame.len();
        }
    }
    (frames, bytes)
}

#[tokio::test]
async fn what_a_peer_leaves_unanswered_is_bounded_in_bytes() {
    let (to_peer, mut peer) = mpsc::channel(64);
    let (answers, from_peer) = mpsc::channel(64);
    let endless = stream::iter((2..).map(|index| request(index, 500_000)));
    let mut pipeline = Pipeline::start(request(1, 500_000), endless, to_peer, from_peer);
    let (frames, bytes) = drain(&mut peer).await;
    assert!((4..=9).contains(&frames), "{frames} frames");
    assert!(bytes <= 5_000_000, "{bytes} bytes are in flight");

    for _ in 0..3 {
        answers.send(success()).await.expect("open");
        assert!(pipeline.next().await.expect("answered").is_ok());
    }
    let (more, _) = drain(&mut peer).await;
    assert_eq!(more, 3, "each answer lets one more go");
}

#[tokio::test]
async fn a_request_beyond_the_window_goes_alone() {
    let (to_peer, mut peer) = mpsc::channel(64);
    let (answers, from_peer) = mpsc::channel(64);
    let rest = stream::iter([request(2, 10), request(3, 10)]);
    let mut pipeline = Pipeline::start(request(1, 6_000_000), rest, to_peer, from_peer);
    assert_eq!(drain(&mut peer).await.0, 1);
    answers.send(success()).await.expect("open");
    assert!(pipeline.next().await.expect("answered").is_ok());
    assert_eq!(drain(&mut peer).await.0, 2);
    for _ in 0..2 {
        answers.send(success()).await.expect("open");
        assert!(pipeline.next().await.expect("answered").is_ok());
    }
    assert!(pipeline.next().await.is_none(), "all is sent and answered");
}

#[tokio::test]
async fn an_answer_to_nothing_breaks_the_stream() {
    let (to_peer, mut peer) = mpsc::channel(64);
    let (answers, from_peer) = mpsc::channel(64);
    let mut pipeline = Pipeline::start(request(1, 10), stream::pending(), to_peer, from_peer);
    assert_eq!(drain(&mut peer).await.0, 1);
    for _ in 0..2 {
        answers.send(success()).await.expect("open");
    }
    assert!(pipeline.next().await.expect("answered").is_ok());
    assert!(pipeline.next().await.expect("refused").is_err());
    assert!(pipeline.next().await.is_none());
}

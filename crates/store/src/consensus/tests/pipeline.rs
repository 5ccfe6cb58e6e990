//! A pipelined stream holds itself back, and goes on when it is answered.

use std::sync::Arc;

use bytes::Bytes;
use command::entry::{Action, Command};
use command::request::Write;
use command::statement::Statement;
use futures_util::{Stream, stream};
use openraft::EntryPayload;
use openraft::error::RPCError;
use openraft::impls::leader_id_std::LeaderId;
use openraft::raft::AppendEntriesRequest;
use sqlite::meta::Position;
use tokio::sync::mpsc;

use crate::consensus::pipeline::{Follower, Pipeline};
use crate::consensus::state_machine::Progress;
use crate::consensus::types::{Entry, Proposal, Types, Vote, log_id};
use crate::consensus::wire::{self, AppendAnswer, AppendAsk, AppendKind};
use crate::divergence::Divergence;
use crate::transport::Duplex;

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

/// A stream to node 2, for which the log is kept from `keep_from` on.
fn start<S>(
    keep_from: u64,
    first: &AppendEntriesRequest<Types>,
    rest: S,
    tx: mpsc::Sender<Bytes>,
    rx: mpsc::Receiver<Bytes>,
) -> Pipeline
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
{
    let progress = Arc::new(Progress::new(Divergence::default()));
    progress.stop_keeping(keep_from);
    let peer = Follower {
        id: 2,
        term: 1,
        acknowledged: Arc::default(),
        progress,
    };
    Pipeline::start(peer, wire::frame(&AppendAsk::from(first)), rest, Duplex { tx, rx })
}

#[tokio::test]
async fn a_follower_for_which_the_log_is_kept_no_longer_is_given_up() {
    let matched = |index| {
        wire::frame(&AppendAnswer {
            kind: AppendKind::Success.into(),
            position: Some(Position { term: 1, index }.into()),
            vote: None,
        })
    };
    let (to_peer, mut peer) = mpsc::channel(64);
    let (answers, from_peer) = mpsc::channel(64);
    let rest = stream::iter([request(101, 10)]);
    let mut pipeline = start(100, &request(100, 10), rest, to_peer, from_peer);
    assert_eq!(drain(&mut peer).await.0, 2);
    answers.send(matched(100)).await.expect("open");
    assert!(pipeline.next().await.expect("answered").is_ok());
    answers.send(matched(99)).await.expect("open");
    let given_up = pipeline.next().await.expect("answered");
    assert!(matches!(given_up, Err(RPCError::Unreachable(_))), "{given_up:?}");
    assert!(pipeline.next().await.is_none());
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
    let mut pipeline = start(0, &request(1, 500_000), endless, to_peer, from_peer);
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
    let mut pipeline = start(0, &request(1, 6_000_000), rest, to_peer, from_peer);
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
    let mut pipeline = start(0, &request(1, 10), stream::pending(), to_peer, from_peer);
    assert_eq!(drain(&mut peer).await.0, 1);
    for _ in 0..2 {
        answers.send(success()).await.expect("open");
    }
    assert!(pipeline.next().await.expect("answered").is_ok());
    assert!(pipeline.next().await.expect("refused").is_err());
    assert!(pipeline.next().await.is_none());
}

//! A database on its way to a follower that takes its time.

use std::time::Duration;

use command::request::Kind;
use command::statement::Statement;
use sqlite::meta::Position;
use sqlite::{Digest, Incoming, Sent};
use tokio::sync::mpsc;

use crate::consensus::snapshot::{self, Pace, Snapshot, SnapshotData};
use crate::consensus::tests::members::{PATIENCE, lone};
use crate::consensus::types::{SnapshotMeta, Vote, log_id};
use crate::consensus::wire::{self, BulkAsk, BulkAskKind, SnapshotAnswer};
use crate::environment::Runner;
use crate::transport::Duplex;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_aside_for_a_slow_follower_arrives_whole() {
    let (_dir, node) = lone().await;
    for sql in [
        "CREATE TABLE t(v)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO t SELECT randomblob(9000) FROM n",
    ] {
        let write = node.stamp(vec![Statement::new(sql)], Kind::Execute, true);
        let reply = node.write(write, PATIENCE).await.expect("taken");
        assert_eq!(reply.error, None);
    }
    let databases = node.inner.databases.clone();
    let index = node.applied();
    let here = Snapshot {
        meta: SnapshotMeta {
            last_log_id: Some(log_id(Position { term: 1, index })),
            last_membership: Default::default(),
        },
        snapshot: SnapshotData::Here(databases.clone()),
    };
    let (tx, mut frames) = mpsc::channel(1);
    let (answer, rx) = mpsc::channel(1);
    let pace = Pace {
        runner: Runner::Threads,
        pinned_max: Duration::ZERO,
    };
    let vote = Vote {
        leader_id: openraft::impls::leader_id_std::LeaderId { term: 1, voted_for: 7 },
        committed: true,
    };
    let sending = tokio::spawn(snapshot::send(Duplex { tx, rx }, vote, here, pace));

    let mut next = async || {
        let frame = frames.recv().await.expect("more");
        wire::read::<BulkAsk>(frame).expect("readable").kind.expect("known")
    };
    let BulkAskKind::Head(head) = next().await else {
        panic!("a head comes first");
    };
    let mut incoming = Incoming::new(databases.begin().expect("a folder")).expect("a file");
    let mut chunks = 0;
    let hash = loop {
        match next().await {
            BulkAskKind::Chunk(chunk) => incoming.write(&chunk).expect("room"),
            BulkAskKind::End(hash) => break hash,
            BulkAskKind::Head(_) | BulkAskKind::Seed(_) => panic!("a second head"),
            BulkAskKind::Refused(reason) => panic!("refused: {reason}"),
            BulkAskKind::Gathered(piece) => panic!("nothing is gathered: {piece:?}"),
        }
        chunks += 1;
    };
    assert!(chunks > 5, "{chunks} chunks");
    let last = head.last.expect("a position");
    let sent = Sent {
        digest: Digest {
            bytes: head.bytes,
            hash,
        },
        position: Some(Position {
            term: last.term,
            index: last.index,
        }),
    };
    incoming.finish(sent, databases.options()).expect("whole, and sound");
    let done = SnapshotAnswer {
        failed: String::new(),
        vote: Some((&vote).into()),
    };
    answer.send(wire::frame(&done)).await.expect("awaited");
    assert_eq!(sending.await.expect("no panic").expect("sent"), vote);
}

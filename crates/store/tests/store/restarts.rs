//! Restarts, hand-overs and shutdowns under load: what was acknowledged is there, what is not there was not acknowledged.
#![expect(clippy::expect_used, reason = "a test's own scaffolding may fail the test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use store::{Error, Node};

use crate::support::{Cluster, Inserted, PATIENCE, config, ids, insert_until, open, reopen, succeed, until};

/// Writers that write at once, each its own range of ids.
const WRITERS: u64 = 16;

const RANGE: u64 = 1_000_000;

struct Load {
    stop: Arc<AtomicBool>,
    writers: Vec<tokio::task::JoinHandle<Inserted>>,
}

impl Load {
    fn start(node: &Node) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let writers = (0..WRITERS)
            .map(|nth| tokio::spawn(insert_until(node.clone(), nth * RANGE + 1, stop.clone())))
            .collect();
        Self { stop, writers }
    }

    async fn finish(self) -> Inserted {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Inserted::default();
        for writer in self.writers {
            let one = writer.await.expect("no panic");
            all.acknowledged.extend(one.acknowledged);
            all.unknown.extend(one.unknown);
            all.refused.extend(one.refused);
            all.index = all.index.max(one.index);
        }
        all
    }
}

/// Every acknowledged row is there, and no refused one.
async fn check(node: &Node, inserted: &Inserted) {
    let there: std::collections::BTreeSet<u64> = ids(node).await.into_iter().collect();
    for id in &inserted.acknowledged {
        assert!(there.contains(id), "row {id} was acknowledged and is gone");
    }
    for id in &inserted.refused {
        assert!(!there.contains(id), "row {id} was refused and is there");
    }
    for id in &there {
        let known = inserted.acknowledged.contains(id) || inserted.unknown.contains(id);
        assert!(known, "row {id} came from nowhere");
    }
}

async fn grown(node: &Node, by: u64) {
    let goal = node.applied() + by;
    until("progress", || (node.applied() >= goal).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_restarts_as_a_whole_has_everything() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let load = Load::start(&leader);
    grown(&leader, 200).await;
    let names: Vec<String> = cluster.nodes.iter().map(|n| n.peer().name.clone()).collect();
    for node in &cluster.nodes {
        cluster.board.unplug(&node.peer().address);
    }
    for node in cluster.nodes.drain(..) {
        node.shutdown().await;
    }
    drop(leader);
    let inserted = load.finish().await;
    for (name, dir) in names.iter().zip(&cluster.dirs) {
        cluster
            .nodes
            .push(reopen(config(dir.path(), name, true), &cluster.board).await);
    }
    let leader = cluster.leader().await;
    let index = succeed(&leader, &["CREATE TABLE after(id)"]).await.index;
    cluster.converged(index).await;
    check(&leader, &inserted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_restarts_under_load_catches_up() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let load = Load::start(&leader);
    for _ in 0..3 {
        grown(&leader, 100).await;
        let nth = cluster
            .nodes
            .iter()
            .position(|n| n.peer() != leader.peer())
            .expect("a follower");
        let node = cluster.nodes.remove(nth);
        let dir = cluster.dirs.remove(nth);
        let name = node.peer().name.clone();
        cluster.board.unplug(&node.peer().address);
        node.shutdown().await;
        drop(node);
        grown(&leader, 100).await;
        cluster
            .nodes
            .push(reopen(config(dir.path(), &name, true), &cluster.board).await);
        cluster.dirs.push(dir);
    }
    let inserted = load.finish().await;
    assert_eq!(inserted.unknown, [0_u64; 0]);
    cluster.converged(inserted.index).await;
    check(&leader, &inserted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_that_needs_the_database_gets_it_while_writes_go_on() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(
        &leader,
        &["CREATE TABLE t(id INTEGER PRIMARY KEY)", "CREATE TABLE big(v)"],
    )
    .await;
    for _ in 0..20 {
        succeed(&leader, &["INSERT INTO big VALUES(randomblob(500000))"]).await;
    }
    let load = Load::start(&leader);
    grown(&leader, 50).await;
    leader.snapshot(Some(0)).await.expect("a snapshot");
    until("a purged log", || (leader.status().purged > 30).then_some(())).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = open(config(dir.path(), "d", true), &cluster.board)
        .await
        .expect("a new node");
    leader.add(node.peer().clone(), true).await.expect("added");
    // Snapshots while the database is sent.
    until("promotion", || {
        let promoted = leader.members().iter().any(|m| m.peer.name == "d" && !m.catching_up);
        promoted.then_some(())
    })
    .await;
    leader.snapshot(Some(0)).await.expect("a snapshot");
    let inserted = load.finish().await;
    assert_eq!(node.status().restores, 1);
    cluster.nodes.push(node);
    cluster.dirs.push(dir);
    cluster.converged(inserted.index).await;
    check(&leader, &inserted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_shut_down_under_load_loses_nothing_that_it_acknowledged() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let load = Load::start(&leader);
    grown(&leader, 200).await;
    cluster.board.unplug(&leader.peer().address);
    cluster.nodes.retain(|node| node.peer() != leader.peer());
    leader.shutdown().await;
    let inserted = load.finish().await;
    let next = cluster.leader().await;
    let index = succeed(&next, &["CREATE TABLE after(id)"]).await.index;
    cluster.converged(index).await;
    check(&next, &inserted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_handed_over_under_load_loses_nothing_that_was_acknowledged() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let first = cluster.leader().await;
    succeed(&first, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let mut all = Inserted::default();
    for round in 0..3 {
        let leader = cluster.leader().await;
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|nth| {
                let first = (round * WRITERS + nth) * RANGE + 1;
                tokio::spawn(insert_until(leader.clone(), first, stop.clone()))
            })
            .collect();
        grown(&leader, 100).await;
        leader.transfer(None, PATIENCE).await.expect("handed over");
        let inserted = Load { stop, writers }.finish().await;
        all.acknowledged.extend(inserted.acknowledged);
        all.unknown.extend(inserted.unknown);
    }
    let leader = cluster.leader().await;
    let index = succeed(&leader, &["CREATE TABLE after(id)"]).await.index;
    cluster.converged(index).await;
    check(&leader, &all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_that_are_asked_for_at_once_are_all_made() {
    let cluster = Cluster::form(&["a"]).await;
    let node = cluster.leader().await;
    succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let load = Load::start(&node);
    let asking: Vec<_> = (0..8)
        .map(|_| {
            let node = node.clone();
            tokio::spawn(async move {
                for _ in 0..10 {
                    let made = tokio::time::timeout(PATIENCE, node.snapshot(Some(10))).await;
                    made.expect("made in time").expect("made");
                }
            })
        })
        .collect();
    for one in asking {
        one.await.expect("no panic");
    }
    let inserted = load.finish().await;
    check(&node, &inserted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_released_only_when_nothing_writes_any_more() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let board = Arc::default();
    let mut inserted = Inserted::default();
    let mut node = open(config(dir.path(), "a", true), &board).await.expect("a new node");
    node.initialize(vec![node.peer().clone()]).await.expect("a new cluster");
    node.ready(PATIENCE).await.expect("ready");
    succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    for round in 0..5 {
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn(insert_until(node.clone(), round * RANGE + 1, stop.clone()));
        grown(&node, 20).await;
        node.shutdown().await;
        stop.store(true, Ordering::Relaxed);
        // The old node is still held here: only the lock may keep the next one out.
        let next = open(config(dir.path(), "a", true), &board).await;
        let next = match next {
            Ok(next) => next,
            Err(Error::Locked(_)) => panic!("shut down, and still locked"),
            Err(error) => panic!("reopen: {error}"),
        };
        let one = writer.await.expect("no panic");
        inserted.acknowledged.extend(one.acknowledged);
        inserted.unknown.extend(one.unknown);
        node = next;
        node.ready(PATIENCE).await.expect("ready again");
        check(&node, &inserted).await;
    }
}

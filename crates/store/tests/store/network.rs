//! Peers that are slow, hang, or are paused: what must go on without them does.

use std::time::Duration;

use store::read::Level;

use crate::support::{Cluster, Fault, PATIENCE, config, execute, open, query, reopen, succeed, until};

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_take_longer_than_a_heartbeat_still_carry_heartbeats() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    // A new leader makes new connections.
    for node in &cluster.nodes {
        let delay = Duration::from_millis(120);
        cluster.board.fault(&node.peer().address, Some(Fault::Slow(delay)));
    }
    let follower = cluster.follower().await;
    // The transfer itself needs a connection within an election timeout, and may take more than one election.
    let _ = leader.transfer(Some(&follower.peer().name), PATIENCE).await;
    let leader = cluster.leader().await;
    // A read index needs a heartbeat's answer, and no write comes to its help.
    until("a confirmed read", || leader.is_leader().then_some(())).await;
    let mut confirmed = false;
    for _ in 0..20 {
        confirmed |= query(&leader, "SELECT count(*) FROM t", Level::Linearizable)
            .await
            .is_ok();
    }
    assert!(confirmed, "no heartbeat was ever answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_cannot_be_connected_to_does_not_keep_the_log_from_being_purged() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let lost = cluster
        .nodes
        .iter()
        .position(|n| n.peer() != leader.peer())
        .expect("a follower");
    let node = cluster.nodes.remove(lost);
    cluster.board.fault(&node.peer().address, Some(Fault::Hangs));
    node.shutdown().await;
    for id in 1..=100 {
        succeed(&leader, &[&format!("INSERT INTO t VALUES({id})")]).await;
    }
    leader.snapshot(Some(0)).await.expect("a snapshot");
    until("a purged log", || (leader.status().purged > 100).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_down_does_not_put_off_snapshots() {
    let mut cluster = Cluster::form_with(&["a", "b", "c"], |config| config.snapshot_entries = 64).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let lost = cluster
        .nodes
        .iter()
        .position(|n| n.peer() != leader.peer())
        .expect("a follower");
    let node = cluster.nodes.remove(lost);
    cluster.board.unplug(&node.peer().address);
    node.shutdown().await;
    let mut id = 0;
    let mut more = async |count: u64| {
        for _ in 0..count {
            id += 1;
            succeed(&leader, &[&format!("INSERT INTO t VALUES({id})")]).await;
        }
    };
    more(400).await;
    leader.snapshot(Some(0)).await.expect("a snapshot");
    until("a purged log", || (leader.status().purged > 300).then_some(())).await;
    // The follower needs the database now, and cannot be reached.
    let before = leader.status().snapshot.0;
    more(200).await;
    until("a snapshot of its own accord", || {
        (leader.status().snapshot.0 > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_follower_holds_up_neither_writes_nor_shutdown() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)"]).await;
    let paused = cluster.follower().await;
    cluster.board.fault(&paused.peer().address, Some(Fault::Silent));
    paused.shutdown().await;
    // More than the frames that may wait for one peer.
    for id in 1..=100 {
        succeed(&leader, &[&format!("INSERT INTO t VALUES({id}, randomblob(1000000))")]).await;
    }
    tokio::time::timeout(PATIENCE, leader.shutdown())
        .await
        .expect("shut down in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_to_a_node_that_was_shut_down_breaks() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let lost = cluster
        .nodes
        .iter()
        .position(|n| n.peer() != leader.peer())
        .expect("a follower");
    let node = cluster.nodes.remove(lost);
    // It stays plugged in: only its own end of the streams can break them.
    node.shutdown().await;
    let (name, dir) = (node.peer().name.clone(), cluster.dirs[lost].path().to_owned());
    drop(node);
    let back = reopen(config(&dir, &name, true), &cluster.board).await;
    let index = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    back.wait_applied(index, PATIENCE).await.expect("reached again");
    cluster.nodes.push(back);
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_nothing_waits_for_ever() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    for node in cluster.nodes.iter().filter(|node| node.peer() != leader.peer()) {
        cluster.board.unplug(&node.peer().address);
        node.shutdown().await;
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let joiner = open(config(dir.path(), "d", true), &cluster.board)
        .await
        .expect("a new node");
    let added = tokio::time::timeout(PATIENCE, leader.add(joiner.peer().clone(), true)).await;
    assert!(added.expect("an answer").is_err());
    let read = tokio::time::timeout(PATIENCE, query(&leader, "SELECT 1", Level::Linearizable)).await;
    assert!(read.expect("an answer").is_err());
    until("an end of the wait for another leader", || {
        (!leader.expects_leader()).then_some(())
    })
    .await;
    let write = tokio::time::timeout(PATIENCE * 2, execute(&leader, &["INSERT INTO t VALUES(1)"])).await;
    assert!(write.expect("an answer").is_err());
}

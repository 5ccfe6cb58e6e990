//! Three nodes: replication, forwarding's ground, membership, hand-over, catching up.

use std::time::Duration;

use store::Error;
use store::member::Joined;
use store::read::Level;

use crate::support::{Cluster, config, execute, open, query, reopen, succeed, until};

const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn writes_reach_every_node() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(
        &leader,
        &["CREATE TABLE t(id INTEGER PRIMARY KEY, r, at DEFAULT CURRENT_TIMESTAMP)"],
    )
    .await;
    let mut index = 0;
    for id in 1..=100 {
        index = succeed(&leader, &[&format!("INSERT INTO t(id, r) VALUES({id}, random())")])
            .await
            .index;
    }
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_names_the_leader_and_answers_linearizable_reads_itself() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    succeed(
        &leader,
        &["CREATE TABLE t(id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES(1)"],
    )
    .await;
    let Err(Error::NotLeader { leader: Some(named) }) = execute(&follower, &["INSERT INTO t VALUES(2)"]).await else {
        panic!("a follower took a write");
    };
    assert_eq!(&named, leader.peer());
    for id in 2..=20 {
        succeed(&leader, &[&format!("INSERT INTO t VALUES({id})")]).await;
        let rows = query(&follower, "SELECT max(id) FROM t", Level::Linearizable)
            .await
            .expect("allowed");
        assert_eq!(rows, [id.to_string()]);
    }
    assert!(matches!(
        query(&follower, "SELECT 1", Level::Weak).await,
        Err(Error::NotLeader { .. })
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_joiner_learns_first_and_then_votes() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let node = open(config(dir.path(), "d", true), &cluster.board)
        .await
        .expect("a new node");
    assert_eq!(
        leader.add(node.peer().clone(), true).await.expect("added"),
        Joined::Added
    );
    assert_eq!(
        leader.add(node.peer().clone(), true).await.expect("a member"),
        Joined::Unchanged
    );
    until("promotion", || {
        leader
            .members()
            .iter()
            .any(|m| m.peer.name == "d" && m.voter && !m.catching_up)
            .then_some(())
    })
    .await;
    let index = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.nodes.push(node);
    cluster.dirs.push(dir);
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_never_votes_and_reads_auto_locally() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let replica = open(config(dir.path(), "r", false), &cluster.board)
        .await
        .expect("a new node");
    leader.add(replica.peer().clone(), false).await.expect("added");
    let index = succeed(
        &leader,
        &["CREATE TABLE t(id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES(7)"],
    )
    .await
    .index;
    replica.wait_applied(index, PATIENCE).await.expect("replicated");
    assert_eq!(
        query(&replica, "SELECT id FROM t", Level::Auto).await.expect("local"),
        ["7"]
    );
    assert!(!replica.status().voter);
    assert!(leader.members().iter().any(|m| m.peer.name == "r" && !m.voter));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_removed_and_the_last_voter_stays() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    leader.remove("nobody").await.expect("removing nobody succeeds");
    let others: Vec<String> = cluster
        .nodes
        .iter()
        .map(|n| n.peer().name.clone())
        .filter(|n| *n != leader.peer().name)
        .collect();
    for name in others {
        leader.remove(&name).await.expect("removed");
    }
    assert_eq!(leader.members().len(), 1);
    let error = leader
        .remove(&leader.peer().name.clone())
        .await
        .expect_err("the last voter");
    assert!(error.to_string().starts_with("need at least one voter"), "{error}");
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    assert!(matches!(
        leader.transfer(Some("zz"), PATIENCE).await,
        Err(Error::UnknownNode)
    ));
    assert!(matches!(
        leader.transfer(Some(&leader.peer().name), PATIENCE).await,
        Err(Error::AlreadyLeader)
    ));
    leader
        .transfer(Some(&follower.peer().name), PATIENCE)
        .await
        .expect("handed over");
    until("the new leader", || follower.is_leader().then_some(())).await;
    let lone = Cluster::form(&["x"]).await;
    assert!(matches!(
        lone.leader().await.transfer(None, PATIENCE).await,
        Err(Error::NoPeer)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_fell_off_the_log_is_sent_the_database() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)"]).await;
    let lost = cluster
        .nodes
        .iter()
        .position(|n| n.peer() != leader.peer())
        .expect("a follower");
    let node = cluster.nodes.remove(lost);
    let (name, address) = (node.peer().name.clone(), node.peer().address.clone());
    cluster.board.unplug(&address);
    node.shutdown().await;
    drop(node);
    for id in 1..=200 {
        succeed(&leader, &[&format!("INSERT INTO t VALUES({id}, randomblob(2000))")]).await;
    }
    leader.snapshot(Some(0)).await.expect("a snapshot");
    until("a purged log", || (leader.status().purged > 150).then_some(())).await;

    let back = reopen(config(cluster.dirs[lost].path(), &name, true), &cluster.board).await;
    let index = succeed(&leader, &["INSERT INTO t VALUES(1000, 'last')"]).await.index;
    back.wait_applied(index, PATIENCE).await.expect("caught up");
    assert_eq!(back.status().restores, 1);
    cluster.nodes.push(back);
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_goes_on_without_its_leader() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    until("a leader that knows itself followed", || {
        leader.expects_leader().then_some(())
    })
    .await;
    cluster.board.unplug(&leader.peer().address);
    cluster.nodes.retain(|node| node.peer() != leader.peer());
    leader.shutdown().await;
    let next = cluster.leader().await;
    let index = succeed(&next, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.converged(index).await;
}

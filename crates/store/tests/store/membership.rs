//! Who is in the cluster, and what becomes of those who are not any more.

use std::sync::Arc;

use store::Error;
use store::config::Config;
use store::member::Joined;
use store::read::Level;

use crate::support::{Cluster, PATIENCE, Switchboard, config, execute, open, query, reopen, succeed, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_leader_stops_leading_and_serves_no_weak_reads() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let removed = cluster.leader().await;
    succeed(&removed, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    removed
        .remove(&removed.peer().name.clone())
        .await
        .expect("other voters stay");
    cluster.nodes.retain(|node| node.peer() != removed.peer());
    let next = cluster.leader().await;
    let index = succeed(&next, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.converged(index).await;
    assert_eq!(next.members().len(), 2);

    until("the end of its leadership", || (!removed.is_leader()).then_some(())).await;
    let read = query(&removed, "SELECT count(*) FROM t", Level::Weak).await;
    assert!(matches!(read, Err(Error::NotLeader { .. })), "{read:?}");
    assert_ne!(removed.leader().as_ref(), Some(removed.peer()));
    assert!(execute(&removed, &["INSERT INTO t VALUES(2)"]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_shut_down_does_not_lead() {
    let cluster = Cluster::form(&["a"]).await;
    let node = cluster.leader().await;
    node.shutdown().await;
    assert!(!node.is_leader());
    assert_eq!(node.leader(), None);
    assert!(query(&node, "SELECT 1", Level::Weak).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_moved_is_reached_at_its_new_address() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let mut moved = cluster.stop_a_follower(&leader).await;
    let lost = moved.name.clone();
    moved.address = "elsewhere:4002".to_owned();
    let back = reopen(moved, &cluster.board).await;
    assert_eq!(
        leader.add(back.peer().clone(), true).await.expect("known"),
        Joined::Replaced
    );
    let index = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    back.wait_applied(index, PATIENCE).await.expect("reached");
    let members = leader.members();
    let member = members.iter().find(|m| m.peer.id == back.peer().id).expect("a member");
    assert_eq!(member.peer.address, "elsewhere:4002");
    assert!(member.voter, "{lost} was a voter");
    cluster.nodes.push(back);
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_node_comes_back_under_its_name_as_another() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let before: Vec<_> = leader.members().iter().map(|m| m.peer.id).collect();
    let wiped = cluster.stop_a_follower(&leader).await;
    let name = wiped.name.clone();
    let dir = tempfile::tempdir().expect("a temporary directory");
    let wiped = Config {
        dir: dir.path().to_owned(),
        ..wiped
    };
    let back = open(wiped, &cluster.board).await.expect("an empty directory");
    assert!(!before.contains(&back.peer().id), "an identity was used again");
    let index = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    assert_eq!(back.applied(), 0, "it was appended to under its old identity");
    assert_eq!(
        leader.add(back.peer().clone(), true).await.expect("admitted"),
        Joined::Replaced
    );
    until("promotion", || {
        let members = leader.members();
        (members.len() == 3 && members.iter().any(|m| m.peer.name == name && !m.catching_up)).then_some(())
    })
    .await;
    cluster.nodes.push(back);
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_found_the_same_cluster_found_one() {
    let board = Arc::new(Switchboard::default());
    let (mut nodes, mut dirs) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        nodes.push(open(config(dir.path(), name, true), &board).await.expect("a new node"));
        dirs.push(dir);
    }
    let voters: Vec<_> = nodes.iter().map(|node| node.peer().clone()).collect();
    let (first, second) = tokio::join!(nodes[0].initialize(voters.clone()), nodes[1].initialize(voters.clone()));
    // Either may have heard of the other first.
    assert!(first.is_ok() || second.is_ok(), "{first:?} {second:?}");
    let cluster = Cluster { board, nodes, dirs };
    let leader = cluster.leader().await;
    let index = succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"])
        .await
        .index;
    cluster.converged(index).await;
    assert!(nodes_agree(&cluster));
    let again = cluster.nodes[2].initialize(voters).await;
    assert!(matches!(again, Err(Error::Membership(_))), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_joiners_at_once_all_become_voters() {
    let mut cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    for name in ["b", "c", "d", "e"] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let node = open(config(dir.path(), name, true), &cluster.board)
            .await
            .expect("a new node");
        cluster.nodes.push(node);
        cluster.dirs.push(dir);
    }
    let joins = cluster.nodes[1..].iter().map(|node| {
        let (leader, peer) = (leader.clone(), node.peer().clone());
        tokio::spawn(async move {
            // Another change may be in progress; a joiner tries again.
            while leader.add(peer.clone(), true).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
    });
    for join in joins.collect::<Vec<_>>() {
        join.await.expect("joined");
    }
    until("five voters", || {
        let members = leader.members();
        (members.len() == 5 && members.iter().all(|m| m.voter && !m.catching_up)).then_some(())
    })
    .await;
    let index = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.converged(index).await;
}

fn nodes_agree(cluster: &Cluster) -> bool {
    let first = cluster.nodes[0].members();
    cluster.nodes.iter().all(|node| node.members() == first)
}

//! Flags that change results are the cluster's: who has others computes nothing with them.

use store::config::Config;

use crate::support::{Cluster, PATIENCE, config, open, reopen, succeed, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_other_flags_stops_before_it_applies_anything_with_them() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    // Without foreign keys all of these succeed.
    let index = succeed(
        &leader,
        &[
            "CREATE TABLE p(id INTEGER PRIMARY KEY)",
            "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id))",
            "INSERT INTO c VALUES(1, 99)",
        ],
    )
    .await
    .index;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let other = Config {
        foreign_keys: true,
        ..config(dir.path(), "d", true)
    };
    let node = open(other.clone(), &cluster.board).await.expect("a new node");
    let refused = leader.check_joiner(node.settings()).expect_err("other flags");
    assert!(refused.to_string().contains("runs with -fk=false"), "{refused}");
    assert!(leader.check_joiner(leader.settings()).is_ok());
    // One that is taken in all the same, as by an earlier release, finds out by itself.
    leader.add(node.peer().clone(), true).await.expect("added");
    let reason = tokio::time::timeout(PATIENCE, node.stopped()).await.expect("it stops");
    assert!(reason.contains("-fk=false"), "{reason}");
    cluster.board.unplug(&node.peer().address);
    node.shutdown().await;
    drop(node);
    succeed(&leader, &["INSERT INTO c VALUES(2, 99)"]).await;

    // What it has is what the others had: with the right flags it goes on.
    let right = Config {
        foreign_keys: false,
        ..other
    };
    let node = reopen(right, &cluster.board).await;
    until("it caught up", || (node.applied() >= index).then_some(())).await;
    let index = succeed(&leader, &["INSERT INTO c VALUES(3, 99)"]).await.index;
    cluster.nodes.push(node);
    cluster.converged(index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_other_flags_stops_when_it_is_sent_the_database() {
    let cluster = Cluster::form(&["a"]).await;
    let leader = cluster.leader().await;
    for id in 1..=50 {
        succeed(&leader, &[&format!("CREATE TABLE t{id}(id)")]).await;
    }
    leader.snapshot(Some(0)).await.expect("a snapshot");
    until("a purged log", || (leader.status().purged > 40).then_some(())).await;
    let dir = tempfile::tempdir().expect("a temporary directory");
    let other = Config {
        foreign_keys: true,
        ..config(dir.path(), "r", false)
    };
    let node = open(other.clone(), &cluster.board).await.expect("a new node");
    leader.add(node.peer().clone(), false).await.expect("added");
    let reason = tokio::time::timeout(PATIENCE, node.stopped()).await.expect("it stops");
    assert!(reason.contains("-fk=false"), "{reason}");
    node.shutdown().await;
    drop(node);
    let refused = open(other, &cluster.board).await.err().expect("refused");
    assert!(refused.to_string().contains("-fk=false"), "{refused}");
}

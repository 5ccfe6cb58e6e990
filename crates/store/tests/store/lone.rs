//! One node: what it answers, what survives a restart, and what it refuses to start on.

use std::sync::Arc;

use store::Error;
use store::read::Level;

use crate::support::{Cluster, Switchboard, config, execute, open, query, succeed};

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_node_writes_reads_and_remembers() {
    let cluster = Cluster::form(&["a"]).await;
    let node = cluster.leader().await;
    let reply = succeed(
        &node,
        &[
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)",
            "INSERT INTO t(v) VALUES('x')",
        ],
    )
    .await;
    assert!(reply.index > 0);
    for level in [
        Level::None,
        Level::Weak,
        Level::Linearizable,
        Level::Strong,
        Level::Auto,
    ] {
        assert_eq!(
            query(&node, "SELECT id, v FROM t", level).await.expect("allowed"),
            ["1|x"]
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_is_used_by_one_process() {
    let cluster = Cluster::form(&["a"]).await;
    let error = open(config(cluster.dirs[0].path(), "a", true), &cluster.board)
        .await
        .err()
        .expect("refused");
    assert!(matches!(error, Error::Locked(_)), "{error}");
    assert!(error.to_string().contains("used by another process"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_has_everything_that_was_acknowledged() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let board = Arc::new(Switchboard::default());
    let node = open(config(dir.path(), "a", true), &board).await.expect("a new node");
    node.initialize(vec![node.peer().clone()]).await.expect("a new cluster");
    assert!(node.is_initialized(), "known as soon as it is done");
    node.ready(std::time::Duration::from_secs(10)).await.expect("ready");
    succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    for id in 1..=300 {
        succeed(&node, &[&format!("INSERT INTO t VALUES({id})")]).await;
    }
    let id = node.peer().id;
    let before = node.content_hash().await.expect("hashable").hash;
    node.shutdown().await;
    board.unplug("a:4002");
    drop(node);

    let node = crate::support::reopen(config(dir.path(), "a", true), &board).await;
    assert!(node.is_initialized(), "known as soon as it is open");
    node.ready(std::time::Duration::from_secs(10))
        .await
        .expect("ready again");
    assert_eq!(node.peer().id, id);
    assert_eq!(
        query(&node, "SELECT count(*) FROM t", Level::None)
            .await
            .expect("allowed"),
        ["300"]
    );
    assert_eq!(node.content_hash().await.expect("hashable").hash, before);
    succeed(&node, &["INSERT INTO t VALUES(301)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_purges_the_log_and_nothing_is_lost() {
    let cluster = Cluster::form(&["a"]).await;
    let node = cluster.leader().await;
    succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    for id in 1..=50 {
        succeed(&node, &[&format!("INSERT INTO t VALUES({id})")]).await;
    }
    assert!(node.snapshot(Some(0)).await.expect("possible"));
    crate::support::until("a purged log", || (node.status().purged > 40).then_some(())).await;
    assert!(
        !node.snapshot(None).await.expect("possible"),
        "nothing new to make durable"
    );
    assert_eq!(
        query(&node, "SELECT count(*) FROM t", Level::Strong)
            .await
            .expect("allowed"),
        ["50"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_statement_is_an_answer_and_undoes_its_request() {
    let cluster = Cluster::form(&["a"]).await;
    let node = cluster.leader().await;
    succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let reply = execute(&node, &["INSERT INTO t VALUES(1)", "INSERT INTO t VALUES(1)"])
        .await
        .expect("an answer");
    assert_eq!(reply.outcomes.len(), 2);
    assert_eq!(
        query(&node, "SELECT count(*) FROM t", Level::Weak)
            .await
            .expect("allowed"),
        ["0"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_directories_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("raft.db"), b"bolt").expect("writable");
    let board = Arc::new(Switchboard::default());
    let error = open(config(dir.path(), "a", true), &board)
        .await
        .err()
        .expect("refused");
    assert!(error.to_string().contains("rqlite data directory"), "{error}");

    let dir = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(dir.path().join("notes.txt"), b"mine").expect("writable");
    assert!(open(config(dir.path(), "a", true), &board).await.is_ok());
}

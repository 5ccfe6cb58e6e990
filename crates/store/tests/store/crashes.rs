//! What a crash leaves: a log and a database of different moments.
#![expect(clippy::expect_used, reason = "a test's own scaffolding may fail the test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use store::member::NodeId;
use store::status::Role;
use store::{Error, Node};

use crate::check::damage;
use crate::support::{Cluster, PATIENCE, Switchboard, config, ids, open, reopen, succeed, until};

/// Terms by which an old log lacks behind: more than a start raises its own by.
const TERMS: usize = 4;

struct Lone {
    dir: tempfile::TempDir,
    board: Arc<Switchboard>,
    id: NodeId,
}

impl Lone {
    /// A node with rows 1 to 20, shut down; its log copied aside after 10, its database after none.
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let board = Arc::default();
        let node = open(config(dir.path(), "a", true), &board).await.expect("a new node");
        node.initialize(vec![node.peer().clone()]).await.expect("a new cluster");
        node.ready(PATIENCE).await.expect("ready");
        let id = node.peer().id;
        let it = Self { dir, board, id };
        succeed(&node, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
        node.shutdown().await;
        copy(&it.path("db"), &it.path("old-db"));
        let node = it.start().await.expect("as it was");
        insert(&node, 1..=10).await;
        node.shutdown().await;
        copy(&it.path("log"), &it.path("old-log"));
        // Each start is a term: a log that is put back ends well before the database in terms, too.
        for _ in 0..TERMS {
            it.start().await.expect("as it was").shutdown().await;
        }
        let node = it.start().await.expect("as it was");
        insert(&node, 11..=20).await;
        node.shutdown().await;
        it
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn put_back(&self, name: &str) {
        put_back(self.dir.path(), name);
    }

    async fn start(&self) -> Result<Node, Error> {
        let node = open(config(self.dir.path(), "a", true), &self.board).await?;
        node.ready(PATIENCE).await.expect("ready");
        Ok(node)
    }
}

fn put_back(dir: &Path, name: &str) {
    fs::remove_dir_all(dir.join(name)).expect("removable");
    copy(&dir.join(format!("old-{name}")), &dir.join(name));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("copyable");
        }
    }
}

async fn insert(node: &Node, rows: std::ops::RangeInclusive<u64>) {
    for id in rows {
        succeed(node, &[&format!("INSERT INTO t VALUES({id})")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_the_database_goes_on_after_it() {
    let it = Lone::new().await;
    // As after a loss of power: SQLite's pages were written, the log's were not flushed.
    it.put_back("log");
    assert_eq!(damage(it.dir.path()), []);
    let node = it.start().await.expect("it opens");
    assert_eq!(ids(&node).await, (1..=20).collect::<Vec<_>>());
    insert(&node, 21..=22).await;
    node.shutdown().await;
    let node = it.start().await.expect("and again");
    assert_eq!(ids(&node).await.len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_ends_before_the_database_in_a_later_term_goes_on_after_it_too() {
    let it = Lone::new().await;
    it.put_back("log");
    // Entries that a leader wrote here who never got a majority for them, before the database came from another.
    append_uncommitted(&it, 1_000).await;
    let node = it.start().await.expect("it opens");
    assert_eq!(ids(&node).await, (1..=20).collect::<Vec<_>>());
    insert(&node, 21..=22).await;
    node.shutdown().await;
    let node = it.start().await.expect("and again");
    assert_eq!(ids(&node).await.len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_among_several_whose_log_lost_a_vote_is_refused() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let config = cluster.stop_a_follower(&leader).await;
    copy(&config.dir.join("log"), &config.dir.join("old-log"));
    let back = reopen(config.clone(), &cluster.board).await;
    leader.transfer(None, PATIENCE).await.expect("handed over");
    cluster.nodes.push(back.clone());
    let next = cluster.leader().await;
    let index = succeed(&next, &["INSERT INTO t VALUES(1)"]).await.index;
    back.wait_applied(index, PATIENCE).await.expect("replicated");
    back.shutdown().await;
    put_back(&config.dir, "log");
    let found = damage(&config.dir);
    assert!(found[0].text.contains("lost what it had reported"), "{found:?}");
    let error = open(config, &cluster.board).await.err().expect("refused");
    assert!(error.to_string().contains("lost what it had reported"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_put_back_to_an_older_copy_stops() {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let config = cluster.stop_a_follower(&leader).await;
    for name in ["log", "db"] {
        copy(&config.dir.join(name), &config.dir.join(format!("old-{name}")));
    }
    let back = reopen(config.clone(), &cluster.board).await;
    // Without the third, nothing is acknowledged that this one has not acknowledged.
    let third = cluster.stop_a_follower(&leader).await;
    let index = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.board.unplug(&back.peer().address);
    back.shutdown().await;
    drop(back);
    for name in ["log", "db"] {
        put_back(&config.dir, name);
    }
    let rewound = reopen(config, &cluster.board).await;
    let reason = tokio::time::timeout(PATIENCE, rewound.stopped()).await;
    let reason = reason.expect("it stops");
    assert!(reason.contains("put back from an older copy"), "{reason}");
    assert!(rewound.applied() < index, "it was appended to");
    // It would vote for the third, which lacks the entry as well.
    assert_eq!(rewound.status().role, Role::Shutdown);
    let _third = reopen(third, &cluster.board).await;
    succeed(&leader, &["INSERT INTO t VALUES(2)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_holds_something_else_where_the_database_ends_starts_over_after_it() {
    let it = Lone::new().await;
    it.put_back("log");
    // As many as the database has and more, none of which ever got a majority.
    for _ in 0..40 {
        append_uncommitted(&it, 1).await;
    }
    let node = it.start().await.expect("it opens");
    assert_eq!(ids(&node).await, (1..=20).collect::<Vec<_>>());
    insert(&node, 21..=22).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_holds_a_later_term_where_the_database_ends_is_refused() {
    let it = Lone::new().await;
    it.put_back("log");
    for _ in 0..40 {
        append_uncommitted(&it, 1_000).await;
    }
    let found = damage(it.dir.path());
    assert!(found[0].text.contains("of a later term than its vote"), "{found:?}");
    let error = it.start().await.err().expect("refused");
    assert!(error.to_string().contains("not of one node"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_ends_before_the_log_starts_is_refused() {
    let it = Lone::new().await;
    let node = it.start().await.expect("as it was");
    assert!(node.snapshot(Some(0)).await.expect("a snapshot"));
    until("a purged log", || (node.status().purged > 20).then_some(())).await;
    node.shutdown().await;
    it.put_back("db");
    let found = damage(it.dir.path());
    assert!(found[0].text.contains("restore both from one moment"), "{found:?}");
    let error = it.start().await.err().expect("refused");
    assert!(error.to_string().contains("restore both from one moment"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_consensus_panics_stops() {
    let it = Lone::new().await;
    // A log whose last term is beyond the vote: openraft asserts that there is none such.
    append_uncommitted(&it, 1_000).await;
    let node = open(config(it.dir.path(), "a", true), &it.board)
        .await
        .expect("it opens");
    let reason = tokio::time::timeout(PATIENCE, node.stopped())
        .await
        .expect("it says that it stopped");
    assert!(reason.contains("consensus"), "{reason}");
}

/// Appends one entry of `term` to the log of a node that is down.
async fn append_uncommitted(it: &Lone, term: u64) {
    let disk = log::FsDisk::new(it.path("log")).expect("a log directory");
    let options = log::Options {
        salt: it.id.0,
        ..log::Options::default()
    };
    let (log, flusher) = log::open(Arc::new(disk), options).expect("sound");
    let flushing = flusher.spawn();
    let index = log.state().last.expect("not empty").index + 1;
    let (tx, rx) = tokio::sync::oneshot::channel();
    let record = log::Record {
        position: log::Position { term, index },
        // A blank entry.
        bytes: vec![0].into(),
    };
    log.append(vec![record], Box::new(|done| tx.send(done).expect("awaited")))
        .expect("contiguous");
    rx.await.expect("answered").expect("flushed");
    log.close();
    flushing.join().expect("no panic").expect("closed cleanly");
}

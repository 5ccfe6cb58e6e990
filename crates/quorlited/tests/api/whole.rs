//! Whole databases: out of one server, and into others.

use bytes::Bytes;
use serde_json::Value;

use crate::cluster::{Trio, assert_same_content};
use crate::server::{Addresses, Server, folder};

/// Tables of each kind with some thousand rows: a few megabytes.
const SETUP: &str = r#"[
    "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT, b BLOB, c REAL)",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 5000) INSERT INTO t(a, b, c) SELECT 'it''s; é ' || i, randomblob(200), i / 7.0 FROM n",
    "CREATE INDEX t_a ON t(a)",
    "CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID",
    "INSERT INTO w VALUES('x', 1), ('y', NULL)",
    "CREATE VIRTUAL TABLE f USING fts5(body)",
    "INSERT INTO f SELECT a FROM t WHERE id % 50 = 0",
    "CREATE TRIGGER g AFTER DELETE ON t BEGIN INSERT INTO f VALUES(old.a); END",
    "CREATE VIEW v AS SELECT count(*) FROM t"
]"#;

/// A server with that content, and its hash.
async fn source() -> (tempfile::TempDir, Server, Value) {
    let (held, dir) = folder();
    let server = Server::start(&dir, &[]).await;
    let made = server.say("/db/execute", SETUP).await;
    assert!(!made.contains("error"), "{made}");
    let hash = hash(&server).await;
    (held, server, hash)
}

async fn hash(server: &Server) -> Value {
    server.get("/quorlite/hash").await.json()["hash"].clone()
}

async fn load(server: &Server, bytes: Bytes) {
    let (status, answer) = server.post_bytes("/db/load", bytes).await;
    assert!(
        status == 200 && !answer.contains("error"),
        "{status}: {answer}\n{}",
        server.log()
    );
}

#[tokio::test]
async fn every_form_of_a_backup_loads_into_a_cluster_with_the_same_content() {
    let (_held, source, expected) = source().await;
    let trio = Trio::form().await;
    for (target, node) in [
        ("/db/backup", 0),
        ("/db/backup?fmt=delete", 1),
        ("/db/backup?vacuum", 2),
    ] {
        let answer = trio.nodes[node]
            .say("/db/execute", r#"["CREATE TABLE other(x)"]"#)
            .await;
        assert!(!answer.contains("error"), "{answer}");
        load(&trio.nodes[node], source.fetch(target).await).await;
        assert_same_content(&trio.nodes).await;
        assert_eq!(hash(&trio.nodes[0]).await, expected, "{target}");
    }
    let backup = trio.nodes[2].fetch("/db/backup").await;
    let (_other, other) = empty().await;
    load(&other, backup).await;
    assert_eq!(hash(&other).await, expected);
    let (_text, text) = empty().await;
    load(&text, source.fetch("/db/backup?fmt=sql").await).await;
    let count = text
        .say(
            "/db/query",
            r#"["SELECT count(*) FROM f('\"4950\"')", "SELECT * FROM v"]"#,
        )
        .await;
    assert!(count.contains("[[1]]") && count.contains("[[5000]]"), "{count}");
    assert_eq!(
        text.fetch("/db/backup?fmt=sql").await,
        source.fetch("/db/backup?fmt=sql").await
    );
}

async fn empty() -> (tempfile::TempDir, Server) {
    let (held, dir) = folder();
    let server = Server::start(&dir, &[]).await;
    (held, server)
}

#[tokio::test]
async fn a_booted_node_and_its_joiner_hold_what_was_booted_also_after_a_restart() {
    let (_held, source, expected) = source().await;
    let backup = source.fetch("/db/backup").await;
    let (held, dir) = folder();
    let addresses = Addresses::free();
    let first = Server::launch(&dir, &addresses, &["-node-id", "n1"]);
    first.until_ready().await;
    first.say("/db/execute", r#"["CREATE TABLE old(x)"]"#).await;
    assert_eq!(
        first.post_bytes("/boot", backup.clone()).await,
        (200, String::new()),
        "{}",
        first.log()
    );
    assert_eq!(hash(&first).await, expected);
    let (_joined, joiner_dir) = folder();
    let joiner = Server::launch(
        &joiner_dir,
        &Addresses::free(),
        &["-node-id", "n2", "-join", &first.raft],
    );
    joiner.until_ready().await;
    joiner
        .until("/quorlite/hash", |answer| answer.json()["hash"] == expected)
        .await;
    let refused = first.post_bytes("/boot", backup).await;
    assert_eq!(refused, (503, "not single-node\n".to_owned()));
    drop(joiner);
    first.stop().await;
    let again = Server::launch(&dir, &addresses, &["-node-id", "n1"]);
    again
        .until("/db/query?level=none&q=SELECT+*+FROM+v", |answer| {
            answer.body.contains("[[5000]]")
        })
        .await;
    assert_eq!(hash(&again).await, expected);
    drop(held);
}

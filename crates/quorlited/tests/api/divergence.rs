//! A database whose pages are damaged on disk: found by comparison, quarantined, re-seeded.

use std::path::Path;

use crate::cluster::{Trio, assert_same_content};
use crate::server::{Addresses, Server};

/// Stands once in the database, and nowhere else.
const NEEDLE: &[u8] = b"a needle that is longer than chance";

const FILLER: &str = r#"["INSERT INTO filler VALUES(randomblob(20000))"]"#;

fn place(file: &Path) -> Option<usize> {
    let bytes = std::fs::read(file).unwrap_or_default();
    bytes.windows(NEEDLE.len()).position(|window| window == NEEDLE)
}

/// Writes until the needle is in the database's file, and its WAL has been started over and holds it no more.
async fn until_copied(writer: &Server, database: &Path) {
    let wal = database.with_extension("sqlite-wal");
    for _ in 0..2000 {
        if place(database).is_some() && place(&wal).is_none() {
            return;
        }
        let written = writer.say("/db/execute", FILLER).await;
        assert!(!written.contains("error"), "{written}");
    }
    panic!("{} never holds what was written", database.display());
}

fn flip(database: &Path) {
    let mut bytes = std::fs::read(database).unwrap();
    let at = place(database).unwrap();
    bytes[at] ^= 1;
    std::fs::write(database, bytes).unwrap();
}

#[tokio::test]
async fn a_page_that_was_damaged_on_disk_is_found_and_the_node_is_reseeded() {
    let words = ["-raft-snap-wal-size", "65536"];
    let mut trio = Trio::form_with(&words).await;
    let first = &trio.nodes[0];
    first
        .say("/db/execute", r#"["CREATE TABLE t(a)","CREATE TABLE filler(a)"]"#)
        .await;
    let needle = String::from_utf8_lossy(NEEDLE).into_owned();
    first
        .say("/db/execute", &format!("[[\"INSERT INTO t VALUES(?)\",\"{needle}\"]]"))
        .await;
    let database = trio.dir(2).join("db/1/db.sqlite");
    until_copied(first, &database).await;

    let third = trio.nodes.pop().unwrap();
    let addresses = Addresses {
        http: third.http.clone(),
        raft: third.raft.clone(),
    };
    third.stop().await;
    flip(&database);
    let third = Server::launch(&trio.dir(2), &addresses, &[&["-node-id", "n3"], &words[..]].concat());
    third.until_ready().await;
    // Nobody knows yet: pages carry no checksum.
    let read = "/db/query?level=none&q=SELECT+a+FROM+t";
    assert!(!third.get(read).await.body.contains(&needle));

    let asked = third.post("/quorlite/verify", "").await;
    assert_eq!(asked.status, 200, "{}", asked.body);
    let index = asked.json()["index"].as_u64().unwrap();
    let told = third
        .until("/status?key=store.divergence", |answer| {
            answer.json()["reseeds"] == 1 && answer.json()["quarantined"] == false
        })
        .await
        .json();
    let reason = told["last_quarantine"].as_str().unwrap();
    assert!(
        reason.starts_with(&format!("the content at index {index} differs from that of a majority")),
        "{reason}"
    );
    third.until(read, |answer| answer.body.contains(&needle)).await;
    third.until_ready().await;
    for node in &trio.nodes {
        let alarmed = node.until("/status?key=store.divergence", |answer| answer.json()["alarms"] != 0);
        let told = alarmed.await.json();
        assert!(told["last_alarm"].as_str().unwrap().contains("n3"), "{told}");
        assert_eq!(told["quarantines"], 0);
        assert!(node.log().contains("replicas differ"), "{}", node.log());
    }
    trio.nodes.push(third);
    assert_same_content(&trio.nodes).await;
    assert!(!trio.dir(2).join("quarantine").exists());
}

//! `quorlited check`, as a shell sees it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::server::{Addresses, Server, folder, run};

/// A directory whose node was killed while it wrote.
async fn killed() -> (tempfile::TempDir, PathBuf, Addresses) {
    let (held, dir) = folder();
    let addresses = Addresses::free();
    let mut server = Server::launch(&dir, &addresses, &[]);
    server.until_ready().await;
    server
        .say(
            "/db/execute",
            r#"["CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)"]"#,
        )
        .await;
    for _ in 0..30 {
        let insert = r#"[["INSERT INTO t(text) VALUES(?)", "a row that can be found"]]"#;
        assert!(!server.say("/db/execute", insert).await.contains("error"));
    }
    server.signal("KILL");
    server.exit().await;
    (held, dir, addresses)
}

/// The node starts once more on what is there.
async fn starts(dir: &Path, addresses: &Addresses) {
    let server = Server::launch(dir, addresses, &[]);
    server.until_ready().await;
    server.stop().await;
}

fn check(dir: &Path) -> (Option<i32>, String, String) {
    run(&["check", dir.to_str().unwrap()])
}

/// Flips a bit of `path` at the `nth` place where `text` stands; answers where.
fn flip(path: &Path, text: &[u8], nth: usize) -> usize {
    let mut bytes = fs::read(path).unwrap();
    let mut places = bytes
        .windows(text.len())
        .enumerate()
        .filter(|(_, window)| *window == text);
    let (at, _) = places.nth(nth).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
    at
}

#[tokio::test]
async fn a_node_that_was_killed_is_sound() {
    let (_held, dir, addresses) = killed().await;
    let (code, out, err) = check(&dir);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for line in [
        "ok       identity",
        "ok       log",
        "ok       wal",
        "ok       database",
        "ok       agreement",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
    assert!(out.contains("records 0.0 to 1."), "{out}");
    assert!(!out.contains("DAMAGED"), "{out}");
    assert!(out.ends_with("is sound\n"), "{out}");
    starts(&dir, &addresses).await;
    assert_eq!(check(&dir).0, Some(0));
}

#[tokio::test]
async fn a_node_that_runs_is_not_checked() {
    let (_held, dir) = folder();
    let server = Server::start(&dir, &[]).await;
    let (code, out, err) = check(&dir);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(
        err.contains("cannot check") && err.contains("is used by another process"),
        "{err}"
    );
    server.stop().await;
}

#[tokio::test]
async fn damage_is_named_with_file_offset_and_remedy() {
    let (_held, dir, _) = killed().await;
    let segment = dir.join("log/0000000000000001.log");
    let at = flip(&segment, b"a row that can be found", 3);
    let (code, out, err) = check(&dir);
    assert_eq!((code, err.as_str()), (Some(1), ""), "{out}");
    let line = out.lines().find(|line| line.starts_with("DAMAGED")).unwrap();
    let (file, rest) = line.split_once(" at offset ").unwrap();
    assert!(file.ends_with(segment.to_str().unwrap()), "{line}");
    let offset: usize = rest.split(':').next().unwrap().parse().unwrap();
    assert!(offset < at && at - offset < 300, "{line}, and {at}");
    assert!(out.contains("remedy: check the disk, then"), "{out}");
    assert!(out.ends_with("is damaged in 1 places; nothing was changed\n"), "{out}");

    let before = fs::read(&segment).unwrap();
    let (code, out, _) = run(&["check", "--json", dir.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&document["sound"], &document["error"]),
        (&Value::Bool(false), &Value::Null)
    );
    let findings = document["findings"].as_array().unwrap();
    let damaged: Vec<&Value> = findings.iter().filter(|it| it["verdict"] == "DAMAGED").collect();
    assert_eq!(damaged.len(), 1, "{out}");
    assert_eq!(
        (&damaged[0]["part"], damaged[0]["offset"].as_u64()),
        (&Value::from("log"), Some(offset as u64))
    );
    assert_eq!(fs::read(&segment).unwrap(), before);
}

#[tokio::test]
async fn a_tail_that_may_be_torn_is_no_damage() {
    let (_held, dir, addresses) = killed().await;
    // The last of them is in the last batch.
    flip(&dir.join("log/0000000000000001.log"), b"a row that can be found", 29);
    let (code, out, _) = check(&dir);
    assert_eq!(code, Some(0), "{out}");
    starts(&dir, &addresses).await;
}

#[tokio::test]
async fn other_words() {
    for (words, code, text) in [
        (
            &["check", "--help"][..],
            0,
            "Usage: quorlited check [--json] <data directory>",
        ),
        (&["check", "--json"], 2, "check needs a data directory"),
        (&["check", "a", "b"], 2, "check takes one data directory"),
        (&["check", "nowhere"], 2, "cannot check nowhere"),
        (&["-h"], 0, "quorlited check [--json] <data directory>"),
    ] {
        let (exit, out, err) = run(words);
        assert_eq!((exit, out.as_str()), (Some(code), ""), "{words:?}: {err}");
        assert!(err.contains(text), "{words:?}: {err}");
    }
    assert!(!Path::new("nowhere").exists());
}

//! A check of a stopped node finds what a start refuses, and nothing where a start succeeds.
#![expect(clippy::expect_used, reason = "a test's own scaffolding may fail the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use store::Error;
use store::check::{Finding, Listener, Part, Verdict, check};

use crate::support::{Cluster, succeed};

#[derive(Default)]
struct Heard(Mutex<Vec<Finding>>);

impl Listener for Heard {
    fn found(&self, finding: Finding) {
        self.0.lock().expect("unpoisoned").push(finding);
    }

    fn goes_on(&self, _what: &str) {}
}

/// Everything that a check of `dir` says.
pub fn findings(dir: &Path) -> Result<Vec<Finding>, Error> {
    let heard = Arc::new(Heard::default());
    let listener: Arc<dyn Listener> = Arc::<Heard>::clone(&heard);
    check(dir, listener)?;
    let findings = std::mem::take(&mut *heard.0.lock().expect("unpoisoned"));
    Ok(findings)
}

/// The damage that a check of `dir` finds; each has a remedy.
pub fn damage(dir: &Path) -> Vec<Finding> {
    let mut findings = findings(dir).expect("checkable");
    findings.retain(|finding| finding.verdict == Verdict::Damaged);
    assert!(findings.iter().all(|finding| finding.remedy.is_some()), "{findings:?}");
    findings
}

/// A follower's directory, shut down, of a cluster with a table and some rows, and the others.
async fn stopped() -> (Cluster, PathBuf) {
    let mut cluster = Cluster::form(&["a", "b", "c"]).await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id INTEGER PRIMARY KEY)"]).await;
    let index = succeed(&leader, &["INSERT INTO t VALUES(1), (2), (3)"]).await.index;
    cluster.converged(index).await;
    let dir = cluster.stop_a_follower(&leader).await.dir;
    (cluster, dir)
}

/// Names, bytes and times of all files.
fn files(dir: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else {
            let modified = fs::metadata(&path).and_then(|it| it.modified()).expect("readable");
            all.insert(path.clone(), (fs::read(&path).expect("readable"), modified));
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_shut_down_is_sound_and_stays_as_it_was() {
    let (_cluster, dir) = stopped().await;
    let before = files(&dir);
    let found = findings(&dir).expect("checkable");
    assert!(files(&dir) == before, "a check changed a file");
    let bad: Vec<_> = found.iter().filter(|it| it.verdict != Verdict::Sound).collect();
    assert!(bad.is_empty(), "{bad:?}");
    for part in [
        Part::Identity,
        Part::Log,
        Part::Pointer,
        Part::Wal,
        Part::Database,
        Part::Agreement,
    ] {
        assert!(
            found.iter().any(|it| it.part == part),
            "{part:?} was not looked at: {found:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_cannot_be_checked() {
    let cluster = Cluster::form(&["a"]).await;
    let refused = findings(cluster.dirs[0].path());
    assert!(matches!(refused, Err(Error::Locked(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_data_directory_cannot_be_checked() {
    let empty = tempfile::tempdir().expect("a temporary directory");
    for dir in [empty.path().to_owned(), empty.path().join("nowhere")] {
        let refused = findings(&dir);
        assert!(matches!(refused, Err(Error::Foreign { .. })), "{refused:?}");
    }
    assert_eq!(fs::read_dir(empty.path()).expect("readable").count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_named() {
    let (_cluster, dir) = stopped().await;
    let database = dir.join("db/1/db.sqlite");
    let cases = [
        ("identity", 12, Part::Identity, Some(0), "not a node identity"),
        ("db/current", 20, Part::Pointer, None, "checksum"),
        ("log/0000000000000001.log", 100_000, Part::Log, None, ""),
        ("log/0000000000000001.log", 20, Part::Log, Some(0), "segment head"),
        ("log/0000000000000001.log", 4200, Part::Log, Some(4096), ""),
    ];
    for (name, at, part, offset, text) in cases {
        let path = dir.join(name);
        let bytes = fs::read(&path).expect("readable");
        let mut flipped = bytes.clone();
        flipped[at] ^= 4;
        fs::write(&path, &flipped).expect("writable");
        let found = damage(&dir);
        fs::write(&path, &bytes).expect("writable");
        if bytes[at] == 0 && part == Part::Log && offset.is_none() {
            // Beyond the last record there is nothing to damage.
            assert_eq!(found, [], "{name} at {at}");
            continue;
        }
        let hit = found.iter().find(|it| it.part == part && it.text.contains(text));
        let hit = hit.unwrap_or_else(|| panic!("{name} at {at}: {found:?}"));
        assert_eq!(hit.file.as_deref(), path.to_str(), "{hit:?}");
        assert_eq!(hit.offset, offset, "{hit:?}");
    }
    assert_eq!(damage(&dir), [], "whole again");

    fs::rename(&database, dir.join("aside")).expect("renamable");
    let found = findings(&dir).expect("checkable");
    // All that it held is still in the log.
    assert!(found.iter().any(|it| it.text == "it is empty"), "{found:?}");
    assert!(found.iter().all(|it| it.verdict != Verdict::Damaged), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_nodes_log_is_named() {
    let (mut cluster, dir) = stopped().await;
    let leader = cluster.leader().await;
    let other = cluster.stop_a_follower(&leader).await.dir;
    fs::rename(dir.join("log"), dir.join("own")).expect("renamable");
    fs::rename(other.join("log"), dir.join("log")).expect("renamable");
    let found = damage(&dir);
    assert!(
        found.iter().any(|it| it.text.contains("it was written by node")),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_gone_is_missed() {
    let (_cluster, dir) = stopped().await;
    fs::remove_dir_all(dir.join("log")).expect("removable");
    let found = damage(&dir);
    assert!(
        found
            .iter()
            .any(|it| it.part == Part::Agreement && it.text.contains("a log of term 0")),
        "{found:?}"
    );
}

//! The runner with a load generator and a server that are scripts.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const GOOD: &str = r#"echo '{"good":true,"rows_per_s":1234.0,"acknowledged":100,"failures":{},
    "latency_us":{"p50":1500.0,"p99":2500.0,"max":3500.0}}'"#;

fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn bench(dir: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorlite-bench"));
    command
        .args(["--rounds", "2", "--seconds", "0.1", "--only", "durable writes", "--dir"])
        .arg(dir);
    command.args(words).output().unwrap()
}

#[test]
fn floors_are_measured_without_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let quorlite = script(dir.path(), "quorlite", GOOD);
    let json = dir.path().join("figures.json");
    let output = bench(
        dir.path(),
        &[
            "--quorlite",
            quorlite.to_str().unwrap(),
            "--json",
            json.to_str().unwrap(),
        ],
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        text.contains("| bare write server, 64 clients | 1,234 | 1.500 | 2.500 |"),
        "{text}"
    );
    assert!(text.contains("| raw disk, flushes of a 256-byte record |"), "{text}");
    let json = std::fs::read_to_string(json).unwrap();
    assert!(json.contains(r#""turns":[[1234.0,null],[1234.0,null]]"#), "{json}");
    // Nothing but the scripts and the figures is left behind.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_server_that_does_not_start_is_a_reason_and_not_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let quorlite = script(dir.path(), "quorlite", GOOD);
    let quorlited = script(dir.path(), "quorlited", "echo 'flag not known' >&2; exit 2");
    let words = [
        "--quorlite",
        quorlite.to_str().unwrap(),
        "--quorlited",
        quorlited.to_str().unwrap(),
    ];
    let output = bench(dir.path(), &words);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    let reason = "n/a: the server ended with exit status: 2: flag not known";
    assert!(
        text.contains(&format!("| durable writes, 8 clients | 5,467 | {reason} |")),
        "{text}"
    );
    assert!(
        text.contains(&format!("| durable writes, 3 nodes, 8 clients | 1,437 | {reason} |")),
        "{text}"
    );
    assert!(
        text.contains(&format!("| start to ready, empty | 1,200–2,000 ms | {reason} |")),
        "{text}"
    );
}

#[test]
fn a_floor_that_cannot_be_measured_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let quorlite = script(dir.path(), "quorlite", "echo 'quorlite: no such work' >&2; exit 2");
    let output = bench(dir.path(), &["--quorlite", quorlite.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no such work"));
    let output = bench(dir.path(), &["--quorlite", "/nowhere/quorlite"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nowhere/quorlite is not there"));
}

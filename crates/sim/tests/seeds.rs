//! The simulator as a whole: it repeats itself, production code passes, and a missing guard is seen.

use std::process::{Command, Output};

#[expect(clippy::unwrap_used, reason = "a simulator that does not start fails the test")]
fn simulate(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorlite-sim"))
        .args(words)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_caught(mutation: &str, seeds: &str) {
    let output = simulate(&["--seeds", seeds, "--mutate", mutation]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("FAILED: "), "{}", text(&output));
}

#[test]
fn one_seed_gives_one_trace() {
    let runs = [simulate(&["--seed", "11"]), simulate(&["--seed", "11"])];
    let [first, second] = runs.map(|run| text(&run));
    assert!(first.contains("trace "), "{first}");
    assert_eq!(first, second);
}

#[test]
fn fixed_seeds_are_clean() {
    let output = simulate(&["--seeds", "1..9"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("seeds 1..9: 8 ok, 0 failed"),
        "{}",
        text(&output)
    );
}

#[test]
fn a_log_that_is_not_flushed_is_found() {
    is_caught("no-log-flush", "1..5");
}

#[test]
fn a_purge_before_sqlite_is_durable_is_found() {
    is_caught("no-sqlite-sync", "6..11");
}

#[test]
fn an_unknown_word_is_refused() {
    let output = simulate(&["--sed", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--sed is not known"));
}

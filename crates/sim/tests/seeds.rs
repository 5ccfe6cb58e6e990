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

/// One of `seeds` fails without the guard, and says so in `words`.
fn is_caught(mutation: &str, seeds: &str, words: &[&str]) {
    let output = simulate(&["--seeds", seeds, "--mutate", mutation, "--first"]);
    let text = text(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let failure = text.lines().find(|line| line.contains(" FAILED: ")).unwrap_or_default();
    assert!(words.iter().any(|word| failure.contains(word)), "{failure}");
}

#[test]
fn one_seed_gives_one_trace() {
    let output = simulate(&["--seeds", "11..15", "--twice"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("seeds 11..15: 4 ok, 0 failed"),
        "{}",
        text(&output)
    );
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
    is_caught("no-log-flush", "1..30", &["does not start", "lost"]);
}

#[test]
fn an_acknowledgement_before_the_majority_is_found() {
    is_caught("ack-before-majority", "1..30", &["lost", "missed", "was answered"]);
}

#[test]
fn a_purge_before_sqlite_is_durable_is_found() {
    is_caught("purge-before-durable", "1..30", &["a log that starts after entry"]);
}

#[test]
fn an_entry_that_is_applied_twice_is_found() {
    is_caught("apply-twice", "1..30", &["2 times", "differ"]);
}

#[test]
fn a_lost_vote_is_found() {
    is_caught(
        "lose-vote",
        "1..150",
        &["lost", "differ", "stopped by itself", "does not start"],
    );
}

#[test]
fn old_pages_over_new_ones_are_found() {
    is_caught("no-wal-floor", "150..170", &["differ", "missed", "lost", "malformed"]);
}

#[test]
fn every_other_missing_guard_is_found() {
    let others = [
        "no-sqlite-sync",
        "read-without-index",
        "old-transaction",
        "no-savepoint",
        "ignore-failed-flush",
        "local-random",
        "local-clock",
        "forget-key",
        "no-comparison",
    ];
    for mutation in others {
        is_caught(mutation, "1..60", &[""]);
    }
}

#[test]
fn plain_sqlite_says_the_same() {
    let output = simulate(&["--seeds", "2..7", "--oracle"]);
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("seeds 2..7: 5 ok, 0 failed"),
        "{}",
        text(&output)
    );
}

#[test]
fn the_oracle_repeats_itself() {
    let output = simulate(&["--seeds", "2..4", "--oracle", "--twice"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn plain_sqlite_sees_what_is_missing() {
    for mutation in ["local-random", "local-clock", "no-savepoint", "deferred-foreign-key"] {
        let output = simulate(&["--oracle", "--seeds", "2..20", "--mutate", mutation, "--first"]);
        let text = text(&output);
        assert_eq!(output.status.code(), Some(1), "{mutation}: {text}");
        assert!(text.contains("differs from plain SQLite"), "{mutation}: {text}");
    }
}

#[test]
fn an_unknown_word_is_refused() {
    let output = simulate(&["--sed", "1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--sed is not known"));
}

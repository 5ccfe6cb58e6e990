//! Runs of the load generator: counts and values against what the server has, and liars.

use std::process::Command;

use serde_json::Value;

use crate::server::{Character, Server};

/// Runs `quorlite bench LINE --json -a ADDRESSES` and answers the report and the exit code.
fn bench(line: &str, addresses: &[&Server]) -> (Value, i32) {
    let addresses: Vec<String> = addresses.iter().map(|server| server.address.to_string()).collect();
    bench_at(line, &addresses.join(","))
}

fn bench_at(line: &str, addresses: &str) -> (Value, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_quorlite"))
        .arg("bench")
        .args(line.split_whitespace())
        .args(["--json", "-a", addresses])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let report = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code().unwrap())
}

#[test]
fn every_write_reaches_the_server_once_and_is_counted() {
    let server = Server::start(Character::Honest);
    for (line, requests, rows) in [
        ("write -n 300 -c 8 --verify", 300, 300),
        ("bulk -n 5 -c 2 -b 100 --verify", 5, 500),
        ("queued -n 50 -c 4 --verify", 50, 50),
    ] {
        let before = server.rows("bench_write") as u64;
        let (report, code) = bench(line, &[&server]);
        assert_eq!(code, 0, "{line}: {report}");
        assert_eq!(
            (report["requests"].as_u64(), report["rows"].as_u64()),
            (Some(requests), Some(rows)),
            "{line}"
        );
        assert_eq!(report["verified"]["acknowledged"], rows, "{line}");
        assert_eq!(report["verified"]["found"], rows, "{line}");
        assert_eq!(server.rows("bench_write") as u64, before + rows, "{line}");
    }
}

#[test]
fn reads_are_checked_against_the_values_that_were_filled_in() {
    let server = Server::start(Character::Honest);
    let (report, code) = bench("read -n 500 -c 8 --keys 1500 -l strong", &[&server]);
    assert_eq!((code, server.rows("bench_read")), (0, 1500), "{report}");
    assert_eq!(
        (
            report["requests"].as_u64(),
            report["failures"].as_object().map(|f| f.len())
        ),
        (Some(500), Some(0))
    );
    let (report, code) = bench("big -n 3 --rows 2500", &[&server]);
    assert_eq!((code, report["rows"].as_u64()), (0, Some(7500)), "{report}");
    // Tables that are already there are not filled again: that would write keys twice, which the server forbids.
    let (report, code) = bench("mixed -n 200 -c 4 --keys 1500 --reads 50 --verify", &[&server]);
    assert_eq!(code, 0, "{report}");
    assert_eq!(
        report["verified"]["found"].as_u64(),
        Some(server.rows("bench_write") as u64)
    );
}

#[test]
fn an_open_loop_sends_what_its_rate_says() {
    let server = Server::start(Character::Honest);
    let (report, code) = bench("write -r 2000 -n 400 -c 16 --verify --timeline", &[&server]);
    assert_eq!((code, report["requests"].as_u64()), (0, Some(400)), "{report}");
    // 400 requests at 2,000 per second take 0.2 s and no less.
    assert!(report["seconds"].as_f64().unwrap() >= 0.199, "{report}");
    let windows = report["windows"].as_array().unwrap();
    assert_eq!(
        windows
            .iter()
            .map(|window| window["requests"].as_u64().unwrap())
            .sum::<u64>(),
        400
    );
}

#[test]
fn a_server_that_lies_is_caught() {
    for (character, line, kind) in [
        (Character::StaleReads, "read -n 200 --keys 100", "wrong answer"),
        (
            Character::StaleReads,
            "read -n 200 --keys 100 --keep-going",
            "wrong answer",
        ),
        (Character::ShortResults, "big -n 2 --rows 50", "wrong answer"),
    ] {
        let (report, code) = bench(line, &[&Server::start(character)]);
        assert_eq!(code, 1, "{line}: {report}");
        assert!(report["failures"][kind]["count"].as_u64() > Some(0), "{line}: {report}");
    }
}

#[test]
fn rows_that_were_acknowledged_and_lost_are_missed() {
    let server = Server::start(Character::LosesWrites);
    let (report, code) = bench("write -n 100 -c 4 --verify", &[&server]);
    assert_eq!((code, report["good"].as_bool()), (1, Some(false)), "{report}");
    assert_eq!(report["verified"]["acknowledged"], 100);
    assert_eq!(report["verified"]["found"], 90);
    // Without the count nothing is wrong with these answers, so the count is what caught it.
    assert_eq!(bench("write -n 100", &[&Server::start(Character::LosesWrites)]).1, 0);
}

#[test]
fn failures_are_counted_by_kind_and_the_rest_is_verified() {
    for (character, kind) in [
        (Character::HangsUp, "connection lost"),
        (Character::Leaderless, "status 503"),
        (Character::Constrained, "statement error"),
    ] {
        let server = Server::start(character);
        let (report, code) = bench("write -n 100 --keep-going --verify", &[&server]);
        assert_eq!(code, 0, "{character:?}: {report}");
        assert_eq!(report["failures"][kind]["count"], 10, "{character:?}: {report}");
        assert_eq!(report["verified"]["acknowledged"], 90, "{character:?}: {report}");
        assert_eq!(report["verified"]["found"], 90, "{character:?}: {report}");
        let (report, code) = bench("write -n 100", &[&server]);
        assert_eq!(
            (code, report["failures"][kind]["count"].as_u64()),
            (1, Some(1)),
            "{character:?}: {report}"
        );
    }
}

#[test]
fn a_failover_trace_names_the_gap_and_goes_on_at_the_other_node() {
    let gone = Server::start(Character::Honest);
    let stays = Server::start(Character::Honest);
    // Both hold the table; then one of them goes.
    for server in [&gone, &stays] {
        assert_eq!(bench("write -n 1", &[server]).1, 0);
    }
    let (gone_address, stays_address) = (gone.address.to_string(), stays.address.to_string());
    drop(gone);
    let addresses = format!("{gone_address},{stays_address}");
    let line = "write -n 50 -c 2 --failover-trace --verify";
    let (report, code) = bench_at(line, &addresses);
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["verified"]["found"], report["requests"], "{report}");
    assert_eq!(report["gap"]["until_node"], stays_address, "{report}");
    assert!(report["gap"]["ms"].as_f64() > Some(0.0), "{report}");
}

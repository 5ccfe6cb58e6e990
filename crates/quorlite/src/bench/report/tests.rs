//! Tests of the table, of the JSON, and of what makes a run a result.

use super::super::failure::Failure;
use super::super::recorder::Success;
use super::*;

fn options(line: &str) -> Options {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::parse(&words).unwrap().unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A hundred writes, one every 10 ms, each answered in 2 ms, and one silence of 500 ms after the 50th.
fn recorder() -> Recorder {
    let mut recorder = Recorder::new(Duration::ZERO, Some(ms(1500)));
    for step in 0..100 {
        let sent = ms(step * 10 + if step < 50 { 0 } else { 500 });
        recorder.success(Success {
            sent,
            answered: sent + ms(2),
            rows: 1,
            bytes: 50,
            wrote: true,
            node: 0,
        });
    }
    recorder
}

#[test]
fn the_table_shows_rate_percentiles_and_gap() {
    let options = options("write -c 8 --failover-trace --timeline");
    let recorder = recorder();
    let text = Report {
        options: &options,
        recorder: &recorder,
        started: SystemTime::UNIX_EPOCH,
        acknowledged: 100,
        drain: None,
        verified: None,
    }
    .table();
    assert!(text.contains("write, 8 clients, closed loop, 1.50 s"), "{text}");
    assert!(text.contains("requests   100, 67 per s"), "{text}");
    assert!(text.contains("max 2.000 ms"), "{text}");
    assert!(
        text.contains("510.000 ms without an acknowledgement, from 0.492 s (127.0.0.1:4001) on"),
        "{text}"
    );
    assert_eq!(
        text.lines().filter(|line| line.ends_with("2.000")).count(),
        10,
        "{text}"
    );
}

#[test]
fn the_json_holds_the_same() {
    let options = options("write --failover-trace --timeline --json");
    let recorder = recorder();
    let verified = Some(Verified {
        acknowledged: 100,
        found: 100,
        unacknowledged_found: 1,
    });
    let json = Report {
        options: &options,
        recorder: &recorder,
        started: SystemTime::UNIX_EPOCH,
        acknowledged: 100,
        drain: Some(ms(500)),
        verified,
    }
    .json();
    assert_eq!(json["requests"], 100);
    assert_eq!(json["good"], true);
    assert_eq!(json["latency_us"]["max"], 2000.0);
    assert_eq!(json["gap"]["ms"], 510.0);
    assert_eq!(json["queue"]["applied_per_s"], 50.0);
    assert_eq!(json["verified"]["unacknowledged_found"], 1);
    assert_eq!(json["windows"].as_array().map(Vec::len), Some(15));
    assert_eq!(
        json["windows"][0],
        serde_json::json!({"at_ms": 0, "requests": 10, "failures": 0, "max_us": 2000.0})
    );
}

#[test]
fn a_run_is_a_result_only_if_nothing_was_wrong() {
    let good = |line: &str, recorder: &Recorder, verified: Option<Verified>| {
        Report {
            options: &options(line),
            recorder,
            started: SystemTime::UNIX_EPOCH,
            acknowledged: 100,
            drain: None,
            verified,
        }
        .is_good()
    };
    let complete = Some(Verified {
        acknowledged: 100,
        found: 100,
        unacknowledged_found: 0,
    });
    let missing = Some(Verified {
        acknowledged: 100,
        found: 99,
        unacknowledged_found: 0,
    });
    assert!(good("write", &recorder(), complete));
    assert!(!good("write", &recorder(), missing), "a missing row");
    assert!(
        !good("write", &Recorder::new(Duration::ZERO, None), None),
        "no answer at all"
    );
    let mut lost = recorder();
    lost.failure(ms(1), &Failure::Lost("reset".to_owned()));
    assert!(!good("write", &lost, complete) && good("write --keep-going", &lost, complete));
    let mut wrong = recorder();
    wrong.failure(ms(1), &Failure::Wrong("stale".to_owned()));
    assert!(
        !good("write --keep-going", &wrong, complete),
        "a lie is never passed over"
    );
}

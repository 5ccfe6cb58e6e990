//! Tests of what a report comes to.

use super::*;

fn report(good: bool) -> Value {
    serde_json::json!({
        "good": good, "rows_per_s": 20.0, "acknowledged": 40,
        "latency_us": {"p50": 1500.0, "p99": 2500.0, "max": 3500.0},
        "failures": if good { serde_json::json!({}) } else { serde_json::json!({"x": {"count": 1, "first": "why"}}) },
    })
}

#[test]
fn a_report_becomes_figures() {
    let load = parse(&report(true)).unwrap();
    assert_eq!((load.rows_per_s, load.acknowledged), (20.0, 40.0));
    assert_eq!((load.p50_ms, load.p99_ms, load.max_ms), (1.5, 2.5, 3.5));
}

#[test]
fn queued_rows_count_when_they_are_applied() {
    let mut report = report(true);
    report["queue"] = serde_json::json!({"applied_per_s": 15.0, "drain_ms": 1.0});
    assert_eq!(parse(&report).unwrap().rows_per_s, 15.0);
}

#[test]
fn a_run_that_is_no_result_says_why() {
    assert_eq!(parse(&report(false)).unwrap_err().to_string(), "why");
    assert!(parse(&serde_json::json!({"good": true})).is_err());
}

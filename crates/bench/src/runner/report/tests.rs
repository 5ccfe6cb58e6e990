//! Tests of the tables.

use super::*;

fn options(words: &[&str]) -> Options {
    Options::parse(words).unwrap()
}

/// Two rounds of one load; all others failed.
fn samples() -> Samples {
    let mut samples = Samples::default();
    for (value, floor) in [(30_000.0, 40_000.0), (20_000.0, 40_000.0)] {
        samples.add("durable writes, 64 clients", Measure::Main, value, Some(floor));
        samples.add("durable writes, 64 clients", Measure::P99, 2.5, Some(1.25));
        samples.add("durable writes, 64 clients", Measure::Bytes, 1500.0, Some(1000.0));
        samples.add("bare write server, 64 clients", Measure::Main, floor, None);
    }
    samples.miss("durable writes, 256 clients", "leader not found");
    samples.miss(rows::RESTART, "the server ended with exit status: 1: lock | held");
    samples
}

#[test]
fn a_load_stands_beside_its_floor_and_rqlite() {
    let text = markdown(&options(&["--quorlited", "/x", "--only", "durable"]), &samples());
    let line = text
        .lines()
        .find(|line| line.starts_with("| durable writes, 64 clients"))
        .unwrap();
    assert_eq!(
        line,
        "| durable writes, 64 clients | 10,971 | 25,000 | 40,000 | 62 % | – | 2.500 | – | 1.250 |"
    );
    assert!(text.contains("| bare write server, 64 clients | 40,000 |"), "{text}");
    assert!(
        text.contains(
            "| durable writes, 64 clients | n/a: the server does not tell | – | – | 1,500 | 1,000 | 1.50 x |"
        )
    );
}

#[test]
fn what_is_missing_says_why() {
    let text = markdown(&options(&["--quorlited", "/x"]), &samples());
    assert!(
        text.contains("| durable writes, 256 clients | 12,720 | n/a: leader not found |"),
        "{text}"
    );
    assert!(text.contains("n/a: the server ended with exit status"), "{text}");
    assert!(
        text.contains("| point reads, level none, 64 clients | 17,564 | n/a: not measured |"),
        "{text}"
    );
}

#[test]
fn without_a_server_there_are_only_floors() {
    let text = markdown(&options(&[]), &samples());
    assert!(text.contains("bare write server") && !text.contains("rqlite"), "{text}");
}

#[test]
fn json_holds_every_turn() {
    let json = json(&options(&[]), &samples());
    let figures = json["figures"].as_array().unwrap();
    let main = figures
        .iter()
        .find(|figure| figure["row"] == "durable writes, 64 clients")
        .unwrap();
    assert_eq!(main["turns"], json!([[30_000.0, 40_000.0], [20_000.0, 40_000.0]]));
    assert_eq!(main["ratio"], 0.625);
    assert_eq!(json["missing"]["durable writes, 256 clients"], "leader not found");
}

#[test]
fn thousands_are_set_apart() {
    for (value, digits, text) in [
        (0.0, 0, "0"),
        (999.6, 0, "1,000"),
        (1_234_567.0, 0, "1,234,567"),
        (1234.5, 1, "1,234.5"),
    ] {
        assert_eq!(grouped(value, digits), text);
    }
}

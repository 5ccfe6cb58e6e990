//! The grammar and its outcomes, row by row of the specification.

use crate::flags::parse::default_of;
use crate::flags::usage::usage;
use crate::flags::{Kind, Misuse, Parsed, TABLE, Value, parse};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn parsed(text: &str) -> Parsed {
    parse(words(text)).unwrap_or_else(|misuse| panic!("{text}: {misuse:?}"))
}

fn misuse(text: &str) -> Misuse {
    parse(words(text)).expect_err(text)
}

#[test]
fn one_dash_and_two_are_the_same() {
    for text in ["-node-id=a d", "--node-id=a d", "-node-id a d", "--node-id a d"] {
        let parsed = parsed(text);
        assert_eq!(parsed.text("node-id"), "a", "{text}");
        assert_eq!(parsed.positional, ["d"], "{text}");
    }
}

#[test]
fn booleans_take_their_value_attached() {
    for (text, value) in [
        ("-fk", true),
        ("-fk=1", true),
        ("-fk=t", true),
        ("-fk=T", true),
        ("-fk=true", true),
        ("-fk=TRUE", true),
        ("-fk=True", true),
        ("-fk=0", false),
        ("-fk=f", false),
        ("-fk=F", false),
        ("-fk=false", false),
        ("-fk=FALSE", false),
        ("-fk=False", false),
    ] {
        assert_eq!(parsed(text).bool("fk"), value, "{text}");
    }
    assert_eq!(parsed("-fk false DIR").positional, ["false", "DIR"]);
}

#[test]
fn the_first_other_word_ends_the_flags() {
    assert_eq!(parsed("DIR -version").positional, ["DIR", "-version"]);
    assert_eq!(parsed("-- -fk").positional, ["-fk"]);
    assert_eq!(parsed("-fk -- DIR").positional, ["DIR"]);
    assert_eq!(parsed("- DIR").positional, ["-", "DIR"]);
}

#[test]
fn the_last_of_a_repeated_flag_wins() {
    assert_eq!(parsed("-raft-snap 1 -raft-snap=2 d").uint("raft-snap"), 2);
}

#[test]
fn an_empty_text_is_not_given() {
    let parsed = parsed("-node-id= -raft-addr= d");
    assert!(parsed.given("node-id").is_none());
    assert_eq!(parsed.text("raft-addr"), "localhost:4002");
}

#[test]
fn integers_have_prefixes_and_separators() {
    for (text, value) in [
        ("7", 7),
        ("-7", -7),
        ("+7", 7),
        ("0x1F", 31),
        ("0X1f", 31),
        ("0o17", 15),
        ("017", 15),
        ("0b101", 5),
        ("1_000", 1000),
        ("0x_1f", 31),
        ("0", 0),
        ("-9223372036854775808", i64::MIN),
    ] {
        assert_eq!(
            parsed(&format!("-join-attempts={text} d")).int("join-attempts"),
            value,
            "{text}"
        );
    }
    for (text, reason) in [
        ("", "parse error"),
        ("x", "parse error"),
        ("1_", "parse error"),
        ("_1", "parse error"),
        ("1__0", "parse error"),
        ("09", "parse error"),
        ("1.5", "parse error"),
        ("--1", "parse error"),
        ("9223372036854775808", "value out of range"),
        ("99999999999999999999", "value out of range"),
    ] {
        assert_eq!(
            misuse(&format!("-join-attempts={text} d")),
            Misuse::Usage(format!("invalid value \"{text}\" for flag -join-attempts: {reason}"))
        );
    }
    assert_eq!(
        misuse("-raft-snap -1 d"),
        Misuse::Usage("invalid value \"-1\" for flag -raft-snap: parse error".to_owned())
    );
}

#[test]
fn durations_are_those_of_go() {
    assert_eq!(parsed("-join-interval 1m30s d").ns("join-interval"), 90_000_000_000);
    for text in ["5", "1d", "x"] {
        assert_eq!(
            misuse(&format!("-join-interval {text} d")),
            Misuse::Usage(format!("invalid value \"{text}\" for flag -join-interval: parse error"))
        );
    }
}

#[test]
fn lists_are_split_and_not_trimmed() {
    let parsed = parse(vec!["-join".to_owned(), "a:1, b:2,".to_owned()]).unwrap();
    assert_eq!(parsed.list("join"), ["a:1", " b:2", ""]);
}

#[test]
fn misuse_has_its_text() {
    for (text, expected) in [
        ("-bogus", "flag provided but not defined: -bogus"),
        ("--bogus=1 d", "flag provided but not defined: -bogus"),
        ("-on-disk-path x d", "flag provided but not defined: -on-disk-path"),
        ("-raft-timeout 1s d", "flag provided but not defined: -raft-timeout"),
        ("-node-id", "flag needs an argument: -node-id"),
        ("-fk=maybe d", "invalid boolean value \"maybe\" for -fk: parse error"),
        ("---fk d", "bad flag syntax: ---fk"),
        ("-=1 d", "bad flag syntax: -=1"),
        ("-version -bogus", "flag provided but not defined: -bogus"),
    ] {
        assert_eq!(misuse(text), Misuse::Usage(expected.to_owned()), "{text}");
    }
}

#[test]
fn help_ends_reading() {
    for text in ["-h", "-help", "--help", "-h -bogus", "-fk -h"] {
        assert_eq!(misuse(text), Misuse::Help, "{text}");
    }
}

#[test]
fn every_default_parses_as_its_kind() {
    for flag in TABLE {
        let value = default_of(flag);
        let matches = matches!(
            (flag.kind, value),
            (Kind::Bool, Value::Bool(_))
                | (Kind::Text, Value::Text(_))
                | (Kind::Int, Value::Int(_))
                | (Kind::Uint, Value::Uint(_))
                | (Kind::Duration, Value::Duration(_))
        );
        assert!(matches, "-{}", flag.name);
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<&str> = TABLE.iter().map(|flag| flag.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// The names of the specification's table, word for word.
const SPECIFIED: &str = "version node-id http-addr http-adv-addr http-allow-origin auth http-cert http-key \
    http-ca-cert http-verify-client http-verify-common-name node-cert node-key node-ca-cert node-no-verify \
    node-verify-client node-verify-server-name node-verify-common-name raft-addr raft-adv-addr join join-attempts \
    join-interval join-as bootstrap-expect bootstrap-expect-timeout disco-mode disco-key disco-config raft-non-voter \
    raft-remove-shutdown raft-cluster-remove-shutdown raft-shutdown-stepdown raft-reap-node-timeout \
    raft-reap-read-only-node-timeout cluster-connect-timeout raft-log-level raft-heartbeat-timeout \
    raft-election-timeout raft-commit-timeout raft-leader-lease-timeout raft-apply-timeout raft-snap \
    raft-snap-wal-size raft-snap-int compress-snap-transport fk db-max-ro-conns auto-vacuum-int auto-optimize-int \
    extensions-path write-queue-capacity write-queue-batch-size write-queue-timeout write-queue-tx auto-backup \
    auto-restore cdc-config otlp-endpoint otlp-interval otlp-insecure otlp-no-verify otlp-ca-cert otlp-cert otlp-key \
    cpu-profile mem-profile trace-profile otlp-metrics-interval";

#[test]
fn every_specified_flag_is_known() {
    for name in words(SPECIFIED) {
        assert!(TABLE.iter().any(|flag| flag.name == name), "-{name}");
    }
}

#[test]
fn usage_lists_all_flags_by_name_with_defaults() {
    let text = usage();
    let listed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("  -"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(listed.len(), TABLE.len());
    assert!(listed.is_sorted());
    assert!(text.contains("Usage: quorlited [flags] <data directory>\n"));
    assert!(text.contains("  -http-addr string\n    \tHTTP API bind address (default \"localhost:4001\")\n"));
    assert!(text.contains("  -raft-snap uint\n"));
    assert!(text.contains("  -fk\n    \tenforce foreign keys; fixed when the cluster is formed\n"));
    assert!(text.contains("(default 8192)"));
}

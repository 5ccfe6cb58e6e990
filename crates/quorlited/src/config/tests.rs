//! Every rule of validation, and what resolves from what.

use std::time::Duration;

use crate::config::{Config, Refused};
use crate::flags;

fn resolve(text: &str) -> Result<Config, Refused> {
    let words = text.split_whitespace().map(str::to_owned);
    Config::resolve(&flags::parse(words).unwrap_or_else(|misuse| panic!("{text}: {misuse:?}")))
}

fn accepted(text: &str) -> Config {
    resolve(text).unwrap_or_else(|refused| panic!("{text}: {refused}"))
}

fn refused(text: &str) -> String {
    match resolve(text) {
        Ok(_) => panic!("{text}: accepted"),
        Err(refused) => refused.to_string(),
    }
}

/// Words, and a part of why they are refused.
const REFUSED: &[(&str, &str)] = &[
    (
        "-raft-reap-node-timeout=0h d",
        "-raft-reap-node-timeout must be greater than 0",
    ),
    (
        "-raft-reap-read-only-node-timeout=-1s d",
        "-raft-reap-read-only-node-timeout must be greater than 0",
    ),
    ("-fk", "data directory path is required"),
    (
        "-extensions-path /nowhere/at/all d",
        "extension path /nowhere/at/all does not exist",
    ),
    ("-http-cert c d", "-http-cert and -http-key must be given together"),
    ("-http-key c d", "-http-cert and -http-key must be given together"),
    ("-node-cert c d", "-node-cert and -node-key must be given together"),
    (
        "-http-verify-common-name n d",
        "-http-verify-common-name needs -http-verify-client",
    ),
    (
        "-node-verify-common-name n d",
        "-node-verify-common-name needs -node-verify-client",
    ),
    ("-http-addr h:1 -raft-addr h:1 d", "must differ"),
    (
        "-http-addr http://h:1 d",
        "-http-addr must be host:port without a scheme",
    ),
    (
        "-http-adv-addr https://h:1 d",
        "-http-adv-addr must be host:port without a scheme",
    ),
    ("-http-addr h d", "-http-addr must be host:port, not h"),
    ("-http-adv-addr h d", "-http-adv-addr must be host:port, not h"),
    ("-raft-addr h d", "-raft-addr must be host:port, not h"),
    ("-raft-adv-addr ::1 d", "-raft-adv-addr must be host:port, not ::1"),
    ("-raft-addr h:p d", "-raft-addr must have a port number"),
    ("-raft-adv-addr h:99999 d", "-raft-adv-addr must have a port number"),
    ("-http-addr 0.0.0.0:4001 d", "set -http-adv-addr"),
    ("-http-addr [::]:4001 d", "set -http-adv-addr"),
    ("-raft-addr 0.0.0.0:4002 d", "set -raft-adv-addr"),
    (
        "-http-adv-addr h:1 -raft-adv-addr h:1 d",
        "advertised HTTP and Raft addresses must differ",
    ),
    (
        "-bootstrap-expect 3 -raft-non-voter d",
        "-bootstrap-expect cannot be used with -raft-non-voter",
    ),
    ("-join h d", "-join entry \"h\" must be host:port"),
    ("-join a:1, d", "-join entry \"\" must be host:port"),
    ("-join localhost:4002 d", "a node cannot join itself"),
    ("-raft-adv-addr me:1 -join me:1 d", "a node cannot join itself"),
    ("-join a:1 -auto-restore f d", "-join cannot be used with -auto-restore"),
    ("-join a:1 -disco-mode dns d", "-join cannot be used with -disco-mode"),
    (
        "-cdc-config stdout -raft-non-voter -join a:1 d",
        "-cdc-config cannot be used with -raft-non-voter",
    ),
    ("-otlp-cert c d", "-otlp-cert and -otlp-key must be given together"),
    ("-otlp-insecure d", "OTLP TLS flags need -otlp-endpoint"),
    ("-otlp-no-verify d", "OTLP TLS flags need -otlp-endpoint"),
    ("-otlp-ca-cert c d", "OTLP TLS flags need -otlp-endpoint"),
    ("-otlp-cert c -otlp-key k d", "OTLP TLS flags need -otlp-endpoint"),
    (
        "-otlp-endpoint http://h:1 d",
        "-otlp-endpoint must be host:port without a scheme",
    ),
    ("-otlp-endpoint h d", "-otlp-endpoint must be host:port"),
    (
        "-otlp-endpoint h:1 -otlp-interval 0 d",
        "-otlp-interval must be greater than 0",
    ),
    (
        "-otlp-endpoint h:1 -otlp-insecure -otlp-no-verify d",
        "-otlp-insecure cannot be used with other",
    ),
    (
        "-disco-mode consul-kv -bootstrap-expect 3 d",
        "-bootstrap-expect cannot be used with -disco-mode consul-kv",
    ),
    (
        "-disco-mode etcd-kv -bootstrap-expect 3 d",
        "-bootstrap-expect cannot be used with -disco-mode etcd-kv",
    ),
    ("-disco-mode dns d", "-disco-mode dns needs -bootstrap-expect"),
    ("-disco-mode dns-srv d", "-disco-mode dns-srv needs -bootstrap-expect"),
    ("-disco-mode mdns d", "-disco-mode must be"),
    (
        "-raft-heartbeat-timeout 4ms d",
        "-raft-heartbeat-timeout must be at least 5ms",
    ),
    (
        "-raft-election-timeout 4ms d",
        "-raft-election-timeout must be at least 5ms",
    ),
    (
        "-raft-leader-lease-timeout 4ms d",
        "-raft-leader-lease-timeout must be at least 5ms",
    ),
    (
        "-raft-commit-timeout 10us d",
        "-raft-commit-timeout must be at least 1ms",
    ),
    ("-raft-snap-int 4ms d", "-raft-snap-int must be at least 5ms"),
    (
        "-raft-heartbeat-timeout -1s d",
        "-raft-heartbeat-timeout must be at least 5ms",
    ),
    (
        "-raft-heartbeat-timeout 1s -raft-leader-lease-timeout 2s d",
        "-raft-leader-lease-timeout (2s) must be at most",
    ),
    (
        "-raft-heartbeat-timeout 2s -raft-election-timeout 1s d",
        "-raft-election-timeout (1s) must be at least",
    ),
    (
        "-raft-commit-timeout 10s d",
        "-raft-commit-timeout (10s) must be at most half",
    ),
    ("-raft-apply-timeout 0 d", "-raft-apply-timeout must be greater than 0"),
    ("-db-max-ro-conns -1 d", "-db-max-ro-conns must not be negative"),
];

#[test]
fn each_rule_refuses() {
    for (text, part) in REFUSED {
        let text = refused(text);
        assert!(
            text.starts_with("fatal: ") && text.contains(part),
            "{text}\ndoes not hold\n{part}"
        );
    }
}

#[test]
fn a_blank_directory_is_none() {
    let parsed = flags::parse(vec!["-fk".to_owned(), "  ".to_owned()]).unwrap();
    assert_eq!(
        Config::resolve(&parsed).unwrap_err().to_string(),
        "fatal: data directory path is required"
    );
}

#[test]
fn words_after_the_directory_are_refused_without_prefix() {
    assert_eq!(
        refused("d -version x"),
        "arguments after data directory (DIR) are not accepted ([-version x])"
    );
    assert_eq!(
        refused("-fk false DIR"),
        "arguments after data directory (DIR) are not accepted ([DIR])"
    );
}

#[test]
fn rules_come_in_order() {
    assert!(refused("-raft-reap-node-timeout=0 a b").contains("reap"));
    assert!(refused("-http-cert c a b").contains("arguments after"));
    assert!(refused("-http-cert c -http-addr http://x d").contains("-http-key"));
    assert!(refused("-join a:1, -disco-mode nonsense d").contains("-join entry"));
    assert!(refused("-auth f -disco-mode nonsense d").contains("-disco-mode must be"));
}

#[test]
fn what_is_still_to_come_is_refused_by_name() {
    for (text, name) in [
        ("-auth f d", "-auth"),
        ("-http-cert c -http-key k d", "-http-cert"),
        ("-http-ca-cert c d", "-http-ca-cert"),
        ("-http-verify-client d", "-http-verify-client"),
        ("-node-cert c -node-key k d", "-node-cert"),
        ("-node-no-verify d", "-node-no-verify"),
        ("-join-as u d", "-join-as"),
        ("-disco-mode consul-kv d", "-disco-mode"),
        ("-raft-remove-shutdown d", "-raft-remove-shutdown"),
        ("-raft-reap-node-timeout 1h d", "-raft-reap-node-timeout"),
        ("-compress-snap-transport d", "-compress-snap-transport"),
        ("-auto-vacuum-int 1h d", "-auto-vacuum-int"),
        ("-auto-optimize-int 1h d", "-auto-optimize-int"),
        ("-extensions-path / d", "-extensions-path"),
        ("-auto-backup f d", "-auto-backup"),
        ("-auto-restore f d", "-auto-restore"),
        ("-cdc-config stdout d", "-cdc-config"),
        ("-otlp-endpoint h:1 d", "-otlp-endpoint"),
        ("-cpu-profile f d", "-cpu-profile"),
    ] {
        let text = refused(text);
        assert!(
            text.starts_with(&format!("fatal: {name} is not supported yet: ")),
            "{text}"
        );
        assert!(text.ends_with(" still to come"), "{text}");
    }
}

#[test]
fn what_leaves_a_feature_off_is_accepted() {
    for text in [
        "-auto-vacuum-int=0 d",
        "-auto-optimize-int=24h d",
        "-auto-optimize-int 0s d",
        "-auth= d",
        "-node-no-verify=false d",
        "-disco-key rqlite d",
        "-compress-snap-transport=false d",
        "-otlp-interval 30s d",
        "-raft-snap-int 0 d",
    ] {
        accepted(text);
    }
}

#[test]
fn what_must_not_be_refused() {
    for text in [
        "-join http://nonsense d",
        "-join localhost:4002 -bootstrap-expect 3 d",
        "-http-addr :4001 -raft-addr :4002 d",
        "-http-addr h:p d",
        "-bootstrap-expect -3 -raft-non-voter -join a:1 d",
        "-raft-heartbeat-timeout 2s -raft-election-timeout 2s -raft-leader-lease-timeout 500ms d",
        "-raft-log-level nonsense d",
    ] {
        accepted(text);
    }
}

#[test]
fn addresses_and_names_derive() {
    let config = accepted("d");
    assert_eq!(config.http.bind, "localhost:4001");
    assert_eq!(config.http.advertised, "localhost:4001");
    assert_eq!(config.cluster.bind, "localhost:4002");
    assert_eq!(config.store.address, "localhost:4002");
    assert_eq!(config.store.name, "localhost:4002");
    assert_eq!(config.api_url(), "http://localhost:4001");
    assert!(config.store.dir.is_absolute());
    assert!(config.store.voter && config.http.atomic_requests && config.stop.steps_down && !config.stop.leaves);

    let config = accepted("-http-addr 0.0.0.0:1 -http-adv-addr a:1 -raft-addr 0.0.0.0:2 -raft-adv-addr b:2 d");
    assert_eq!(config.http.advertised, "a:1");
    assert_eq!(config.store.address, "b:2");
    assert_eq!(config.store.name, "b:2");
    assert_eq!(accepted("-node-id n1 d").store.name, "n1");

    let config = accepted("-http-addr :4001 -raft-addr :4002 d");
    assert_eq!(
        (config.http.bind.as_str(), config.http.advertised.as_str()),
        ("0.0.0.0:4001", ":4001")
    );
    assert_eq!(
        (config.cluster.bind.as_str(), config.store.address.as_str()),
        ("0.0.0.0:4002", ":4002")
    );
}

#[test]
fn timings_map_as_documented() {
    let config = accepted("d").store;
    let built_in = store::config::Config::new("d".into(), String::new(), String::new());
    assert_eq!(config.election_timeout, built_in.election_timeout);
    assert_eq!(config.heartbeat_interval, built_in.heartbeat_interval);
    let config = accepted("-raft-heartbeat-timeout 1200ms d").store;
    assert_eq!(config.election_timeout, Duration::from_millis(1200));
    assert_eq!(config.heartbeat_interval, Duration::from_millis(150));
    let config = accepted("-raft-heartbeat-timeout 1s -raft-commit-timeout 50ms d").store;
    assert_eq!(config.heartbeat_interval, Duration::from_millis(50));
    assert_eq!(accepted("-raft-snap 0 d").store.snapshot_entries, 8192);
    assert_eq!(accepted("-raft-snap 0x10 d").store.snapshot_entries, 16);
}

#[test]
fn flags_without_effect_are_remarked() {
    assert!(accepted("d").remarks.is_empty());
    let remarks = accepted("-raft-snap-int 1s -raft-election-timeout 2s d").remarks;
    assert_eq!(remarks.len(), 2);
    assert!(remarks.iter().all(|remark| remark.contains("has no effect: ")));
}

//! The rules of validation, in the order in which they are told.

use std::path::{Path, PathBuf};

use crate::config::address::{is_unspecified, split, split_lexically};
use crate::config::{Names, Refused, leaves_off};
use crate::duration;
use crate::flags::{Parsed, Support, TABLE, Value};

const MILLISECOND: i64 = 1_000_000;

/// Requests in the queue of writes, at most: their bytes are bounded otherwise, their number only by this.
const QUEUE_MAX: i64 = 1_000_000;

type Checked = Result<(), Refused>;

/// All rules; answers the data directory, absolute.
pub fn all(parsed: &Parsed) -> Result<PathBuf, Refused> {
    reap_timeouts(parsed)?;
    let dir = directory(parsed)?;
    extensions(parsed)?;
    certificates(parsed)?;
    addresses(parsed)?;
    joining(parsed)?;
    refuse_if(
        !parsed.text("cdc-config").is_empty() && parsed.bool("raft-non-voter"),
        "-cdc-config cannot be used with -raft-non-voter: a read replica streams no changes",
    )?;
    export(parsed)?;
    discovery(parsed)?;
    timings(parsed)?;
    counts(parsed)?;
    still_to_come(parsed)?;
    Ok(dir)
}

fn refuse_if(broken: bool, reason: impl Into<String>) -> Checked {
    if broken {
        Err(Refused::Rule(reason.into()))
    } else {
        Ok(())
    }
}

fn reap_timeouts(parsed: &Parsed) -> Checked {
    for name in ["raft-reap-node-timeout", "raft-reap-read-only-node-timeout"] {
        let given = matches!(parsed.given(name), Some(Value::Duration(ns)) if *ns <= 0);
        refuse_if(
            given,
            format!("-{name} must be greater than 0; leave it out to switch reaping off"),
        )?;
    }
    Ok(())
}

fn directory(parsed: &Parsed) -> Result<PathBuf, Refused> {
    if let [_, surplus @ ..] = parsed.positional.as_slice()
        && !surplus.is_empty()
    {
        return Err(Refused::Words(surplus.join(" ")));
    }
    let word = parsed.positional.first().map(|word| word.trim()).unwrap_or_default();
    refuse_if(word.is_empty(), "data directory path is required")?;
    std::path::absolute(word).map_err(|error| Refused::Rule(format!("data directory {word}: {error}")))
}

fn extensions(parsed: &Parsed) -> Checked {
    for path in parsed.list("extensions-path") {
        refuse_if(
            !Path::new(&path).exists(),
            format!("extension path {path} does not exist"),
        )?;
    }
    Ok(())
}

fn certificates(parsed: &Parsed) -> Checked {
    let set = |name: &str| !parsed.text(name).is_empty();
    for (cert, key) in [("http-cert", "http-key"), ("node-cert", "node-key")] {
        refuse_if(
            set(cert) != set(key),
            format!("-{cert} and -{key} must be given together"),
        )?;
    }
    for (name, verify) in [
        ("http-verify-common-name", "http-verify-client"),
        ("node-verify-common-name", "node-verify-client"),
    ] {
        refuse_if(set(name) && !parsed.bool(verify), format!("-{name} needs -{verify}"))?;
    }
    Ok(())
}

fn addresses(parsed: &Parsed) -> Checked {
    let (http, raft) = (parsed.text("http-addr"), parsed.text("raft-addr"));
    let names = Names::of(parsed);
    refuse_if(
        http == raft,
        format!("-raft-addr and -http-addr must differ, both are {raft}"),
    )?;
    for (name, text) in [("http-addr", &http), ("http-adv-addr", &names.http_advertised)] {
        refuse_if(
            text.starts_with("http"),
            format!("-{name} must be host:port without a scheme, not {text}"),
        )?;
    }
    for (name, text) in [
        ("http-addr", &http),
        ("http-adv-addr", &names.http_advertised),
        ("raft-addr", &raft),
        ("raft-adv-addr", &names.raft_advertised),
    ] {
        let Some((_, port)) = split(text) else {
            return Err(Refused::Rule(format!("-{name} must be host:port, not {text}")));
        };
        let numeric = port.parse::<u16>().is_ok();
        refuse_if(
            name.starts_with("raft") && !numeric,
            format!("-{name} must have a port number, not {port}"),
        )?;
    }
    for (name, text) in [
        ("http-adv-addr", &names.http_advertised),
        ("raft-adv-addr", &names.raft_advertised),
    ] {
        let host = split(text).map_or("", |(host, _)| host);
        refuse_if(
            is_unspecified(host),
            format!("advertised address {text} cannot be reached by others: set -{name} to one that can"),
        )?;
    }
    refuse_if(
        names.http_advertised == names.raft_advertised,
        format!(
            "advertised HTTP and Raft addresses must differ, both are {}",
            names.raft_advertised
        ),
    )
}

fn joining(parsed: &Parsed) -> Checked {
    let expects = parsed.int("bootstrap-expect") > 0;
    refuse_if(
        expects && parsed.bool("raft-non-voter"),
        "-bootstrap-expect cannot be used with -raft-non-voter: a read replica forms no cluster",
    )?;
    let join = parsed.list("join");
    for entry in &join {
        refuse_if(
            split_lexically(entry).is_none(),
            format!("-join entry \"{entry}\" must be host:port"),
        )?;
    }
    let own = [parsed.text("raft-addr"), Names::of(parsed).raft_advertised];
    let names_itself = join
        .iter()
        .find(|entry| own.iter().any(|address| address == entry.trim()));
    if let (Some(entry), false) = (names_itself, expects) {
        return Err(Refused::Rule(format!(
            "-join names this node itself ({entry}): a node cannot join itself"
        )));
    }
    refuse_if(
        !join.is_empty() && !expects && !parsed.text("auto-restore").is_empty(),
        "-join cannot be used with -auto-restore: a joining node gets its data from the cluster",
    )?;
    refuse_if(
        !join.is_empty() && !parsed.text("disco-mode").is_empty(),
        "-join cannot be used with -disco-mode: choose one way to find the cluster",
    )
}

fn export(parsed: &Parsed) -> Checked {
    let set = |name: &str| !parsed.text(name).is_empty();
    refuse_if(
        set("otlp-cert") != set("otlp-key"),
        "-otlp-cert and -otlp-key must be given together",
    )?;
    let endpoint = parsed.text("otlp-endpoint");
    let insecure = parsed.bool("otlp-insecure");
    let secure = parsed.bool("otlp-no-verify") || set("otlp-ca-cert") || set("otlp-cert");
    refuse_if(
        endpoint.is_empty() && (insecure || secure),
        "OTLP TLS flags need -otlp-endpoint",
    )?;
    let is_address = endpoint.is_empty() || (!endpoint.contains("://") && split(&endpoint).is_some());
    refuse_if(
        !is_address,
        format!("-otlp-endpoint must be host:port without a scheme, not {endpoint}"),
    )?;
    let interval_ok = parsed.ns("otlp-interval") > 0 && parsed.ns("otlp-metrics-interval") > 0;
    refuse_if(!interval_ok, "-otlp-interval must be greater than 0")?;
    refuse_if(
        insecure && secure,
        "-otlp-insecure cannot be used with other OTLP TLS flags",
    )
}

fn discovery(parsed: &Parsed) -> Checked {
    let mode = parsed.text("disco-mode");
    let expects = parsed.int("bootstrap-expect") > 0;
    match mode.as_str() {
        "" => Ok(()),
        "consul-kv" | "etcd-kv" => refuse_if(
            expects,
            format!("-bootstrap-expect cannot be used with -disco-mode {mode}"),
        ),
        "dns" | "dns-srv" => refuse_if(
            !expects && !parsed.bool("raft-non-voter"),
            format!("-disco-mode {mode} needs -bootstrap-expect"),
        ),
        _ => Err(Refused::Rule(format!(
            "-disco-mode must be consul-kv, etcd-kv, dns or dns-srv, not {mode}"
        ))),
    }
}

/// Zero means the built-in choice, except for what `-raft-snap-int` says of itself.
fn timings(parsed: &Parsed) -> Checked {
    for (name, least_ms) in [
        ("raft-heartbeat-timeout", 5),
        ("raft-election-timeout", 5),
        ("raft-leader-lease-timeout", 5),
        ("raft-commit-timeout", 1),
        ("raft-snap-int", 5),
    ] {
        let ns = parsed.ns(name);
        refuse_if(
            ns != 0 && ns < least_ms * MILLISECOND,
            format!("-{name} must be at least {least_ms}ms"),
        )?;
    }
    let (heartbeat, election) = (parsed.ns("raft-heartbeat-timeout"), parsed.ns("raft-election-timeout"));
    let lease = parsed.ns("raft-leader-lease-timeout");
    refuse_if(
        heartbeat != 0 && lease > heartbeat,
        format!(
            "-raft-leader-lease-timeout ({}) must be at most -raft-heartbeat-timeout ({})",
            duration::text_ns(lease),
            duration::text_ns(heartbeat)
        ),
    )?;
    refuse_if(
        election != 0 && election < heartbeat,
        format!(
            "-raft-election-timeout ({}) must be at least -raft-heartbeat-timeout ({})",
            duration::text_ns(election),
            duration::text_ns(heartbeat)
        ),
    )
}

fn counts(parsed: &Parsed) -> Checked {
    for name in [
        "raft-apply-timeout",
        "cluster-connect-timeout",
        "db-read-age-max",
        "http-stall-timeout",
    ] {
        refuse_if(parsed.ns(name) <= 0, format!("-{name} must be greater than 0"))?;
    }
    for name in [
        "join-interval",
        "bootstrap-expect-timeout",
        "drain-timeout",
        "write-queue-timeout",
        "slow-query-threshold",
        "content-hash-interval",
    ] {
        refuse_if(parsed.ns(name) < 0, format!("-{name} must not be negative"))?;
    }
    refuse_if(
        parsed.int("http-max-reads") < 1,
        "-http-max-reads must be greater than 0",
    )?;
    refuse_if(
        parsed.uint("http-max-body") == 0,
        "-http-max-body must be greater than 0",
    )?;
    for name in ["write-queue-capacity", "write-queue-batch-size"] {
        let allowed = 1..=QUEUE_MAX;
        refuse_if(
            !allowed.contains(&parsed.int(name)),
            format!("-{name} must be from 1 to {QUEUE_MAX}"),
        )?;
    }
    for name in ["join-attempts", "db-max-ro-conns"] {
        refuse_if(parsed.int(name) < 0, format!("-{name} must not be negative"))?;
    }
    Ok(())
}

fn still_to_come(parsed: &Parsed) -> Checked {
    for flag in TABLE {
        let Support::Later(feature) = flag.support else {
            continue;
        };
        let on = parsed.given(flag.name).is_some_and(|value| !leaves_off(flag, value));
        refuse_if(
            on,
            format!("-{} is not supported yet: {feature} is still to come", flag.name),
        )?;
    }
    Ok(())
}

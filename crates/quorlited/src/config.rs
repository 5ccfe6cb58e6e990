//! What the flags mean together: validated in the specification's order, then resolved once.
//!
//! No component reads flags; each gets its part of [`Config`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::duration;
use crate::flags::parse::default_of;
use crate::flags::{Parsed, Support, TABLE, Value};
use crate::http::queue;
use crate::http::watch::Limits;

mod address;
mod check;
#[cfg(test)]
mod tests;

/// Everything that a process is told at start.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the store.
    pub store: store::config::Config,
    /// For the HTTP API.
    pub http: Http,
    /// For the inter-node port, joining and forming.
    pub cluster: Cluster,
    /// For the graceful stop.
    pub stop: Stop,
    /// What is logged: `-raft-log-level` as it was given.
    pub log_level: String,
    /// The process runs in a Kubernetes pod.
    pub is_in_kubernetes: bool,
    /// Flags that were given and have no effect, with the reason; to be logged.
    pub remarks: Vec<String>,
}

/// The HTTP API's part.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where to listen.
    pub bind: String,
    /// The address told to nodes and clients.
    pub advertised: String,
    /// The CORS allow-origin header's value.
    pub allow_origin: Option<String>,
    /// Write requests are atomic unless they say otherwise.
    pub atomic_requests: bool,
    /// How queued writes leave.
    pub queue: queue::Options,
    /// Within which limits requests run.
    pub limits: Limits,
}

/// The cluster's part.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Where to listen.
    pub bind: String,
    /// Longest dial of a peer.
    pub connect_timeout: Duration,
    /// Whom to join through.
    pub join: Vec<String>,
    /// Rounds over the join list.
    pub join_attempts: u32,
    /// Pause between rounds.
    pub join_interval: Duration,
    /// Nodes that form a new cluster together; 0 = do not wait for others.
    pub bootstrap_expect: u32,
    /// Longest wait for the cluster to form.
    pub bootstrap_expect_timeout: Duration,
}

/// How the process stops when asked to.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// Longest wait for requests in progress.
    pub drain_timeout: Duration,
    /// A leader hands over first.
    pub steps_down: bool,
    /// The node leaves the cluster.
    pub leaves: bool,
}

/// Why the process does not start; the whole line for standard error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Words stand after the data directory.
    #[error("arguments after data directory (DIR) are not accepted ([{0}])")]
    Words(String),
    /// A rule is broken.
    #[error("fatal: {0}")]
    Rule(String),
}

impl Config {
    /// Validates and resolves.
    ///
    /// # Errors
    ///
    /// The first rule that is broken.
    pub fn resolve(parsed: &Parsed) -> Result<Self, Refused> {
        let dir = check::all(parsed)?;
        let names = Names::of(parsed);
        Ok(Self {
            store: store_config(parsed, &dir, &names)?,
            http: Http {
                bind: listening(parsed.text("http-addr")),
                advertised: names.http_advertised,
                allow_origin: Some(parsed.text("http-allow-origin")).filter(|origin| !origin.is_empty()),
                atomic_requests: parsed.bool("atomic-requests"),
                queue: queue::Options {
                    capacity: count(parsed, "write-queue-capacity"),
                    batch_size: count(parsed, "write-queue-batch-size"),
                    timeout: duration::from_ns(parsed.ns("write-queue-timeout")),
                    transaction: parsed.bool("write-queue-tx"),
                },
                limits: Limits {
                    body_bytes_max: usize::try_from(parsed.uint("http-max-body")).unwrap_or(usize::MAX),
                    result_bytes_max: parsed.uint("http-max-result"),
                    reads_max: count(parsed, "http-max-reads"),
                    readers_max: usize::try_from(parsed.int("db-max-ro-conns")).unwrap_or(0),
                    stall_max: duration::from_ns(parsed.ns("http-stall-timeout")),
                    slow: duration::from_ns(parsed.ns("slow-query-threshold")),
                },
            },
            cluster: Cluster {
                bind: listening(parsed.text("raft-addr")),
                connect_timeout: duration::from_ns(parsed.ns("cluster-connect-timeout")),
                join: parsed
                    .list("join")
                    .iter()
                    .map(|entry| entry.trim().to_owned())
                    .collect(),
                join_attempts: clamp(parsed.int("join-attempts")),
                join_interval: duration::from_ns(parsed.ns("join-interval")),
                bootstrap_expect: clamp(parsed.int("bootstrap-expect")),
                bootstrap_expect_timeout: duration::from_ns(parsed.ns("bootstrap-expect-timeout")),
            },
            stop: Stop {
                drain_timeout: duration::from_ns(parsed.ns("drain-timeout")),
                steps_down: parsed.bool("raft-shutdown-stepdown"),
                leaves: parsed.bool("raft-cluster-remove-shutdown"),
            },
            log_level: parsed.text("raft-log-level").to_ascii_uppercase(),
            is_in_kubernetes: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            remarks: remarks(parsed),
        })
    }

    /// The API's URL as clients see it.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.http.advertised)
    }
}

/// Addresses and the name, with their defaults derived.
struct Names {
    http_advertised: String,
    raft_advertised: String,
    node: String,
}

impl Names {
    fn of(parsed: &Parsed) -> Self {
        let or = |name, default: &str| {
            let text = parsed.text(name);
            if text.is_empty() { default.to_owned() } else { text }
        };
        let raft_advertised = or("raft-adv-addr", &parsed.text("raft-addr"));
        Self {
            http_advertised: or("http-adv-addr", &parsed.text("http-addr")),
            node: or("node-id", &raft_advertised),
            raft_advertised,
        }
    }
}

/// Heartbeats that fit into the shortest silence when only that is given: seven may be lost before anyone stands.
const HEARTBEATS_PER_TIMEOUT: u32 = 8;

/// Documented in docs/operations.md, "Timings".
fn store_config(parsed: &Parsed, dir: &Path, names: &Names) -> Result<store::config::Config, Refused> {
    let mut config = store::config::Config::new(dir.to_owned(), names.node.clone(), names.raft_advertised.clone());
    if let Some(timeout) = positive(parsed.ns("raft-heartbeat-timeout")) {
        config.election_timeout = timeout;
        config.heartbeat_interval = timeout / HEARTBEATS_PER_TIMEOUT;
    }
    if let Some(interval) = positive(parsed.ns("raft-commit-timeout")) {
        config.heartbeat_interval = interval;
    }
    if config.heartbeat_interval * 2 > config.election_timeout {
        return Err(Refused::Rule(format!(
            "-raft-commit-timeout ({}) must be at most half of -raft-heartbeat-timeout ({})",
            duration::text(config.heartbeat_interval),
            duration::text(config.election_timeout),
        )));
    }
    if let entries @ 1.. = parsed.uint("raft-snap") {
        config.snapshot_entries = entries;
    }
    config.voter = !parsed.bool("raft-non-voter");
    config.foreign_keys = parsed.bool("fk");
    config.extensions = parsed.list("extensions-path").into_iter().map(PathBuf::from).collect();
    config.readers_max = usize::try_from(parsed.int("db-max-ro-conns")).unwrap_or(0);
    config.snapshot_wal_bytes = parsed.uint("raft-snap-wal-size");
    config.apply_timeout = duration::from_ns(parsed.ns("raft-apply-timeout"));
    config.read_age_max = duration::from_ns(parsed.ns("db-read-age-max"));
    config.disk_watermark = parsed.uint("disk-watermark");
    config.verify_interval = duration::from_ns(parsed.ns("content-hash-interval"));
    Ok(config)
}

/// Nothing, or less, means the built-in choice.
fn positive(ns: i64) -> Option<Duration> {
    Some(duration::from_ns(ns)).filter(|duration| !duration.is_zero())
}

/// An address to listen on, where no host means every interface.
fn listening(address: String) -> String {
    if address.starts_with(':') {
        format!("0.0.0.0{address}")
    } else {
        address
    }
}

fn count(parsed: &Parsed, name: &str) -> usize {
    usize::try_from(parsed.int(name)).unwrap_or(0)
}

fn clamp(value: i64) -> u32 {
    u32::try_from(value.max(0)).unwrap_or(u32::MAX)
}

fn remarks(parsed: &Parsed) -> Vec<String> {
    let no_effect = |flag: &crate::flags::Flag| match flag.support {
        Support::NoEffect(reason) => parsed
            .given(flag.name)
            .map(|_| format!("-{} has no effect: {reason}", flag.name)),
        Support::Works | Support::Later(_) => None,
    };
    TABLE.iter().filter_map(no_effect).collect()
}

/// A value with which a feature stays off: the default, and whatever means nothing.
fn leaves_off(flag: &crate::flags::Flag, value: &Value) -> bool {
    let nothing = match value {
        Value::Bool(value) => !value,
        Value::Text(text) => text.is_empty(),
        Value::Int(0) | Value::Uint(0) | Value::Duration(0) => true,
        Value::Int(_) | Value::Uint(_) | Value::Duration(_) => false,
    };
    nothing || *value == default_of(flag)
}

//! Every flag, as data. The order is that of the specification; usage sorts by name.

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Without its dash.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// The default, in the syntax of the command line.
    pub default: &'static str,
    /// One line for the usage text.
    pub help: &'static str,
    /// What this release does with it.
    pub support: Support,
}

/// What a flag's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `-x`, `-x=true`, `-x=0`.
    Bool,
    /// Any text.
    Text,
    /// A signed 64-bit integer.
    Int,
    /// An unsigned 64-bit integer.
    Uint,
    /// Go's duration text.
    Duration,
}

/// What this release does with a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It works.
    Works,
    /// It is checked and then has no effect, for this reason; giving it is logged.
    NoEffect(&'static str),
    /// The feature is still to come: only the default, zero and empty are taken.
    Later(&'static str),
}

const TLS: Support = Support::Later("TLS");
const AUTH: Support = Support::Later("access control");
const DISCO: Support = Support::Later("discovery");
const REAP: Support = Support::Later("reaping of unreachable nodes");
const OTLP: Support = Support::Later("OpenTelemetry export");
const PROFILE: Support = Support::Later("profiling");

const fn works(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    flag(name, kind, default, help, Support::Works)
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str, support: Support) -> Flag {
    Flag {
        name,
        kind,
        default,
        help,
        support,
    }
}

use Kind::{Bool, Duration, Int, Text, Uint};

/// The table.
#[rustfmt::skip]
pub const TABLE: &[Flag] = &[
    // General, HTTP and security.
    works("version", Bool, "false", "print the version and exit"),
    works("node-id", Text, "", "unique, permanent name of this node; if empty, the advertised Raft address"),
    works("http-addr", Text, "localhost:4001", "HTTP API bind address"),
    works("http-adv-addr", Text, "", "HTTP address told to nodes and clients; if empty, the bind address"),
    works("http-allow-origin", Text, "", "value of the Access-Control-Allow-Origin header; if empty, none is sent"),
    flag("auth", Text, "", "file of users and permissions; if empty, everything is allowed", AUTH),
    flag("http-cert", Text, "", "certificate of the HTTP API", TLS),
    flag("http-key", Text, "", "key of the HTTP API's certificate", TLS),
    flag("http-ca-cert", Text, "", "CA bundle that checks HTTP client certificates", TLS),
    flag("http-verify-client", Bool, "false", "demand and verify HTTP client certificates", TLS),
    flag("http-verify-common-name", Text, "", "common name demanded of HTTP client certificates", TLS),
    flag("node-cert", Text, "", "certificate of the inter-node port", TLS),
    flag("node-key", Text, "", "key of the inter-node port's certificate", TLS),
    flag("node-ca-cert", Text, "", "CA bundle that checks other nodes' certificates", TLS),
    flag("node-no-verify", Bool, "false", "accept any certificate of other nodes", TLS),
    flag("node-verify-client", Bool, "false", "demand and verify certificates of connecting nodes", TLS),
    flag("node-verify-server-name", Text, "", "host name demanded of other nodes' certificates", TLS),
    flag("node-verify-common-name", Text, "", "common name demanded of connecting nodes", TLS),
    works("atomic-requests", Bool, "true", "all statements of a write request succeed or fail together, unless the request says otherwise"),
    works("http-max-body", Uint, "134217728", "longest request body, in bytes, but for loads"),
    works("http-max-result", Uint, "0", "longest result of a read, in bytes; 0 = unlimited"),
    works("http-max-reads", Int, "1024", "reads that run or wait at a time; beyond them 503"),
    works("http-stall-timeout", Duration, "30s", "a client that takes nothing of its result for longer is cut"),
    works("slow-query-threshold", Duration, "0s", "log statements that take at least this long; 0 = none"),
    works("drain-timeout", Duration, "10s", "longest wait for requests in progress at graceful shutdown"),
    // Clustering.
    works("raft-addr", Text, "localhost:4002", "inter-node bind address"),
    works("raft-adv-addr", Text, "", "inter-node address told to other nodes; if empty, the bind address"),
    works("join", Text, "", "comma-separated inter-node addresses of nodes to join through"),
    works("join-attempts", Int, "5", "rounds over the join list"),
    works("join-interval", Duration, "3s", "pause between rounds"),
    flag("join-as", Text, "", "user of the -auth file as whom to join", AUTH),
    works("bootstrap-expect", Int, "0", "nodes that must announce themselves before a new cluster is formed"),
    works("bootstrap-expect-timeout", Duration, "120s", "give up if not in a cluster by then"),
    flag("disco-mode", Text, "", "consul-kv, etcd-kv, dns or dns-srv; if empty, no discovery", DISCO),
    flag("disco-key", Text, "rqlite", "key prefix in Consul or etcd", DISCO),
    flag("disco-config", Text, "", "discovery configuration: a file, or JSON", DISCO),
    works("raft-non-voter", Bool, "false", "run as a read replica"),
    flag("raft-remove-shutdown", Bool, "false", "stop Raft when this node is removed while it leads", Support::Later("stopping Raft on removal")),
    works("raft-cluster-remove-shutdown", Bool, "false", "leave the cluster at graceful shutdown"),
    works("raft-shutdown-stepdown", Bool, "true", "hand leadership over at graceful shutdown"),
    flag("raft-reap-node-timeout", Duration, "0s", "remove a voter that is unreachable for longer; 0 = never", REAP),
    flag("raft-reap-read-only-node-timeout", Duration, "0s", "remove a read replica that is unreachable for longer; 0 = never", REAP),
    works("cluster-connect-timeout", Duration, "30s", "dial timeout towards other nodes"),
    // Raft and database tuning.
    works("raft-log-level", Text, "WARN", "ERROR, WARN, INFO or DEBUG"),
    works("raft-heartbeat-timeout", Duration, "0s", "shortest silence of the leader before an election (the longest is twice this); 0 = the built-in choice"),
    flag("raft-election-timeout", Duration, "0s", "at least -raft-heartbeat-timeout", Support::NoEffect("a candidate waits as long as a follower does: see -raft-heartbeat-timeout")),
    works("raft-commit-timeout", Duration, "0s", "the leader is heard at least this often; 0 = the built-in choice, or an eighth of -raft-heartbeat-timeout"),
    flag("raft-leader-lease-timeout", Duration, "0s", "at most -raft-heartbeat-timeout", Support::NoEffect("the lease follows from -raft-heartbeat-timeout")),
    works("raft-apply-timeout", Duration, "10s", "longest wait of a write to be taken into the log"),
    works("raft-snap", Uint, "8192", "log entries since the last snapshot that trigger one"),
    works("raft-snap-wal-size", Uint, "4194304", "WAL bytes that trigger a snapshot; 0 = off"),
    flag("raft-snap-int", Duration, "10s", "0, or at least 5ms", Support::NoEffect("both triggers are checked after every batch of entries")),
    flag("compress-snap-transport", Bool, "false", "compress snapshots between nodes", Support::Later("compression of snapshots")),
    works("fk", Bool, "false", "enforce foreign keys; fixed when the cluster is formed"),
    works("disk-watermark", Uint, "67108864", "below this many free bytes of disk, writes are refused"),
    works("content-hash-interval", Duration, "24h0m0s", "all nodes hash and check their content, and compare it, this often; 0 = only when asked"),
    works("db-read-age-max", Duration, "1m0s", "a read that runs longer is cut, so that checkpoints can go on"),
    works("db-max-ro-conns", Int, "256", "most concurrent read-only connections; 0 = unlimited"),
    flag("auto-vacuum-int", Duration, "0s", "period of automatic VACUUM; 0 = off", Support::Later("automatic VACUUM")),
    flag("auto-optimize-int", Duration, "24h0m0s", "period of automatic PRAGMA optimize; 0 = off", Support::Later("another period of automatic PRAGMA optimize")),
    flag("extensions-path", Text, "", "comma-separated SQLite extensions to load", Support::Later("loading of extensions")),
    works("write-queue-capacity", Int, "1024", "queued writes: length of the queue"),
    works("write-queue-batch-size", Int, "128", "queued writes: requests merged into one"),
    works("write-queue-timeout", Duration, "50ms", "queued writes: longest wait for a batch to fill"),
    works("write-queue-tx", Bool, "false", "queued writes: one transaction per batch"),
    // Data protection, streaming, observability.
    flag("auto-backup", Text, "", "automatic backup configuration", Support::Later("automatic backup")),
    flag("auto-restore", Text, "", "automatic restore configuration", Support::Later("automatic restore")),
    flag("cdc-config", Text, "", "change data capture: URL, stdout or file", Support::Later("change data capture")),
    flag("otlp-endpoint", Text, "", "OpenTelemetry Collector, host:port", OTLP),
    flag("otlp-interval", Duration, "30s", "export period", OTLP),
    flag("otlp-metrics-interval", Duration, "30s", "another name of -otlp-interval", OTLP),
    flag("otlp-insecure", Bool, "false", "export without TLS", OTLP),
    flag("otlp-no-verify", Bool, "false", "do not check the Collector's certificate", OTLP),
    flag("otlp-ca-cert", Text, "", "CA that checks the Collector", OTLP),
    flag("otlp-cert", Text, "", "client certificate for the Collector", OTLP),
    flag("otlp-key", Text, "", "key of the client certificate for the Collector", OTLP),
    flag("cpu-profile", Text, "", "file for a CPU profile", PROFILE),
    flag("mem-profile", Text, "", "file for a memory profile", PROFILE),
    flag("trace-profile", Text, "", "file for a trace", PROFILE),
];

impl Flag {
    /// The flag of that name.
    pub fn named(name: &str) -> Option<&'static Flag> {
        TABLE.iter().find(|flag| flag.name == name)
    }
}

//! What a node is told at start; built once from the flag table.

use std::path::PathBuf;
use std::time::Duration;

/// A node's configuration. [`Config::new`] gives every default.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data directory; created if absent.
    pub dir: PathBuf,
    /// The user's node id.
    pub name: String,
    /// The advertised inter-node address.
    pub address: String,
    /// Votes, once it has caught up; false for a read replica.
    pub voter: bool,
    /// The leader sends a heartbeat this often.
    pub heartbeat_interval: Duration,
    /// A follower starts an election after a silence of at least this, and at most twice this.
    pub election_timeout: Duration,
    /// Foreign keys are enforced (`-fk`).
    pub foreign_keys: bool,
    /// SQLite extensions to load, in order.
    pub extensions: Vec<PathBuf>,
    /// What no statement may exceed; the same on every node.
    pub limits: sqlite::Limits,
    /// Most concurrent read-only connections; 0 = unlimited.
    pub readers_max: usize,
    /// Entries since the last snapshot that trigger one.
    pub snapshot_entries: u64,
    /// WAL bytes that trigger a checkpoint; 0 = twice the default.
    pub snapshot_wal_bytes: u64,
    /// How long a proposal may wait to be taken into the log.
    pub apply_timeout: Duration,
    /// Below this many free bytes of disk, writes are refused.
    pub disk_watermark: u64,
    /// A read transaction older than this is cut (D10).
    pub read_age_max: Duration,
    /// The effect hash is kept for comparison at each multiple of this index.
    pub mark_entries: u64,
    /// Nodes ask each other for their marks this often.
    pub compare_interval: Duration,
    /// The leader has all nodes verify their content this often; zero = only when asked.
    pub verify_interval: Duration,
    /// The log's own shape.
    pub log: log::Options,
}

impl Config {
    /// The defaults, for a voter.
    ///
    /// Timings: a heartbeat every 50 ms; an election after a silence of 400 ms and a random wait of 200 to 400 ms, so that
    /// a dead leader is replaced within a second. Chosen by measurement, docs/operations.md.
    pub fn new(dir: PathBuf, name: String, address: String) -> Self {
        Self {
            dir,
            name,
            address,
            voter: true,
            heartbeat_interval: Duration::from_millis(50),
            election_timeout: Duration::from_millis(400),
            foreign_keys: false,
            extensions: Vec::new(),
            limits: sqlite::Limits::default(),
            readers_max: 256,
            snapshot_entries: 8192,
            snapshot_wal_bytes: 4 * 1024 * 1024,
            apply_timeout: Duration::from_secs(10),
            disk_watermark: 64 * 1024 * 1024,
            read_age_max: Duration::from_secs(60),
            mark_entries: 256,
            compare_interval: Duration::from_secs(2),
            verify_interval: Duration::from_secs(24 * 3600),
            log: log::Options::default(),
        }
    }
}

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
    /// Most concurrent read-only connections; 0 = unlimited.
    pub readers_max: usize,
    /// Entries since the last snapshot that trigger one.
    pub snapshot_entries: u64,
    /// WAL bytes that trigger a checkpoint; 0 = off.
    pub snapshot_wal_bytes: u64,
    /// How long a proposal may wait to be taken into the log.
    pub apply_timeout: Duration,
    /// A read transaction older than this is cut (D10).
    pub read_age_max: Duration,
}

//! What a node tells about itself; plain data, gathered without waiting.

use std::path::PathBuf;
use std::time::Duration;

use crate::divergence::marks::Mark;
use crate::member::{Member, Peer};

/// A node's part in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Leads.
    Leader,
    /// Follows, as voter or learner.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Stopped.
    Shutdown,
}

/// A snapshot of a node's state.
#[derive(Clone, Debug)]
pub struct Status {
    /// This node.
    pub peer: Peer,
    /// The leader, when one is known.
    pub leader: Option<Peer>,
    /// The current part.
    pub role: Role,
    /// This node votes.
    pub voter: bool,
    /// Everything committed at start has been applied, and a leader is known or none is needed.
    pub ready: bool,
    /// Current term.
    pub term: u64,
    /// Index and term of the last entry in the log.
    pub last_log: (u64, u64),
    /// Index and term of the last entry known to be flushed here.
    pub flushed: u64,
    /// Last committed index.
    pub committed: u64,
    /// Index and term of the last applied entry.
    pub applied: (u64, u64),
    /// Index and term of the last snapshot (durable index announced to consensus).
    pub snapshot: (u64, u64),
    /// The log starts after this index.
    pub purged: u64,
    /// Membership, in order of name; learners included.
    pub members: Vec<Member>,
    /// Index of the membership entry.
    pub membership_index: u64,
    /// The voters are being changed: majorities of both the old and the new ones are needed.
    pub joint: bool,
    /// Since the leader was last heard: zero on the leader, `None` if never.
    pub last_contact: Option<Duration>,
    /// The current database file.
    pub database: PathBuf,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Flushes of the log since start.
    pub log_flushes: u64,
    /// The entry that is being applied, and for how long.
    pub applying: Option<(u64, Duration)>,
    /// On the leader, how far each follower's log is known to agree with it, by the follower's name.
    pub matched: Vec<(String, u64)>,
    /// Snapshots made since start.
    pub snapshots: u64,
    /// Snapshots installed since start.
    pub restores: u64,
    /// Whether this database is what those of the others are.
    pub soundness: Soundness,
}

/// How a node's database compares with others', as far as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Soundness {
    /// Why this node is in quarantine; `None` when it is not.
    pub quarantine: Option<String>,
    /// How many times this process found the node in quarantine, or put it there.
    pub quarantines: u64,
    /// Why it did so last; empty if it never did.
    pub last_quarantine: String,
    /// Alarms raised by this process: replicas differ.
    pub alarms: u64,
    /// The last of them.
    pub last_alarm: Option<String>,
    /// Databases that took the place of this node's, which was in quarantine.
    pub reseeds: u64,
    /// The latest effect hash that is compared.
    pub effect: Option<Mark>,
    /// The latest content hash that is compared.
    pub content: Option<Mark>,
    /// The latest hash of what is remembered besides, taken at the same time.
    pub memory: Option<Mark>,
    /// What SQLite's own check said at the same time.
    pub check: Option<Mark>,
}

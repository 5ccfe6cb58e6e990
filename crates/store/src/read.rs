//! Read levels: what must be confirmed before a local read may answer.

use std::time::Duration;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Whatever this node has.
    None,
    /// This node believes that it leads.
    Weak,
    /// Every write acknowledged before the read began is seen (D8).
    Linearizable,
    /// As linearizable, by way of an empty log entry.
    Strong,
    /// Weak on a voter, none on a read replica.
    Auto,
}

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
pub struct ReadRequest {
    /// The level.
    pub level: Level,
    /// Level none on a follower: refuse when the leader has not been heard for longer.
    pub freshness: Option<Duration>,
    /// Also refuse when applied data are older than `freshness`.
    pub freshness_strict: bool,
    /// Wait until this index is applied (session reads); 0 = no wait.
    pub min_index: u64,
    /// Bound on every wait.
    pub timeout: Duration,
}

/// Leave to read locally now; the snapshot must be taken after this was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The index of the empty entry of a strong read; 0 otherwise.
    pub index: u64,
}

//! What a seed decides before anything runs: how long, how busy, how unlucky.
//!
//! Each seed has a temper of its own: some kinds of fault it does not know, others it is full of. Seeds that do
//! everything at once look all the same.

use std::time::Duration;

use mutation::Mutation;

use crate::chance::Chance;

/// A kind of fault, or of operation that is worth a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// One process is killed.
    Kill,
    /// One machine loses power.
    PowerLoss,
    /// All machines lose power at once.
    Blackout,
    /// One machine is cut off.
    Isolation,
    /// Frames go one way only.
    OneWayCut,
    /// A route is slow.
    SlowRoute,
    /// The streams between two machines break.
    Reset,
    /// A machine's clock jumps.
    ClockJump,
    /// A machine's clock runs fast or slow from now on.
    ClockDrift,
    /// A process stands still for a while.
    Pause,
    /// Bits flip in the log or in SQLite's WAL while their machine is down.
    BitRot,
    /// A disk fails a write or a flush.
    DiskError,
    /// A disk takes long to flush.
    SlowDisk,
    /// A node makes a snapshot and keeps no tail of the log.
    Snapshot,
    /// The leader hands over.
    Transfer,
    /// A node is removed and comes back with an empty disk.
    Replacement,
    Solitude,
    /// The leader dies, and when another is elected that one is cut off and its voter dies.
    Coup,
    /// Bits flip in a database's pages while its machine is down.
    PageRot,
    /// A node applies otherwise than the others, for a while.
    Divergence,
}

/// How likely each kind is, before the seed's temper.
const WEIGHTS: &[(u64, Fault)] = &[
    (10, Fault::Kill),
    (10, Fault::PowerLoss),
    (5, Fault::Blackout),
    (10, Fault::Isolation),
    (5, Fault::OneWayCut),
    (4, Fault::SlowRoute),
    (4, Fault::Reset),
    (3, Fault::ClockJump),
    (2, Fault::ClockDrift),
    (5, Fault::Pause),
    (5, Fault::BitRot),
    (3, Fault::DiskError),
    (3, Fault::SlowDisk),
    (6, Fault::Snapshot),
    (4, Fault::Transfer),
    (4, Fault::Replacement),
    (2, Fault::Solitude),
    (3, Fault::Coup),
    (5, Fault::PageRot),
    (4, Fault::Divergence),
];

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// What the checkers of histories know: rows, counters, registers, reads.
    Mixed,
    /// Random statements, for the oracle.
    Oracle,
}

/// Longer than any run.
const NEVER_MS: u64 = 3_600_000;

/// A run, as its seed has it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// What clients do.
    pub workload: Workload,
    /// How long faults go on.
    pub chaos: Duration,
    /// Most time between two faults, in milliseconds.
    pub calm_ms: u64,
    /// The kinds of faults, and how likely each is.
    pub faults: Vec<(u64, Fault)>,
    /// Clients that work at once.
    pub clients: u64,
    /// Most time that a client thinks, in milliseconds.
    pub think_ms: u64,
    /// Entries between two snapshots.
    pub snapshot_entries: u64,
    /// WAL bytes that ask for a checkpoint.
    pub wal_bytes: u64,
    /// Size of a log segment.
    pub segment_bytes: u64,
    /// One process in so many dies while it starts.
    pub unlucky_starts: u64,
    /// Foreign keys are enforced.
    pub foreign_keys: bool,
    /// Entries between two effect hashes that nodes compare.
    pub mark_entries: u64,
    /// Nodes that differ are found and mended: whoever does must agree in the end. Where a guard is missing, the checkers
    /// alone must see it.
    pub is_mended: bool,
    /// Milliseconds between two comparisons.
    pub compare_ms: u64,
    /// Milliseconds between two verifications that the leader asks for by itself; 0 = none.
    pub verify_ms: u64,
}

impl Plan {
    /// The plan of `seed`.
    ///
    /// Where a guard is missing, half of all faults are of the kind that it is there for.
    pub fn new(seed: u64, workload: Workload, mutation: Option<Mutation>) -> Plan {
        let mut chance = Chance::new(seed, "plan");
        let mut faults = Vec::new();
        // What came later draws for itself: the seeds before it stay as they were.
        let mut later = Chance::new(seed, "later");
        for (weight, fault) in WEIGHTS {
            let draws = if is_damage(*fault) { &mut later } else { &mut chance };
            let temper = draws.weighted(&[(3, 0), (4, 1), (2, 4)]);
            faults.push((weight * temper, *fault));
        }
        // The oracle knows what is right, and a missing guard is for the checkers to find: no database is wrong for a while.
        let is_compared = mutation.is_none_or(|mutation| mutation == Mutation::NoComparison);
        let is_known = |fault: &(u64, Fault)| workload != Workload::Oracle && is_compared || !is_damage(fault.1);
        faults.retain(is_known);
        if faults.iter().all(|(weight, _)| *weight == 0) {
            faults = WEIGHTS.iter().copied().filter(is_known).collect();
        }
        if let Some(fault) = mutation.and_then(provoking) {
            faults.push((faults.iter().map(|(weight, _)| weight).sum(), fault));
        }
        Plan {
            seed,
            workload,
            chaos: chance.millis(6_000, 15_000),
            calm_ms: *chance.pick(&[300, 800, 1500]),
            faults,
            clients: chance.between(3, 9),
            think_ms: *chance.pick(&[20, 60, 150]),
            snapshot_entries: *chance.pick(&[25, 60, 150, 400]),
            wal_bytes: *chance.pick(&[64 * 1024, 256 * 1024, 4 * 1024 * 1024]),
            segment_bytes: *chance.pick(&[16 * 1024, 32 * 1024, 128 * 1024, 1024 * 1024]),
            unlucky_starts: *chance.pick(&[4, 12, 1_000_000]),
            foreign_keys: chance.one_in(2),
            mark_entries: *later.pick(&[4, 16, 64, 256]),
            is_mended: mutation.is_none(),
            compare_ms: if is_compared {
                *later.pick(&[50, 200, 700])
            } else {
                NEVER_MS
            },
            verify_ms: if is_compared {
                *later.pick(&[700, 2_000, 5_000])
            } else {
                0
            },
        }
    }
}

/// A database is wrong for a while.
fn is_damage(fault: Fault) -> bool {
    matches!(fault, Fault::PageRot | Fault::Divergence)
}

/// The kind of fault that shows soonest that a guard is missing, if some kinds never show it.
fn provoking(mutation: Mutation) -> Option<Fault> {
    match mutation {
        Mutation::LoseVote => Some(Fault::Coup),
        Mutation::ForgetKey => Some(Fault::Replacement),
        Mutation::NoWalFloor => Some(Fault::BitRot),
        Mutation::NoComparison => Some(Fault::Divergence),
        Mutation::IgnoreFailedFlush => Some(Fault::DiskError),
        Mutation::NoSqliteSync | Mutation::PurgeBeforeDurable => Some(Fault::Snapshot),
        Mutation::NoLogFlush
        | Mutation::AckBeforeMajority
        | Mutation::ApplyTwice
        | Mutation::ReadWithoutIndex
        | Mutation::OldTransaction
        | Mutation::NoSavepoint
        | Mutation::DeferredForeignKey
        | Mutation::LocalRandom
        | Mutation::LocalClock => None,
    }
}

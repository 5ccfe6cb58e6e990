//! Guards that can be taken away, one in a run, to show that the simulator's checkers see it.
//!
//! The rooms know this crate only with their feature `mutations`, which the simulator alone turns on: elsewhere not a
//! byte of it is compiled (`scripts/nomutations` shows it for the server).
//!
//! ```text
//!  quorlite-sim --mutate NAME ─► set ─► is(…) at the guard: skip it
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// A guard that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Flushes of the log's files do nothing and say that they did (D1).
    NoLogFlush,
    /// Flushes of SQLite's WAL do nothing and say that they did, so a purge goes ahead of what is durable (D6).
    NoSqliteSync,
    /// A write is acknowledged a moment after it was proposed, whoever has it (D1).
    AckBeforeMajority,
    /// The log is purged though SQLite was never flushed (D6).
    PurgeBeforeDurable,
    /// After a start the last applied entry is applied again (D2).
    ApplyTwice,
    /// A vote is flushed only with the next entry (D1).
    LoseVote,
    /// A linearizable read asks nobody (D8).
    ReadWithoutIndex,
    /// A read goes on in the transaction of the read before it (D8).
    OldTransaction,
    /// A request that fails half-way keeps its first half (D4).
    NoSavepoint,
    /// A deferred foreign key is found out by the commit of the whole batch, which fails with it (D3).
    DeferredForeignKey,
    /// A failed flush of the log is taken for one that succeeded (D5).
    IgnoreFailedFlush,
    /// Apply draws randomness of its own (D3).
    LocalRandom,
    /// Apply asks a clock of its own (D3).
    LocalClock,
    /// A node that receives a database forgets the keys in it (D2).
    ForgetKey,
    /// A database is opened whatever its WAL has lost (D7).
    NoWalFloor,
    /// Nodes compare nothing: those that differ go on (D3, D7).
    NoComparison,
}

/// Each by the name that `--mutate` knows.
pub const NAMES: &[(&str, Mutation)] = &[
    ("no-log-flush", Mutation::NoLogFlush),
    ("no-sqlite-sync", Mutation::NoSqliteSync),
    ("ack-before-majority", Mutation::AckBeforeMajority),
    ("purge-before-durable", Mutation::PurgeBeforeDurable),
    ("apply-twice", Mutation::ApplyTwice),
    ("lose-vote", Mutation::LoseVote),
    ("read-without-index", Mutation::ReadWithoutIndex),
    ("old-transaction", Mutation::OldTransaction),
    ("no-savepoint", Mutation::NoSavepoint),
    ("deferred-foreign-key", Mutation::DeferredForeignKey),
    ("ignore-failed-flush", Mutation::IgnoreFailedFlush),
    ("local-random", Mutation::LocalRandom),
    ("local-clock", Mutation::LocalClock),
    ("forget-key", Mutation::ForgetKey),
    ("no-wal-floor", Mutation::NoWalFloor),
    ("no-comparison", Mutation::NoComparison),
];

/// The one of this process.
static ACTIVE: OnceLock<Mutation> = OnceLock::new();

impl Mutation {
    /// The mutation called `name`.
    pub fn named(name: &str) -> Option<Mutation> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, mutation)| *mutation)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        let known = NAMES.iter().find(|(_, mutation)| *mutation == self);
        known.map_or("", |(name, _)| name)
    }
}

/// Takes a guard away for the rest of this process; the first one counts.
pub fn set(mutation: Mutation) {
    ACTIVE.get_or_init(|| mutation);
}

/// Whether this guard is missing.
pub fn is(mutation: Mutation) -> bool {
    ACTIVE.get() == Some(&mutation)
}

/// Folders of nodes that apply otherwise than the others: no guard of all that is missing, but a fault of one.
static ASTRAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
/// Spares runs without such a fault the lock.
static ANY_ASTRAY: AtomicBool = AtomicBool::new(false);

/// From now on, what is applied to databases below `folder` draws randomness of its own (D3).
pub fn lead_astray(folder: PathBuf) {
    astray().insert(folder);
    ANY_ASTRAY.store(true, Ordering::Relaxed);
}

/// Ends what [`lead_astray`] began.
pub fn bring_back(folder: &Path) {
    astray().remove(folder);
}

/// Whether the database at `path` is applied to otherwise than on other nodes.
pub fn is_astray(path: &Path) -> bool {
    ANY_ASTRAY.load(Ordering::Relaxed) && astray().iter().any(|folder| path.starts_with(folder))
}

fn astray() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    // A whole set at every moment.
    ASTRAY.lock().unwrap_or_else(PoisonError::into_inner)
}

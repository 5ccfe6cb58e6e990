//! What SQLite's callbacks see of the entry that the writer runs: its randomness, its counters, its budget; and what
//! they report back of the statement being prepared.
//!
//! One per writer, shared with the authorizer, the functions and the hooks of its connection. All of it runs on the
//! writer's thread; the atomics are here because SQLite's callbacks must be `Send`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::budget::{Budget, Left};
use crate::open::Options;

/// See the head of this file.
pub(crate) struct Context {
    /// Foreign keys are enforced on this connection.
    pub(crate) foreign_keys: bool,
    /// Bytes that a statement may write to the WAL and to temporary files.
    pub(crate) written_bytes_max: u64,
    /// This room prepares or runs a statement of its own: nothing is refused.
    pub(crate) ours: AtomicBool,
    /// A VACUUM runs: what it does to the database on its way is allowed.
    pub(crate) vacuuming: AtomicBool,
    /// A user's statement is being prepared (callbacks may also come while one runs).
    pub(crate) preparing: AtomicBool,
    /// The running transaction has changed the schema.
    pub(crate) schema_changed: AtomicBool,
    /// What the statement being prepared does.
    facts: AtomicU32,
    /// Why the authorizer refused; it replaces SQLite's `not authorized`.
    refusal: Mutex<Option<&'static str>>,
    /// Entries on this schema need a transaction each: FTS3 and FTS4 do work at commit that depends on it.
    pub(crate) commits_alone: AtomicBool,
    /// Names of the virtual tables of the schema, lower-cased.
    virtual_tables: Mutex<BTreeSet<String>>,
    /// Names of the tables in which they keep their data, lower-cased.
    shadow_tables: Mutex<BTreeSet<String>>,
    /// Frames in the WAL after the last commit.
    pub(crate) wal_frames: AtomicU32,
    /// What the running entry has used up, and may.
    pub(crate) budget: Budget,
    random: Mutex<ChaCha8Rng>,
    /// What `changes()` answers where no statement of this entry has changed it yet.
    pub(crate) changes: AtomicI64,
    /// What must be added to the connection's `total_changes()` to make it the replicated one.
    pub(crate) total_changes_offset: AtomicI64,
    /// A row was stored at the largest rowid.
    pub(crate) last_rowid_used: AtomicBool,
}

/// What an entry has used up at some point of its run.
pub(crate) struct Spent {
    random: ChaCha8Rng,
    left: Left,
}

/// Facts about a statement, gathered while it is prepared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(pub(crate) u32);

impl Facts {
    /// INSERT, UPDATE or DELETE: it sets `changes()`, unless it is also [`Self::SCHEMA`].
    pub(crate) const COUNTS: Self = Self(1);
    /// It changes the schema.
    pub(crate) const SCHEMA: Self = Self(1 << 1);
    /// It changes the planner's statistics.
    pub(crate) const STATISTICS: Self = Self(1 << 2);
    /// It asks `changes()` or `total_changes()`.
    pub(crate) const ASKS_CHANGES: Self = Self(1 << 3);
    /// It touches a virtual table.
    pub(crate) const VIRTUAL: Self = Self(1 << 4);
    /// It sets `defer_foreign_keys`.
    pub(crate) const DEFERS: Self = Self(1 << 5);
    /// It may bring a foreign key into the schema.
    pub(crate) const REFERENCES: Self = Self(1 << 6);
    /// It may store more than its parameters hold.
    pub(crate) const MULTIPLIES: Self = Self(1 << 7);

    /// It is a PRAGMA: it may act while it is prepared, and expire itself.
    pub(crate) const PRAGMA: Self = Self(1 << 8);

    /// It computes an FTS5 rank.
    pub(crate) const RANKS: Self = Self(1 << 9);

    /// It goes through all tables, in the order in which this connection came to know them.
    pub(crate) const LISTS: Self = Self(1 << 10);

    /// It is ALTER TABLE, which asks things that users may not.
    pub(crate) const ALTERS: Self = Self(1 << 11);

    /// Whether all of `other` holds.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Context {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            foreign_keys: options.foreign_keys,
            written_bytes_max: options.limits.written_bytes_max,
            ours: AtomicBool::new(false),
            vacuuming: AtomicBool::new(false),
            preparing: AtomicBool::new(false),
            schema_changed: AtomicBool::new(false),
            facts: AtomicU32::new(0),
            refusal: Mutex::new(None),
            commits_alone: AtomicBool::new(false),
            virtual_tables: Mutex::default(),
            shadow_tables: Mutex::default(),
            wal_frames: AtomicU32::new(0),
            budget: Budget::default(),
            random: Mutex::new(ChaCha8Rng::seed_from_u64(0)),
            changes: AtomicI64::new(0),
            total_changes_offset: AtomicI64::new(0),
            last_rowid_used: AtomicBool::new(false),
        }
    }

    /// Begins a prepare: forgets what an earlier one reported.
    pub(crate) fn begin_prepare(&self) {
        self.facts.store(0, Relaxed);
        *lock(&self.refusal) = None;
        self.preparing.store(true, Relaxed);
    }

    /// Ends a prepare, and answers what it found.
    pub(crate) fn end_prepare(&self) -> Facts {
        self.preparing.store(false, Relaxed);
        Facts(self.facts.load(Relaxed))
    }

    /// Notes a fact about the statement being prepared.
    pub(crate) fn found(&self, fact: Facts) {
        self.facts.fetch_or(fact.0, Relaxed);
    }

    /// Whether a fact is known of the statement being prepared.
    pub(crate) fn has_found(&self, fact: Facts) -> bool {
        Facts(self.facts.load(Relaxed)).has(fact)
    }

    /// Notes why the authorizer refuses.
    pub(crate) fn refuse(&self, why: &'static str) {
        *lock(&self.refusal) = Some(why);
    }

    /// Why the authorizer refused, once.
    pub(crate) fn take_refusal(&self) -> Option<&'static str> {
        lock(&self.refusal).take()
    }

    /// Whether `table` is a virtual table of the schema.
    pub(crate) fn is_virtual(&self, table: &str) -> bool {
        let names = lock(&self.virtual_tables);
        !names.is_empty() && names.contains(&table.to_ascii_lowercase())
    }

    /// Whether a virtual table keeps its data in `table`.
    pub(crate) fn is_shadow(&self, table: &str) -> bool {
        let names = lock(&self.shadow_tables);
        !names.is_empty() && names.contains(&table.to_ascii_lowercase())
    }

    /// Sets the names of the virtual tables and of their shadow tables, lower-cased.
    pub(crate) fn set_virtual(&self, tables: BTreeSet<String>, shadows: BTreeSet<String>) {
        *lock(&self.virtual_tables) = tables;
        *lock(&self.shadow_tables) = shadows;
    }

    /// Starts the entry's random stream.
    pub(crate) fn seed(&self, seed: u64) {
        *lock(&self.random) = ChaCha8Rng::seed_from_u64(seed);
    }

    /// The next number of the entry's random stream, as SQLite's `random()` shapes it: never the smallest integer.
    pub(crate) fn random(&self) -> i64 {
        match lock(&self.random).next_u64() as i64 {
            number if number < 0 => -(number & i64::MAX),
            number => number,
        }
    }

    /// What the entry has used up so far.
    pub(crate) fn spent(&self) -> Spent {
        Spent {
            random: lock(&self.random).clone(),
            left: self.budget.left(),
        }
    }

    /// Goes on where an earlier run of the entry was.
    pub(crate) fn take_back(&self, spent: &Spent) {
        *lock(&self.random) = spent.random.clone();
        self.budget.take_back(spent.left);
    }

    /// Fills `bytes` from the entry's random stream.
    pub(crate) fn fill_random(&self, bytes: &mut [u8]) {
        lock(&self.random).fill_bytes(bytes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing here panics half-way through a change, so a poisoned lock still guards a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

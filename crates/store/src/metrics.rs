//! What the store measures: the stages of a write, reads by level, changes of leadership.
//!
//! Atomics and nothing else: measuring never waits, and nothing decides by what was measured.
//!
//! ```text
//!  proposed ─queue─► in the log ─flush─► flushed here ─replicate─► committed ─apply─► committed in SQLite ─reply─► told
//! ```

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::read::Level;

/// Upper bounds of the buckets, in microseconds; above the last one is a bucket without.
pub const BOUNDS_US: [u64; 16] = [
    50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000,
    30_000_000,
];

/// Entries whose flush is remembered until they are committed: more than are on their way at a time.
const FLUSHES: usize = 4096;

/// How long things took.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// How many fell into each bucket, not counted into the next.
    pub counts: [u64; BOUNDS_US.len() + 1],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Notes that something took `time`.
    pub fn observe(&self, time: Duration) {
        self.observe_many(time, 1);
    }

    /// Notes that `many` things took `time` each.
    pub fn observe_many(&self, time: Duration, many: u64) {
        let us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(many, Ordering::Relaxed);
        }
        self.sum_us.fetch_add(us.saturating_mul(many), Ordering::Relaxed);
    }

    /// What was noted so far.
    pub fn read(&self) -> Observed {
        let mut counts = [0; BOUNDS_US.len() + 1];
        for (count, bucket) in counts.iter_mut().zip(&self.buckets) {
            *count = bucket.load(Ordering::Relaxed);
        }
        Observed {
            counts,
            sum_us: self.sum_us.load(Ordering::Relaxed),
        }
    }
}

/// What one node's store measures.
#[derive(Debug)]
pub struct Metrics {
    /// From the proposal to the log, on the leader.
    pub queue: Histogram,
    /// From the log to its flush.
    pub flush: Histogram,
    /// From this node's flush to commitment; nothing where others were enough.
    pub replicate: Histogram,
    /// From commitment to SQLite's commit, for each entry.
    pub apply: Histogram,
    /// From SQLite's commit to the one who waits.
    pub reply: Histogram,
    /// Entries of one SQLite transaction, all together.
    pub applied_entries: AtomicU64,
    /// SQLite transactions of apply.
    pub applied_batches: AtomicU64,
    /// Reads that were confirmed or refused, by [`level_name`].
    pub reads: [AtomicU64; LEVELS.len()],
    /// Until a read was confirmed, by level.
    pub confirm: [Histogram; LEVELS.len()],
    /// Times that a leader was found which was not the one before.
    pub leader_changes: AtomicU64,
    /// Times that this node began to lead.
    pub elections_won: AtomicU64,
    began: Instant,
    flushes: Box<[Flush]>,
}

/// When an entry was flushed.
#[derive(Debug, Default)]
struct Flush {
    index: AtomicU64,
    at_us: AtomicU64,
}

/// The levels, in the order in which they are counted.
pub const LEVELS: [Level; 5] = [
    Level::None,
    Level::Weak,
    Level::Linearizable,
    Level::Strong,
    Level::Auto,
];

/// A level as users write it.
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::None => "none",
        Level::Weak => "weak",
        Level::Linearizable => "linearizable",
        Level::Strong => "strong",
        Level::Auto => "auto",
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            queue: Histogram::default(),
            flush: Histogram::default(),
            replicate: Histogram::default(),
            apply: Histogram::default(),
            reply: Histogram::default(),
            applied_entries: AtomicU64::new(0),
            applied_batches: AtomicU64::new(0),
            reads: Default::default(),
            confirm: Default::default(),
            leader_changes: AtomicU64::new(0),
            elections_won: AtomicU64::new(0),
            began: Instant::now(),
            flushes: (0..FLUSHES).map(|_| Flush::default()).collect(),
        }
    }
}

impl Metrics {
    /// A read at `level` has been confirmed or refused.
    pub(crate) fn confirmed(&self, level: Level, began: Instant) {
        let place = LEVELS.iter().position(|known| *known == level).unwrap_or(0);
        self.reads[place].fetch_add(1, Ordering::Relaxed);
        self.confirm[place].observe(began.elapsed());
    }

    /// The entries of `first..=last`, appended at `appended`, are flushed.
    pub(crate) fn flushed(&self, first: u64, last: u64, appended: Instant) {
        self.flush.observe(appended.elapsed());
        let now = self.now_us();
        for index in first.max(last.saturating_sub(FLUSHES as u64 - 1))..=last {
            let place = self.place(index);
            place.at_us.store(now, Ordering::Relaxed);
            place.index.store(index, Ordering::Release);
        }
    }

    /// The entry at `index` is committed.
    pub(crate) fn committed(&self, index: u64) {
        let place = self.place(index);
        if place.index.load(Ordering::Acquire) == index {
            let since = self.now_us().saturating_sub(place.at_us.load(Ordering::Relaxed));
            self.replicate.observe(Duration::from_micros(since));
        }
    }

    /// `entries` became one SQLite transaction.
    pub(crate) fn applied(&self, entries: usize, committed: Instant) {
        let entries = entries as u64;
        self.apply.observe_many(committed.elapsed(), entries);
        self.applied_entries.fetch_add(entries, Ordering::Relaxed);
        self.applied_batches.fetch_add(1, Ordering::Relaxed);
    }

    fn place(&self, index: u64) -> &Flush {
        &self.flushes[(index % FLUSHES as u64) as usize]
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;

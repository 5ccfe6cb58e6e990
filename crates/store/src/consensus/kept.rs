//! What followers have acknowledged to this leader, and whether a follower still has it when it comes back.
//!
//! ```text
//!  leader:    answers of appends ──► Acknowledged ──► stamped on heartbeats and on the first append of a stream
//!  follower:  first word of a leader in this process ──► Kept: did the log hold that much when the process started?
//! ```
//!
//! An acknowledgement is sent after its flush, and in its leader's term nothing of it is taken back. A follower that comes
//! back in that term with less has lost flushed bytes: its data directory is an old copy, or its disk lied. It must not
//! vote or acknowledge on, since the entries that it lost counted towards a majority; and openraft's leader asserts that
//! it never meets one.
//!
//! Source: Raft thesis §3.8, "persisted state".

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What peers have acknowledged to this node, each in the latest term in which this node led it.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged(Mutex<BTreeMap<u64, Mark>>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    term: u64,
    index: u64,
}

impl Acknowledged {
    /// Notes that `peer` has flushed everything through `index`, as it said to the leader of `term`.
    pub(crate) fn note(&self, peer: u64, term: u64, index: u64) {
        let mut marks = self.marks();
        let mark = marks.entry(peer).or_default();
        *mark = (*mark).max(Mark { term, index });
    }

    /// The index through which `peer` has flushed everything, as it said to the leader of `term`; 0 for none.
    pub(crate) fn by(&self, peer: u64, term: u64) -> u64 {
        let mark = self.marks().get(&peer).copied();
        mark.filter(|mark| mark.term == term).map_or(0, |mark| mark.index)
    }

    fn marks(&self) -> MutexGuard<'_, BTreeMap<u64, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What this node's log held when the process started.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Term of the vote.
    term: u64,
    /// Index of the last entry.
    last: u64,
    /// A leader has been heard in this process: what it says from now on, it may have heard from this process.
    heard: AtomicBool,
}

impl Kept {
    /// A log with a vote of `term` that ends at `last`.
    pub(crate) fn new(term: u64, last: u64) -> Self {
        Self {
            term,
            last,
            heard: AtomicBool::new(false),
        }
    }

    /// Compares with the first word of a leader of `term`, to whom this node has acknowledged everything through
    /// `acknowledged`.
    ///
    /// # Errors
    ///
    /// What is missing, and the way out.
    pub(crate) fn check(&self, term: u64, acknowledged: u64) -> Result<(), String> {
        // What was said to a leader of a term that is over may have been taken back since.
        if term < self.term || self.heard.load(Ordering::Acquire) {
            return Ok(());
        }
        if acknowledged > 0 && (term > self.term || acknowledged > self.last) {
            return Err(format!(
                "this node acknowledged entry {acknowledged} in term {term}, and started with a log that ends at entry \
                 {} of term {} at most: its data directory was put back from an older copy, or its disk has lost what it \
                 had reported as flushed. Remove this node from the cluster and let it join again with an empty data \
                 directory",
                self.last, self.term
            ));
        }
        self.heard.store(true, Ordering::Release);
        Ok(())
    }
}

//! Entries that an operator has passed over: who is told, and until when it can be obeyed.
//!
//! ```text
//!  operator ─► hold N (leader) ─► Skip(N) committed at M ─► announce N, on every node
//!                  │                                          │ N runs: it is interrupted and undone
//!                  └ N is undone, and waits for M             │ N is still to come: it is passed over
//!                                                             └ N is sealed: this node has run it, and M stops the node
//! ```
//!
//! Shared by the apply thread, the log's commit, and whoever asks.
//!
//! Invariants:
//! * What is sealed is, or is being, committed to the database; nothing can be skipped any more that is.
//! * A leader that has a skip committed has not run its entry: at least one node is right afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlite::Interrupt;
use tokio::time::Instant;

/// Announcements that are remembered. More than can be under way: an operator asks for each by hand.
const ANNOUNCED_MAX: usize = 64;

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Skips {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    /// Passed over by a committed entry.
    announced: BTreeSet<u64>,
    /// Asked for by how many, and not committed yet.
    held: BTreeMap<u64, usize>,
    running: Option<(u64, Instant)>,
    /// Through here entries count as applied.
    sealed: u64,
    interrupt: Interrupt,
}

/// While it lives, an entry is not applied here.
pub(crate) struct Hold {
    skips: Arc<Skips>,
    index: u64,
}

impl Skips {
    /// The database is open, with everything through `applied`; `interrupt` stops its writer.
    pub(crate) fn attach(&self, applied: u64, interrupt: Interrupt) {
        let mut state = self.lock();
        state.sealed = applied;
        state.running = None;
        state.interrupt = interrupt;
    }

    /// The entry at `index` is to be applied; answers whether it is to be passed over instead. Waits while it is held.
    pub(crate) fn begin(&self, index: u64) -> bool {
        let mut state = self.lock();
        while state.held.contains_key(&index) && !state.announced.contains(&index) {
            state.running = Some((index, Instant::now()));
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.interrupt.withdraw();
        state.running = Some((index, Instant::now()));
        state.announced.contains(&index)
    }

    /// What has run since [`Self::begin`] may have been stopped: its outcome means nothing.
    pub(crate) fn has_stopped(&self) -> bool {
        self.lock().interrupt.is_asked()
    }

    /// The entries after the last seal and through `through` are about to be committed; false when one of them must be
    /// undone instead: one that is refused, and not among those that `is_skipped`.
    pub(crate) fn seal(&self, through: u64, is_skipped: impl Fn(u64) -> bool) -> bool {
        let mut state = self.lock();
        let range = state.sealed + 1..=through;
        let refused = |index: &u64| range.contains(index) && !is_skipped(*index);
        if state.announced.iter().any(refused) || state.held.keys().any(refused) {
            return false;
        }
        state.sealed = state.sealed.max(through);
        state.running = None;
        true
    }

    /// An entry is committed that passes over the one at `index`.
    pub(crate) fn announce(&self, index: u64) {
        let mut state = self.lock();
        state.announced.insert(index);
        if state.announced.len() > ANNOUNCED_MAX {
            state.announced.pop_first();
        }
        state.stop(index);
        self.settled.notify_all();
    }

    /// Keeps the entry at `index` from being applied here, and stops it if it runs; `None` when it is too late.
    pub(crate) fn hold(self: &Arc<Self>, index: u64) -> Option<Hold> {
        let mut state = self.lock();
        if index <= state.sealed {
            return None;
        }
        *state.held.entry(index).or_default() += 1;
        state.stop(index);
        Some(Hold {
            skips: self.clone(),
            index,
        })
    }

    /// The entry that is being applied, and for how long.
    pub(crate) fn running(&self) -> Option<(u64, Duration)> {
        let running = self.lock().running;
        running.map(|(index, since)| (index, since.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stop(&self, index: u64) {
        if self.running.is_some_and(|(running, _)| running == index) {
            self.interrupt.ask();
        }
    }
}

impl Hold {
    /// Runs `skipping` while the entry is held, to its end, whether or not anybody waits for that: if the entry were let go
    /// while its skip may still be committed, this node would run it as well, and no node be right. `None` when the runtime
    /// ends first.
    pub(crate) async fn until<T: Send + 'static>(
        self,
        skipping: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let skipped = tokio::spawn(async move {
            let skipped = skipping.await;
            drop(self);
            skipped
        });
        skipped.await.ok()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.skips.lock();
        if let Some(holders) = state.held.get_mut(&self.index) {
            *holders -= 1;
            if *holders == 0 {
                state.held.remove(&self.index);
            }
        }
        self.skips.settled.notify_all();
    }
}

#[cfg(test)]
mod tests;

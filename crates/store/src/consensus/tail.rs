//! The decoded tail of the log, shared by peers' streams and apply.
//!
//! openraft reads entries back for apply and for replication, on the leader too: each is decoded at most once and then
//! shared. Bounded by bytes and by entries; what falls out is read from the log again (a slow follower's part).
//!
//! Invariant: the entries are contiguous, and the last is the log's last, unless the tail is empty.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use openraft::EntryPayload;

use crate::consensus::types::{Entry, LogId};
use command::entry::Action;

/// Bytes of bodies that the tail keeps. Enough for a second of full load, little beside a database's page cache.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Entries that the tail keeps: what a follower that lags by a flush or two may still want.
const ENTRIES_MAX: usize = 8_192;

/// The tail.
#[derive(Default)]
pub(crate) struct Tail {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Tail {
    /// Takes up entries that were just appended; a gap before them empties the tail first.
    pub(crate) fn push(&self, entries: impl IntoIterator<Item = Entry>) {
        let mut state = self.lock();
        for entry in entries {
            let follows = state
                .entries
                .back()
                .is_none_or(|last| last.log_id.index + 1 == entry.log_id.index);
            if !follows {
                state.entries.clear();
                state.bytes = 0;
            }
            state.bytes += cost(&entry);
            state.entries.push_back(entry);
        }
        while state.entries.len() > ENTRIES_MAX || (state.bytes > BYTES_MAX && state.entries.len() > 1) {
            if let Some(entry) = state.entries.pop_front() {
                state.bytes -= cost(&entry);
            }
        }
    }

    /// Drops the entries after `index`; all of them for `None`.
    pub(crate) fn truncate_after(&self, index: Option<u64>) {
        let mut state = self.lock();
        while state
            .entries
            .back()
            .is_some_and(|entry| Some(entry.log_id.index) > index)
        {
            if let Some(entry) = state.entries.pop_back() {
                state.bytes -= cost(&entry);
            }
        }
    }

    /// Drops the entries through `through`; all of them when it contradicts what is held at its index.
    pub(crate) fn purge(&self, through: &LogId) {
        let mut state = self.lock();
        let mut contradicted = false;
        while state
            .entries
            .front()
            .is_some_and(|entry| contradicted || entry.log_id.index <= through.index)
        {
            if let Some(entry) = state.entries.pop_front() {
                state.bytes -= cost(&entry);
                contradicted |= entry.log_id.index == through.index && entry.log_id != *through;
            }
        }
    }

    /// The entries from `start` up to `end` (exclusive) and about `bytes_max`, at least one; `None` when the tail does
    /// not reach back to `start`.
    pub(crate) fn read(&self, start: u64, end: u64, bytes_max: usize) -> Option<Vec<Entry>> {
        let state = self.lock();
        let first = state.entries.front()?.log_id.index;
        let offset = usize::try_from(start.checked_sub(first)?).ok()?;
        if offset >= state.entries.len() {
            return None;
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        for entry in state
            .entries
            .iter()
            .skip(offset)
            .take_while(|entry| entry.log_id.index < end)
        {
            if !taken.is_empty() && bytes + cost(entry) > bytes_max {
                break;
            }
            bytes += cost(entry);
            taken.push(entry.clone());
        }
        Some(taken)
    }

    /// The entries after `after` and through `through` that pass over another; `None` when the tail does not hold all.
    pub(crate) fn skips(&self, after: u64, through: u64) -> Option<Vec<u64>> {
        let state = self.lock();
        let first = state.entries.front()?.log_id.index;
        let last = state.entries.back()?.log_id.index;
        let offset = usize::try_from((after + 1).checked_sub(first)?).ok()?;
        (last >= through).then(|| {
            let committed = state.entries.iter().skip(offset);
            let committed = committed.take_while(|entry| entry.log_id.index <= through);
            committed.filter_map(skipped_by).collect()
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while it was held leaves whole entries behind: the deque is consistent between statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The index that an entry passes over.
pub(crate) fn skipped_by(entry: &Entry) -> Option<u64> {
    let EntryPayload::Normal(proposal) = &entry.payload else {
        return None;
    };
    match &proposal.command().action {
        Some(Action::Skip(skip)) => Some(skip.index),
        Some(Action::Write(_) | Action::Settings(_) | Action::Chunk(_) | Action::Load(_) | Action::Verify(_))
        | None => None,
    }
}

/// Memory that an entry stands for: its body, and once more for its decoded form.
fn cost(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(proposal) => 128 + 2 * proposal.bytes().len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 256,
    }
}

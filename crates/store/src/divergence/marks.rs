//! Marks: what this node's database was at some indexes of the log, as numbers that nodes compare.
//!
//! In memory only: what a process was before it started is not its to vouch for. A database that takes the place of
//! another takes the marks of that away.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a mark is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The effects of all entries, folded: at each multiple of [`crate::config::Config::mark_entries`].
    Effect,
    /// All content, at a verification.
    Content,
    /// What is remembered besides the content (keys, windows, loads), at a verification.
    Memory,
    /// SQLite's own check of the file, at a verification: [`SOUND`] or [`UNSOUND`].
    Check,
}

/// SQLite found no fault.
pub const SOUND: u64 = 1;
/// SQLite found damaged pages, or an index that is not its table's.
pub const UNSOUND: u64 = 0;

/// Effects that are remembered: a node that lags by more entries than these span is compared once it has caught up.
const EFFECTS_MAX: usize = 64;

/// Verifications that are remembered.
const VERIFIED_MAX: usize = 8;

/// A number, and the index after whose entry it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What it is a number of.
    pub kind: Kind,
    /// The log index.
    pub index: u64,
    /// The number.
    pub hash: u64,
}

/// The latest marks of one node.
#[derive(Debug, Default)]
pub(crate) struct Marks(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Counts the databases that took the place of others.
    epoch: u64,
    rings: BTreeMap<Kind, VecDeque<(u64, u64)>>,
}

impl Marks {
    /// Notes a mark, in the place of one at the same index.
    pub(crate) fn note(&self, mark: Mark) {
        self.lock().note(mark);
    }

    /// To be given to [`Self::note_since`] by whoever takes long to find a mark.
    pub(crate) fn epoch(&self) -> u64 {
        self.lock().epoch
    }

    /// As [`Self::note`], unless another database has taken the place of this one since `epoch`.
    pub(crate) fn note_since(&self, epoch: u64, mark: Mark) {
        let mut state = self.lock();
        if state.epoch == epoch {
            state.note(mark);
        }
    }

    /// Another database takes the place of this one.
    pub(crate) fn clear(&self) {
        let mut state = self.lock();
        state.epoch += 1;
        state.rings.clear();
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Mark> {
        let state = self.lock();
        let marks = state.rings.iter().flat_map(|(kind, ring)| {
            ring.iter().map(|(index, hash)| Mark {
                kind: *kind,
                index: *index,
                hash: *hash,
            })
        });
        marks.collect()
    }

    /// The latest of one kind.
    pub(crate) fn last(&self, kind: Kind) -> Option<Mark> {
        let (index, hash) = *self.lock().rings.get(&kind)?.back()?;
        Some(Mark { kind, index, hash })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, mark: Mark) {
        let Mark { kind, index, hash } = mark;
        let ring = self.rings.entry(kind).or_default();
        ring.retain(|(known, _)| *known != index);
        ring.push_back((index, hash));
        let most = match kind {
            Kind::Effect => EFFECTS_MAX,
            Kind::Content | Kind::Memory | Kind::Check => VERIFIED_MAX,
        };
        if ring.len() > most {
            ring.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;

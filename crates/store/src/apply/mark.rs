//! Effect hashes at fixed indexes, to be compared with other nodes' (`divergence`).
//!
//! Invariant: a mark is the hash after the entry at its index, whatever the batch boundaries, and is seen by others only once
//! that entry is committed: what is undone leaves none.

use std::sync::Arc;

use super::Applier;
use crate::divergence::marks::{Kind, Mark, Marks};

/// Indexes between two effect hashes that are noted, unless told otherwise.
pub(super) const MARK_ENTRIES: u64 = 256;

impl Applier {
    /// Notes the effect hash in `marks` at each multiple of `entries`, from now on.
    pub(crate) fn mark_every(&mut self, entries: u64, marks: Arc<Marks>) {
        self.mark_entries = entries.max(1);
        self.marks = marks;
    }

    /// Notes the effect hash after the entry that was applied last, if its index is one at which nodes compare.
    pub(super) fn mark(&mut self) {
        let state = self.as_open().writer.state();
        let (index, hash) = (state.applied.map_or(0, |at| at.index), state.effect);
        if index > 0 && index.is_multiple_of(self.mark_entries) {
            let kind = Kind::Effect;
            self.marked.push(Mark { kind, index, hash });
        }
    }

    /// The transaction has committed.
    pub(super) fn publish_marks(&mut self) {
        self.marked.drain(..).for_each(|mark| self.marks.note(mark));
    }
}

//! Entries that are passed over: what an operator asked for takes effect.
//!
//! Invariant: the database names the entries that it was passed over of late. One that the log says is to be passed over,
//! and that is not among them, has been run here: this node differs, and is re-seeded.

use command::reply::Reply;
use sqlite::Error;

use super::load::load_of;
use super::{Applier, Entry, write_of};

const DIFFERS: &str = "an operator had this entry passed over, but this node has run it before it heard of that: it now \
                       differs from its cluster, and must have the database of another node";

/// Entries to be passed over, and passed over of late, that the database names.
const SKIPS_MAX: usize = 64;
impl Applier {
    /// An entry passes over the one at `index`: one that is still to come, or one that was passed over already, since the
    /// commit of this one was seen before it ran.
    pub(super) fn apply_skip(&mut self, entry: &Entry, index: u64) -> Result<Reply, Error> {
        let known = self.as_open().writer.state().skips.contains(&index);
        if !known && index < entry.position.index {
            return Err(Error::Unsound {
                what: format!("skip entry {index}"),
                message: DIFFERS.to_owned(),
            });
        }
        self.mark_skipped(index);
        Ok(Reply::default())
    }

    pub(super) fn mark_skipped(&mut self, index: u64) {
        let skips = &mut self.as_open_mut().writer.state_mut().skips;
        if !skips.contains(&index) {
            skips.push(index);
            skips.sort_unstable();
        }
        if skips.len() > SKIPS_MAX {
            skips.remove(0);
        }
    }

    /// The entry is to be applied: whether it is to be passed over instead. Waits while that is being decided.
    pub(super) fn is_skipped(&self, entry: &Entry) -> bool {
        let index = entry.position.index;
        self.skips.begin(index) || self.as_open().writer.state().skips.contains(&index)
    }
}

/// What works on the user's data; to pass over another would part this node from its log.
pub(super) fn is_skippable(entry: &Entry) -> bool {
    write_of(entry).is_some() || load_of(entry).is_some()
}

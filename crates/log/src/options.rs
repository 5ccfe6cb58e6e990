//! What the caller may choose about a log.

use std::fmt;
use std::sync::Arc;

use crate::codec::{SEGMENT_BYTES_LARGEST, SEGMENT_BYTES_LEAST, SEGMENT_HEAD_BYTES};

/// Called after work was queued; tells a simulator to call [`crate::Flusher::step`]. Called without a lock held.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// Options of [`crate::open`].
#[derive(Clone)]
pub struct Options {
    /// Size of a segment in bytes: a multiple of 4,096 between 16 KiB and 1 GiB. May change between two starts. A record
    /// that needs more gets a segment of its own.
    pub segment_bytes: u64,
    /// Purged segments that are kept to be written again; further ones are deleted.
    pub spares_max: usize,
    /// Any number that users do not know, such as the node's id: it is mixed into the checksums, so that nobody can send
    /// bytes that pass for a record when a torn tail is searched.
    pub salt: u64,
    /// Told when work waits. The thread of [`crate::Flusher::run`] needs no telling.
    pub notify: Option<Notify>,
}

impl Options {
    /// Panics if the caller broke what the fields promise.
    pub(crate) fn check(&self) {
        assert!(
            self.segment_bytes.is_multiple_of(SEGMENT_HEAD_BYTES)
                && (SEGMENT_BYTES_LEAST..=SEGMENT_BYTES_LARGEST).contains(&self.segment_bytes),
            "segment_bytes is {}, and must be a multiple of 4096 between 16 KiB and 1 GiB",
            self.segment_bytes
        );
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            segment_bytes: 16 * 1024 * 1024,
            spares_max: 2,
            salt: 0,
            notify: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("segment_bytes", &self.segment_bytes)
            .field("spares_max", &self.spares_max)
            .finish_non_exhaustive()
    }
}

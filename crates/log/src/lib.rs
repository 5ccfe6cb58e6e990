//! Paper: the segmented log.
//!
//! One ordered stream of entries, votes, committed positions, truncations and purges, kept in segments of fixed size and
//! flushed in groups. This crate knows bytes, positions and disks: no consensus types, no async runtime, no network.
//!
//! ```text
//!  Log (handles) ──► Book: accepted ─┬─ queue ──► Flusher: one write, one fdatasync ──► completions, in order
//!        │                           │                   │            ▲
//!        └── read ◄── records that wait, or the index ◄──┘            │ the next segment, ready ahead of need
//!                     of flushed ones ──► pread               Preparer: zero-fill, recycle, retire
//! ```
//!
//! Invariants:
//! * A completion leaves after the flush that covers it (D1), in the order of the calls.
//! * After a failed write or flush nothing completes successfully any more; nothing is retried on the same file (D5).
//! * A record whose checksum fails is never returned. Below a later record's flushed position it is damage, and the log
//!   does not open; otherwise it is a torn tail, and is cut for good (D7).
//! * Memory holds no bodies of flushed records, only where they are (D12).
//!
//! The bytes are drawn in `docs/formats.md`, section "Log", and computed in `codec`.

mod book;
pub mod check;
mod codec;
mod disk;
mod error;
mod flusher;
mod fs_disk;
mod index;
mod log;
mod options;
mod position;
mod preparer;
mod recovery;
mod segment;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use crate::codec::{RECORD_BYTES_MAX, VOTE_BYTES_MAX};
pub use crate::disk::{Disk, File};
pub use crate::error::Error;
pub use crate::flusher::{Flusher, Step};
pub use crate::fs_disk::FsDisk;
pub use crate::log::{Done, Log, State, open};
pub use crate::options::{Notify, Options};
pub use crate::position::{Position, Record};

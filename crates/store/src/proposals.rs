//! Room for proposals: how much may wait between a client and apply, in bytes (D12).
//!
//! ```text
//!  write ──► room ──► consensus queue ──► log queue ──► peers ──► apply ──► answer
//!             └──────────────── held until the entry is applied, or will never be ┘
//! ```
//!
//! Room is given back by consensus, not by the one who waits: a client that gave up leaves its proposal behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Error;

/// Encoded bytes of proposals that are not applied yet. Beyond it a write is refused at once rather than queued: one
/// bulk request of the largest size still leaves as much again for others.
pub(crate) const BYTES_MAX: usize = 2 * COMMAND_BYTES_MAX;

/// The largest encoded command. One entry is read, sent and applied whole.
pub(crate) const COMMAND_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a proposal costs beside its bytes: so small ones are bounded by number, at full speed a fifth of a second of
/// work.
const OVERHEAD_BYTES: usize = 8 * 1024;

/// Small proposals for which there is room besides: what an operator asks for by hand, when the writes that wait behind an
/// entry have taken all other room.
const RESERVED_MAX: usize = 64;

/// The room of one node.
#[derive(Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    taken: AtomicU64,
}

/// A share of the budget; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    _held: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            free: Arc::new(Semaphore::new(BYTES_MAX)),
            reserved: Arc::new(Semaphore::new(RESERVED_MAX)),
            taken: AtomicU64::new(0),
        }
    }

    /// Takes room for a proposal of `bytes`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`]; [`Error::Overloaded`] when what is in progress leaves none.
    pub(crate) fn take(&self, bytes: usize) -> Result<Room, Error> {
        if bytes > COMMAND_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes,
                limit: COMMAND_BYTES_MAX,
            });
        }
        let cost = u32::try_from(bytes + OVERHEAD_BYTES).unwrap_or(u32::MAX);
        let held = self.free.clone().try_acquire_many_owned(cost);
        let room = held
            .map(|held| Room { _held: held })
            .map_err(|_| Error::Overloaded("too many writes in progress; try again later"))?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Ok(room)
    }

    /// Takes reserved room for a small proposal, whatever else is in progress.
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`] when that is taken as well.
    pub(crate) fn take_reserved(&self) -> Result<Room, Error> {
        let held = self.reserved.clone().try_acquire_owned();
        held.map(|held| Room { _held: held })
            .map_err(|_| Error::Overloaded("too many skips in progress; try again later"))
    }

    /// How many times room was taken so far: whether others write, too.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;

//! Stopping the statement that the writer runs, from another thread.
//!
//! The entry that it belongs to is undone by whoever asks: where a statement was stopped differs between replicas.
//!
//! Invariant: only a user's statement is stopped, never one of ours, which must not fail.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, InterruptHandle};

/// A handle to a writer's running statement; cheap to clone.
#[derive(Clone, Default)]
pub struct Interrupt {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    is_asked: AtomicBool,
    /// The connection, while a user's statement runs on it.
    running: Mutex<Option<InterruptHandle>>,
}

impl Interrupt {
    /// Stops what runs, and whatever begins before [`Self::withdraw`].
    pub fn ask(&self) {
        self.inner.is_asked.store(true, Relaxed);
        if let Some(handle) = &*self.running() {
            handle.interrupt();
        }
    }

    /// Lets statements run again.
    pub fn withdraw(&self) {
        self.inner.is_asked.store(false, Relaxed);
    }

    /// It was asked for, and not withdrawn.
    ///
    /// The progress handler looks here too: SQLite forgets an interrupt that comes just before a statement's first step.
    pub fn is_asked(&self) -> bool {
        self.inner.is_asked.load(Relaxed)
    }

    /// A user's statement begins.
    pub(crate) fn begin(&self, connection: &Connection) {
        *self.running() = Some(connection.get_interrupt_handle());
    }

    /// It has ended; nothing of it is interrupted any more when this returns.
    pub(crate) fn end(&self) {
        *self.running() = None;
    }

    fn running(&self) -> MutexGuard<'_, Option<InterruptHandle>> {
        // What it holds is whole at every moment.
        self.inner.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the log gives to apply, shown to the simulator as it comes: batch by batch, before anything is done with it.
//!
//! Compiled for the simulator alone (feature `mutations`), which has one thread: the listener is that thread's own.

use std::cell::RefCell;

use crate::apply::Entry;

/// Hears batches.
type Listener = Box<dyn FnMut(&[Entry])>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Shows `listener` each batch that any node of this thread applies from now on, also those applied again after a crash.
pub fn listen(listener: impl FnMut(&[Entry]) + 'static) {
    LISTENER.set(Some(Box::new(listener)));
}

pub(crate) fn show(batch: &[Entry]) {
    LISTENER.with_borrow_mut(|listener| {
        if let Some(listener) = listener {
            listener(batch);
        }
    });
}

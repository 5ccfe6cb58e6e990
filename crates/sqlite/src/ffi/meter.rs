//! How much a running statement writes to files, by thread: the budget of what no hook counts.
//!
//! Sorting and intermediate results go to temporary files, and `CREATE TABLE … AS` stores rows without telling a hook;
//! both could fill the disk. The statement that goes past the limit is interrupted, which is its result. What SQLite
//! spills follows from the data and the page cache's size, which are the same on every replica.
#![allow(unsafe_code)]

use std::cell::Cell;

use rusqlite::{Connection, ffi};

thread_local! {
    static METER: Cell<Option<Meter>> = const { Cell::new(None) };
}

#[derive(Clone, Copy)]
struct Meter {
    db: *mut ffi::sqlite3,
    left: u64,
    is_exceeded: bool,
}

/// A statement of `connection` begins that may write so many bytes; [`stop`] must come before the connection closes.
pub(crate) fn start(connection: &Connection, bytes_max: u64) {
    // SAFETY: only a live handle is read here; it is used until `stop`.
    let db = unsafe { connection.handle() };
    METER.set(Some(Meter {
        db,
        left: bytes_max,
        is_exceeded: false,
    }));
}

/// It has ended; answers whether it went past its limit.
pub(crate) fn stop() -> bool {
    METER.take().is_some_and(|meter| meter.is_exceeded)
}

/// `bytes` are being written to a temporary file or to the WAL.
pub(super) fn count(bytes: usize) {
    let Some(mut meter) = METER.get() else { return };
    match meter.left.checked_sub(bytes as u64) {
        Some(left) => meter.left = left,
        None => {
            meter.is_exceeded = true;
            // SAFETY: between `start` and `stop` the connection is open, and this is its own thread.
            unsafe { ffi::sqlite3_interrupt(meter.db) };
        }
    }
    METER.set(Some(meter));
}

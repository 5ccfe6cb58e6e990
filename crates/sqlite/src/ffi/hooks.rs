//! The writer's hooks and the calls of a connection that rusqlite lacks.
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rusqlite::{Connection, ffi};

use crate::context::Context;

/// Bytes that a stored row costs beyond its values, for the budget.
const ROW_OVERHEAD_BYTES: i64 = 16;

/// How far a checkpoint has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// Frames in the WAL.
    pub log_frames: u32,
    /// Frames of them that the database file has.
    pub backfilled: u32,
}

/// A writer's context, as its connection's hooks see it. Dropped after the connection is closed.
pub(crate) struct Hooks {
    context: Arc<Context>,
}

impl Hooks {
    /// Hooks that report to `context`.
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Installs what is always on: the WAL's length after a commit, and rows at the last rowid.
    pub(crate) fn install(&self, connection: &Connection) {
        // SAFETY: the handle is alive; the context outlives the connection, since the writer drops it last.
        unsafe {
            ffi::sqlite3_wal_hook(connection.handle(), Some(after_commit), self.data());
            ffi::sqlite3_update_hook(connection.handle(), Some(on_row), self.data());
        }
    }

    /// Counts the bytes of stored rows, or stops counting.
    pub(crate) fn count_bytes(&self, connection: &Connection, on: bool) {
        let hook = if on { Some(on_store as Preupdate) } else { None };
        // SAFETY: as in `install`.
        unsafe { ffi::sqlite3_preupdate_hook(connection.handle(), hook, self.data()) };
    }

    fn data(&self) -> *mut c_void {
        Arc::as_ptr(&self.context).cast_mut().cast()
    }
}

type Preupdate = unsafe extern "C" fn(*mut c_void, *mut ffi::sqlite3, c_int, *const c_char, *const c_char, i64, i64);

unsafe extern "C" fn after_commit(data: *mut c_void, _: *mut ffi::sqlite3, _: *const c_char, frames: c_int) -> c_int {
    // SAFETY: `data` is the context that `install` was given.
    let context = unsafe { &*data.cast::<Context>() };
    context.wal_frames.store(u32::try_from(frames).unwrap_or(0), Relaxed);
    ffi::SQLITE_OK
}

unsafe extern "C" fn on_row(data: *mut c_void, operation: c_int, _: *const c_char, _: *const c_char, rowid: i64) {
    if rowid == i64::MAX && operation != ffi::SQLITE_DELETE {
        // SAFETY: `data` is the context that `install` was given.
        unsafe { &*data.cast::<Context>() }.last_rowid_used.store(true, Relaxed);
    }
}

unsafe extern "C" fn on_store(
    data: *mut c_void,
    db: *mut ffi::sqlite3,
    operation: c_int,
    _: *const c_char,
    _: *const c_char,
    _: i64,
    _: i64,
) {
    if operation == ffi::SQLITE_DELETE {
        return;
    }
    // SAFETY: `data` is the context that `install` was given; the preupdate calls are made within the hook, and the
    // value is only asked for its size.
    unsafe {
        let mut bytes = ROW_OVERHEAD_BYTES;
        for column in 0..ffi::sqlite3_preupdate_count(db) {
            let mut value = ptr::null_mut();
            if ffi::sqlite3_preupdate_new(db, column, &raw mut value) == ffi::SQLITE_OK && !value.is_null() {
                bytes += match ffi::sqlite3_value_type(value) {
                    // The length of a BLOB is read from the record, without expanding or converting it.
                    ffi::SQLITE_TEXT | ffi::SQLITE_BLOB => i64::from(ffi::sqlite3_value_bytes(value)),
                    _ => 8,
                };
            }
        }
        if (*data.cast::<Context>()).budget.store(bytes) {
            ffi::sqlite3_interrupt(db);
        }
    }
}

/// Sets what `last_insert_rowid()` answers.
pub(crate) fn set_last_insert_rowid(connection: &Connection, rowid: i64) {
    // SAFETY: the handle is alive.
    unsafe { ffi::sqlite3_set_last_insert_rowid(connection.handle(), rowid) }
}

/// Whether foreign keys are violated that would fail the commit.
pub(crate) fn has_deferred_violations(connection: &Connection) -> bool {
    let (mut current, mut highest) = (0, 0);
    // SAFETY: the handle is alive and both out pointers are valid.
    unsafe {
        let op = ffi::SQLITE_DBSTATUS_DEFERRED_FKS;
        ffi::sqlite3_db_status(connection.handle(), op, &raw mut current, &raw mut highest, 0);
    }
    current != 0
}

/// Copies frames of the WAL to the database as far as no reader is in the way, and flushes both. Waits for no one.
///
/// # Errors
///
/// SQLite's result code, other than BUSY, which means that another checkpoint runs.
pub(crate) fn checkpoint_passive(connection: &Connection) -> Result<Option<Backfill>, i32> {
    let (mut log, mut done) = (-1, -1);
    // SAFETY: the handle is alive and both out pointers are valid.
    let code = unsafe {
        ffi::sqlite3_wal_checkpoint_v2(
            connection.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_CHECKPOINT_PASSIVE,
            &raw mut log,
            &raw mut done,
        )
    };
    match (code, u32::try_from(log), u32::try_from(done)) {
        (ffi::SQLITE_OK, Ok(log_frames), Ok(backfilled)) => Ok(Some(Backfill { log_frames, backfilled })),
        (ffi::SQLITE_OK | ffi::SQLITE_BUSY, _, _) => Ok(None),
        (code, _, _) => Err(code),
    }
}

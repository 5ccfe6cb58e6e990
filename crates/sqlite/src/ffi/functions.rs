//! The functions of the writer that answer from the entry instead of from the node or the connection's past.
//!
//! `random()` and `randomblob()` draw from the entry's seed; `changes()` and `total_changes()` answer the replicated
//! counters. `last_insert_rowid()` needs none: SQLite lets us set it. What `super::strings` adds answers as SQLite does,
//! within the entry's budget.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rusqlite::{Connection, ffi};

use super::strings;
use crate::context::Context;
use crate::error::Error;

pub(super) type Callback = unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);

// Innocuous, so that schemas may use them in defaults, views and triggers.
const FLAGS: c_int = ffi::SQLITE_UTF8 | ffi::SQLITE_INNOCUOUS;

/// Replaces the functions on the writer's connection.
///
/// # Errors
///
/// [`Error::Sqlite`] when SQLite refuses one.
pub(crate) fn install(connection: &Connection, context: &Arc<Context>) -> Result<(), Error> {
    // Not deterministic, so that SQLite's own rules on indexes and generated columns keep holding.
    create(connection, context, c"random", 0, FLAGS, random)?;
    create(connection, context, c"randomblob", 1, FLAGS, random_blob)?;
    create(connection, context, c"changes", 0, FLAGS, changes)?;
    create(connection, context, c"total_changes", 0, FLAGS, total_changes)?;
    strings::FUNCTIONS.iter().try_for_each(|(name, arguments, callback)| {
        let flags = FLAGS | ffi::SQLITE_DETERMINISTIC;
        create(connection, context, name, *arguments, flags, *callback)
    })
}

fn create(
    connection: &Connection,
    context: &Arc<Context>,
    name: &CStr,
    arguments: c_int,
    flags: c_int,
    callback: Callback,
) -> Result<(), Error> {
    let data = Arc::into_raw(Arc::clone(context)).cast_mut().cast::<c_void>();
    // SAFETY: the handle is alive; SQLite owns `data` from here on, and gives it to `release` once, also on failure.
    let code = unsafe {
        ffi::sqlite3_create_function_v2(
            connection.handle(),
            name.as_ptr(),
            arguments,
            flags,
            data,
            Some(callback),
            None,
            None,
            Some(release),
        )
    };
    match code {
        ffi::SQLITE_OK => Ok(()),
        code => Err(Error::sqlite("register an entry function")(
            rusqlite::Error::SqliteFailure(ffi::Error::new(code), None),
        )),
    }
}

unsafe extern "C" fn release(data: *mut c_void) {
    // SAFETY: `data` came from `Arc::into_raw` and is given back once.
    drop(unsafe { Arc::from_raw(data.cast::<Context>().cast_const()) });
}

/// # Safety
///
/// `call` is a call of a function that [`create`] registered.
pub(super) unsafe fn context<'a>(call: *mut ffi::sqlite3_context) -> &'a Context {
    // SAFETY: the user data is the context, alive as long as the function is registered.
    unsafe { &*ffi::sqlite3_user_data(call).cast::<Context>() }
}

unsafe extern "C" fn random(call: *mut ffi::sqlite3_context, _: c_int, _: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered by `create`.
    unsafe { ffi::sqlite3_result_int64(call, context(call).random()) }
}

unsafe extern "C" fn random_blob(call: *mut ffi::sqlite3_context, _: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered by `create` with one argument; SQLite owns the blob, which it frees by `sqlite3_free`.
    unsafe {
        let length = ffi::sqlite3_value_int64(*values).max(1);
        let db = ffi::sqlite3_context_db_handle(call);
        let limit = ffi::sqlite3_limit(db, ffi::SQLITE_LIMIT_LENGTH, -1);
        if length > i64::from(limit) {
            return ffi::sqlite3_result_error_toobig(call);
        }
        if context(call).budget.charge(length as u64) {
            return ffi::sqlite3_result_error_code(call, ffi::SQLITE_INTERRUPT);
        }
        let blob = ffi::sqlite3_malloc64(length as u64).cast::<u8>();
        if blob.is_null() {
            return ffi::sqlite3_result_error_nomem(call);
        }
        blob.write_bytes(0, length as usize);
        context(call).fill_random(std::slice::from_raw_parts_mut(blob, length as usize));
        ffi::sqlite3_result_blob64(call, blob.cast(), length as u64, Some(free));
    }
}

pub(super) unsafe extern "C" fn free(memory: *mut c_void) {
    // SAFETY: allocated by SQLite.
    unsafe { ffi::sqlite3_free(memory) }
}

/// The connection's own count is 0 until a statement of this entry sets it: the writer sees to that.
unsafe extern "C" fn changes(call: *mut ffi::sqlite3_context, _: c_int, _: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered by `create`.
    unsafe {
        let own = ffi::sqlite3_changes64(ffi::sqlite3_context_db_handle(call));
        let answer = if own == 0 {
            context(call).changes.load(Relaxed)
        } else {
            own
        };
        ffi::sqlite3_result_int64(call, answer);
    }
}

unsafe extern "C" fn total_changes(call: *mut ffi::sqlite3_context, _: c_int, _: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered by `create`.
    unsafe {
        let own = ffi::sqlite3_total_changes64(ffi::sqlite3_context_db_handle(call));
        let offset = context(call).total_changes_offset.load(Relaxed);
        ffi::sqlite3_result_int64(call, own.wrapping_add(offset));
    }
}

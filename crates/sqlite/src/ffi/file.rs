//! Our VFS's files: the unix file behind eyes that see every failure, and behind the simulator's hand.
//!
//! ```text
//!  File │ pMethods │ state │        then, in the same allocation: the unix VFS's own file
//! ```
//!
//! Invariants:
//! * A failed read, write, truncate, flush, size or shared-memory call is noted for its thread (D4).
//! * After a failed flush of a file no flush of it succeeds (D5).
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ffi;
use rusqlite::ffi::{sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use super::meter;
use crate::faults::{self, Action, Failure, FileFaults};

/// What SQLite sees first in the memory of a file.
#[repr(C)]
struct File {
    methods: *const sqlite3_io_methods,
    state: *mut State,
}

/// What we know of an open file.
struct State {
    path: Option<PathBuf>,
    /// What is written to it is for a statement's own use, or grows the WAL.
    is_metered: bool,
    watcher: Option<Arc<dyn FileFaults>>,
}

/// Bytes of [`File`], before the unix VFS's own.
pub(super) const HEADER_BYTES: c_int = size_of::<File>() as c_int;

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 3,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: Some(fetch),
    xUnfetch: Some(unfetch),
};

/// The unix VFS's file inside of ours.
///
/// # Safety
///
/// `file` is memory that SQLite allocated for a file of our VFS.
pub(super) unsafe fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: promised by the caller; the allocation is `HEADER_BYTES` larger than the unix file.
    unsafe { file.byte_add(HEADER_BYTES as usize) }
}

/// Puts our methods over a file that the unix VFS has just opened.
///
/// # Safety
///
/// As for [`inner`], and the inner file is open.
pub(super) unsafe fn adopt(file: *mut sqlite3_file, path: Option<PathBuf>, watcher: Option<Arc<dyn FileFaults>>) {
    let is_metered = path
        .as_ref()
        .is_none_or(|path| path.as_os_str().as_encoded_bytes().ends_with(b"-wal"));
    let state = Box::into_raw(Box::new(State {
        path,
        is_metered,
        watcher,
    }));
    // SAFETY: promised by the caller.
    unsafe {
        file.cast::<File>().write(File {
            methods: &raw const METHODS,
            state,
        });
    }
}

/// # Safety
///
/// `file` is an open file of our VFS.
unsafe fn state<'a>(file: *mut sqlite3_file) -> &'a State {
    // SAFETY: `adopt` put a boxed state there, and `close` alone frees it.
    unsafe { &*(*file.cast::<File>()).state }
}

/// Calls a method of the unix file, or answers `$missing` when it has none.
macro_rules! call {
    ($file:expr, $method:ident, $missing:expr $(, $argument:expr)*) => {{
        let inner = inner($file);
        match (*(*inner).pMethods).$method {
            Some(method) => method(inner $(, $argument)*),
            None => $missing,
        }
    }};
}

impl State {
    /// Notes `code` as this thread's failure, and passes it on.
    fn noted(&self, operation: &'static str, code: c_int) -> c_int {
        let message = match code & 0xff {
            ffi::SQLITE_FULL => "no space left on device".to_owned(),
            _ => std::io::Error::last_os_error().to_string(),
        };
        faults::note(Failure {
            operation,
            path: self.path.clone(),
            message: format!("{message} (code {code})"),
        });
        code
    }

    fn ask(&self, question: impl FnOnce(&dyn FileFaults, &std::path::Path) -> Action) -> Action {
        match (&self.watcher, &self.path) {
            (Some(watcher), Some(path)) => question(watcher.as_ref(), path),
            (Some(_) | None, _) => Action::Proceed,
        }
    }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `file` is open and SQLite forgets it with this call.
    unsafe {
        let code = call!(file, xClose, ffi::SQLITE_OK);
        drop(Box::from_raw((*file.cast::<File>()).state));
        (*file).pMethods = std::ptr::null();
        code
    }
}

unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, length: c_int, offset: sqlite3_int64) -> c_int {
    // SAFETY: `file` is open, `buffer` has `length` writable bytes.
    unsafe {
        let state = state(file);
        let code = match state.ask(|watcher, path| watcher.on_read(path, offset as u64, length as usize)) {
            Action::Proceed | Action::Pretend => call!(file, xRead, ffi::SQLITE_IOERR_READ, buffer, length, offset),
            Action::Fail | Action::Full => ffi::SQLITE_IOERR_READ,
        };
        match code {
            ffi::SQLITE_OK | ffi::SQLITE_IOERR_SHORT_READ => code,
            code => state.noted("read", code),
        }
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    buffer: *const c_void,
    length: c_int,
    offset: sqlite3_int64,
) -> c_int {
    // SAFETY: `file` is open, `buffer` has `length` readable bytes.
    unsafe {
        let state = state(file);
        let data = std::slice::from_raw_parts(buffer.cast::<u8>(), length as usize);
        if state.is_metered {
            meter::count(data.len());
        }
        let code = match state.ask(|watcher, path| watcher.on_write(path, offset as u64, data)) {
            Action::Proceed => call!(file, xWrite, ffi::SQLITE_IOERR_WRITE, buffer, length, offset),
            Action::Pretend => ffi::SQLITE_OK,
            Action::Fail => ffi::SQLITE_IOERR_WRITE,
            Action::Full => ffi::SQLITE_FULL,
        };
        match code {
            ffi::SQLITE_OK => code,
            code => state.noted("write", code),
        }
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: sqlite3_int64) -> c_int {
    // SAFETY: `file` is open.
    unsafe {
        let state = state(file);
        let code = match state.ask(|watcher, path| watcher.on_truncate(path, size as u64)) {
            Action::Proceed => call!(file, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, size),
            Action::Pretend => ffi::SQLITE_OK,
            Action::Fail | Action::Full => ffi::SQLITE_IOERR_TRUNCATE,
        };
        match code {
            ffi::SQLITE_OK => code,
            code => state.noted("truncate", code),
        }
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: `file` is open.
    unsafe {
        let state = state(file);
        if let Some(path) = state.path.as_deref().filter(|path| faults::is_poisoned(path)) {
            faults::note(Failure {
                operation: "sync",
                path: Some(path.to_owned()),
                message: "an earlier flush of this file failed".to_owned(),
            });
            return ffi::SQLITE_IOERR_FSYNC;
        }
        let code = match state.ask(|watcher, path| watcher.on_sync(path)) {
            Action::Proceed => call!(file, xSync, ffi::SQLITE_IOERR_FSYNC, flags),
            Action::Pretend => ffi::SQLITE_OK,
            Action::Fail | Action::Full => ffi::SQLITE_IOERR_FSYNC,
        };
        if code != ffi::SQLITE_OK {
            if let Some(path) = &state.path {
                faults::poison(path);
            }
            return state.noted("sync", code);
        }
        if let (Some(watcher), Some(path)) = (&state.watcher, &state.path) {
            watcher.synced(path);
        }
        code
    }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    // SAFETY: `file` is open, `size` is writable.
    unsafe {
        match call!(file, xFileSize, ffi::SQLITE_IOERR_FSTAT, size) {
            ffi::SQLITE_OK => ffi::SQLITE_OK,
            code => state(file).noted("stat", code),
        }
    }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: `file` is open.
    unsafe { watched(file, "lock", call!(file, xLock, ffi::SQLITE_OK, level)) }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: `file` is open.
    unsafe { watched(file, "unlock", call!(file, xUnlock, ffi::SQLITE_OK, level)) }
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: `file` is open, `out` is writable.
    unsafe { watched(file, "lock", call!(file, xCheckReservedLock, ffi::SQLITE_OK, out)) }
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: `file` is open; the argument is passed on as it came.
    unsafe { call!(file, xFileControl, ffi::SQLITE_NOTFOUND, operation, argument) }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `file` is open.
    unsafe { call!(file, xSectorSize, 4096) }
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    // SAFETY: `file` is open.
    unsafe { call!(file, xDeviceCharacteristics, 0) }
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: `file` is open, `out` is writable.
    unsafe {
        let code = call!(file, xShmMap, ffi::SQLITE_IOERR_SHMMAP, region, bytes, extend, out);
        watched(file, "map shared memory", code)
    }
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: `file` is open.
    unsafe {
        let code = call!(file, xShmLock, ffi::SQLITE_IOERR_SHMLOCK, offset, count, flags);
        watched(file, "lock shared memory", code)
    }
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    // SAFETY: `file` is open.
    unsafe { call!(file, xShmBarrier, ()) }
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    // SAFETY: `file` is open.
    unsafe { call!(file, xShmUnmap, ffi::SQLITE_OK, delete) }
}

unsafe extern "C" fn fetch(
    file: *mut sqlite3_file,
    offset: sqlite3_int64,
    length: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: `file` is open, `out` is writable. Without a mapping SQLite reads instead.
    unsafe {
        *out = std::ptr::null_mut();
        call!(file, xFetch, ffi::SQLITE_OK, offset, length, out)
    }
}

unsafe extern "C" fn unfetch(file: *mut sqlite3_file, offset: sqlite3_int64, mapping: *mut c_void) -> c_int {
    // SAFETY: `file` is open; `mapping` came from `fetch`.
    unsafe { call!(file, xUnfetch, ffi::SQLITE_OK, offset, mapping) }
}

/// Notes an I/O error among the codes of a call that may also answer BUSY and the like.
///
/// # Safety
///
/// `file` is an open file of our VFS.
unsafe fn watched(file: *mut sqlite3_file, operation: &'static str, code: c_int) -> c_int {
    match code & 0xff {
        ffi::SQLITE_IOERR | ffi::SQLITE_FULL | ffi::SQLITE_NOMEM => {
            // SAFETY: promised by the caller.
            unsafe { state(file) }.noted(operation, code)
        }
        _ => code,
    }
}

//! Our VFS's files: the unix file behind eyes that see every failure, and behind the simulator's hand.
//!
//! ```text
//!  File │ pMethods │ state │        then, in the same allocation: the unix VFS's own file
//! ```
//!
//! Invariants:
//! * A failed read, write, truncate, flush, size or shared-memory call is noted for its thread (D4).
//! * After a failed flush of a file no flush of it succeeds (D5).
//! * A file's first flush makes its name durable as well, and fails when that fails: SQLite's own flush of the folder of
//!   a new WAL or journal drops its result, so it is compiled out (`SQLITE_DISABLE_DIRSYNC`); `vfs` flushes after deletions.
//! * A checkpoint of the writer's database writes to it only above a floor that is durable (D7).
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::ffi;
use rusqlite::ffi::{sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use super::meter;
use crate::faults::{self, Action, Failure, FileFaults};
use crate::floor::{self, Floor};

/// What SQLite sees first in the memory of a file.
#[repr(C)]
struct File {
    methods: *const sqlite3_io_methods,
    state: *mut State,
}

/// Who opened a file, and under which name.
pub(super) struct Opened {
    /// `None` for a temporary file.
    pub(super) path: Option<PathBuf>,
    /// The database of the writer or of its checkpointer.
    pub(super) keeps_floor: bool,
    pub(super) watcher: Option<Arc<dyn FileFaults>>,
}

/// What we know of an open file.
struct State {
    path: Option<PathBuf>,
    keeps_floor: bool,
    /// Its floor could not be written: nothing may be copied to it.
    is_barred: Cell<bool>,
    /// What is written to it is for a statement's own use, or grows the WAL.
    is_metered: bool,
    /// Its folder was flushed after it was opened.
    is_named: Cell<bool>,
    watcher: Option<Arc<dyn FileFaults>>,
}

/// The WAL's index: bytes of its first region, and where in it the WAL's salts stand and how many frames the checkpoint
/// that runs copies at most.
const INDEX_REGION_BYTES: c_int = 32 * 1024;
const INDEX_SALTS_AT: usize = 32;
const INDEX_ATTEMPTED_AT: usize = 128;

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
pub(super) unsafe fn adopt(file: *mut sqlite3_file, opened: Opened) {
    let Opened {
        path,
        keeps_floor,
        watcher,
    } = opened;
    let is_metered = path
        .as_ref()
        .is_none_or(|path| path.as_os_str().as_encoded_bytes().ends_with(b"-wal"));
    let state = Box::into_raw(Box::new(State {
        path,
        keeps_floor,
        is_barred: Cell::new(false),
        is_metered,
        is_named: Cell::new(false),
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

    /// Whether the file's name is durable, or could be made so.
    fn make_name_durable(&self) -> bool {
        if let Some(path) = self.path.as_deref().filter(|_| !self.is_named.get()) {
            self.is_named
                .set(faults::sync_folder_of(path, self.watcher.as_deref()).is_ok());
        }
        self.path.is_none() || self.is_named.get()
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
        if state.is_barred.get() {
            return state.noted("write", ffi::SQLITE_IOERR_WRITE);
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
        if state.is_barred.get() {
            return state.noted("truncate", ffi::SQLITE_IOERR_TRUNCATE);
        }
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
            Action::Proceed if !state.make_name_durable() => ffi::SQLITE_IOERR_DIR_FSYNC,
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
    unsafe {
        if operation == ffi::SQLITE_FCNTL_CKPT_START {
            before_backfill(file);
        }
        call!(file, xFileControl, ffi::SQLITE_NOTFOUND, operation, argument)
    }
}

/// A checkpoint has flushed the WAL and copies from it next: how far it may go is made durable first.
///
/// SQLite drops this call's answer, so what fails here bars the file.
///
/// # Safety
///
/// `file` is an open file of our VFS, and a checkpoint of this thread begins on it.
unsafe fn before_backfill(file: *mut sqlite3_file) {
    // SAFETY: promised by the caller.
    unsafe {
        let state = state(file);
        let Some(database) = state.path.as_deref().filter(|_| state.keeps_floor) else {
            return;
        };
        let raised = match attempt(file) {
            Some(floor) => floor::raise(database, floor).map_err(|error| error.to_string()),
            None => Err("the WAL's index is not there".to_owned()),
        };
        if let Err(message) = raised {
            state.is_barred.set(true);
            faults::note(Failure {
                operation: "raise the floor of",
                path: state.path.clone(),
                message,
            });
        }
    }
}

/// What the checkpoint that begins on `file` copies at most, as SQLite has written it to the WAL's index.
///
/// Source: <https://sqlite.org/walformat.html#the_wal_index_file_format>
///
/// # Safety
///
/// As for [`before_backfill`].
unsafe fn attempt(file: *mut sqlite3_file) -> Option<Floor> {
    let mut index = std::ptr::null_mut();
    // SAFETY: `file` is open, and `index` writable. The region is of SQLite's own size, and mapped: a checkpoint has read
    // its header, and holds the locks that keep others from changing what is read here.
    unsafe {
        let code = call!(
            file,
            xShmMap,
            ffi::SQLITE_IOERR_SHMMAP,
            0,
            INDEX_REGION_BYTES,
            0,
            &raw mut index
        );
        if code != ffi::SQLITE_OK || index.is_null() {
            return None;
        }
        Some(Floor {
            salts: index.byte_add(INDEX_SALTS_AT).cast::<[u8; 8]>().read_volatile(),
            frames: index.byte_add(INDEX_ATTEMPTED_AT).cast::<u32>().read_volatile(),
        })
    }
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

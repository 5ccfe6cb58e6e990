//! Our VFS: the unix VFS with a clock of its own and eyes on every file.
//!
//! Registered twice. The two differ in their clock alone: under [`ENTRY`] (the writer) `'now'` and `CURRENT_TIMESTAMP`
//! are the entry's time, under [`PLAIN`] (readers) the wall clock. Everything else is the unix VFS, called through.
//!
//! ```text
//!  SQLite ──► xOpen ──► File { methods of ours │ state │ unixFile … } ──► unix VFS
//!             xCurrentTime ──► the entry's clock, bound to this thread
//! ```
//!
//! The entry clock is bound to the thread that runs apply. `'localtime'` means UTC where it is bound.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rusqlite::ffi;

use super::{allocator, file};
use crate::error::Error;
use crate::faults::{self, Action, Failure, FileFaults};

/// The VFS of the writer, as a connection names it.
pub(crate) const ENTRY: &str = "quorlite-entry";
/// The VFS of readers, as a connection names it.
pub(crate) const PLAIN: &str = "quorlite";

/// Julian day of 1970-01-01T00:00 in milliseconds, SQLite's epoch.
const UNIX_EPOCH_JULIAN_MS: i64 = 210_866_760_000_000;
/// Milliseconds of a day.
const DAY_MS: f64 = 86_400_000.0;

/// The unix VFS.
struct Base(*mut ffi::sqlite3_vfs);

// SAFETY: a registered VFS is immutable and lives until the process ends.
unsafe impl Send for Base {}
// SAFETY: as above.
unsafe impl Sync for Base {}

static BASE: OnceLock<Result<Base, String>> = OnceLock::new();

thread_local! {
    /// Microseconds since 1970 of the entry that this thread applies.
    static CLOCK_US: Cell<Option<i64>> = const { Cell::new(None) };
}

/// The entry clock is bound to this thread as long as this lives.
pub(crate) struct BoundClock(());

impl BoundClock {
    /// Binds `clock_us`, microseconds since 1970 UTC.
    pub(crate) fn bind(clock_us: i64) -> Self {
        CLOCK_US.set(Some(clock_us));
        Self(())
    }
}

impl Drop for BoundClock {
    fn drop(&mut self) {
        CLOCK_US.set(None);
    }
}

/// Registers both, once per process.
///
/// # Errors
///
/// [`Error::Node`] when SQLite does not start or has no unix VFS.
pub(crate) fn register() -> Result<(), Error> {
    match BASE.get_or_init(initialize) {
        Ok(_) => Ok(()),
        Err(message) => Err(Error::Node {
            what: "register the VFS".to_owned(),
            message: message.clone(),
        }),
    }
}

/// Seeds SQLite's own randomness (the salts of the WAL), for the whole process: the simulator's door. 0 undoes it.
pub fn seed_randomness(seed: i32) {
    // SAFETY: this control takes an int and a connection, which may be null.
    unsafe {
        ffi::sqlite3_test_control(
            ffi::SQLITE_TESTCTRL_PRNG_SEED,
            seed,
            std::ptr::null_mut::<ffi::sqlite3>(),
        );
    }
}

fn initialize() -> Result<Base, String> {
    allocator::install();
    // SAFETY: called once, before our first connection; the registered structures are leaked on purpose.
    unsafe {
        if ffi::sqlite3_initialize() != ffi::SQLITE_OK {
            return Err("SQLite does not initialize".to_owned());
        }
        let base = ffi::sqlite3_vfs_find(c"unix".as_ptr());
        if base.is_null() || (*base).iVersion < 3 {
            return Err("SQLite has no unix VFS".to_owned());
        }
        for (name, entry_clock) in [(c"quorlite-entry", true), (c"quorlite", false)] {
            let copy = Box::leak(Box::new(*base));
            copy.zName = name.as_ptr();
            copy.szOsFile = (*base).szOsFile + file::HEADER_BYTES;
            copy.pNext = std::ptr::null_mut();
            copy.xOpen = Some(open);
            copy.xDelete = Some(delete);
            if entry_clock {
                copy.xCurrentTime = Some(current_time);
                copy.xCurrentTimeInt64 = Some(current_time_ms);
            }
            if ffi::sqlite3_vfs_register(copy, 0) != ffi::SQLITE_OK {
                return Err("SQLite does not take the VFS".to_owned());
            }
        }
        // 2: call the function that follows instead of the C library.
        let callback: unsafe extern "C" fn(*const c_void, *mut c_void) -> c_int = local_time;
        ffi::sqlite3_test_control(ffi::SQLITE_TESTCTRL_LOCALTIME_FAULT, 2 as c_int, callback);
        Ok(Base(base))
    }
}

fn base() -> *mut ffi::sqlite3_vfs {
    match BASE.get() {
        Some(Ok(base)) => base.0,
        Some(Err(_)) | None => std::ptr::null_mut(),
    }
}

/// The path in a name that SQLite hands to a VFS; `None` for a temporary file.
unsafe fn path(name: *const c_char) -> Option<PathBuf> {
    if name.is_null() {
        return None;
    }
    // SAFETY: SQLite's file names end with NUL.
    let bytes = unsafe { CStr::from_ptr(name) }.to_bytes();
    Some(Path::new(OsStr::from_bytes(bytes)).to_owned())
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    target: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands us `szOsFile` writable bytes at `target`, of which the base's part begins after our header. `vfs`
    // is one of those that we registered, whose names end with NUL.
    unsafe {
        let path = path(name);
        let watcher = path.as_deref().and_then(faults::watcher);
        (*target).pMethods = std::ptr::null();
        let allowed = match (&watcher, &path) {
            (Some(watcher), Some(path)) => watcher.on_open(path),
            (Some(_) | None, _) => Action::Proceed,
        };
        let inner = file::inner(target);
        let code = match allowed {
            Action::Proceed | Action::Pretend => match (*base()).xOpen {
                Some(open) => open(base(), name, inner, flags, flags_out),
                None => ffi::SQLITE_CANTOPEN,
            },
            Action::Fail | Action::Full => ffi::SQLITE_CANTOPEN,
        };
        if code != ffi::SQLITE_OK {
            // A read-only opening of a WAL that is not there is a question, not a failure.
            if flags & ffi::SQLITE_OPEN_CREATE != 0 {
                faults::note(Failure {
                    operation: "open",
                    path,
                    message: std::io::Error::last_os_error().to_string(),
                });
            }
            return code;
        }
        let is_writers = CStr::from_ptr((*vfs).zName).to_bytes() == ENTRY.as_bytes();
        let opened = file::Opened {
            path,
            keeps_floor: is_writers && flags & ffi::SQLITE_OPEN_MAIN_DB != 0,
            watcher,
        };
        file::adopt(target, opened);
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_dir: c_int) -> c_int {
    // SAFETY: `name` ends with NUL and is passed on as it came.
    unsafe {
        let path = path(name);
        let watcher = path.as_deref().and_then(faults::watcher);
        let action = match (&watcher, path.as_deref()) {
            (Some(watcher), Some(path)) => watcher.on_delete(path),
            (Some(_) | None, _) => Action::Proceed,
        };
        let code = match action {
            Action::Proceed => match (*base()).xDelete {
                Some(delete) => durably(
                    delete(base(), name, sync_dir),
                    sync_dir,
                    path.as_deref(),
                    watcher.as_deref(),
                ),
                None => ffi::SQLITE_IOERR_DELETE,
            },
            Action::Pretend => ffi::SQLITE_OK,
            Action::Fail | Action::Full => ffi::SQLITE_IOERR_DELETE,
        };
        if code != ffi::SQLITE_OK && code != ffi::SQLITE_IOERR_DELETE_NOENT {
            faults::note(Failure {
                operation: "delete",
                path,
                message: std::io::Error::last_os_error().to_string(),
            });
        }
        code
    }
}

/// What a deletion answers once its folder is flushed, where SQLite asks for that: the unix VFS was built not to.
fn durably(deleted: c_int, sync_dir: c_int, path: Option<&Path>, watcher: Option<&dyn FileFaults>) -> c_int {
    match path {
        Some(path) if deleted == ffi::SQLITE_OK && sync_dir & 1 != 0 => match faults::sync_folder_of(path, watcher) {
            Ok(()) => deleted,
            Err(_) => ffi::SQLITE_IOERR_DIR_FSYNC,
        },
        Some(_) | None => deleted,
    }
}

unsafe extern "C" fn current_time_ms(_: *mut ffi::sqlite3_vfs, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: `out` is writable; the base's clock is called as SQLite would.
    unsafe {
        match (CLOCK_US.get(), (*base()).xCurrentTimeInt64) {
            (Some(clock_us), _) => *out = UNIX_EPOCH_JULIAN_MS + clock_us.div_euclid(1000),
            (None, Some(plain)) => return plain(base(), out),
            (None, None) => return ffi::SQLITE_ERROR,
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn current_time(vfs: *mut ffi::sqlite3_vfs, out: *mut f64) -> c_int {
    let mut julian_ms = 0;
    // SAFETY: `out` is writable.
    unsafe {
        let code = current_time_ms(vfs, &raw mut julian_ms);
        *out = julian_ms as f64 / DAY_MS;
        code
    }
}

unsafe extern "C" {
    fn localtime_r(time: *const c_void, broken_down: *mut c_void) -> *mut c_void;
    fn gmtime_r(time: *const c_void, broken_down: *mut c_void) -> *mut c_void;
}

/// SQLite's `localtime`: UTC where an entry is applied, the node's zone elsewhere. 0 is success.
unsafe extern "C" fn local_time(time: *const c_void, broken_down: *mut c_void) -> c_int {
    // SAFETY: SQLite passes a `time_t` and a `struct tm`, which is what both functions take.
    let result = unsafe {
        match CLOCK_US.get() {
            Some(_) => gmtime_r(time, broken_down),
            None => localtime_r(time, broken_down),
        }
    };
    c_int::from(result.is_null())
}

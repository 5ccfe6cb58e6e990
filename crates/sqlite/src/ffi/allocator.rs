//! Eyes on SQLite's allocator: a failed allocation is the node's failure, not the statement's (D4).
//!
//! SQLite also answers `SQLITE_NOMEM` where nothing failed (a request beyond 2 GiB, some malformed virtual tables):
//! that is a result, the same on every replica, and this is how the two are told apart.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::faults::{self, Failure};

/// The allocator that SQLite came with.
static ORIGINAL: OnceLock<Methods> = OnceLock::new();

type Allocate = unsafe extern "C" fn(c_int) -> *mut c_void;
type Reallocate = unsafe extern "C" fn(*mut c_void, c_int) -> *mut c_void;

struct Methods {
    allocate: Allocate,
    reallocate: Reallocate,
}

/// Wraps the allocator. Without effect when SQLite is already running, which in this program it is not.
pub(super) fn install() {
    // SAFETY: both controls take a pointer to the methods, which SQLite copies; it refuses them once it is running.
    unsafe {
        let mut methods = std::mem::MaybeUninit::<ffi::sqlite3_mem_methods>::zeroed().assume_init();
        let code = ffi::sqlite3_config(ffi::SQLITE_CONFIG_GETMALLOC, &raw mut methods);
        let (Some(allocate), Some(reallocate)) = (methods.xMalloc, methods.xRealloc) else {
            return;
        };
        if code != ffi::SQLITE_OK || ORIGINAL.set(Methods { allocate, reallocate }).is_err() {
            return;
        }
        methods.xMalloc = Some(watched_allocate);
        methods.xRealloc = Some(watched_reallocate);
        ffi::sqlite3_config(ffi::SQLITE_CONFIG_MALLOC, &raw const methods);
    }
}

/// SQLite calls these only after [`install`] has set the original.
unsafe extern "C" fn watched_allocate(bytes: c_int) -> *mut c_void {
    let Some(original) = ORIGINAL.get() else {
        return std::ptr::null_mut();
    };
    // SAFETY: called as SQLite would call it.
    watched(unsafe { (original.allocate)(bytes) }, bytes)
}

unsafe extern "C" fn watched_reallocate(old: *mut c_void, bytes: c_int) -> *mut c_void {
    let Some(original) = ORIGINAL.get() else {
        return std::ptr::null_mut();
    };
    // SAFETY: called as SQLite would call it.
    watched(unsafe { (original.reallocate)(old, bytes) }, bytes)
}

fn watched(memory: *mut c_void, bytes: c_int) -> *mut c_void {
    if memory.is_null() && bytes > 0 {
        faults::note(Failure {
            operation: "allocate",
            path: None,
            message: format!("out of memory ({bytes} bytes)"),
        });
    }
    memory
}

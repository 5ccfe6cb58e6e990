//! SQLite's functions that work on long values, within the entry's budget and in linear time.
//!
//! They answer as SQLite's own do, byte for byte (`tests`), which readers keep. SQLite's `instr()`, `replace()`, `trim()` and
//! `unhex()` compare at every place, `value × pattern` in one step, and nothing interrupts a step: here they search
//! ([`crate::search`]). All charge the bytes that they work on before they begin, and `trim()` its comparisons as it goes.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::slice;

use rusqlite::ffi;

use super::functions::{Callback, context, free};
use crate::search::{self, End};

/// Names, numbers of arguments, and what answers.
pub(super) static FUNCTIONS: &[(&CStr, c_int, Callback)] = &[
    (c"hex", 1, hex),
    (c"instr", 2, instr),
    (c"lower", 1, lower),
    (c"ltrim", 2, ltrim),
    (c"replace", 3, replace),
    (c"rtrim", 2, rtrim),
    (c"trim", 2, trim),
    (c"unhex", 2, unhex),
    (c"upper", 1, upper),
];

/// What `trim()` keeps of each character of its set: a pointer and a length. All of it may be no longer than a value.
const TRIM_CHARACTER_BYTES: usize = 12;

type Call = *mut ffi::sqlite3_context;
type Value = *mut ffi::sqlite3_value;

/// A copy of an argument, so that reading it as another type leaves the argument as it is.
struct Copied(Value);

impl Copied {
    /// # Safety
    ///
    /// `value` is an argument of the running call.
    unsafe fn of(value: Value) -> Self {
        // SAFETY: promised by the caller.
        Self(unsafe { ffi::sqlite3_value_dup(value) })
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        // SAFETY: made by `sqlite3_value_dup`, or null.
        unsafe { ffi::sqlite3_value_free(self.0) }
    }
}

/// The text of a value; `None` for NULL, and when there is no memory for it.
///
/// # Safety
///
/// `value` is null or alive, and is not read as another type while the text is used.
unsafe fn text<'a>(value: Value) -> Option<&'a [u8]> {
    // SAFETY: promised by the caller; the length is asked after the pointer, as SQLite demands.
    unsafe {
        let text = ffi::sqlite3_value_text(value);
        let length = ffi::sqlite3_value_bytes(value);
        (!text.is_null()).then(|| slice::from_raw_parts(text, length as usize))
    }
}

/// The bytes of a value that is a BLOB, or that may be read as one.
///
/// # Safety
///
/// As for [`text`].
unsafe fn blob<'a>(value: Value) -> &'a [u8] {
    // SAFETY: promised by the caller.
    unsafe {
        let blob = ffi::sqlite3_value_blob(value).cast::<u8>();
        let length = ffi::sqlite3_value_bytes(value);
        if blob.is_null() {
            return &[];
        }
        slice::from_raw_parts(blob, length as usize)
    }
}

/// Takes the work on `bytes` off the budget; answers whether the function must return, with its error set.
///
/// # Safety
///
/// `call` is a call of one of these functions.
unsafe fn is_refused(call: Call, bytes: usize) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        let refused = context(call).budget.charge(bytes as u64);
        if refused {
            ffi::sqlite3_result_error_code(call, ffi::SQLITE_INTERRUPT);
        }
        refused
    }
}

/// The longest value that this connection takes.
///
/// # Safety
///
/// `call` is a call of one of these functions.
unsafe fn length_max(call: Call) -> usize {
    // SAFETY: promised by the caller; a negative value asks.
    let limit = unsafe { ffi::sqlite3_limit(ffi::sqlite3_context_db_handle(call), ffi::SQLITE_LIMIT_LENGTH, -1) };
    usize::try_from(limit).unwrap_or(0)
}

/// Answers a text of `length` bytes that `fill` writes, unless it is too long.
///
/// # Safety
///
/// `call` is a call of one of these functions.
unsafe fn answer(call: Call, length: usize, fill: impl FnOnce(&mut [u8])) {
    // SAFETY: promised by the caller.
    unsafe {
        // SQLite counts the NUL at the end here.
        if length >= length_max(call) {
            return ffi::sqlite3_result_error_toobig(call);
        }
        give(call, length, fill);
    }
}

/// Answers a text of `length` bytes that `fill` writes.
///
/// # Safety
///
/// `call` is a call of one of these functions.
unsafe fn give(call: Call, length: usize, fill: impl FnOnce(&mut [u8])) {
    // SAFETY: promised by the caller; SQLite owns the text, which it frees by `sqlite3_free`.
    unsafe {
        let text = ffi::sqlite3_malloc64(length as u64 + 1).cast::<u8>();
        if text.is_null() {
            return ffi::sqlite3_result_error_nomem(call);
        }
        text.write_bytes(0, length + 1);
        fill(slice::from_raw_parts_mut(text, length));
        ffi::sqlite3_result_text64(call, text.cast(), length as u64, Some(free), ffi::SQLITE_UTF8 as u8);
    }
}

unsafe extern "C" fn hex(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with one argument.
    unsafe {
        let bytes = blob(*values);
        if !is_refused(call, 3 * bytes.len()) {
            answer(call, 2 * bytes.len(), |text| search::write_hex(bytes, text));
        }
    }
}

unsafe extern "C" fn upper(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with one argument.
    unsafe { in_case(call, *values, <[u8]>::make_ascii_uppercase) }
}

unsafe extern "C" fn lower(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with one argument.
    unsafe { in_case(call, *values, <[u8]>::make_ascii_lowercase) }
}

/// # Safety
///
/// `value` is the argument of `call`, a call of one of these functions.
unsafe fn in_case(call: Call, value: Value, fold: fn(&mut [u8])) {
    // SAFETY: promised by the caller.
    unsafe {
        let Some(from) = text(value) else { return };
        if !is_refused(call, 2 * from.len()) {
            answer(call, from.len(), |text| {
                text.copy_from_slice(from);
                fold(text);
            });
        }
    }
}

unsafe extern "C" fn instr(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with two arguments; the copies live until the end of the block.
    unsafe {
        let (value, pattern) = (*values, *values.add(1));
        let types = (ffi::sqlite3_value_type(value), ffi::sqlite3_value_type(pattern));
        if types.0 == ffi::SQLITE_NULL || types.1 == ffi::SQLITE_NULL {
            return;
        }
        if ffi::sqlite3_value_bytes(pattern) == 0 {
            return ffi::sqlite3_result_int(call, 1);
        }
        let at = match (types.0 == ffi::SQLITE_BLOB, types.1 == ffi::SQLITE_BLOB) {
            (true, true) => {
                let (value, pattern) = (blob(value), blob(pattern));
                if is_refused(call, value.len() + pattern.len()) {
                    return;
                }
                search::place_in_bytes(value, pattern)
            }
            (is_blob, other_is_blob) => {
                let mixed = is_blob != other_is_blob;
                let copies = mixed.then(|| (Copied::of(value), Copied::of(pattern)));
                let (value, pattern) = copies
                    .as_ref()
                    .map_or((value, pattern), |copies| (copies.0.0, copies.1.0));
                let (Some(value), Some(pattern)) = (text(value), text(pattern)) else {
                    return ffi::sqlite3_result_error_nomem(call);
                };
                if is_refused(call, value.len() + pattern.len()) {
                    return;
                }
                search::place_in_text(value, pattern)
            }
        };
        ffi::sqlite3_result_int64(call, at as i64);
    }
}

unsafe extern "C" fn replace(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with three arguments.
    unsafe {
        let Some(value) = text(*values) else { return };
        let Some(pattern) = text(*values.add(1)) else { return };
        if is_refused(call, value.len() + pattern.len()) {
            return;
        }
        // As SQLite has it, a pattern that begins with NUL is an empty one.
        if pattern.first().is_none_or(|first| *first == 0) {
            return ffi::sqlite3_result_text64(
                call,
                value.as_ptr().cast(),
                value.len() as u64,
                ffi::SQLITE_TRANSIENT(),
                ffi::SQLITE_UTF8 as u8,
            );
        }
        let Some(by) = text(*values.add(2)) else { return };
        // SQLite counts the NUL at the end of what it begins with, but not of what it ends with.
        let limit = length_max(call);
        let fits = value.len() < limit;
        let length = if fits {
            search::replaced_length(value, pattern, by)
        } else {
            0
        };
        if !fits || length > limit {
            return ffi::sqlite3_result_error_toobig(call);
        }
        if !is_refused(call, length) {
            give(call, length, |text| search::replace(value, pattern, by, text));
        }
    }
}

unsafe extern "C" fn ltrim(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with two arguments.
    unsafe { trim_at(call, values, &[End::First]) }
}

unsafe extern "C" fn rtrim(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with two arguments.
    unsafe { trim_at(call, values, &[End::Last]) }
}

unsafe extern "C" fn trim(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with two arguments.
    unsafe { trim_at(call, values, &[End::First, End::Last]) }
}

/// # Safety
///
/// `values` are the two arguments of `call`, a call of one of these functions.
unsafe fn trim_at(call: Call, values: *mut Value, ends: &[End]) {
    // SAFETY: promised by the caller.
    unsafe {
        let Some(mut value) = text(*values) else { return };
        let Some(set) = text(*values.add(1)) else { return };
        if is_refused(call, value.len() + set.len()) {
            return;
        }
        let set = search::characters(set);
        if set.len() * TRIM_CHARACTER_BYTES > length_max(call) {
            return ffi::sqlite3_result_error_toobig(call);
        }
        for end in ends {
            match search::trimmed(value, &set, *end, &mut |compared| !is_refused(call, compared)) {
                Ok(rest) => value = rest,
                Err(search::Stopped) => return,
            }
        }
        ffi::sqlite3_result_text64(
            call,
            value.as_ptr().cast(),
            value.len() as u64,
            ffi::SQLITE_TRANSIENT(),
            ffi::SQLITE_UTF8 as u8,
        );
    }
}

unsafe extern "C" fn unhex(call: Call, _: c_int, values: *mut Value) {
    // SAFETY: registered with two arguments.
    unsafe {
        let (Some(value), Some(pass)) = (text(*values), text(*values.add(1))) else {
            return;
        };
        if value.len() / 2 + 1 > length_max(call) {
            return ffi::sqlite3_result_error_toobig(call);
        }
        if is_refused(call, value.len() + pass.len()) {
            return;
        }
        if let Some(bytes) = search::read_hex(value, pass) {
            ffi::sqlite3_result_blob64(call, bytes.as_ptr().cast(), bytes.len() as u64, ffi::SQLITE_TRANSIENT());
        }
    }
}

//! SQLite's math functions, computed by the bundled `libm` instead of the C library.
//!
//! glibc picks another code path for `sin`, `exp`, `pow` and their like by the CPU it runs on, and the last bit differs
//! between them; replicas must not (D3). `sqrt`, `ceil`, `floor`, `trunc`, `mod`, `radians`, `degrees` and `pi` are exact
//! or plain arithmetic under IEEE 754 and stay SQLite's own. Types and NULLs are handled as SQLite's `math1Func`,
//! `math2Func` and `logFunc` do, numeric text included.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int, c_void};

use rusqlite::{Connection, ffi};

use crate::error::Error;

/// A function of one double.
type Unary = fn(f64) -> f64;
/// A function of two doubles.
type Binary = fn(f64, f64) -> f64;

/// What the C callback finds in its user data; the tables below are static, so nothing is ever freed.
static UNARY: &[(&CStr, Unary)] = &[
    (c"exp", libm::exp),
    (c"acos", libm::acos),
    (c"asin", libm::asin),
    (c"atan", libm::atan),
    (c"cos", libm::cos),
    (c"sin", libm::sin),
    (c"tan", libm::tan),
    (c"cosh", libm::cosh),
    (c"sinh", libm::sinh),
    (c"tanh", libm::tanh),
    (c"acosh", libm::acosh),
    (c"asinh", libm::asinh),
    (c"atanh", libm::atanh),
];
static BINARY: &[(&CStr, Binary)] = &[(c"pow", libm::pow), (c"power", libm::pow), (c"atan2", libm::atan2)];
static LOGARITHMS: &[(&CStr, Unary)] = &[
    (c"ln", libm::log),
    (c"log", libm::log10),
    (c"log10", libm::log10),
    (c"log2", libm::log2),
];

type Callback = unsafe extern "C" fn(*mut ffi::sqlite3_context, c_int, *mut *mut ffi::sqlite3_value);

/// Replaces the math functions of `connection`.
///
/// # Errors
///
/// [`Error::Sqlite`] when SQLite refuses a function.
pub(crate) fn install(connection: &Connection) -> Result<(), Error> {
    for (name, function) in UNARY {
        create(connection, name, 1, std::ptr::from_ref(function).cast(), unary)?;
    }
    for (name, function) in BINARY {
        create(connection, name, 2, std::ptr::from_ref(function).cast(), binary)?;
    }
    for (name, function) in LOGARITHMS {
        create(connection, name, 1, std::ptr::from_ref(function).cast(), logarithm)?;
    }
    create(connection, c"log", 2, std::ptr::null(), logarithm_to_base)
}

fn create(
    connection: &Connection,
    name: &CStr,
    arguments: c_int,
    data: *const c_void,
    callback: Callback,
) -> Result<(), Error> {
    let flags = ffi::SQLITE_UTF8 | ffi::SQLITE_DETERMINISTIC | ffi::SQLITE_INNOCUOUS;
    // SAFETY: the handle is alive while `connection` is borrowed; `data` points into a static table; the callbacks have
    // the signature SQLite asks for, and there is no destructor.
    let code = unsafe {
        ffi::sqlite3_create_function_v2(
            connection.handle(),
            name.as_ptr(),
            arguments,
            flags,
            data.cast_mut(),
            Some(callback),
            None,
            None,
            None,
        )
    };
    if code == ffi::SQLITE_OK {
        return Ok(());
    }
    Err(Error::sqlite("register a math function")(
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None),
    ))
}

/// The number in `value`, or `None` where SQLite's own math functions answer NULL.
unsafe fn number(value: *mut ffi::sqlite3_value) -> Option<f64> {
    // SAFETY: the caller passes a value that SQLite protects during the callback.
    unsafe {
        match ffi::sqlite3_value_numeric_type(value) {
            ffi::SQLITE_INTEGER | ffi::SQLITE_FLOAT => Some(ffi::sqlite3_value_double(value)),
            _ => None,
        }
    }
}

unsafe extern "C" fn unary(context: *mut ffi::sqlite3_context, _: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered with one argument, and with a `Unary` of a static table as user data.
    unsafe {
        let function = *ffi::sqlite3_user_data(context).cast::<Unary>();
        if let Some(x) = number(*values) {
            ffi::sqlite3_result_double(context, function(x));
        }
    }
}

unsafe extern "C" fn binary(context: *mut ffi::sqlite3_context, _: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered with two arguments, and with a `Binary` of a static table as user data.
    unsafe {
        let function = *ffi::sqlite3_user_data(context).cast::<Binary>();
        if let (Some(x), Some(y)) = (number(*values), number(*values.add(1))) {
            ffi::sqlite3_result_double(context, function(x, y));
        }
    }
}

unsafe extern "C" fn logarithm(context: *mut ffi::sqlite3_context, _: c_int, values: *mut *mut ffi::sqlite3_value) {
    // SAFETY: registered with one argument, and with a `Unary` of a static table as user data.
    unsafe {
        let function = *ffi::sqlite3_user_data(context).cast::<Unary>();
        if let Some(x) = number(*values).filter(|x| *x > 0.0) {
            ffi::sqlite3_result_double(context, function(x));
        }
    }
}

/// `log(B, X)`; like SQLite's, it looks at the type of B only.
unsafe extern "C" fn logarithm_to_base(
    context: *mut ffi::sqlite3_context,
    _: c_int,
    values: *mut *mut ffi::sqlite3_value,
) {
    // SAFETY: registered with two arguments.
    unsafe {
        let Some(base) = number(*values).filter(|base| *base > 0.0).map(libm::log) else {
            return;
        };
        let x = ffi::sqlite3_value_double(*values.add(1));
        if base > 0.0 && x > 0.0 {
            ffi::sqlite3_result_double(context, libm::log(x) / base);
        }
    }
}

//! Loading of shared libraries that extend SQLite, as the cluster's settings name them.
#![allow(unsafe_code)]

use std::path::Path;

use rusqlite::{Connection, LoadExtensionGuard};

use crate::error::Error;

/// Loads `library` into `connection`; SQL's own `load_extension()` stays off.
///
/// # Errors
///
/// [`Error::Foreign`] with what the loader or the library's entry point says.
pub(crate) fn load(connection: &Connection, library: &Path) -> Result<(), Error> {
    // SAFETY: the operator names the library and answers for its code; no SQL of a user runs while loading is on.
    let loaded = unsafe {
        LoadExtensionGuard::new(connection).and_then(|_guard| connection.load_extension(library, None::<&str>))
    };
    loaded.map_err(|error| Error::Foreign {
        path: library.to_owned(),
        reason: format!("load extension: {}", crate::error::text(&error)),
    })
}

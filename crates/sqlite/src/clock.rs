//! The entry's clock for a connection that has nothing else of ours: plain SQLite, to which replicas are compared.
//!
//! `'now'` and `CURRENT_TIMESTAMP` come from SQLite's VFS, so a comparison needs this clock below SQLite; rewriting `'now'`
//! in texts would miss defaults, triggers and views, and break SQLite's rules on what is deterministic.

use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::ffi::vfs::{self, BoundClock};

/// Opens an empty database in memory. No authorizer, no functions, no limits of ours: only the VFS, for its clock.
///
/// # Errors
///
/// [`Error::Sqlite`] when SQLite refuses.
pub fn plain_database() -> Result<Connection, Error> {
    vfs::register()?;
    Connection::open_with_flags_and_vfs(":memory:", OpenFlags::default(), vfs::ENTRY)
        .map_err(Error::sqlite("open a database in memory"))
}

/// Does `work` at `clock_us`, microseconds since 1970 UTC, for the connections of this thread.
pub fn at<T>(clock_us: i64, work: impl FnOnce() -> T) -> T {
    let _clock = BoundClock::bind(clock_us);
    work()
}

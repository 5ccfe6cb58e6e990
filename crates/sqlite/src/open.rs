//! Opening connections with the options that make replicas equal.
//!
//! Two kinds: the one writer that apply drives, and readers, which are read-only and `query_only`. Both get the same
//! functions and limits, so that a read computes what a write would.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::error::Error;
use crate::ffi;

/// How long a reader waits for the rare exclusive locks (recovery of the WAL, the last moment of a checkpoint).
pub(crate) const READER_BUSY: Duration = Duration::from_millis(5000);

/// How long the writer waits for recovery by another connection; nothing else may hold it up.
const WRITER_BUSY: Duration = Duration::from_millis(5000);

/// Bytes of a LIKE or GLOB pattern in a write: it is compared with a short value in `pattern × value` steps at worst.
const WRITER_PATTERN_BYTES_MAX: i32 = 4096;

/// What a database is opened with. The same on every node of a cluster where it changes results.
#[derive(Clone, Debug)]
pub struct Options {
    /// Foreign keys are enforced (`-fk`); cluster state.
    pub foreign_keys: bool,
    /// Shared libraries to load into every connection, in order; cluster state.
    pub extensions: Vec<PathBuf>,
    /// What no statement may exceed; cluster state.
    pub limits: Limits,
    /// Page cache of one connection, in KiB; local.
    pub cache_kib: u32,
}

/// What no statement may exceed: the same everywhere, since exceeding it is a result (D13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one string, BLOB or row.
    pub length_max: i32,
    /// Bytes of one SQL text.
    pub sql_length_max: i32,
    /// Bytes up to which a string, BLOB or row is short. A write request that meets longer ones is undone and runs again
    /// with [`Self::long_steps_max`].
    pub short_length_max: i32,
    /// Virtual-machine steps of one write request.
    pub steps_max: u64,
    /// Virtual-machine steps of one write request that meets values that are not short.
    pub long_steps_max: u64,
    /// Bytes of the rows that one write request may answer; beyond it the request fails.
    pub reply_bytes_max: u64,
    /// Bytes of row data that one write request may store.
    pub stored_bytes_max: u64,
    /// Bytes that one statement may write to the WAL and to temporary files.
    pub written_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            length_max: 64 << 20,
            sql_length_max: 64 << 20,
            short_length_max: 1 << 20,
            // On one quiet core: 180 to 290 million a second where they are cheap, so that an endless statement ends after
            // 2 to 3 seconds. Five million rows of a few columns take 60 million to UPDATE, 70 to INSERT … SELECT, 105 with
            // an index to keep, 165 to INSERT from a recursive query, 55 to CREATE INDEX; rebuilding FTS5 takes none.
            steps_max: 500_000_000,
            // Some 100,000 rows.
            long_steps_max: 4_000_000,
            reply_bytes_max: 32 << 20,
            stored_bytes_max: 1 << 30,
            written_bytes_max: 4 << 30,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            foreign_keys: false,
            extensions: Vec::new(),
            limits: Limits::default(),
            cache_kib: 2048,
        }
    }
}

/// Opens a read-only connection to the database at `path`.
///
/// Blocks for the recovery of the WAL when this is the first connection after a crash.
///
/// # Errors
///
/// [`Error::Sqlite`] when the file cannot be opened or an option is refused.
pub fn open_reader(path: &Path, options: &Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    ffi::vfs::register()?;
    let connection =
        Connection::open_with_flags_and_vfs(path, flags, ffi::vfs::PLAIN).map_err(Error::sqlite("open a reader"))?;
    connection
        .busy_timeout(READER_BUSY)
        .map_err(Error::sqlite("set the busy timeout"))?;
    configure(&connection, options)?;
    limit(&connection, Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    pragma(&connection, "query_only", "ON")?;
    Ok(connection)
}

/// Opens the connection that writes, and creates the database if there is none; its hooks are still to be set.
///
/// # Errors
///
/// [`Error::Sqlite`] when the file cannot be opened or an option is refused.
pub(crate) fn open_writer(path: &Path, options: &Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    ffi::vfs::register()?;
    let connection =
        Connection::open_with_flags_and_vfs(path, flags, ffi::vfs::ENTRY).map_err(Error::sqlite("open the writer"))?;
    connection
        .busy_timeout(WRITER_BUSY)
        .map_err(Error::sqlite("set the busy timeout"))?;
    configure(&connection, options)?;
    limit(
        &connection,
        Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH,
        WRITER_PATTERN_BYTES_MAX,
    )?;
    pragma(&connection, "journal_mode", "WAL")?;
    pragma(&connection, "synchronous", "NORMAL")?;
    pragma(&connection, "wal_autocheckpoint", "0")?;
    Ok(connection)
}

/// Opens a database that nobody else knows of, to rework it. A crash may destroy it.
///
/// # Errors
///
/// [`Error::Sqlite`] when the file cannot be opened or an option is refused.
pub(crate) fn open_private(path: &Path, options: &Options) -> Result<Connection, Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    ffi::vfs::register()?;
    let connection = Connection::open_with_flags_and_vfs(path, flags, ffi::vfs::PLAIN)
        .map_err(Error::sqlite("open a database to rework"))?;
    // First of all: alone with the file, SQLite needs no shared memory for a WAL.
    pragma(&connection, "locking_mode", "EXCLUSIVE")?;
    configure(&connection, options)?;
    pragma(&connection, "synchronous", "OFF")?;
    Ok(connection)
}

/// What all kinds of connection share.
fn configure(connection: &Connection, options: &Options) -> Result<(), Error> {
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, options.foreign_keys),
        (DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, true),
    ] {
        connection
            .set_db_config(setting, on)
            .map_err(Error::sqlite("configure a connection"))?;
    }
    limit(connection, Limit::SQLITE_LIMIT_LENGTH, options.limits.length_max)?;
    limit(
        connection,
        Limit::SQLITE_LIMIT_SQL_LENGTH,
        options.limits.sql_length_max,
    )?;
    limit(connection, Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    pragma(connection, "cache_size", &format!("-{}", options.cache_kib))?;
    ffi::math::install(connection)?;
    options
        .extensions
        .iter()
        .try_for_each(|library| ffi::extension::load(connection, library))
}

fn limit(connection: &Connection, limit: Limit, value: i32) -> Result<(), Error> {
    connection
        .set_limit(limit, value)
        .map(drop)
        .map_err(Error::sqlite("set a limit"))
}

/// Sets a pragma of our own choosing; whatever it answers is dropped.
pub(crate) fn pragma(connection: &Connection, name: &str, value: &str) -> Result<(), Error> {
    connection
        .execute_batch(&format!("PRAGMA {name}={value}"))
        .map_err(Error::sqlite("set a pragma"))
}

#[cfg(test)]
mod tests;

//! A SQLite file that somebody brings, made the next database (design §4).
//!
//! Two steps, so that the long one can run before the log says that it is wanted: [`validate`] reads the whole file and
//! depends on its bytes alone; `adopt` changes a few pages. Neither touches the current database.
//!
//! ```text
//!  Upload ──write──► a file beside ──validate──► sound, and nothing in it that would stop a replica
//!                                 ──bring──► db/8/db.sqlite, linked
//!                                 ──adopt──► its WAL: a foreign sqlite_quorlite removed, ours created with our row
//!                                               └──► Home::switch
//! ```
//!
//! Invariants:
//! * The same bytes are found fit, or unfit, on every replica (D3).
//! * What is adopted is flushed. The file itself is as it was gathered but for the two bytes that say how it is opened.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode as Code};

use crate::content;
use crate::error::{self, Error};
use crate::floor;
use crate::home::Building;
use crate::meta::{self, State};
use crate::open::{self, Options};
use crate::pages;
use crate::strip;
use crate::writer::Writer;

/// What a body must begin with to be taken for a SQLite file (spec §11.2).
const HEAD: &[u8] = b"SQLite format";
const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;

/// Where the header says how the file is written and read: 1 is a rollback journal, 2 is WAL.
const VERSIONS_AT: u64 = 18;
const ROLLBACK: [u8; 2] = [1, 1];
const WAL: [u8; 2] = [2, 2];

const OWN_REFERENCES: &str = "SELECT s.name FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f \
                              WHERE s.type='table' AND f.\"table\" LIKE 'sqlite\\_quorlite%' ESCAPE '\\' \
                              AND s.name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' LIMIT 1";

/// Tables of ours that outlive a load: without keys and windows a retried write would run a second time.
const MEMORY: [&str; 3] = [
    "sqlite_quorlite_keys",
    "sqlite_quorlite_windows",
    "sqlite_quorlite_loads",
];

/// A file that is being received, to be loaded as a whole; dropped before [`Upload::finish`], it is removed.
pub struct Upload {
    path: PathBuf,
    file: File,
    bytes: u64,
    is_kept: bool,
}

/// Whether `body` is to be taken for a SQLite file rather than for SQL text; its first 14 bytes are enough.
pub fn is_database(body: &[u8]) -> bool {
    body.len() > HEAD.len() && body.starts_with(HEAD)
}

impl Upload {
    /// Begins to receive into `path`, where no file is yet.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn new(path: PathBuf) -> Result<Self, Error> {
        let file = File::create_new(&path).map_err(Error::io(format!("create {}", path.display())))?;
        Ok(Self {
            path,
            file,
            bytes: 0,
            is_kept: false,
        })
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes; blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: what was received is of no use any more.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(chunk)
            .map_err(Error::io("write a database to load"))?;
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Checks the whole of it, and makes it durable. Blocks for as long as it takes to read it all.
    ///
    /// # Errors
    ///
    /// As [`validate`]; what was received is then removed.
    pub fn finish(mut self, options: &Options) -> Result<PathBuf, Error> {
        validate(&self.path, options)?;
        let flush = |path: &Path| File::open(path).and_then(|file| file.sync_all());
        flush(&self.path)
            .and_then(|()| self.path.parent().map_or(Ok(()), flush))
            .map_err(Error::io(format!("flush {}", self.path.display())))?;
        self.is_kept = true;
        Ok(self.path.clone())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for path in [self.path.clone(), pages::beside(&self.path, "-journal")] {
            if let Err(error) = pages::remove_if_there(&path) {
                tracing::warn!(%error, "a database that was not loaded is left over");
            }
        }
    }
}

/// Checks that the file at `path`, which nobody else has open, can be the database of every replica.
///
/// Marks it to be opened without a WAL, and changes nothing else. Blocks for as long as it takes to read it all.
///
/// # Errors
///
/// [`Error::Unfit`] when it cannot; [`Error::Io`].
pub fn validate(path: &Path, options: &Options) -> Result<(), Error> {
    check_header(path)?;
    mark(path, ROLLBACK)?;
    let connection = open::open_private(path, options).map_err(judged)?;
    // Rows that break a CHECK may well be there, by the will of their owner; damaged pages may not.
    open::pragma(&connection, "ignore_check_constraints", "ON")?;
    let verdict = text(&connection, "PRAGMA quick_check(1)")?;
    if verdict.as_deref() != Some("ok") {
        return Err(Error::Unfit(verdict.unwrap_or_default()));
    }
    if let Some(table) = text(&connection, OWN_REFERENCES)? {
        return Err(Error::Unfit(format!(
            "a foreign key of table {table} refers to sqlite_quorlite"
        )));
    }
    for (table, rowid) in content::rowid_tables(&connection).map_err(unfit)? {
        let last = format!(
            "SELECT 1 WHERE (SELECT max({rowid}) FROM main.{table} NOT INDEXED)={}",
            i64::MAX
        );
        if text(&connection, &last)?.is_some() {
            return Err(Error::Unfit(format!(
                "table {table} has a row at rowid {}: after it SQLite picks rowids at random",
                i64::MAX
            )));
        }
    }
    Ok(())
}

impl Writer {
    /// Makes the file at `path`, which was [validated](validate), a database of ours in the state of this one, with what
    /// the running transaction has changed: our row, keys, windows and loads. What changes stands in a WAL beside it, so
    /// that a file whose adoption was cut short can be adopted again; a floor says that the WAL is needed.
    ///
    /// Flushed on return; the folder is not. Blocks on the disk, not for the size of the file if that was flushed before.
    ///
    /// # Errors
    ///
    /// [`Error::Unfit`] when its schema stands in the way; [`Error::Io`]; [`Error::Sqlite`].
    pub fn adopt(&self, path: &Path, options: &Options) -> Result<(), Error> {
        self.past_authorizer(|current| adopt(path, self.state(), Some(current), options))
    }
}

/// See [`Writer::adopt`]; `memory` is the database whose keys are remembered on.
pub(crate) fn adopt(path: &Path, state: &State, memory: Option<&Connection>, options: &Options) -> Result<(), Error> {
    mark(path, WAL)?;
    let connection = open::open_private(path, options)?;
    open::pragma(&connection, "wal_autocheckpoint", "0")?;
    strip::strip(&connection).map_err(judged)?;
    meta::create(&connection, state)?;
    if let Some(current) = memory {
        copy_memory(current, &connection)?;
    }
    connection
        .close()
        .map_err(|(_, error)| Error::sqlite("close a loaded database")(error))?;
    for file in [path.to_owned(), pages::beside(path, "-wal")] {
        File::open(&file)
            .and_then(|open| open.sync_all())
            .map_err(Error::io(format!("flush {}", file.display())))?;
    }
    // Without the WAL's frames the file is a database of somebody else.
    floor::raise_to_end(path)
}

/// Brings the file at `path` into `building`, whose folder is on the same file system; it stays where it was, too.
///
/// The same file under two names, unless it `is_used` elsewhere or the file system has no such thing: then a copy.
///
/// # Errors
///
/// [`Error::Io`].
pub fn bring(path: &Path, building: &Building, is_used: bool) -> Result<(), Error> {
    let database = building.database();
    let copy = || fs::copy(path, &database).map(drop);
    let brought = if is_used {
        copy()
    } else {
        fs::hard_link(path, &database).or_else(|error| match error.kind() {
            ErrorKind::Unsupported | ErrorKind::PermissionDenied => copy(),
            _ => Err(error),
        })
    };
    brought.map_err(Error::io(format!("bring {} into place", path.display())))
}

/// Copies what is remembered besides our row.
fn copy_memory(from: &Connection, to: &Connection) -> Result<(), Error> {
    let copy = |table: &str| -> rusqlite::Result<()> {
        let mut rows = from.prepare(&format!("SELECT * FROM {table}"))?;
        let width = rows.column_count();
        let places = vec!["?"; width].join(",");
        let mut insert = to.prepare(&format!("INSERT INTO {table} VALUES({places})"))?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let values: Vec<Value> = (0..width).map(|column| row.get(column)).collect::<Result<_, _>>()?;
            insert.execute(rusqlite::params_from_iter(values))?;
        }
        Ok(())
    };
    let copy_all = || -> rusqlite::Result<()> {
        to.execute_batch("BEGIN")?;
        MEMORY.iter().try_for_each(|table| copy(table))?;
        to.execute_batch("COMMIT")
    };
    copy_all().map_err(Error::sqlite("copy what is remembered of keys"))
}

/// Refuses by name what SQLite would refuse in other words, or on its first write alone.
fn check_header(path: &Path) -> Result<(), Error> {
    let file = File::open(path).map_err(Error::io(format!("open {}", path.display())))?;
    let mut header = [0; HEADER_BYTES];
    if file.read_exact_at(&mut header, 0).is_err() || !header.starts_with(MAGIC) {
        return Err(Error::Unfit("not a SQLite database".to_owned()));
    }
    if header[VERSIONS_AT as usize..VERSIONS_AT as usize + 2]
        .iter()
        .any(|version| !(1..=2).contains(version))
    {
        return Err(Error::Unfit("its format is newer than this SQLite".to_owned()));
    }
    Ok(())
}

fn mark(path: &Path, versions: [u8; 2]) -> Result<(), Error> {
    for suffix in ["-wal", "-shm", "-journal"] {
        pages::remove_if_there(&pages::beside(path, suffix))?;
    }
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|file| file.write_all_at(&versions, VERSIONS_AT))
        .map_err(Error::io(format!("write {}", path.display())))
}

/// The first column of the first row, as text.
fn text(connection: &Connection, sql: &str) -> Result<Option<String>, Error> {
    let row = connection.prepare(sql).and_then(|mut statement| {
        let mut rows = statement.query([])?;
        let value = rows.next()?.map(|row| row.get::<_, Value>(0)).transpose()?;
        Ok(value.map(|value| match value {
            Value::Text(text) => text,
            other => format!("{other:?}"),
        }))
    });
    row.map_err(unfit)
}

/// What SQLite says against a file is the file's fault, unless the disk or the memory failed (D4).
fn unfit(error: rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(Code::SystemIoFailure | Code::OutOfMemory | Code::DiskFull | Code::CannotOpen | Code::DatabaseBusy) => {
            Error::sqlite("check a database to load")(error)
        }
        Some(_) | None => Error::Unfit(error::text(&error)),
    }
}

fn judged(error: Error) -> Error {
    match error {
        Error::Sqlite { source, .. } => unfit(source),
        other => other,
    }
}

#[cfg(test)]
mod tests;

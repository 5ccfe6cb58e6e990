//! The content of a database, and its hash (design §5).
//!
//! Content is what a user can tell apart: the schema's text, `user_version`, `application_id`, and the rows of every
//! table, shadow tables and SQLite's own included, ours excluded. How the file came to hold it does not count: neither
//! free pages nor the order of inserts, neither VACUUM nor batches.
//!
//! ```text
//!  hash of:  format | user_version | application_id
//!            'S' type name table sql      each schema row, by type and name
//!            'T' name columns             each table that has pages of its own, by name
//!            'R' rowid? cell…             its rows, in key order
//! ```
//!
//! Memory is constant: one row. Fields are self-delimiting, so that no two contents give the same bytes.

use std::time::Duration;

use command::rows::CellRef;
use rusqlite::Connection;
use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::ffi::statement::{StatementError, Step};
use crate::home::Generation;
use crate::meta::Position;
use crate::open::Options;
use crate::pin::{Pin, PinBounds};
use crate::readers::Readers;
use crate::watch::{Cancel, Clock};

/// Hashed first: a change of what is hashed must not look like a divergence.
const FORMAT: u64 = 1;

/// Longest that [`content_hash`] holds its snapshot: some hundred gigabytes at the speed of a disk.
const AGE_MAX: Duration = Duration::from_secs(600);

/// Names that may stand for the rowid, unless a column has them.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

const SCHEMA: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema \
                      WHERE tbl_name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' ORDER BY type, name";

/// Virtual tables have no pages, and so no row here; their shadow tables do.
const TABLES: &str = "SELECT s.name, l.wr FROM sqlite_schema AS s JOIN pragma_table_list AS l ON l.name=s.name \
                      WHERE s.type='table' AND s.rootpage>0 AND l.schema='main' \
                      AND s.name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' ORDER BY s.name";

/// Stored columns; a virtual generated one is computed from them.
const COLUMNS: &str = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden IN (0, 3) ORDER BY cid";

/// What a replica remembers besides its content, in an order that is the same everywhere.
const MEMORY: [&str; 4] = [
    "SELECT * FROM sqlite_quorlite ORDER BY id",
    "SELECT * FROM sqlite_quorlite_keys ORDER BY idx",
    "SELECT * FROM sqlite_quorlite_windows ORDER BY incarnation, boot",
    "SELECT * FROM sqlite_quorlite_loads ORDER BY id",
];

/// The terms of the order of a primary key's own index: a total order, since the key is unique under its collations.
const PRIMARY_KEY: &str = "SELECT format('\"%w\" COLLATE \"%w\" %s', x.name, x.coll, iif(x.\"desc\", 'DESC', 'ASC')) \
                           FROM pragma_index_list(?1, 'main') AS l JOIN pragma_index_xinfo(l.name, 'main') AS x \
                           WHERE l.origin='pk' AND x.key ORDER BY x.seqno";

/// A content hash, and where it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash {
    /// Index of the last entry applied in the hashed snapshot; 0 before the first.
    pub index: u64,
    /// XXH3-64 of the content.
    pub hash: u64,
}

/// What was found of one snapshot, to be compared with what other replicas find at the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The content hash.
    pub content: u64,
    /// XXH3-64 of our own tables: row, keys, windows, loads.
    pub memory: u64,
    /// SQLite's own check found no fault, in the indexes neither.
    pub is_sound: bool,
}

/// A snapshot whose content is to be hashed.
pub struct Content {
    pin: Pin,
}

/// What is hashed, as it is fed.
struct Digest<'p> {
    hasher: Xxh3,
    /// One row's bytes: the hasher is faster at larger pieces.
    buffer: Vec<u8>,
    rows: u64,
    progress: &'p mut dyn FnMut(u64),
}

/// A table to be hashed.
struct Table {
    name: String,
    columns: Vec<String>,
    key: Key,
}

/// What orders a table's rows.
enum Key {
    /// The rowid, by a name that no column has.
    Rowid(&'static str),
    /// The rowid, which cannot be read: columns have all its names.
    Shadowed,
    /// The primary key: terms of an ORDER BY.
    Primary(Vec<String>),
}

/// Hashes the current content of what `readers` read. Blocks for as long as it takes to read it all.
///
/// # Errors
///
/// As [`Content::hash`].
pub fn content_hash(readers: &Readers) -> Result<ContentHash, Error> {
    let bounds = PinBounds {
        age_max: AGE_MAX,
        cancel: Cancel::new(),
    };
    readers.pin_content(bounds)?.hash(&mut |_| ())
}

impl Content {
    /// Pins the content as it is now; hashing may take place later, on any thread.
    ///
    /// # Errors
    ///
    /// What opening and reading report.
    pub fn pin(generation: &Generation, options: &Options, clock: Clock, bounds: PinBounds) -> Result<Self, Error> {
        Pin::take(generation, options, clock, bounds).map(|pin| Self { pin })
    }

    /// The last entry applied in it.
    pub fn position(&self) -> Option<Position> {
        self.pin.state().applied
    }

    /// Hashes it. Blocks for as long as it takes to read the whole database; `progress` is told the number of rows read
    /// so far, every thousand rows.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] once [`PinBounds::cancel`] was used, [`Error::Expired`] past its age.
    pub fn hash(self, progress: &mut dyn FnMut(u64)) -> Result<ContentHash, Error> {
        Ok(ContentHash {
            index: self.position().map_or(0, |position| position.index),
            hash: self.digest(progress)?,
        })
    }

    /// Hashes the content and what is remembered besides it, and has SQLite check every page and index. Blocks for as
    /// long as that takes: several times as long as [`Self::hash`].
    ///
    /// # Errors
    ///
    /// As [`Self::hash`]; [`Error::Unsound`] when the pages are so damaged that they cannot be read.
    pub fn verify(self) -> Result<Verified, Error> {
        let content = self.digest(&mut |_| ())?;
        let verified = self.memory().and_then(|memory| Ok((memory, self.is_sound()?)));
        let (memory, is_sound) = verified.map_err(|error| self.pin.stopped(error))?;
        Ok(Verified {
            content,
            memory,
            is_sound,
        })
    }

    fn digest(&self, progress: &mut dyn FnMut(u64)) -> Result<u64, Error> {
        let mut digest = Digest::new(progress);
        self.feed(&mut digest).map_err(|error| self.pin.stopped(error))?;
        Ok(digest.hasher.digest())
    }

    fn memory(&self) -> Result<u64, StatementError> {
        let mut nobody = |_| ();
        let mut digest = Digest::new(&mut nobody);
        for sql in MEMORY {
            digest.number(FORMAT);
            self.rows(sql, None, |cells| digest.row(b'M', cells))?;
        }
        Ok(digest.hasher.digest())
    }

    /// SQLite's verdict on the file. Rows that break a CHECK may well be there, by the will of their owner.
    fn is_sound(&self) -> Result<bool, StatementError> {
        let mut verdict = Vec::new();
        self.rows("PRAGMA ignore_check_constraints=ON", None, |_| ())?;
        self.rows("PRAGMA integrity_check(1)", None, |cells| {
            if let [CellRef::Text(line)] = cells {
                verdict.push(line.to_vec());
            }
        })?;
        Ok(verdict == [b"ok"])
    }

    fn feed(&self, digest: &mut Digest<'_>) -> Result<(), StatementError> {
        digest.number(FORMAT);
        for pragma in ["PRAGMA user_version", "PRAGMA application_id"] {
            self.rows(pragma, None, |cells| digest.row(b'P', cells))?;
        }
        self.rows(SCHEMA, None, |cells| digest.row(b'S', cells))?;
        for table in self.tables()? {
            digest.table(&table);
            self.rows(&table.select(), None, |cells| digest.row(b'R', cells))?;
        }
        Ok(())
    }

    fn tables(&self) -> Result<Vec<Table>, StatementError> {
        let mut found = Vec::new();
        self.rows(TABLES, None, |cells| {
            if let [CellRef::Text(name), CellRef::Integer(without_rowid)] = cells {
                found.push((String::from_utf8_lossy(name).into_owned(), *without_rowid == 0));
            }
        })?;
        found
            .into_iter()
            .map(|(name, has_rowid)| {
                let columns = self.texts(COLUMNS, &name)?;
                let key = if has_rowid {
                    Key::of_rowid(&columns)
                } else {
                    Key::Primary(self.texts(PRIMARY_KEY, &name)?)
                };
                Ok(Table { name, columns, key })
            })
            .collect()
    }

    /// The texts that a statement about a table answers.
    fn texts(&self, sql: &str, table: &str) -> Result<Vec<String>, StatementError> {
        let mut texts = Vec::new();
        self.rows(sql, Some(table), |cells| {
            if let [CellRef::Text(text)] = cells {
                texts.push(String::from_utf8_lossy(text).into_owned());
            }
        })?;
        Ok(texts)
    }

    /// Runs a statement of ours, with at most one parameter.
    fn rows(
        &self,
        sql: &str,
        parameter: Option<&str>,
        mut show: impl FnMut(&[CellRef<'_>]),
    ) -> Result<(), StatementError> {
        let (Some(mut statement), _) = self.pin.session().prepare(sql)? else {
            return Ok(());
        };
        statement.release();
        let mut execution = statement.begin();
        if let Some(text) = parameter {
            execution.bind(1, CellRef::Text(text.as_bytes()))?;
        }
        while execution.step()? == Step::Row {
            show(execution.row()?);
        }
        Ok(())
    }
}

/// The tables with rowids that can be read, quoted, each with a name for its rowid.
pub(crate) fn rowid_tables(connection: &Connection) -> rusqlite::Result<Vec<(String, &'static str)>> {
    let mut tables = connection.prepare(TABLES)?;
    let found: Vec<(String, bool)> = tables
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let mut columns = connection.prepare(COLUMNS)?;
    let mut named = Vec::new();
    for (name, _) in found.into_iter().filter(|(_, without_rowid)| !without_rowid) {
        let columns: Vec<String> = columns
            .query_map([&name], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        if let Key::Rowid(rowid) = Key::of_rowid(&columns) {
            named.push((quoted(&name), rowid));
        }
    }
    Ok(named)
}

impl Key {
    fn of_rowid(columns: &[String]) -> Self {
        let is_free = |name: &&str| !columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        ROWID_NAMES
            .into_iter()
            .find(is_free)
            .map_or(Self::Shadowed, Self::Rowid)
    }
}

impl Table {
    /// Reads the rows in the order of the key, whatever indexes there are.
    fn select(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| quoted(column)).collect();
        let (columns, name) = (columns.join(", "), quoted(&self.name));
        match &self.key {
            Key::Rowid(rowid) => format!("SELECT {rowid}, {columns} FROM main.{name} NOT INDEXED ORDER BY {rowid}"),
            // Without an index there is but one way through a table with rowids: its b-tree.
            Key::Shadowed => format!("SELECT {columns} FROM main.{name} NOT INDEXED"),
            Key::Primary(terms) => format!("SELECT {columns} FROM main.{name} ORDER BY {}", terms.join(", ")),
        }
    }
}

impl<'p> Digest<'p> {
    fn new(progress: &'p mut dyn FnMut(u64)) -> Self {
        Self {
            hasher: Xxh3::new(),
            buffer: Vec::new(),
            rows: 0,
            progress,
        }
    }
}

impl Digest<'_> {
    fn number(&mut self, number: u64) {
        self.hasher.update(&number.to_le_bytes());
    }

    fn table(&mut self, table: &Table) {
        let columns = table.columns.iter().map(|column| CellRef::Text(column.as_bytes()));
        let cells: Vec<CellRef<'_>> = [CellRef::Text(table.name.as_bytes())]
            .into_iter()
            .chain(columns)
            .collect();
        self.row(b'T', &cells);
    }

    fn row(&mut self, kind: u8, cells: &[CellRef<'_>]) {
        self.buffer.clear();
        self.buffer.push(kind);
        self.buffer.extend_from_slice(&(cells.len() as u64).to_le_bytes());
        for cell in cells {
            self.cell(*cell);
        }
        self.hasher.update(&self.buffer);
        self.rows += 1;
        if self.rows.is_multiple_of(1024) {
            (self.progress)(self.rows);
        }
    }

    fn cell(&mut self, cell: CellRef<'_>) {
        match cell {
            CellRef::Null => self.buffer.push(0),
            CellRef::Integer(value) => {
                self.buffer.push(1);
                self.buffer.extend_from_slice(&value.to_le_bytes());
            }
            CellRef::Real(value) => {
                self.buffer.push(2);
                self.buffer.extend_from_slice(&value.to_bits().to_le_bytes());
            }
            CellRef::Text(text) => self.bytes(3, text),
            CellRef::Blob(bytes) => self.bytes(4, bytes),
        }
    }

    fn bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.buffer.push(tag);
        self.buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.buffer.extend_from_slice(bytes);
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;

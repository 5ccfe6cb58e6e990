//! A database as SQL text, which any SQLite reads back (spec §11.1).
//!
//! Owns a snapshot while it writes. Memory is constant: one row's cells, and a buffer.
//!
//! ```text
//!  PRAGMA foreign_keys=OFF;
//!  BEGIN TRANSACTION;
//!  each table, by name:   its schema, then INSERT INTO "name" VALUES(…); for each row, in key order
//!     a virtual table:    a row put into sqlite_schema under PRAGMA writable_schema=ON, as SQLite's shell does: its
//!                         module must not run yet, since the shadow tables follow with their rows
//!     sqlite_sequence:    emptied, then its rows; behind the last table that has AUTOINCREMENT, which makes it exist
//!     sqlite_stat1:       ANALYZE "sqlite_master", then its rows
//!  indexes, triggers and views, in the order in which they were created
//!  COMMIT;
//! ```
//!
//! Invariants:
//! * `sqlite_quorlite` and what belongs to it is never in it, nor any other table that SQLite keeps for itself.
//! * Every value comes back bit for bit. SQLite's `quote()` cuts a text at its first NUL, and text that is no UTF-8 would
//!   be no SQL text: both are written as `CAST(X'…' AS TEXT)`.

use std::ops::ControlFlow;

use command::rows::CellRef;

use crate::error::Error;
use crate::ffi::statement::{Statement, StatementError, Step};
use crate::home::Generation;
use crate::meta::Position;
use crate::open::Options;
use crate::pin::{Pin, PinBounds};
use crate::watch::Clock;

/// Bytes gathered before the sink is given them.
const CHUNK_BYTES: usize = 64 * 1024;

/// How SQLite itself stores the schema of a virtual table.
const VIRTUAL: &[u8] = b"CREATE VIRTUAL TABLE";

const AUTOINCREMENT: &[u8] = b"autoincrement";

const HEX: &[u8; 16] = b"0123456789ABCDEF";

const TABLES: &str = "SELECT name, sql FROM sqlite_schema WHERE type='table' AND sql IS NOT NULL ORDER BY name";

/// What can be inserted: neither generated columns nor the hidden ones of virtual tables.
const COLUMNS: &str = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden=0 ORDER BY cid";

const REST: &str = "SELECT sql FROM sqlite_schema WHERE type IN ('index', 'trigger', 'view') AND sql IS NOT NULL \
                    AND tbl_name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' ORDER BY rowid";

const HAS_ROWID: &str = "SELECT NOT wr FROM pragma_table_list(?1) WHERE schema='main'";

/// Doubles are printed by SQLite alone, so that they are printed as `quote()` does.
const QUOTE: &str = "SELECT quote(?1)";

/// A snapshot that is to be written as text.
pub struct Dump {
    pin: Pin,
    /// The tables wanted; none for all.
    wanted: Vec<String>,
}

/// What a table is to a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ordinary,
    Virtual,
    Sequence,
    Statistics,
}

struct Table {
    name: String,
    sql: Vec<u8>,
    kind: Kind,
}

/// Why the writing ended early.
enum Stopped {
    /// SQLite says so.
    Statement(StatementError),
    /// The snapshot's bounds, or the sink.
    Cut(Error),
}

impl From<StatementError> for Stopped {
    fn from(error: StatementError) -> Self {
        Self::Statement(error)
    }
}

/// Gathers text for the sink.
struct Text<'s> {
    buffer: Vec<u8>,
    pin: &'s Pin,
    sink: &'s mut dyn FnMut(&[u8]) -> ControlFlow<()>,
}

impl Dump {
    /// Pins the database as it is now; writing may take place later, on any thread.
    ///
    /// `tables` are the names of the tables to write; none means all. A name that no table has is passed over.
    ///
    /// # Errors
    ///
    /// What opening and reading report.
    pub fn pin(
        generation: &Generation,
        options: &Options,
        clock: Clock,
        bounds: PinBounds,
        tables: &[String],
    ) -> Result<Self, Error> {
        Ok(Self {
            pin: Pin::take(generation, options, clock, bounds)?,
            wanted: tables.to_vec(),
        })
    }

    /// The last entry applied in it.
    pub fn position(&self) -> Option<Position> {
        self.pin.state().applied
    }

    /// Writes the text to `sink`, piece by piece. Blocks for as long as it takes to read it all.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] once the sink broke off or [`PinBounds::cancel`] was used, [`Error::Expired`] past the
    /// snapshot's age. The text is then without its end, COMMIT.
    pub fn write(self, sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> Result<(), Error> {
        let mut text = Text {
            buffer: Vec::with_capacity(CHUNK_BYTES),
            pin: &self.pin,
            sink,
        };
        self.write_all(&mut text).map_err(|stopped| match stopped {
            Stopped::Statement(error) => self.pin.stopped(error),
            Stopped::Cut(error) => error,
        })
    }

    fn write_all(&self, text: &mut Text<'_>) -> Result<(), Stopped> {
        text.push(b"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n")?;
        let mut in_schema = false;
        for table in self.tables()? {
            match table.kind {
                Kind::Virtual => {
                    if !in_schema {
                        text.push(b"PRAGMA writable_schema=ON;\n")?;
                        in_schema = true;
                    }
                    text.virtual_table(&table)?;
                    continue;
                }
                Kind::Ordinary => text.push(&table.sql)?,
                Kind::Sequence => text.push(b"DELETE FROM \"sqlite_sequence\";")?,
                Kind::Statistics => text.push(b"ANALYZE \"sqlite_master\";")?,
            }
            text.push(b";\n")?;
            self.write_rows(&table, text)?;
        }
        self.rows(REST, None, |cells| {
            if let [CellRef::Text(sql)] = cells {
                text.push(sql)?;
                text.push(b";\n")?;
            }
            Ok(())
        })?;
        if in_schema {
            text.push(b"PRAGMA writable_schema=OFF;\n")?;
        }
        text.push(b"COMMIT;\n")?;
        text.flush()
    }

    /// The tables to write, in their order.
    fn tables(&self) -> Result<Vec<Table>, Stopped> {
        let mut tables = Vec::new();
        self.rows(TABLES, None, |cells| {
            if let [CellRef::Text(name), CellRef::Text(sql)] = cells
                && let Some(kind) = Kind::of(name, sql)
                && self.is_wanted(name)
            {
                let (name, sql) = (text_of(name), sql.to_vec());
                tables.push(Table { name, sql, kind });
            }
            Ok(())
        })?;
        let sequence = tables.iter().position(|table| table.kind == Kind::Sequence);
        let last = tables.iter().rposition(Table::counts_up);
        if let (Some(sequence), Some(last)) = (sequence, last)
            && last > sequence
        {
            tables[sequence..=last].rotate_left(1);
        }
        Ok(tables)
    }

    fn is_wanted(&self, name: &[u8]) -> bool {
        let is_name = |wanted: &String| name.eq_ignore_ascii_case(wanted.as_bytes());
        self.wanted.is_empty() || self.wanted.iter().any(is_name)
    }

    fn write_rows(&self, table: &Table, text: &mut Text<'_>) -> Result<(), Stopped> {
        let mut columns = Vec::new();
        self.rows(COLUMNS, Some(&table.name), |cells| {
            if let [CellRef::Text(column)] = cells {
                columns.push(quoted(&text_of(column)));
            }
            Ok(())
        })?;
        let mut has_rowid = false;
        self.rows(HAS_ROWID, Some(&table.name), |cells| {
            has_rowid = cells == [CellRef::Integer(1)];
            Ok(())
        })?;
        // Without an index there is but one way through a table: in key order.
        let not_indexed = if has_rowid { " NOT INDEXED" } else { "" };
        let (columns, name) = (columns.join(","), quoted(&table.name));
        let select = format!("SELECT {columns} FROM main.{name}{not_indexed}");
        let insert = format!("INSERT INTO {name} VALUES(");
        let (Some(mut quote), _) = self.pin.session().prepare(QUOTE)? else {
            return Ok(());
        };
        self.rows(&select, None, |cells| {
            text.push(insert.as_bytes())?;
            text.cells(cells, &mut quote)?;
            text.push(b");\n")
        })
    }

    /// Runs a statement of ours, with at most one parameter.
    fn rows(
        &self,
        sql: &str,
        parameter: Option<&str>,
        mut show: impl FnMut(&[CellRef<'_>]) -> Result<(), Stopped>,
    ) -> Result<(), Stopped> {
        let (Some(mut statement), _) = self.pin.session().prepare(sql)? else {
            return Ok(());
        };
        statement.release();
        let mut execution = statement.begin();
        if let Some(text) = parameter {
            execution.bind(1, CellRef::Text(text.as_bytes()))?;
        }
        while execution.step()? == Step::Row {
            show(execution.row()?)?;
        }
        Ok(())
    }
}

impl Kind {
    /// `None` for a table that no dump shows.
    fn of(name: &[u8], sql: &[u8]) -> Option<Self> {
        match name.to_ascii_lowercase().as_slice() {
            b"sqlite_sequence" => Some(Self::Sequence),
            b"sqlite_stat1" => Some(Self::Statistics),
            name if name.starts_with(b"sqlite_") => None,
            _ if sql.starts_with(VIRTUAL) => Some(Self::Virtual),
            _ => Some(Self::Ordinary),
        }
    }
}

impl Table {
    /// It may have AUTOINCREMENT, so that `sqlite_sequence` exists from here on.
    fn counts_up(&self) -> bool {
        let sql = self.sql.to_ascii_lowercase();
        self.kind == Kind::Ordinary && sql.windows(AUTOINCREMENT.len()).any(|word| word == AUTOINCREMENT)
    }
}

impl Text<'_> {
    fn push(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), Stopped> {
        if (self.sink)(&self.buffer).is_break() {
            return Err(Stopped::Cut(Error::Interrupted));
        }
        self.buffer.clear();
        // The sink may have been slow.
        self.pin.check().map_err(Stopped::Cut)
    }

    /// The line that brings back a virtual table without running its module.
    fn virtual_table(&mut self, table: &Table) -> Result<(), Stopped> {
        self.push(b"INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table',")?;
        self.string(table.name.as_bytes())?;
        self.push(b",")?;
        self.string(table.name.as_bytes())?;
        self.push(b",0,")?;
        self.string(&table.sql)?;
        self.push(b");\n")
    }

    /// The values of a row; `quote` is [`QUOTE`].
    fn cells(&mut self, cells: &[CellRef<'_>], quote: &mut Statement<'_>) -> Result<(), Stopped> {
        for (place, cell) in cells.iter().enumerate() {
            if place > 0 {
                self.push(b",")?;
            }
            self.cell(*cell, quote)?;
        }
        Ok(())
    }

    fn cell(&mut self, cell: CellRef<'_>, quote: &mut Statement<'_>) -> Result<(), Stopped> {
        match cell {
            CellRef::Null => self.push(b"NULL"),
            CellRef::Integer(value) => self.push(value.to_string().as_bytes()),
            CellRef::Real(_) => {
                let mut execution = quote.begin();
                execution.bind(1, cell)?;
                execution.step()?;
                match execution.row()? {
                    [CellRef::Text(number)] => self.push(number),
                    _ => Ok(()),
                }
            }
            CellRef::Text(text) if text.contains(&0) || str::from_utf8(text).is_err() => {
                self.push(b"CAST(")?;
                self.blob(text)?;
                self.push(b" AS TEXT)")
            }
            CellRef::Text(text) => self.string(text),
            CellRef::Blob(bytes) => self.blob(bytes),
        }
    }

    /// A string literal.
    fn string(&mut self, text: &[u8]) -> Result<(), Stopped> {
        self.push(b"'")?;
        for (place, part) in text.split(|byte| *byte == b'\'').enumerate() {
            if place > 0 {
                self.push(b"''")?;
            }
            for piece in part.chunks(CHUNK_BYTES) {
                self.push(piece)?;
            }
        }
        self.push(b"'")
    }

    /// A BLOB literal.
    fn blob(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.push(b"X'")?;
        for piece in bytes.chunks(CHUNK_BYTES / 2) {
            let digits = piece.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            self.buffer.extend(digits.map(|digit| HEX[usize::from(digit)]));
            self.push(b"")?;
        }
        self.push(b"'")
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;

//! Our own tables inside the replicated database: what makes a database file the state at an index (D2).
//!
//! `sqlite_quorlite` holds one row, written in the transaction of every batch; `sqlite_quorlite_keys` the client keys
//! with their replies; `sqlite_quorlite_windows` the windows of forwarding nodes; `sqlite_quorlite_loads` how much of a
//! load is gathered. The name, reserved by SQLite, keeps users from dropping, altering, indexing or triggering them, and
//! keeps them out of `.tables` and `.dump`. They are no part of the content that replicas compare.

use bytes::Bytes;
use command::rows::CellRef;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use crate::error::Error;
use crate::ffi::statement::{Session, StatementError, Step};

/// The version of the tables below that this release writes.
const FORMAT: i64 = 1;
/// The note on a statement of our own: a user's text that equals it must not run it.
pub(crate) const OWN_NOTE: u32 = u32::MAX;
/// What the names of our tables begin with.
const PREFIX: &str = "sqlite_quorlite";

const CREATE: &str = "
CREATE TABLE sqlite_quorlite(
  id INTEGER PRIMARY KEY, format INTEGER NOT NULL, term INTEGER, idx INTEGER, effect INTEGER NOT NULL,
  clock_us INTEGER NOT NULL, last_rowid INTEGER NOT NULL, changes INTEGER NOT NULL, total_changes INTEGER NOT NULL,
  membership_term INTEGER, membership_idx INTEGER, membership BLOB NOT NULL, settings BLOB NOT NULL, skips BLOB NOT NULL
);
CREATE TABLE sqlite_quorlite_keys(
  idx INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, body INTEGER NOT NULL, reply BLOB
);
CREATE TABLE sqlite_quorlite_windows(
  incarnation INTEGER NOT NULL, boot INTEGER NOT NULL, used INTEGER NOT NULL, highest INTEGER NOT NULL,
  bits BLOB NOT NULL, PRIMARY KEY(incarnation, boot)
) WITHOUT ROWID;
";
/// Came after the first database of version 1: it is made where it is missing.
const CREATE_LOADS: &str = "
CREATE TABLE IF NOT EXISTS sqlite_quorlite_loads(id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, used INTEGER NOT NULL);
";
const READ: &str = "SELECT format, term, idx, effect, clock_us, last_rowid, changes, total_changes, membership_term, \
                    membership_idx, membership, settings, skips FROM sqlite_quorlite WHERE id=1";
const WRITE: &str = "REPLACE INTO sqlite_quorlite(id, format, term, idx, effect, clock_us, last_rowid, changes, \
                     total_changes, membership_term, membership_idx, membership, settings, skips) \
                     VALUES(1,?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13)";

/// A place in the replicated log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The term of the leader that wrote the entry.
    pub term: u64,
    /// The entry's index.
    pub index: u64,
}

/// The row of `sqlite_quorlite`: what a replica knows besides its content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The last entry that was applied; `None` before the first.
    pub applied: Option<Position>,
    /// Rolling hash over the effects of all entries applied.
    pub effect: u64,
    /// Microseconds since 1970 UTC of the latest entry; it never runs backwards.
    pub clock_us: i64,
    /// `last_insert_rowid()` after the last write.
    pub last_rowid: i64,
    /// `changes()` after the last write.
    pub changes: i64,
    /// `total_changes()` after the last write, counted from the first entry.
    pub total_changes: i64,
    /// Where the membership stands in the log; `None` before the first.
    pub membership_at: Option<Position>,
    /// The membership, in consensus' own encoding.
    pub membership: Bytes,
    /// The cluster's settings, encoded; empty before they are fixed.
    pub settings: Bytes,
    /// Log indexes that are to be passed over, and those that were of late.
    pub skips: Vec<u64>,
}

/// Whether `table` is one of ours.
pub fn is_own_table(table: &str) -> bool {
    table
        .get(..PREFIX.len())
        .is_some_and(|head| head.eq_ignore_ascii_case(PREFIX))
}

/// What is found where our tables should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An empty database.
    Nothing,
    /// Tables, but none of ours.
    Foreign,
    /// Our tables, with this row.
    Ours(State),
    /// Our tables as written by a newer release.
    Newer(i64),
}

/// Looks for our tables.
///
/// # Errors
///
/// [`Error::Sqlite`] when the file is no database or cannot be read.
pub fn find(connection: &Connection) -> Result<Found, Error> {
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let ours = count("SELECT count(*) FROM sqlite_schema WHERE name='sqlite_quorlite'")
        .map_err(Error::sqlite("read the schema"))?;
    if ours == 0 {
        let others = count("SELECT count(*) FROM sqlite_schema").map_err(Error::sqlite("read the schema"))?;
        return Ok(if others == 0 { Found::Nothing } else { Found::Foreign });
    }
    let format = connection
        .query_row("SELECT format FROM sqlite_quorlite WHERE id=1", [], |row| {
            row.get::<_, i64>(0)
        })
        .optional()
        .map_err(Error::sqlite("read the format of sqlite_quorlite"))?;
    match format {
        Some(FORMAT) => read(connection).map(Found::Ours),
        Some(newer) if newer > FORMAT => Ok(Found::Newer(newer)),
        Some(_) | None => Ok(Found::Foreign),
    }
}

/// Creates our tables with the row `state`; the caller holds no transaction, and no authorizer is set.
///
/// # Errors
///
/// [`Error::Sqlite`] when SQLite refuses.
pub fn create(connection: &Connection, state: &State) -> Result<(), Error> {
    under_writable_schema(connection, |connection| {
        connection
            .execute_batch(&format!("BEGIN IMMEDIATE;{CREATE}{CREATE_LOADS}"))
            .and_then(|()| connection.execute(WRITE, rusqlite::params_from_iter(row(state))))
            .and_then(|_| connection.execute_batch("COMMIT"))
    })
}

/// Creates what an older database of ours lacks; conditions as those of [`create`].
///
/// # Errors
///
/// [`Error::Sqlite`] when SQLite refuses.
pub fn complete(connection: &Connection) -> Result<(), Error> {
    under_writable_schema(connection, |connection| connection.execute_batch(CREATE_LOADS))
}

/// Does what SQLite lets nobody do with a `sqlite_` table otherwise.
fn under_writable_schema(
    connection: &Connection,
    act: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> Result<(), Error> {
    let what = "create sqlite_quorlite";
    let set = |on: bool| {
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, !on)
            .and_then(|_| connection.set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, on))
            .map(drop)
            .map_err(Error::sqlite(what))
    };
    set(true)?;
    let done = act(connection).map_err(Error::sqlite(what));
    set(false)?;
    done
}

/// Reads the row.
///
/// # Errors
///
/// [`Error::Sqlite`] when it is missing or has another shape.
pub fn read(connection: &Connection) -> Result<State, Error> {
    connection
        .query_row(READ, [], |row| {
            let position = |term: usize| -> rusqlite::Result<Option<Position>> {
                let term_index = (row.get::<_, Option<i64>>(term)?, row.get::<_, Option<i64>>(term + 1)?);
                Ok(match term_index {
                    (Some(term), Some(index)) => Some(Position {
                        term: term as u64,
                        index: index as u64,
                    }),
                    (None, _) | (_, None) => None,
                })
            };
            let skips: Vec<u8> = row.get(12)?;
            Ok(State {
                applied: position(1)?,
                effect: row.get::<_, i64>(3)? as u64,
                clock_us: row.get(4)?,
                last_rowid: row.get(5)?,
                changes: row.get(6)?,
                total_changes: row.get(7)?,
                membership_at: position(8)?,
                membership: row.get::<_, Vec<u8>>(10)?.into(),
                settings: row.get::<_, Vec<u8>>(11)?.into(),
                skips: skips
                    .as_chunks()
                    .0
                    .iter()
                    .map(|chunk| u64::from_le_bytes(*chunk))
                    .collect(),
            })
        })
        .map_err(Error::sqlite("read sqlite_quorlite"))
}

/// Writes the row within the running transaction.
pub(crate) fn write(session: &Session, state: &State) -> Result<(), StatementError> {
    let skips = skip_bytes(state);
    let position = |position: Option<Position>| match position {
        None => [CellRef::Null; 2],
        Some(Position { term, index }) => [CellRef::Integer(term as i64), CellRef::Integer(index as i64)],
    };
    let [term, index] = position(state.applied);
    let [membership_term, membership_index] = position(state.membership_at);
    run(
        session,
        WRITE,
        &[
            CellRef::Integer(FORMAT),
            term,
            index,
            CellRef::Integer(state.effect as i64),
            CellRef::Integer(state.clock_us),
            CellRef::Integer(state.last_rowid),
            CellRef::Integer(state.changes),
            CellRef::Integer(state.total_changes),
            membership_term,
            membership_index,
            CellRef::Blob(&state.membership),
            CellRef::Blob(&state.settings),
            CellRef::Blob(&skips),
        ],
    )
}

/// Runs a statement of ours that answers no rows.
pub(crate) fn run(session: &Session, sql: &str, values: &[CellRef<'_>]) -> Result<(), StatementError> {
    visit(session, sql, values, |_| ())
}

/// Runs a statement of ours and shows its rows.
pub(crate) fn visit(
    session: &Session,
    sql: &str,
    values: &[CellRef<'_>],
    mut show: impl FnMut(&[CellRef<'_>]),
) -> Result<(), StatementError> {
    let (statement, _) = session.prepare(sql)?;
    let Some(mut statement) = statement else {
        return Ok(());
    };
    statement.set_note(OWN_NOTE);
    let mut execution = statement.begin();
    for (place, value) in values.iter().enumerate() {
        execution.bind(place + 1, *value)?;
    }
    while execution.step()? == Step::Row {
        show(execution.row()?);
    }
    Ok(())
}

fn skip_bytes(state: &State) -> Vec<u8> {
    state.skips.iter().flat_map(|index| index.to_le_bytes()).collect()
}

/// The row as rusqlite binds it.
fn row(state: &State) -> [rusqlite::types::Value; 13] {
    use rusqlite::types::Value;
    let position = |position: Option<Position>| match position {
        None => [Value::Null, Value::Null],
        Some(Position { term, index }) => [Value::Integer(term as i64), Value::Integer(index as i64)],
    };
    let [term, index] = position(state.applied);
    let [membership_term, membership_index] = position(state.membership_at);
    [
        Value::Integer(FORMAT),
        term,
        index,
        Value::Integer(state.effect as i64),
        Value::Integer(state.clock_us),
        Value::Integer(state.last_rowid),
        Value::Integer(state.changes),
        Value::Integer(state.total_changes),
        membership_term,
        membership_index,
        Value::Blob(state.membership.to_vec()),
        Value::Blob(state.settings.to_vec()),
        Value::Blob(skip_bytes(state)),
    ]
}

#[cfg(test)]
mod tests;

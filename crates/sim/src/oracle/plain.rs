//! Plain SQLite: one connection that lives as long as the run, one transaction for what must hold together.
//!
//! Knows nothing of batches, savepoints, restarts or budgets. An atomic request is BEGIN, its statements, COMMIT; without
//! `atomic` every text commits by itself. Counters are the connection's own. What a write may not say at all is refused
//! before SQLite sees it, and answered with [`REFUSED`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use command::reply::{Cell, Changes, Outcome, OutcomeKind, Reply, Row, Rows};
use command::request::{ClientKey, KeyOrigin, Kind, Write};
use command::statement::{Parameter, Statement as Text, Value};
use rusqlite::config::DbConfig;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection, Statement};

use crate::chance::lock;
use crate::oracle::stream::Stream;

/// Stands for the text of any refusal: which words it has is the business of other tests.
pub const REFUSED: &str = "(refused)";

/// First words of what a write may not say.
const REFUSALS: &[&str] = &[
    "ATTACH",
    "BEGIN",
    "COMMIT",
    "CREATE TEMP",
    "DETACH",
    "END",
    "PRAGMA JOURNAL_MODE",
    "PRAGMA OPTIMIZE",
    "RELEASE",
    "ROLLBACK",
    "SAVEPOINT",
    "VACUUM INTO",
];

/// See the head of this file.
pub struct Plain {
    connection: Connection,
    draws: Arc<Mutex<Stream>>,
    clock_us: i64,
    /// `changes()` after the last statement that sets it. The connection's own is also set by what modules of virtual
    /// tables do for themselves, which replies do not show (docs/compatibility.md).
    changes: std::cell::Cell<i64>,
    /// Requests with a key that have run.
    keys: BTreeMap<String, u64>,
}

/// What an entry comes to.
pub enum Ran {
    /// It ran, and this is its answer.
    Answered(Reply),
    /// It came before under the same key: whatever was answered then.
    Repeated,
}

/// A statement's failure, with what it had shown.
struct Failed {
    message: String,
    shown: Option<Rows>,
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Failed {
        Failed {
            message: message(error),
            shown: None,
        }
    }
}

impl Plain {
    /// An empty database.
    ///
    /// # Errors
    ///
    /// When SQLite refuses.
    pub fn new(foreign_keys: bool) -> Result<Plain, String> {
        let connection = sqlite::clock::plain_database().map_err(|error| error.to_string())?;
        let draws = Arc::new(Mutex::new(Stream::new(0)));
        let plain = Plain {
            connection,
            draws,
            clock_us: 0,
            changes: std::cell::Cell::new(0),
            keys: BTreeMap::new(),
        };
        plain.configure(foreign_keys).map_err(message)?;
        Ok(plain)
    }

    fn configure(&self, foreign_keys: bool) -> rusqlite::Result<()> {
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, foreign_keys)?;
        self.connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_INNOCUOUS;
        let draws = self.draws.clone();
        self.connection
            .create_scalar_function("random", 0, flags, move |_| Ok(lock(&draws).integer()))?;
        let draws = self.draws.clone();
        self.connection
            .create_scalar_function("randomblob", 1, flags, move |call: &mut Context<'_>| {
                let length = match call.get_raw(0) {
                    ValueRef::Integer(length) => usize::try_from(length.max(1)).unwrap_or(1),
                    ValueRef::Null | ValueRef::Real(_) | ValueRef::Text(_) | ValueRef::Blob(_) => 1,
                };
                Ok(lock(&draws).bytes(length))
            })
    }

    /// Runs one entry.
    pub fn run(&mut self, write: &Write) -> Ran {
        if let Some(ClientKey { key, body_hash }) = client_key(write) {
            if self.keys.contains_key(key) {
                return Ran::Repeated;
            }
            self.keys.insert(key.clone(), *body_hash);
        }
        self.clock_us = self.clock_us.max(write.clock_us);
        *lock(&self.draws) = Stream::new(write.seed);
        Ran::Answered(sqlite::clock::at(self.clock_us, || self.request(write)))
    }

    fn request(&self, write: &Write) -> Reply {
        let texts = write.statements.iter().filter(|text| !text.sql.is_empty());
        if !write.atomic || write.statements.len() == 1 {
            let by_itself = |text| {
                let outcome = self.by_itself(text, write.kind());
                // It ends with what commits (docs/compatibility.md).
                self.say("PRAGMA defer_foreign_keys = OFF");
                outcome
            };
            return reply(texts.map(by_itself).collect());
        }
        let mut outcomes = Vec::new();
        self.say("BEGIN");
        for text in texts {
            let outcome = self.text(text, write.kind());
            let has_failed = outcome.is_err();
            outcomes.push(outcome.unwrap_or_else(told));
            if has_failed {
                self.say_rollback();
                return reply(outcomes);
            }
        }
        match self.connection.execute_batch("COMMIT") {
            Ok(()) => reply(outcomes),
            Err(error) => {
                self.say_rollback();
                Reply::failed(message(error), "")
            }
        }
    }

    /// A text that commits by itself.
    fn by_itself(&self, text: &Text, kind: Kind) -> OutcomeKind {
        if !is_several(&text.sql) {
            return self.text(text, kind).unwrap_or_else(told);
        }
        self.say("BEGIN");
        let outcome = self.text(text, kind);
        let committed = match &outcome {
            Ok(_) => self.connection.execute_batch("COMMIT").map_err(Failed::from),
            Err(_) => Ok(()),
        };
        self.say_rollback();
        match (outcome, committed) {
            (Ok(outcome), Ok(())) => outcome,
            (Err(failed), _) | (Ok(_), Err(failed)) => told(failed),
        }
    }

    /// Runs all statements of a text; the answer is the last one's.
    fn text(&self, text: &Text, kind: Kind) -> Result<OutcomeKind, Failed> {
        if is_refused(&text.sql) {
            return Err(Failed {
                message: REFUSED.to_owned(),
                shown: None,
            });
        }
        if text.sql == "VACUUM" {
            return self.vacuum();
        }
        let mut answer = OutcomeKind::Changes(Changes::default());
        let mut statements = Batch::new(&self.connection, &text.sql);
        // The trait of its `next` is of a crate that nothing else here needs.
        while let Some(mut statement) = next(&mut statements)? {
            bind(&mut statement, &text.parameters)?;
            answer = self.statement(&mut statement, kind)?;
        }
        Ok(if ends_with_remark(&text.sql) {
            OutcomeKind::Changes(Changes::default())
        } else {
            answer
        })
    }

    fn statement(&self, statement: &mut Statement<'_>, kind: Kind) -> Result<OutcomeKind, Failed> {
        let is_explain = statement.is_explain() != 0;
        let is_readonly = statement.readonly() || is_explain;
        let has_columns = statement.column_count() > 0;
        let mut rows = Vec::new();
        let ended = gather(statement, &mut rows);
        if !is_readonly && sets_changes(&statement.expanded_sql().unwrap_or_default()) {
            self.changes
                .set(i64::try_from(self.connection.changes()).unwrap_or(i64::MAX));
        }
        let shown = |statement: &Statement<'_>, error: Option<String>| Rows {
            names: statement.columns().map(|column| column.name().to_owned()).collect(),
            types: statement
                .columns()
                .map(|column| column.decl_type().unwrap_or_default().to_lowercase())
                .collect(),
            rows: rows.clone(),
            error,
        };
        match (ended, kind) {
            (Err(error), Kind::Request) if is_readonly && !rows.is_empty() => Err(Failed {
                shown: Some(shown(statement, Some(error.clone()))),
                message: error,
            }),
            (Err(message), _) => Err(Failed { message, shown: None }),
            (Ok(()), Kind::Request) if has_columns || is_readonly => Ok(OutcomeKind::Rows(shown(statement, None))),
            (Ok(()), Kind::Execute) if has_columns && !is_readonly => Ok(OutcomeKind::Rows(shown(statement, None))),
            (Ok(()), Kind::Request | Kind::Execute) => Ok(self.counters()),
        }
    }

    /// VACUUM leaves a number without meaning in `last_insert_rowid()`, which we do not show (docs/compatibility.md): the
    /// one before it is put back, at the price of another in `total_changes()`.
    fn vacuum(&self) -> Result<OutcomeKind, Failed> {
        let last = self.connection.last_insert_rowid();
        self.connection.execute_batch("VACUUM")?;
        self.connection.execute_batch(&format!(
            "CREATE TEMP TABLE IF NOT EXISTS last(id INTEGER PRIMARY KEY); INSERT OR REPLACE INTO temp.last VALUES({last})"
        ))?;
        Ok(self.counters())
    }

    fn counters(&self) -> OutcomeKind {
        OutcomeKind::Changes(Changes {
            last_insert_id: self.connection.last_insert_rowid(),
            rows_affected: self.changes.get(),
        })
    }

    /// Answers a query, for a comparison of contents.
    ///
    /// # Errors
    ///
    /// SQLite's.
    pub fn ask(&self, sql: &str) -> Result<Vec<Row>, String> {
        ask(&self.connection, sql)
    }

    fn say(&self, sql: &str) {
        // BEGIN where no transaction is open does not fail.
        let _ = self.connection.execute_batch(sql);
    }

    /// Ends a transaction that SQLite has not ended itself.
    fn say_rollback(&self) {
        if !self.connection.is_autocommit() {
            self.say("ROLLBACK");
        }
    }
}

/// Answers a query on any connection.
///
/// # Errors
///
/// SQLite's.
pub fn ask(connection: &Connection, sql: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    let mut statement = connection.prepare(sql).map_err(message)?;
    gather(&mut statement, &mut rows)?;
    Ok(rows)
}

/// The client's key of a write.
pub fn client_key(write: &Write) -> Option<&ClientKey> {
    match write.key.as_ref()?.origin.as_ref()? {
        KeyOrigin::Client(key) => Some(key),
        KeyOrigin::Forward(_) => None,
    }
}

/// What SQLite says of an error.
fn message(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text,
        rusqlite::Error::SqlInputError { msg, .. } => msg,
        other => other.to_string(),
    }
}

fn next<'c>(statements: &mut Batch<'c, '_>) -> Result<Option<Statement<'c>>, Failed> {
    Ok(rusqlite::fallible_iterator::FallibleIterator::next(statements)?)
}

/// Positional and named values, of a text with one statement.
fn bind(statement: &mut Statement<'_>, values: &[Parameter]) -> Result<(), Failed> {
    let wanted = statement.parameter_count();
    if values.len() < wanted {
        return Err(Failed {
            message: format!("not enough args to execute query: want {wanted} got {}", values.len()),
            shown: None,
        });
    }
    for (place, parameter) in values.iter().take(wanted).enumerate() {
        let index = match parameter.name.as_str() {
            "" => Some(place + 1),
            name => statement.parameter_index(&format!(":{name}"))?,
        };
        let Some(index) = index else { continue };
        match &parameter.value {
            None => statement.raw_bind_parameter(index, rusqlite::types::Null)?,
            Some(Value::Integer(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Value::Real(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Value::Text(value)) => statement.raw_bind_parameter(index, value)?,
            Some(Value::Blob(value)) => statement.raw_bind_parameter(index, value.as_ref())?,
        }
    }
    Ok(())
}

/// Steps a statement to its end.
fn gather(statement: &mut Statement<'_>, into: &mut Vec<Row>) -> Result<(), String> {
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    loop {
        match rows.next() {
            Ok(Some(row)) => {
                // SQLite may have prepared it anew for a schema that has changed.
                let columns = row.as_ref().column_count().max(columns);
                let cells = (0..columns).map(|column| row.get_ref(column).map(cell));
                into.push(Row {
                    cells: cells.collect::<rusqlite::Result<_>>().map_err(message)?,
                });
            }
            Ok(None) => return Ok(()),
            Err(error) => return Err(message(error)),
        }
    }
}

fn cell(value: ValueRef<'_>) -> Cell {
    let value = match value {
        ValueRef::Null => None,
        ValueRef::Integer(value) => Some(Value::Integer(value)),
        ValueRef::Real(value) => Some(Value::Real(value)),
        ValueRef::Text(bytes) => Some(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        ValueRef::Blob(bytes) => Some(Value::Blob(bytes.to_vec().into())),
    };
    Cell { value }
}

fn told(failed: Failed) -> OutcomeKind {
    match failed.shown {
        Some(rows) => OutcomeKind::Rows(rows),
        None => OutcomeKind::Error(failed.message),
    }
}

fn reply(outcomes: Vec<OutcomeKind>) -> Reply {
    Reply {
        outcomes: outcomes.into_iter().map(Outcome::new).collect(),
        error: None,
        index: 0,
    }
}

/// It is INSERT, UPDATE or DELETE.
fn sets_changes(sql: &str) -> bool {
    let word = sql.split_ascii_whitespace().next().unwrap_or_default();
    let is_known = |known: &&str| word.eq_ignore_ascii_case(known);
    ["INSERT", "REPLACE", "UPDATE", "DELETE", "WITH"].iter().any(is_known)
}

fn is_refused(sql: &str) -> bool {
    let head = sql.trim_start().to_ascii_uppercase();
    REFUSALS.iter().any(|refused| head.starts_with(refused)) || sql.contains("9223372036854775807")
}

/// Whether something stands behind the first semicolon. A trigger's body counts, which does no harm: a text with one
/// statement means the same within a transaction of its own.
fn is_several(sql: &str) -> bool {
    let tail = sql.split_once(';').map_or("", |(_, tail)| tail);
    !tail.trim().is_empty()
}

/// The last statement of the text is a remark.
fn ends_with_remark(sql: &str) -> bool {
    let tail = sql.rsplit_once(';').map_or(sql, |(_, tail)| tail);
    tail.trim_start().starts_with("--")
}

//! What one writer answers, statement by statement.

use std::path::Path;

use command::reply::{OutcomeKind, Reply, Rows};
use command::request::{Kind, Write};
use command::statement::{Statement, Value};

use super::Writer;
use crate::entry::{Care, Conclusion, Resume};
use crate::error::Error;
use crate::open::{Limits, Options};

mod damage;
mod floors;
mod guards;
mod replies;

/// A database in a folder of its own.
struct Fixture {
    writer: Writer,
    dir: tempfile::TempDir,
    options: Options,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("db.sqlite"), &options).unwrap();
        Self { writer, dir, options }
    }

    fn limited(limits: Limits) -> Self {
        Self::with(Options {
            limits,
            ..Options::default()
        })
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("db.sqlite")
    }

    fn reopen(self) -> Self {
        let Self { writer, dir, options } = self;
        drop(writer);
        let writer = Writer::open(&dir.path().join("db.sqlite"), &options).unwrap();
        Self { writer, dir, options }
    }

    /// Runs one write as the apply core would, in a transaction of its own.
    fn apply(&mut self, write: &Write) -> Reply {
        self.try_apply(write).unwrap()
    }

    fn try_apply(&mut self, write: &Write) -> Result<Reply, Error> {
        if Writer::stands_alone(write) {
            return Ok(self.writer.run_alone(write)?.reply);
        }
        let mut care = Care::Quick;
        let mut resume = Resume::default();
        loop {
            self.writer.begin()?;
            match self.writer.run(write, care, std::mem::take(&mut resume))? {
                Conclusion::Done(ran) => {
                    self.writer.state_mut().effect = ran.effect;
                    self.writer.commit()?.unwrap();
                    return Ok(ran.reply);
                }
                Conclusion::NeedsCare => {
                    assert_eq!(care, Care::Quick, "a careful run needs no more care");
                    care = Care::Careful;
                }
                Conclusion::RolledBack(left) => {
                    care = Care::Careful;
                    resume = left;
                }
            }
            self.writer.rollback()?;
        }
    }

    /// Runs one text on `/db/execute`, and shows its element.
    fn execute(&mut self, sql: &str) -> String {
        show(&self.apply(&write(Kind::Execute, false, &[sql])))
    }

    /// Runs one text on `/db/request`, and shows its element.
    fn request(&mut self, sql: &str) -> String {
        show(&self.apply(&write(Kind::Request, false, &[sql])))
    }

    /// Runs several texts as one atomic request.
    fn atomic(&mut self, sql: &[&str]) -> String {
        show(&self.apply(&write(Kind::Execute, true, sql)))
    }
}

fn write(kind: Kind, atomic: bool, sql: &[&str]) -> Write {
    Write {
        statements: sql.iter().map(|sql| Statement::new(*sql)).collect(),
        atomic,
        kind: kind as i32,
        clock_us: 1_700_000_000_000_000,
        seed: 7,
        steps_max: 0,
        key: None,
    }
}

/// A reply on one line: `id/rows` for a write, `[columns: rows]` for rows, `!text` for an error, `!!text` for the whole
/// request's.
fn show(reply: &Reply) -> String {
    if let Some(failure) = &reply.error {
        return format!("!!{}", failure.message);
    }
    let outcomes: Vec<String> = reply
        .outcomes
        .iter()
        .map(|outcome| match outcome.kind.as_ref().unwrap() {
            OutcomeKind::Changes(changes) => format!("{}/{}", changes.last_insert_id, changes.rows_affected),
            OutcomeKind::Rows(rows) => show_rows(rows),
            OutcomeKind::Error(text) => format!("!{text}"),
        })
        .collect();
    outcomes.join(" | ")
}

fn show_rows(rows: &Rows) -> String {
    let lines: Vec<String> = rows
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .cells
                .iter()
                .map(|cell| match &cell.value {
                    None => "NULL".to_owned(),
                    Some(Value::Integer(value)) => value.to_string(),
                    Some(Value::Real(value)) => format!("{value:?}"),
                    Some(Value::Text(text)) => text.clone(),
                    Some(Value::Blob(bytes)) => format!("x{}", bytes.len()),
                })
                .collect();
            cells.join(",")
        })
        .collect();
    let error = rows
        .error
        .as_ref()
        .map(|error| format!(" !{error}"))
        .unwrap_or_default();
    format!("[{}: {}{error}]", rows.names.join(","), lines.join(";"))
}

/// Reads through a plain connection.
fn look(path: &Path, sql: &str) -> String {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
        .map_or_else(|error| format!("!{error}"), |value| format!("{value:?}"))
}

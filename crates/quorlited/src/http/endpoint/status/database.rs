//! `/status` → `store.sqlite3`: the file, and what SQLite says of itself.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use serde_json::{Map, Value, json};
use sqlite::{Cancel, QueryOptions};
use store::status::Status;

use super::store::{file_bytes, size_text};
use crate::http::ledger::Ledger;
use crate::http::timestamp;

/// What a reader is asked about itself.
const PRAGMAS: [&str; 4] = ["busy_timeout", "foreign_keys", "journal_mode", "synchronous"];

/// What a reader is asked about the database.
const SIZES: [&str; 5] = [
    "max_page_count",
    "page_count",
    "page_size",
    "cache_size",
    "freelist_count",
];

/// The section of the current database.
pub fn section(ledger: &dyn Ledger, status: &Status) -> Value {
    let path = &status.database;
    let wal = with_suffix(path, "-wal");
    let bytes = file_bytes(path);
    let answers = ask(ledger);
    let answer = |name: &str| {
        answers
            .get(name)
            .and_then(|rows| rows.first())
            .cloned()
            .unwrap_or_default()
    };
    let sizes: Map<String, Value> = SIZES
        .iter()
        .map(|name| ((*name).to_owned(), json!(answer(name).parse::<i64>().unwrap_or(0))))
        .collect();
    let reader: Map<String, Value> = PRAGMAS
        .iter()
        .map(|name| ((*name).to_owned(), json!(answer(name))))
        .collect();
    let options = answers.get("compile_options").cloned().unwrap_or_default();
    json!({
        "version": sqlite::version(),
        "path": path.display().to_string(),
        "size": bytes,
        "db_size": bytes,
        "db_size_friendly": size_text(bytes),
        "wal_size": file_bytes(&wal),
        "last_modified": path.metadata().and_then(|metadata| metadata.modified()).map_or_else(
            |_| String::new(),
            timestamp::from_time,
        ),
        "compile_options": options,
        "extensions": [],
        "mem_stats": sizes,
        "conn_pool_stats": {"ro": pool(ledger.readers_open()), "rw": pool((1, 1))},
        "transaction": {"ro": false, "rw": false},
        "pragmas": {"ro": with_autocheckpoint(&reader), "rw": with_autocheckpoint(&reader)},
    })
}

/// The connections of one kind. Nobody waits in a queue that would be counted, and none is closed for its age.
fn pool((open, most): (usize, usize)) -> Value {
    json!({
        "max_open_connections": most,
        "open_connections": open,
        "in_use": 0,
        "idle": open,
        "wait_count": 0,
        "wait_duration": 0,
        "max_idle_closed": 0,
        "max_idle_time_closed": 0,
        "max_lifetime_closed": 0,
    })
}

/// No connection checkpoints by itself: the checkpointer does, when the node says so.
fn with_autocheckpoint(pragmas: &Map<String, Value>) -> Value {
    let mut pragmas = pragmas.clone();
    pragmas.insert("wal_autocheckpoint".to_owned(), json!("0"));
    Value::Object(pragmas)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The first column of each answer, by the pragma's name; empty when the database cannot be read.
fn ask(ledger: &dyn Ledger) -> std::collections::HashMap<&'static str, Vec<String>> {
    let names: Vec<&'static str> = PRAGMAS
        .iter()
        .chain(&SIZES)
        .copied()
        .chain(["compile_options"])
        .collect();
    let statements: Vec<Statement> = names
        .iter()
        .map(|name| Statement::new(format!("PRAGMA {name}")))
        .collect();
    let mut answers = Answers::default();
    let asked = ledger.query(&statements, &QueryOptions::default(), &mut answers, &Cancel::new());
    if let Err(error) = asked {
        tracing::debug!(%error, "database not asked");
    }
    names.into_iter().zip(answers.done).collect()
}

/// Keeps the first column of every row.
#[derive(Default)]
struct Answers {
    current: Vec<String>,
    done: Vec<Vec<String>>,
}

impl RowSink for Answers {
    fn columns(&mut self, _columns: &Columns) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        self.current.push(match cells.first() {
            Some(CellRef::Integer(value)) => value.to_string(),
            Some(CellRef::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(CellRef::Null | CellRef::Real(_) | CellRef::Blob(_)) | None => String::new(),
        });
        ControlFlow::Continue(())
    }

    fn end(&mut self, _end: End, _elapsed: Duration) -> ControlFlow<()> {
        self.done.push(std::mem::take(&mut self.current));
        ControlFlow::Continue(())
    }
}

//! Queries through real SQLite: what a reader shows, refuses, and cuts.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::{Parameter, Statement, Value};
use rusqlite::Connection;

use super::{QueryOptions, Reader};
use crate::error::Error;
use crate::open::{self, Options};
use crate::watch::{Cancel, Clock};

const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n";

/// A database in a directory, its writer, and a clock that moves only when told.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) writer: Connection,
    millis: Arc<AtomicU64>,
}

/// Writes down what it is shown, one line a call; runs `on_row` at each row.
pub(super) struct Record<F: FnMut() -> ControlFlow<()> + Send> {
    pub(super) lines: Vec<String>,
    pub(super) on_row: F,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = Connection::open(dir.path().join("db.sqlite")).unwrap();
        writer
            .execute_batch(
                "PRAGMA journal_mode=WAL;
                 CREATE TABLE pet(id INTEGER PRIMARY KEY, nick VarChar(36), weight REAL, pic BLOB);
                 INSERT INTO pet VALUES(1,'Momo',4.25,NULL),(2,'Rex',NULL,x'8950')",
            )
            .unwrap();
        Self {
            dir,
            writer,
            millis: Arc::default(),
        }
    }

    fn clock(&self) -> Clock {
        let (begun, millis) = (Instant::now(), Arc::clone(&self.millis));
        Arc::new(move || begun + Duration::from_millis(millis.load(Ordering::Relaxed)))
    }

    pub(super) fn reader(&self) -> Reader {
        let connection = open::open_reader(&self.dir.path().join("db.sqlite"), &Options::default()).unwrap();
        Reader::new(connection, self.clock(), Duration::from_secs(60)).unwrap()
    }
}

impl<F: FnMut() -> ControlFlow<()> + Send> RowSink for Record<F> {
    fn columns(&mut self, columns: &Columns) -> ControlFlow<()> {
        let mut line = format!("{}: {}", columns.names.join(","), columns.types.join(","));
        if !columns.tables.is_empty() {
            line = format!("{line}: {}", columns.tables.join(","));
        }
        self.lines.push(line);
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        let cells: Vec<String> = cells.iter().map(|cell| show(*cell)).collect();
        self.lines.push(cells.join(" "));
        (self.on_row)()
    }

    fn end(&mut self, end: End, _: Duration) -> ControlFlow<()> {
        self.lines.push(match end {
            End::Complete => ".".to_owned(),
            End::Failed(text) => format!("! {text}"),
        });
        ControlFlow::Continue(())
    }
}

fn show(cell: CellRef<'_>) -> String {
    match cell {
        CellRef::Null => "NULL".to_owned(),
        CellRef::Integer(value) => value.to_string(),
        CellRef::Real(value) => format!("{value:?}"),
        CellRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        CellRef::Blob(bytes) => format!("{bytes:x?}"),
    }
}

pub(super) fn run(reader: &mut Reader, statements: &[Statement], options: &QueryOptions) -> Vec<String> {
    let mut sink = Record {
        lines: Vec::new(),
        on_row: || ControlFlow::Continue(()),
    };
    reader.query(statements, options, &mut sink, &Cancel::new()).unwrap();
    assert!(reader.connection().is_autocommit());
    sink.lines
}

fn ask(reader: &mut Reader, texts: &[&str]) -> Vec<String> {
    let statements: Vec<Statement> = texts.iter().map(|text| Statement::new(*text)).collect();
    run(reader, &statements, &QueryOptions::default())
}

#[test]
fn rows_come_with_names_and_lower_cased_declared_types() {
    let bench = Bench::new();
    let lines = ask(
        &mut bench.reader(),
        &["SELECT *, count(*) OVER () AS n FROM pet ORDER BY id"],
    );
    let expected = [
        "id,nick,weight,pic,n: integer,varchar(36),real,blob,",
        "1 Momo 4.25 NULL 2",
        "2 Rex NULL [89, 50] 2",
        ".",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_text_without_rows_without_columns_or_without_statement_is_complete() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    assert_eq!(ask(&mut reader, &["SELECT id FROM pet WHERE 0"]), ["id: integer", "."]);
    assert_eq!(ask(&mut reader, &["PRAGMA foreign_keys=ON"]), [": ", "."]);
    assert_eq!(ask(&mut reader, &["-- note"]), [": ", "."]);
    assert_eq!(ask(&mut reader, &[" ; "]), [": ", "."]);
    assert!(ask(&mut reader, &["", ""]).is_empty());
}

#[test]
fn a_failure_is_an_element_and_the_next_statement_runs() {
    let bench = Bench::new();
    let lines = ask(
        &mut bench.reader(),
        &[
            "SELECT * FROM pets",
            "SELECT abs(-9223372036854775808)",
            "SELECT 1 AS one",
            "SELEC",
        ],
    );
    let expected = [
        "! no such table: pets",
        "abs(-9223372036854775808): ",
        "! integer overflow",
        "one: ",
        "1",
        ".",
        "! near \"SELEC\": syntax error",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn a_failure_in_the_middle_of_rows_comes_after_them() {
    let bench = Bench::new();
    let sql = "SELECT abs(column1) AS a FROM (VALUES(1),(-9223372036854775808))";
    assert_eq!(ask(&mut bench.reader(), &[sql]), ["a: ", "1", "! integer overflow"]);
}

#[test]
fn writes_are_told_so_and_change_nothing() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    for sql in [
        "INSERT INTO pet(id) VALUES(3)",
        "INSERT INTO pet(id) VALUES(3) RETURNING id",
        "UPDATE pet SET nick='x'",
        "DELETE FROM pet",
        "CREATE TABLE t(a)",
        "CREATE TEMP TABLE t(a)",
        "CREATE TABLE IF NOT EXISTS pet(a)",
        "DROP TABLE pet",
        "VACUUM",
        "VACUUM INTO 'copy.sqlite'",
        "PRAGMA user_version=7",
        "PRAGMA optimize",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "SELECT 1; DELETE FROM pet",
        "DELETE FROM pet; SELECT 1",
    ] {
        let lines = ask(&mut reader, &[sql]);
        assert_eq!(
            lines.last().unwrap(),
            "! attempt to change database via query operation",
            "{sql}"
        );
    }
    assert_eq!(ask(&mut reader, &["SELECT count(*) AS n FROM pet"]), ["n: ", "2", "."]);
    assert!(!bench.dir.path().join("copy.sqlite").exists());
}

#[test]
fn what_would_outlive_the_query_is_refused() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    for (sql, text) in [
        (
            "BEGIN",
            "explicit transactions are not supported: the statements of one request are one transaction",
        ),
        (
            "SELECT 1; SAVEPOINT x",
            "explicit transactions are not supported: the statements of one request are one transaction",
        ),
        ("ATTACH ':memory:' AS x", "ATTACH and DETACH are not supported"),
        ("PRAGMA hard_heap_limit=1", "disallowed pragma"),
        ("EXPLAIN PRAGMA hard_heap_limit=1", "disallowed pragma"),
        ("PRAGMA main . 'query_only' (0)", "disallowed pragma"),
        ("PRAGMA journal_mode=DELETE", "disallowed pragma"),
        ("PRAGMA locking_mode=EXCLUSIVE", "disallowed pragma"),
        ("SELECT load_extension('x')", "not authorized"),
    ] {
        assert_eq!(ask(&mut reader, &[sql]).last().unwrap(), &format!("! {text}"), "{sql}");
    }
    assert!(reader.is_clean());
    assert_eq!(
        ask(&mut reader, &["PRAGMA journal_mode"]),
        ["journal_mode: ", "wal", "."]
    );
    assert_eq!(
        ask(&mut reader, &["PRAGMA hard_heap_limit"]),
        ["hard_heap_limit: ", "0", "."]
    );
}

#[test]
fn a_setting_that_changes_results_is_honoured_and_soils_the_reader() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let lines = ask(
        &mut reader,
        &["PRAGMA case_sensitive_like=ON", "SELECT 'a' LIKE 'A' AS x"],
    );
    assert_eq!(lines, [": ", ".", "x: ", "0", "."]);
    assert!(!reader.is_clean());
    let mut reader = bench.reader();
    assert_eq!(
        ask(&mut reader, &["PRAGMA cache_size=1", "PRAGMA cache_size"])[2..],
        ["cache_size: ", "-2048", "."]
    );
    assert!(reader.is_clean());
}

#[test]
fn several_statements_of_one_text_run_and_the_last_one_is_shown() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    assert_eq!(
        ask(&mut reader, &["SELECT 1; SELECT id FROM pet; -- note"]),
        ["id: integer", "1", "2", "."]
    );
    assert_eq!(
        ask(&mut reader, &["SELECT abs(-9223372036854775808); SELECT 1"]),
        ["! integer overflow"]
    );
    assert_eq!(
        ask(&mut reader, &["SELECT 1; SELECT * FROM missing"]),
        ["! no such table: missing"]
    );
    let mut statement = Statement::new("SELECT ?; SELECT ?, :b AS b");
    statement.parameters = vec![
        Parameter::positional(Value::Integer(1)),
        Parameter::positional(Value::Integer(2)),
        Parameter::named("b", Value::Integer(3)),
    ];
    assert_eq!(
        run(&mut reader, &[statement], &QueryOptions::default()),
        ["?,b: ,", "2 3", "."]
    );
}

#[test]
fn a_failed_binding_is_an_element_after_the_columns() {
    let bench = Bench::new();
    let lines = ask(&mut bench.reader(), &["SELECT ? AS a"]);
    assert_eq!(lines, ["a: ", "! not enough args to execute query: want 1 got 0"]);
}

#[test]
fn columns_are_qualified_by_their_real_tables_when_asked() {
    let bench = Bench::new();
    let options = QueryOptions {
        qualify_columns: true,
        ..QueryOptions::default()
    };
    let sql = "WITH o AS (SELECT nick AS nm, id+1 AS x FROM pet AS p WHERE id=1) SELECT nm, x, 7 FROM o";
    let lines = run(&mut bench.reader(), &[Statement::new(sql)], &options);
    assert_eq!(lines, ["nm,x,7: varchar(36),,: pet,,", "Momo 2 7", "."]);
}

#[test]
fn a_kept_statement_follows_a_change_of_the_schema() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let sql = "SELECT * FROM pet WHERE id=1";
    assert_eq!(ask(&mut reader, &[sql])[1], "1 Momo 4.25 NULL");
    bench.writer.execute_batch("ALTER TABLE pet DROP COLUMN pic").unwrap();
    assert_eq!(
        ask(&mut reader, &[sql]),
        ["id,nick,weight: integer,varchar(36),real", "1 Momo 4.25", "."]
    );
    bench.writer.execute_batch("DROP TABLE pet").unwrap();
    assert_eq!(ask(&mut reader, &[sql]), ["! no such table: pet"]);
}

/// Runs two counts and inserts a row between them.
fn counts_around_an_insert(bench: &Bench, texts: &[&str], transaction: bool) -> Vec<String> {
    let writer = std::sync::Mutex::new(Connection::open(bench.dir.path().join("db.sqlite")).unwrap());
    let mut inserted = false;
    let mut sink = Record {
        lines: Vec::new(),
        on_row: || {
            if !std::mem::replace(&mut inserted, true) {
                writer
                    .lock()
                    .unwrap()
                    .execute_batch("INSERT INTO pet(nick) VALUES('new')")
                    .unwrap();
            }
            ControlFlow::Continue(())
        },
    };
    let statements: Vec<Statement> = texts.iter().map(|text| Statement::new(*text)).collect();
    let options = QueryOptions {
        transaction,
        ..QueryOptions::default()
    };
    bench
        .reader()
        .query(&statements, &options, &mut sink, &Cancel::new())
        .unwrap();
    sink.lines.retain(|line| line.parse::<i64>().is_ok());
    sink.lines
}

#[test]
fn a_transaction_is_one_snapshot_and_without_it_each_statement_has_its_own() {
    let count = "SELECT count(*) FROM pet";
    assert_eq!(
        counts_around_an_insert(&Bench::new(), &[count, count], true),
        ["2", "2"]
    );
    assert_eq!(
        counts_around_an_insert(&Bench::new(), &[count, count], false),
        ["2", "3"]
    );
    let failing = [
        "SELECT * FROM missing",
        count,
        "SELECT abs(-9223372036854775808)",
        count,
    ];
    assert_eq!(counts_around_an_insert(&Bench::new(), &failing, true), ["2", "2"]);
}

#[test]
fn a_query_leaves_no_snapshot_behind_so_a_checkpoint_can_finish() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    ask(&mut reader, &["SELECT * FROM pet", "SELECT 1; SELECT * FROM pet"]);
    let mut sink = Record {
        lines: Vec::new(),
        on_row: || ControlFlow::Break(()),
    };
    let statements = [Statement::new("SELECT * FROM pet"), Statement::new("SELECT 1")];
    reader
        .query(&statements, &QueryOptions::default(), &mut sink, &Cancel::new())
        .unwrap();
    assert_eq!(sink.lines.len(), 2, "a sink that breaks is not called again");
    bench
        .writer
        .execute_batch("INSERT INTO pet(nick) VALUES('new')")
        .unwrap();
    let busy: i64 = bench
        .writer
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(busy, 0);
}

#[test]
fn the_deadline_cuts_the_running_statement_and_those_after_it() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let clock = bench.clock();
    let millis = Arc::clone(&bench.millis);
    let options = QueryOptions {
        deadline: Some(clock() + Duration::from_millis(50)),
        ..QueryOptions::default()
    };
    let mut sink = Record {
        lines: Vec::new(),
        on_row: move || {
            millis.store(60, Ordering::Relaxed);
            ControlFlow::Continue(())
        },
    };
    let statements = [
        Statement::new("SELECT 1 AS a"),
        Statement::new(ENDLESS),
        Statement::new("SELECT 2"),
    ];
    reader.query(&statements, &options, &mut sink, &Cancel::new()).unwrap();
    assert_eq!(sink.lines, ["a: ", "1", ".", "! query timeout", "! query timeout"]);
}

#[test]
fn a_deadline_that_passes_while_sqlite_runs_cuts_it() {
    let bench = Bench::new();
    let connection = open::open_reader(&bench.dir.path().join("db.sqlite"), &Options::default()).unwrap();
    // Each question costs a millisecond of this clock.
    let (begun, asked) = (Instant::now(), AtomicU64::new(0));
    let clock: Clock = Arc::new(move || begun + Duration::from_millis(asked.fetch_add(1, Ordering::Relaxed)));
    let mut reader = Reader::new(connection, clock, Duration::from_secs(60)).unwrap();
    let options = QueryOptions {
        deadline: Some(begun + Duration::from_millis(500)),
        ..QueryOptions::default()
    };
    let lines = run(&mut reader, &[Statement::new(ENDLESS)], &options);
    assert_eq!(lines, ["max(i): ", "! query timeout"]);
}

#[test]
fn a_snapshot_is_cut_at_its_greatest_age() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let millis = Arc::clone(&bench.millis);
    let mut sink = Record {
        lines: Vec::new(),
        on_row: move || {
            millis.fetch_add(60_001, Ordering::Relaxed);
            ControlFlow::Continue(())
        },
    };
    let statements = [
        Statement::new("VALUES(1),(2),(3)"),
        Statement::new("SELECT 'fresh' AS f"),
    ];
    reader
        .query(&statements, &QueryOptions::default(), &mut sink, &Cancel::new())
        .unwrap();
    let expected = [
        "column1: ",
        "1",
        "! query cut: it held its snapshot for more than 60s",
        "f: ",
        "fresh",
        ".",
    ];
    assert_eq!(sink.lines, expected);
}

#[test]
fn cancel_from_another_thread_stops_the_query_and_not_the_next_one() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let cancel = Cancel::new();
    let started = std::sync::Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            started.wait();
            cancel.cancel();
        });
        started.wait();
        let mut sink = Record {
            lines: Vec::new(),
            on_row: || ControlFlow::Continue(()),
        };
        let result = reader.query(&[Statement::new(ENDLESS)], &QueryOptions::default(), &mut sink, &cancel);
        assert!(matches!(result, Err(Error::Interrupted)));
    });
    assert_eq!(ask(&mut reader, &["SELECT 1 AS a"]), ["a: ", "1", "."]);
}

#[test]
fn text_that_is_not_utf8_is_shown_as_stored() {
    let bench = Bench::new();
    bench
        .writer
        .execute_batch("INSERT INTO pet(id,nick) VALUES(9, CAST(x'ff00fe' AS TEXT))")
        .unwrap();
    let lines = ask(
        &mut bench.reader(),
        &["SELECT nick, hex(nick) AS h FROM pet WHERE id=9"],
    );
    assert_eq!(lines[1], "\u{fffd}\0\u{fffd} FF00FE");
}

#[test]
fn a_damaged_page_is_told_to_the_client_and_to_the_node() {
    let bench = Bench::new();
    bench
        .writer
        .execute_batch(
            "CREATE TABLE big(a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 500)
             INSERT INTO big SELECT hex(zeroblob(100)) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
    let path = bench.dir.path().join("db.sqlite");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 4096 / 2 * 4096;
    bytes[middle..middle + 4096].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let mut sink = Record {
        lines: Vec::new(),
        on_row: || ControlFlow::Continue(()),
    };
    let statements = [
        Statement::new("SELECT sum(length(a)) AS s FROM big"),
        Statement::new("SELECT 1"),
    ];
    let result = bench
        .reader()
        .query(&statements, &QueryOptions::default(), &mut sink, &Cancel::new());
    assert!(matches!(result, Err(Error::Unsound { .. })));
    assert_eq!(sink.lines, ["s: ", "! database disk image is malformed"]);
}

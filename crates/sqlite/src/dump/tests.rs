//! Dumps: their layout, byte for byte, and what plain SQLite makes of them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::Value;

use super::Dump;
use crate::content::Content;
use crate::entry::script::ScriptEnd;
use crate::error::Error;
use crate::home::Home;
use crate::meta::{self, State};
use crate::open::Options;
use crate::pin::PinBounds;
use crate::watch::Cancel;
use crate::writer::Writer;

struct Bench {
    dir: tempfile::TempDir,
    home: Home,
    writer: Connection,
}

impl Bench {
    fn new(setup: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let writer = Connection::open(home.current().database()).unwrap();
        writer.execute_batch("PRAGMA journal_mode=WAL").unwrap();
        meta::create(&writer, &State::default()).unwrap();
        writer.execute_batch(setup).unwrap();
        Self { dir, home, writer }
    }

    fn pin(&self, tables: &[&str], cancel: &Cancel) -> Dump {
        let bounds = PinBounds {
            age_max: Duration::from_secs(60),
            cancel: cancel.clone(),
        };
        let tables: Vec<String> = tables.iter().map(|name| (*name).to_owned()).collect();
        let clock = Arc::new(Instant::now);
        Dump::pin(self.home.current(), &Options::default(), clock, bounds, &tables).unwrap()
    }

    fn dump(&self, tables: &[&str]) -> String {
        let mut bytes = Vec::new();
        self.pin(tables, &Cancel::new())
            .write(&mut |piece| {
                bytes.extend_from_slice(piece);
                ControlFlow::Continue(())
            })
            .unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Restores the dump into an empty database of plain SQLite, opened again afterwards.
    fn restored(&self) -> Connection {
        let path = self.dir.path().join("restored.sqlite");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(&self.dump(&[])).unwrap();
        drop(connection);
        Connection::open(&path).unwrap()
    }
}

/// What a query answers, typed.
fn rows(connection: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|column| row.get(column)).collect());
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn assert_same(bench: &Bench, restored: &Connection, sql: &str) {
    assert_eq!(rows(&bench.writer, sql), rows(restored, sql), "{sql}");
}

#[test]
fn the_layout_is_that_of_the_specification() {
    let bench = Bench::new(
        "CREATE TABLE pet (id INTEGER PRIMARY KEY, nick TEXT);
         INSERT INTO pet VALUES(1, 'Momo');
         CREATE INDEX pet_nick ON pet(nick);",
    );
    let expected = "PRAGMA foreign_keys=OFF;\n\
                    BEGIN TRANSACTION;\n\
                    CREATE TABLE pet (id INTEGER PRIMARY KEY, nick TEXT);\n\
                    INSERT INTO \"pet\" VALUES(1,'Momo');\n\
                    CREATE INDEX pet_nick ON pet(nick);\n\
                    COMMIT;\n";
    assert_eq!(bench.dump(&[]), expected);
}

#[test]
fn an_empty_database_is_an_empty_transaction() {
    let expected = "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\nCOMMIT;\n";
    assert_eq!(Bench::new("").dump(&[]), expected);
}

#[test]
fn tables_stand_by_name_and_the_rest_by_age() {
    let bench = Bench::new(
        "CREATE TABLE b(x); CREATE VIEW v AS SELECT * FROM b; CREATE TABLE a(y INTEGER PRIMARY KEY AUTOINCREMENT);
         CREATE TRIGGER t AFTER INSERT ON b BEGIN DELETE FROM a; END; CREATE INDEX i ON a(y);
         INSERT INTO a VALUES(7); ANALYZE;",
    );
    let expected = "PRAGMA foreign_keys=OFF;\n\
                    BEGIN TRANSACTION;\n\
                    CREATE TABLE a(y INTEGER PRIMARY KEY AUTOINCREMENT);\n\
                    INSERT INTO \"a\" VALUES(7);\n\
                    CREATE TABLE b(x);\n\
                    DELETE FROM \"sqlite_sequence\";;\n\
                    INSERT INTO \"sqlite_sequence\" VALUES('a',7);\n\
                    ANALYZE \"sqlite_master\";;\n\
                    INSERT INTO \"sqlite_stat1\" VALUES('a','i','1 1');\n\
                    CREATE VIEW v AS SELECT * FROM b;\n\
                    CREATE TRIGGER t AFTER INSERT ON b BEGIN DELETE FROM a; END;\n\
                    CREATE INDEX i ON a(y);\n\
                    COMMIT;\n";
    assert_eq!(bench.dump(&[]), expected);
}

#[test]
fn a_filter_holds_for_tables_alone_and_unknown_names_are_passed_over() {
    let bench = Bench::new("CREATE TABLE a(x); CREATE TABLE b(x); INSERT INTO b VALUES(NULL); CREATE INDEX i ON a(x);");
    let expected = "PRAGMA foreign_keys=OFF;\n\
                    BEGIN TRANSACTION;\n\
                    CREATE TABLE b(x);\n\
                    INSERT INTO \"b\" VALUES(NULL);\n\
                    CREATE INDEX i ON a(x);\n\
                    COMMIT;\n";
    assert_eq!(bench.dump(&["b", "nobody", "sqlite_quorlite"]), expected);
}

#[test]
fn a_sequence_waits_for_the_table_that_makes_it_exist() {
    let bench = Bench::new("CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO users VALUES(41);");
    let restored = bench.restored();
    restored.execute_batch("INSERT INTO users DEFAULT VALUES").unwrap();
    assert_eq!(restored.last_insert_rowid(), 42);
}

#[test]
fn what_a_schema_can_hold_comes_back() {
    let bench = Bench::new(
        "CREATE TABLE \"odd \"\"name\"(\"a \"\"b\", 'c''d', e AS (1) VIRTUAL, f AS (2) STORED);
         INSERT INTO \"odd \"\"name\" VALUES('it''s', x'00ff');
         CREATE TABLE w(k TEXT, n INT, PRIMARY KEY(k DESC, n)) WITHOUT ROWID;
         INSERT INTO w VALUES('b', 1), ('a', 2), ('b', 0);
         CREATE TABLE covered(a, b); CREATE INDEX covering ON covered(a, b);
         INSERT INTO covered VALUES(3, 0), (1, 0), (2, 0);
         CREATE TABLE strict(i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;
         INSERT INTO strict VALUES(-9223372036854775808, 0.1, 'x' || char(0) || 'y', x'', 1e300);
         INSERT INTO strict VALUES(9223372036854775807, 9e999, CAST(x'ff' AS TEXT), NULL, -9e999);
         INSERT INTO strict VALUES(0, -0.0, '', x'27', 123456789.0);",
    );
    let restored = bench.restored();
    for sql in [
        "SELECT * FROM \"odd \"\"name\"",
        "SELECT * FROM w",
        "SELECT rowid, a FROM covered NOT INDEXED",
        "SELECT i, r, hex(t), typeof(t), b, a, typeof(a) FROM strict",
        "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'sqlite_%' ORDER BY type, name",
    ] {
        assert_same(&bench, &restored, sql);
    }
}

#[test]
fn virtual_tables_come_back_with_their_content() {
    let bench = Bench::new(
        "CREATE VIRTUAL TABLE f5 USING fts5(a, b); INSERT INTO f5 VALUES('the ''cat''', 'sat'), ('on', 'the mat');
         CREATE VIRTUAL TABLE f4 USING fts4(a); INSERT INTO f4 VALUES('some words');
         CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES(1, 2, 3), (4, 5, 6);
         CREATE TABLE posts(id INTEGER PRIMARY KEY, text);
         CREATE TRIGGER index_post AFTER INSERT ON posts BEGIN INSERT INTO f5 VALUES(new.text, ''); END;
         INSERT INTO posts VALUES(1, 'a dog');",
    );
    let restored = bench.restored();
    for sql in [
        "SELECT rowid, * FROM f5('the')",
        "SELECT * FROM f5('dog')",
        "SELECT * FROM f4 WHERE f4 MATCH 'words'",
        "SELECT * FROM r WHERE x0 > 3",
        "SELECT * FROM posts",
        "PRAGMA integrity_check",
    ] {
        assert_same(&bench, &restored, sql);
    }
    restored.execute_batch("INSERT INTO posts VALUES(2, 'a bird')").unwrap();
    assert_eq!(rows(&restored, "SELECT * FROM f5('bird')").len(), 1);
}

#[test]
fn large_values_arrive_in_pieces() {
    let bench = Bench::new("CREATE TABLE t(a, b); INSERT INTO t VALUES(zeroblob(3000000), hex(zeroblob(1000000)))");
    let mut longest = 0;
    let mut count = 0;
    let dump = bench.pin(&[], &Cancel::new());
    dump.write(&mut |piece| {
        longest = longest.max(piece.len());
        count += 1;
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(
        longest <= 2 * super::CHUNK_BYTES && count > 80,
        "{count} pieces, one of {longest} bytes"
    );
    let restored = bench.restored();
    assert_same(&bench, &restored, "SELECT length(a), typeof(a), b FROM t");
}

#[test]
fn a_sink_that_breaks_off_ends_it() {
    let bench = Bench::new("CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(1000000))");
    let mut calls = 0;
    let dump = bench.pin(&[], &Cancel::new());
    let ended = dump.write(&mut |_| {
        calls += 1;
        ControlFlow::Break(())
    });
    assert!(
        matches!(ended, Err(Error::Interrupted)) && calls == 1,
        "{ended:?} after {calls}"
    );
}

#[test]
fn a_cancelled_dump_has_no_end() {
    let bench = Bench::new("CREATE TABLE t(a); INSERT INTO t VALUES(zeroblob(1000000))");
    let cancel = Cancel::new();
    let mut text = Vec::new();
    let ended = bench.pin(&[], &cancel).write(&mut |piece| {
        text.extend_from_slice(piece);
        cancel.cancel();
        ControlFlow::Continue(())
    });
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert!(!text.ends_with(b"COMMIT;\n"));
}

#[test]
fn a_dump_that_is_loaded_has_the_content_that_was_dumped() {
    let setup = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a REFERENCES u, b AS (a || '!'));
                 CREATE TABLE u(k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE INDEX t_a ON t(a);
                 INSERT INTO u VALUES('x;y'), ('it''s'); INSERT INTO t(id, a) VALUES(5, 'x;y'), (9, 'it''s'); DELETE FROM t WHERE id=9;
                 CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('some words');
                 CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO f VALUES(new.a); DELETE FROM u; END;
                 CREATE VIEW v AS SELECT ';';";
    let bench = Bench::new(setup);
    let home = tempfile::tempdir().unwrap();
    let home = Home::open(home.path()).unwrap();
    let mut writer = Writer::open(&home.current().database(), &Options::default()).unwrap();
    writer.begin().unwrap();
    let text = bench.dump(&[]);
    let ended = writer.run_script(&mut text.as_bytes(), 0, 0).unwrap();
    assert!(matches!(ended, ScriptEnd::Done(_)));
    writer.commit().unwrap().unwrap();
    assert_eq!(content(&home), content(&bench.home));
}

fn content(home: &Home) -> u64 {
    let bounds = PinBounds {
        age_max: Duration::from_secs(60),
        cancel: Cancel::new(),
    };
    let content = Content::pin(home.current(), &Options::default(), Arc::new(Instant::now), bounds);
    content.unwrap().hash(&mut |_| ()).unwrap().hash
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        any::<f64>()
            .prop_filter("a NaN is NULL", |real| !real.is_nan())
            .prop_map(Value::Real),
        any::<String>().prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Value::Blob),
    ]
}

/// A table: its columns' declared types, whether it has rowids, and its rows.
#[derive(Clone, Debug)]
struct Case {
    types: Vec<&'static str>,
    without_rowid: bool,
    rows: Vec<Vec<Value>>,
}

fn case() -> impl Strategy<Value = Case> {
    let types = prop::sample::select(vec!["", "INT", "TEXT", "REAL", "NUMERIC", "BLOB"]);
    (prop::collection::vec(types, 1..5), any::<bool>()).prop_flat_map(|(types, without_rowid)| {
        let row = prop::collection::vec(value(), types.len());
        prop::collection::vec(row, 0..12).prop_map(move |rows| Case {
            types: types.clone(),
            without_rowid,
            rows,
        })
    })
}

fn create(connection: &Connection, number: usize, case: &Case) -> String {
    let name = format!("\"t {number}'s \"\"table\"");
    let columns: String = case
        .types
        .iter()
        .enumerate()
        .map(|(at, kind)| format!(", \"c'{at}\" {kind}"))
        .collect();
    let (key, end) = if case.without_rowid {
        ("k INTEGER PRIMARY KEY", "WITHOUT ROWID")
    } else {
        ("k", "")
    };
    connection
        .execute_batch(&format!("CREATE TABLE {name}({key}{columns}) {end}"))
        .unwrap();
    let places = ",?".repeat(case.types.len());
    for (key, row) in case.rows.iter().enumerate() {
        let key = Value::Integer(key as i64);
        let values = [&key].into_iter().chain(row);
        connection
            .execute(
                &format!("INSERT INTO {name} VALUES(?{places})"),
                rusqlite::params_from_iter(values),
            )
            .unwrap();
    }
    name
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tables_with_any_values_come_back(cases in prop::collection::vec(case(), 1..4)) {
        let bench = Bench::new("");
        let names: Vec<String> =
            cases.iter().enumerate().map(|(number, case)| create(&bench.writer, number, case)).collect();
        let restored = bench.restored();
        for name in names {
            let sql = format!("SELECT * FROM {name} ORDER BY k");
            prop_assert_eq!(rows(&bench.writer, &sql), rows(&restored, &sql));
        }
    }
}

//! Stripped streams: what plain SQLite finds in them, and what it does not.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::Error;
use crate::home::Home;
use crate::meta::{self, State};
use crate::open::Options;
use crate::pages::{Journal, PinnedDatabase};
use crate::pin::PinBounds;
use crate::watch::Cancel;

struct Bench {
    dir: tempfile::TempDir,
    home: Home,
    writer: Connection,
}

/// Tables of each kind, a schema of several pages, statistics, and free pages.
const SETUP: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, a, b TEXT); CREATE INDEX t_a ON t(a, b);
    CREATE TABLE w(k TEXT PRIMARY KEY, v) WITHOUT ROWID; CREATE VIRTUAL TABLE f USING fts5(x);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 3000)
      INSERT INTO t SELECT i, i % 17, hex(zeroblob(100)) FROM n;
    INSERT INTO w SELECT 'k' || id, a FROM t; INSERT INTO f SELECT 'word' || a FROM t;
    CREATE TABLE gone AS SELECT * FROM t; DROP TABLE gone;
    ANALYZE";

impl Bench {
    /// `first` runs in the empty file.
    fn new(first: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let writer = Connection::open(home.current().database()).unwrap();
        writer
            .execute_batch(&format!("{first}; PRAGMA journal_mode=WAL"))
            .unwrap();
        meta::create(&writer, &State::default()).unwrap();
        writer.execute_batch(SETUP).unwrap();
        let bench = Self { dir, home, writer };
        bench.remember("a secret reply", 200);
        bench
    }

    fn run(&self, sql: &str) {
        self.writer.execute_batch(sql).unwrap();
    }

    /// Fills the table of keys.
    fn remember(&self, reply: &str, count: usize) {
        self.run(&format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT {count})
             INSERT INTO sqlite_quorlite_keys SELECT i, 'key' || i, 0, '{reply}' || hex(zeroblob(i * 10)) FROM n"
        ));
    }

    fn many_tables(&self) {
        let many: String = (0..300)
            .map(|number| format!("CREATE TABLE many{number}(a, b, c);"))
            .collect();
        self.run(&many);
    }

    fn pin(&self, journal: Journal) -> PinnedDatabase {
        let bounds = PinBounds {
            age_max: Duration::from_secs(60),
            cancel: Cancel::new(),
        };
        let clock = Arc::new(Instant::now);
        PinnedDatabase::pin_stripped(self.home.current(), &Options::default(), clock, bounds, journal).unwrap()
    }

    /// Names in the folder of the generations.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.home.current().home())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Compares a copy with what the writer sees, and lets SQLite check it.
    fn assert_whole(&self, copy: &Connection) {
        assert_eq!(text(copy, "PRAGMA integrity_check"), "ok");
        assert_eq!(
            text(copy, "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%quorlite%'"),
            "0"
        );
        let schema = "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema \
                      WHERE tbl_name NOT LIKE 'sqlite_quorlite%' ORDER BY name)";
        for sql in [
            schema,
            "SELECT count(*) || sum(id) || sum(a) || sum(length(b)) FROM t",
            "SELECT count(*) || sum(v) || max(k) FROM w",
            "SELECT count(*) FROM f('word3')",
            "SELECT group_concat(tbl || idx || stat) FROM sqlite_stat1",
        ] {
            assert_eq!(text(copy, sql), text(&self.writer, sql), "{sql}");
        }
    }
}

fn text(connection: &Connection, sql: &str) -> String {
    connection
        .query_row(sql, [], |row| row.get::<_, rusqlite::types::Value>(0))
        .map(|value| match value {
            rusqlite::types::Value::Text(text) => text,
            other => format!("{other:?}")
                .trim_matches(|c: char| !c.is_ascii_digit())
                .to_owned(),
        })
        .unwrap()
}

fn read_all(database: &mut PinnedDatabase) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 10_000];
    loop {
        match database.read_chunk(&mut buffer).unwrap() {
            0 => return bytes,
            filled => bytes.extend_from_slice(&buffer[..filled]),
        }
    }
}

fn open(bytes: &[u8]) -> (tempfile::TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("copy.sqlite");
    fs::write(&path, bytes).unwrap();
    let copy = Connection::open(path).unwrap();
    (dir, copy)
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

#[test]
fn a_stripped_stream_is_the_database_without_our_tables() {
    for first in [
        "",
        "PRAGMA page_size=512",
        "PRAGMA page_size=65536",
        "PRAGMA auto_vacuum=FULL",
        "PRAGMA encoding='UTF-16'",
    ] {
        let bench = Bench::new(first);
        for (journal, version) in [(Journal::Wal, 2), (Journal::Rollback, 1)] {
            let bytes = read_all(&mut bench.pin(journal));
            assert_eq!(bytes[18..20], [version, version], "{first}");
            let (_dir, copy) = open(&bytes);
            bench.assert_whole(&copy);
        }
    }
}

#[test]
fn a_schema_of_many_pages_and_no_free_ones_is_stripped_too() {
    for first in ["PRAGMA page_size=512", "", "PRAGMA auto_vacuum=INCREMENTAL"] {
        let bench = Bench::new(first);
        bench.many_tables();
        bench.run("VACUUM");
        let (_dir, copy) = open(&read_all(&mut bench.pin(Journal::Wal)));
        bench.assert_whole(&copy);
        copy.execute_batch("INSERT INTO many299 VALUES(1, 2, 3); DROP TABLE many7; CREATE TABLE more(a)")
            .unwrap();
        assert_eq!(text(&copy, "PRAGMA integrity_check"), "ok");
    }
}

#[test]
fn what_our_tables_held_is_not_in_the_stream() {
    let bench = Bench::new("");
    let plain = fs::read(bench.home.current().database()).unwrap();
    let wal = fs::read(format!("{}-wal", bench.home.current().database().display())).unwrap();
    assert!(has(&plain, b"secret") || has(&wal, b"secret"), "it is in the database");
    assert!(!has(&read_all(&mut bench.pin(Journal::Wal)), b"secret"));
}

#[test]
fn a_stripped_stream_under_writes_is_one_snapshot() {
    let bench = Bench::new("");
    let mut database = bench.pin(Journal::Wal);
    let before = text(&bench.writer, "SELECT sum(a) FROM t");
    bench.run("UPDATE t SET a=a+1; DELETE FROM sqlite_quorlite_keys; DROP TABLE w; CREATE TABLE other(x)");
    let (_dir, copy) = open(&read_all(&mut database));
    assert_eq!(text(&copy, "PRAGMA integrity_check"), "ok");
    assert_eq!(text(&copy, "SELECT sum(a) FROM t"), before);
    assert_eq!(text(&copy, "SELECT count(*) FROM w"), "3000");
}

#[test]
fn no_file_with_a_name_is_left_and_little_is_written() {
    let bench = Bench::new("");
    let before = bench.files();
    let database = bench.pin(Journal::Wal);
    assert_eq!(bench.files(), before);
    drop(database);
    assert_eq!(bench.files(), before);
}

#[test]
fn a_start_removes_what_a_crash_left() {
    let bench = Bench::new("");
    let litter = bench.home.current().home().join("scratch-3");
    fs::create_dir(&litter).unwrap();
    fs::write(litter.join("stripped.sqlite"), "half").unwrap();
    drop(bench.writer);
    Home::open(bench.dir.path()).unwrap();
    assert!(!litter.exists());
}

#[test]
fn a_vacuumed_stream_has_no_free_pages_and_a_digest() {
    let bench = Bench::new("");
    let mut database = bench.pin(Journal::Rollback);
    let before = database.bytes();
    database
        .vacuum(bench.home.current().home(), &Options::default(), Cancel::new())
        .unwrap();
    assert!(!database.is_pinned());
    let bytes = read_all(&mut database);
    assert!(bytes.len() as u64 == database.bytes() && database.bytes() < before);
    assert_eq!(database.digest().unwrap().bytes, database.bytes());
    assert_eq!(bytes[18..20], [1, 1]);
    let (_dir, copy) = open(&bytes);
    bench.assert_whole(&copy);
    assert_eq!(text(&copy, "PRAGMA freelist_count"), "0");
    assert_eq!(bench.files(), ["1", "current"]);
}

#[test]
fn a_vacuum_ends_when_it_is_cancelled() {
    let bench = Bench::new("");
    let mut database = bench.pin(Journal::Rollback);
    let cancel = Cancel::new();
    cancel.cancel();
    let ended = database.vacuum(bench.home.current().home(), &Options::default(), cancel);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
}

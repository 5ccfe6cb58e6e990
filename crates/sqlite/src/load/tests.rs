//! Files that are loaded: what is taken, what is refused, and that a writer goes on from there.

use std::fs;
use std::path::PathBuf;

use command::request::{Kind, Write};
use command::statement::Statement;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{Upload, adopt, bring, is_database, validate};
use crate::error::Error;
use crate::home::{Building, Home};
use crate::keys::KeptKey;
use crate::meta::{self, Position, State};
use crate::open::{self, Options};
use crate::pages;
use crate::staging::KeptLoad;
use crate::writer::Writer;
use crate::{Care, Conclusion, Resume};

struct Bench {
    dir: tempfile::TempDir,
    home: Home,
    options: Options,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        Self {
            dir,
            home,
            options: Options::default(),
        }
    }

    /// A file made by plain SQLite.
    fn file(&self, setup: &str) -> Vec<u8> {
        self.file_by(|connection| connection.execute_batch(setup).unwrap())
    }

    fn file_by(&self, make: impl FnOnce(&Connection)) -> Vec<u8> {
        let path = self.dir.path().join("brought.sqlite");
        let _ = fs::remove_file(&path);
        let connection = Connection::open(&path).unwrap();
        make(&connection);
        drop(connection);
        fs::read(path).unwrap()
    }

    fn upload(&mut self, bytes: &[u8]) -> Result<Building, Error> {
        let building = self.home.begin().unwrap();
        let mut upload = Upload::new(building.database()).unwrap();
        for chunk in bytes.chunks(1000) {
            upload.write(chunk).unwrap();
        }
        assert_eq!(upload.bytes(), bytes.len() as u64);
        upload.finish(&self.options).map(|_| building)
    }

    /// Loads a file at index 9, and switches to it.
    fn load(&mut self, bytes: &[u8]) -> Result<PathBuf, Error> {
        let building = self.upload(bytes)?;
        adopt(&building.database(), &state(), None, &self.options)?;
        Ok(self.home.switch(building).unwrap().database())
    }

    fn refusal(&mut self, bytes: &[u8]) -> String {
        match self.load(bytes) {
            Err(Error::Unfit(why)) => why,
            other => panic!("{other:?}"),
        }
    }
}

fn state() -> State {
    State {
        applied: Some(Position { term: 3, index: 9 }),
        membership_at: Some(Position { term: 1, index: 1 }),
        membership: "members".into(),
        effect: 7,
        ..State::default()
    }
}

/// Runs a statement as an entry, and commits it at index 10.
fn write(writer: &mut Writer, sql: &str) {
    let write = Write {
        statements: vec![Statement::new(sql)],
        atomic: true,
        kind: Kind::Execute as i32,
        ..Write::default()
    };
    writer.begin().unwrap();
    let Conclusion::Done(ran) = writer.run(&write, Care::Quick, Resume::default()).unwrap() else {
        panic!("not done");
    };
    assert!(!format!("{:?}", ran.reply).contains("Error"), "{:?}", ran.reply);
    writer.state_mut().applied = Some(Position { term: 3, index: 10 });
    writer.commit().unwrap().unwrap();
}

fn text(connection: &Connection, sql: &str) -> String {
    connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

const SETUP: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES(1, 'Zoë'), (2, 'b');
                     CREATE INDEX t_a ON t(a); CREATE VIRTUAL TABLE f USING fts5(x); INSERT INTO f VALUES('some words')";

#[test]
fn what_is_a_database_is_told_by_its_first_bytes() {
    assert!(is_database(b"SQLite format 3\0"));
    assert!(is_database(b"SQLite format "));
    assert!(!is_database(b"SQLite format"));
    assert!(!is_database(b"CREATE TABLE t(a)"));
    assert!(!is_database(b""));
}

#[test]
fn a_loaded_file_is_a_database_at_its_position_and_takes_writes() {
    for first in [
        "",
        "PRAGMA journal_mode=WAL",
        "PRAGMA page_size=512",
        "PRAGMA page_size=65536",
        "PRAGMA encoding='UTF-16be'",
        "PRAGMA auto_vacuum=FULL",
    ] {
        let mut bench = Bench::new();
        let file = bench.file(&format!("{first}; {SETUP}"));
        let path = bench.load(&file).unwrap();
        assert_eq!(fs::read(&path).unwrap()[18..20], [2, 2]);
        let mut writer = Writer::open(&path, &bench.options).unwrap();
        assert_eq!(*writer.committed(), state(), "{first}");
        write(&mut writer, "INSERT INTO t(a) VALUES('new'), (upper('x'))");
        write(&mut writer, "INSERT INTO f SELECT a || ' words' FROM t");
        drop(writer);
        let reader = open::open_reader(&path, &bench.options).unwrap();
        assert_eq!(
            text(&reader, "SELECT group_concat(a) FROM (SELECT a FROM t ORDER BY id)"),
            "Zoë,b,new,X"
        );
        assert_eq!(text(&reader, "SELECT count(*) || '' FROM f('words')"), "5");
        assert_eq!(text(&reader, "PRAGMA integrity_check"), "ok", "{first}");
    }
}

#[test]
fn a_table_of_ours_from_elsewhere_is_replaced() {
    let mut bench = Bench::new();
    let file = bench.file_by(|connection| {
        let other = State {
            applied: Some(Position {
                term: 99,
                index: 99_999,
            }),
            membership: "of somebody else".into(),
            ..State::default()
        };
        meta::create(connection, &other).unwrap();
        connection
            .execute_batch(&format!(
                "INSERT INTO sqlite_quorlite_keys VALUES(5, 'theirs', 1, NULL); {SETUP}"
            ))
            .unwrap();
    });
    let path = bench.load(&file).unwrap();
    let writer = Writer::open(&path, &bench.options).unwrap();
    assert_eq!(*writer.committed(), state());
    assert_eq!(writer.find_key("theirs").unwrap(), None);
    let reader = open::open_reader(&path, &bench.options).unwrap();
    assert_eq!(text(&reader, "PRAGMA integrity_check"), "ok");
}

#[test]
fn what_somebody_hung_on_a_table_of_ours_goes_with_it() {
    let mut bench = Bench::new();
    let file = bench.file_by(|connection| {
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)
            .unwrap();
        let plant = "CREATE TABLE x(a, b UNIQUE); CREATE INDEX i ON x(a); INSERT INTO x VALUES(1, 2);
                     CREATE VIEW v AS SELECT 1;
                     UPDATE sqlite_schema SET tbl_name='sqlite_quorlite', sql=replace(sql, ' x', ' sqlite_quorlite'),
                       name=iif(name='x', 'sqlite_quorlite', replace(name, '_x_', '_sqlite_quorlite_'))
                       WHERE tbl_name='x';
                     UPDATE sqlite_schema SET name='sqlite_quorlite_v', tbl_name='sqlite_quorlite_v',
                       sql='CREATE VIEW sqlite_quorlite_v AS SELECT 1' WHERE name='v'";
        connection.execute_batch(plant).unwrap();
        connection.execute_batch(SETUP).unwrap();
    });
    let path = bench.load(&file).unwrap();
    let reader = open::open_reader(&path, &bench.options).unwrap();
    assert_eq!(text(&reader, "PRAGMA integrity_check"), "ok");
    let names = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE type IN ('trigger', 'view') \
                 OR name='i' OR name LIKE 'sqlite_parameters%')";
    let found: Option<String> = reader.query_row(names, [], |row| row.get(0)).unwrap();
    assert_eq!(found, None);
    assert_eq!(meta::read(&reader).unwrap(), state());
}

#[test]
fn damage_is_found_before_anything_is_replaced() {
    let mut bench = Bench::new();
    let mut file = bench.file(
        "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 5000)
         INSERT INTO t SELECT hex(i) || 'padding' FROM n",
    );
    let before = bench.home.current().number();
    file[4096 * 3..4096 * 4].fill(0xa5);
    assert!(bench.refusal(&file).contains("page"), "{}", bench.refusal(&file));
    file.truncate(4096 * 5);
    assert!(bench.refusal(&file).contains("malformed"));
    assert_eq!(bench.home.current().number(), before);
}

#[test]
fn what_is_no_database_is_refused_by_name() {
    let mut bench = Bench::new();
    assert_eq!(bench.refusal(b"SQLite format 3\0 and then"), "not a SQLite database");
    assert_eq!(bench.refusal(&[0; 4096]), "not a SQLite database");
    let mut newer = bench.file(SETUP);
    newer[18] = 3;
    assert_eq!(bench.refusal(&newer), "its format is newer than this SQLite");
    let mut no_page_size = bench.file(SETUP);
    no_page_size[16..18].fill(7);
    assert_eq!(bench.refusal(&no_page_size), "file is not a database");
}

#[test]
fn a_foreign_key_into_our_table_is_refused() {
    let mut bench = Bench::new();
    let file = bench.file("CREATE TABLE child(a REFERENCES SQLite_Quorlite(id))");
    assert_eq!(
        bench.refusal(&file),
        "a foreign key of table child refers to sqlite_quorlite"
    );
}

#[test]
fn a_row_at_the_last_rowid_is_refused() {
    let mut bench = Bench::new();
    let file = bench.file("CREATE TABLE \"a b\"(rowid, x); INSERT INTO \"a b\"(_rowid_) VALUES(9223372036854775807)");
    assert!(
        bench
            .refusal(&file)
            .starts_with("table \"a b\" has a row at rowid 9223372036854775807")
    );
    let file = bench.file("CREATE TABLE t(x); INSERT INTO t(rowid) VALUES(9223372036854775806)");
    bench.load(&file).unwrap();
}

#[test]
fn rows_that_break_a_check_are_taken() {
    let mut bench = Bench::new();
    let file =
        bench.file("CREATE TABLE t(a CHECK(a > 0)); PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES(-1)");
    bench.load(&file).unwrap();
}

#[test]
fn what_is_remembered_outlives_a_load_with_what_is_not_yet_committed() {
    let mut bench = Bench::new();
    let current = bench.home.current().database();
    let mut writer = Writer::open(&current, &bench.options).unwrap();
    write(&mut writer, "CREATE TABLE old(a)");
    let key = |index| KeptKey {
        index,
        body_hash: 5,
        reply: Some(b"reply".to_vec()),
    };
    writer.begin().unwrap();
    writer.keep_key("before", &key(4)).unwrap();
    writer.commit().unwrap().unwrap();
    let file = bench.file(SETUP);
    let building = bench.upload(&file).unwrap();
    writer.begin().unwrap();
    writer.keep_key("this one", &key(11)).unwrap();
    let load = KeptLoad {
        id: u64::MAX,
        bytes: 7,
        used: 10,
    };
    writer.keep_load(&load).unwrap();
    writer.state_mut().applied = Some(Position { term: 3, index: 11 });
    writer.adopt(&building.database(), &bench.options).unwrap();
    drop(writer);
    let path = bench.home.switch(building).unwrap().database();
    let writer = Writer::open(&path, &bench.options).unwrap();
    assert_eq!(writer.committed().applied, Some(Position { term: 3, index: 11 }));
    assert_eq!(writer.find_key("before").unwrap().unwrap().reply.unwrap(), b"reply");
    assert_eq!(writer.find_key("this one").unwrap().unwrap().index, 11);
    assert_eq!(writer.loads().unwrap(), [load]);
}

#[test]
fn an_adoption_leaves_the_file_as_it_was_and_can_be_done_again() {
    let mut bench = Bench::new();
    let theirs = bench.file_by(|connection| {
        meta::create(connection, &State::default()).unwrap();
        connection
            .execute_batch(&format!("PRAGMA auto_vacuum=FULL; {SETUP}"))
            .unwrap();
    });
    let staged = bench.dir.path().join("staged");
    fs::write(&staged, &theirs).unwrap();
    validate(&staged, &bench.options).unwrap();
    for is_used in [false, false, true] {
        let building = bench.home.begin().unwrap();
        bring(&staged, &building, is_used).unwrap();
        adopt(&building.database(), &state(), None, &bench.options).unwrap();
        let mut now = fs::read(&staged).unwrap();
        now[18..20].copy_from_slice(&theirs[18..20]);
        assert!(now == theirs, "but for two bytes");
        let copy = Connection::open(building.database()).unwrap();
        assert_eq!(meta::read(&copy).unwrap(), state());
        assert_eq!(text(&copy, "PRAGMA integrity_check"), "ok");
        // Reading on would move the WAL into the file: what is left of this try is thrown away, as by a crash.
        copy.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .unwrap();
    }
}

#[test]
fn an_adopted_file_is_never_opened_without_what_made_it_ours() {
    let mut bench = Bench::new();
    let theirs = bench.file_by(|connection| {
        let elsewhere = State {
            applied: Some(Position { term: 9, index: 900 }),
            ..State::default()
        };
        meta::create(connection, &elsewhere).unwrap();
        connection.execute_batch(SETUP).unwrap();
    });
    let path = bench.load(&theirs).unwrap();
    let wal = pages::beside(&path, "-wal");
    let sound = fs::read(&wal).unwrap();
    for at in (0..sound.len()).step_by(97) {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        fs::write(&wal, &bytes).unwrap();
        match Writer::open(&path, &bench.options) {
            Err(Error::Damaged { path, .. }) => assert_eq!(path, wal),
            Err(other) => panic!("byte {at}: {other}"),
            Ok(_) => panic!("opened with a flipped bit in byte {at}"),
        }
    }
    fs::write(&wal, &sound).unwrap();
    assert_eq!(Writer::open(&path, &bench.options).unwrap().committed(), &state());
}

#[test]
fn a_refused_upload_leaves_no_folder() {
    let mut bench = Bench::new();
    bench.refusal(b"SQLite format 3\0");
    let folders = fs::read_dir(bench.home.current().home()).unwrap().count();
    assert_eq!(folders, 2, "the generation and the pointer");
}

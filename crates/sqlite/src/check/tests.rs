//! Databases, sound and not, looked at and left as they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::Connection;

use super::{Database, database, folder, wal};
use crate::error::Error;
use crate::floor::{self, Floor};
use crate::home::Home;
use crate::meta::{self, Found, Position, State};
use crate::open::{self, Options};
use crate::pages;

const ROWS: u64 = 2000;

struct Bench {
    dir: tempfile::TempDir,
    path: PathBuf,
}

impl Bench {
    /// A database of ours with a table, part of it in the WAL alone.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = Home::open(dir.path()).unwrap().current().database();
        let connection = open::open_writer(&path, &Options::default()).unwrap();
        let applied = Some(Position { term: 3, index: 40 });
        let state = State {
            applied,
            ..State::default()
        };
        meta::create(&connection, &state).unwrap();
        connection
            .execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)")
            .unwrap();
        fill(&connection, 0);
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        fill(&connection, ROWS);
        drop(connection);
        Self { dir, path }
    }

    /// Everything in the WAL is in the database.
    fn without_wal() -> Self {
        let it = Self::new();
        let connection = open::open_writer(&it.path, &Options::default()).unwrap();
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        drop(connection);
        for suffix in ["-wal", "-shm", "-floor"] {
            pages::remove_if_there(&pages::beside(&it.path, suffix)).unwrap();
        }
        it
    }

    /// Checks, and finds nothing changed.
    fn look(&self) -> Database {
        let before = contents(self.dir.path());
        let checked = database(&self.path, || ()).unwrap();
        assert_eq!(contents(self.dir.path()), before, "a check changed a file");
        checked
    }

    fn flip(&self, suffix: &str, at: usize) {
        let path = pages::beside(&self.path, suffix);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0x10;
        fs::write(path, bytes).unwrap();
    }
}

fn fill(connection: &Connection, from: u64) {
    let sql = format!(
        "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i+1 FROM n WHERE i<{})
         INSERT INTO t SELECT i, 'row '||i FROM n",
        from + ROWS - 1
    );
    connection.execute_batch(&sql).unwrap();
}

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(contents(&path));
        } else {
            all.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    all
}

fn applied(checked: &Database) -> u64 {
    match &checked.found {
        Found::Ours(state) => state.applied.unwrap().index,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_database_with_a_wal_and_without() {
    let with = Bench::new();
    let checked = with.look();
    assert_eq!((checked.faults, checked.page_bytes), (Vec::new(), 4096));
    let without = Bench::without_wal();
    let again = without.look();
    assert_eq!((again.faults.len(), applied(&again)), (0, 40));
    assert_eq!(again.pages, checked.pages, "the WAL's pages count");
    assert!(wal(&without.path).unwrap().is_none());
}

#[test]
fn a_check_that_takes_its_time_says_so() {
    let bench = Bench::new();
    let ticks = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&ticks);
    let tick = move || {
        counted.fetch_add(1, Ordering::Relaxed);
    };
    let connection = open::open_writer(&bench.path, &Options::default()).unwrap();
    for from in 2..20 {
        fill(&connection, from * ROWS);
    }
    drop(connection);
    database(&bench.path, tick).unwrap();
    assert!(ticks.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_damaged_page_is_named_by_its_offset() {
    let bench = Bench::without_wal();
    // The number of cells of the fourth page.
    bench.flip("", 3 * 4096 + 3);
    let faults = bench.look().faults;
    assert!(
        faults.iter().any(|fault| fault.offset.is_some_and(|at| at % 4096 == 0)),
        "{faults:?}"
    );
}

#[test]
fn what_is_no_database_is_damaged() {
    let bench = Bench::without_wal();
    fs::write(&bench.path, vec![7; 8192]).unwrap();
    let faults = bench.look().faults;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].text.contains("not a database"), "{faults:?}");
}

#[test]
fn a_database_that_is_not_ours_is_told_apart() {
    let bench = Bench::without_wal();
    fs::remove_file(&bench.path).unwrap();
    assert_eq!(bench.look().found, Found::Nothing);
    let other = Connection::open(&bench.path).unwrap();
    other.execute_batch("CREATE TABLE theirs(a)").unwrap();
    drop(other);
    assert_eq!(bench.look().found, Found::Foreign);
}

#[test]
fn a_wal_is_measured() {
    let bench = Bench::new();
    let sound = wal(&bench.path).unwrap().unwrap();
    assert_eq!(
        (sound.frames, sound.behind, sound.end),
        (sound.committed, 0, sound.bytes)
    );
    assert!(sound.frames > 2, "{sound:?}");
    // The page of its second frame.
    bench.flip("-wal", 32 + 4120 + 100);
    let torn = wal(&bench.path).unwrap().unwrap();
    assert_eq!((torn.frames, torn.committed, torn.end), (1, 0, 32 + 4120));
    assert_eq!(torn.behind, sound.frames - 1);
    assert!(bench.look().faults.is_empty(), "the database is as it was before");
}

#[test]
fn a_wal_below_its_floor_is_damaged() {
    let bench = Bench::new();
    let wal_bytes = fs::read(pages::beside(&bench.path, "-wal")).unwrap();
    let mut salts = [0; 8];
    salts.copy_from_slice(&wal_bytes[16..24]);
    floor::raise(&bench.path, Floor { salts, frames: 2 }).unwrap();
    assert_eq!(wal(&bench.path).unwrap().unwrap().floor, 2);
    bench.flip("-wal", 32 + 4120 + 100);
    match wal(&bench.path) {
        Err(Error::Damaged { offset, .. }) => assert_eq!(offset, 32 + 4120),
        other => panic!("{other:?}"),
    }
}

#[test]
fn leftovers_are_listed_and_stay() {
    let bench = Bench::new();
    let db = bench.dir.path().join("db");
    fs::create_dir(db.join("7")).unwrap();
    fs::create_dir(db.join("scratch-0")).unwrap();
    fs::write(db.join("current.new"), b"half").unwrap();
    fs::write(db.join("load-00000000000000ff"), b"piece").unwrap();
    fs::write(db.join("notes"), b"somebody's").unwrap();
    let before = contents(bench.dir.path());
    let found = folder(bench.dir.path()).unwrap();
    assert_eq!(contents(bench.dir.path()), before);
    assert_eq!(found.current, Some((1, bench.path.clone())));
    assert_eq!(
        found.leftovers,
        ["7", "current.new", "scratch-0"].map(|name| db.join(name))
    );
    let [load] = &found.loads[..] else {
        panic!("{found:?}");
    };
    assert_eq!((load.id, load.bytes), (255, 5));
}

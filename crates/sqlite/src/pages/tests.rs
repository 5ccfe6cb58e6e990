//! Streams of a database, under writes, and what the receiver makes of them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{Digest, Incoming, Journal, PinnedDatabase, Sent};
use crate::error::Error;
use crate::home::Home;
use crate::meta::{self, Position, State};
use crate::open::Options;
use crate::pin::PinBounds;
use crate::watch::Cancel;

struct Bench {
    dir: tempfile::TempDir,
    home: Home,
    writer: Connection,
    millis: Arc<AtomicU64>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let writer = Connection::open(home.current().database()).unwrap();
        writer
            .execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, a)")
            .unwrap();
        // A checkpoint that is in the way of a snapshot says so at once.
        writer.busy_timeout(Duration::ZERO).unwrap();
        meta::create(&writer, &State::default()).unwrap();
        let bench = Self {
            dir,
            home,
            writer,
            millis: Arc::default(),
        };
        bench.write(1, 1000);
        bench
    }

    /// One batch: rows, and the index, in one transaction.
    fn write(&self, index: u64, rows: u64) {
        self.writer
            .execute_batch(&format!(
                "BEGIN;
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT {rows})
                 INSERT INTO t(a) SELECT hex(zeroblob(100)) || {index} FROM n;
                 UPDATE sqlite_quorlite SET term=1, idx={index};
                 COMMIT"
            ))
            .unwrap();
    }

    fn pin(&self, journal: Journal) -> PinnedDatabase {
        let (begun, millis) = (Instant::now(), Arc::clone(&self.millis));
        let clock = Arc::new(move || begun + Duration::from_millis(millis.load(Ordering::Relaxed)));
        let bounds = PinBounds {
            age_max: Duration::from_secs(60),
            cancel: Cancel::new(),
        };
        PinnedDatabase::pin(self.home.current(), &Options::default(), clock, bounds, journal).unwrap()
    }

    fn rows(&self) -> i64 {
        count(&self.writer)
    }

    fn checkpoint_is_busy(&self) -> bool {
        self.writer
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0))
            .unwrap()
            != 0
    }
}

fn count(connection: &Connection) -> i64 {
    connection
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap()
}

fn read_all(database: &mut PinnedDatabase, chunk: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; chunk];
    loop {
        match database.read_chunk(&mut buffer).unwrap() {
            0 => return bytes,
            filled => bytes.extend_from_slice(&buffer[..filled]),
        }
    }
}

fn sent(database: &PinnedDatabase) -> Sent {
    Sent {
        digest: database.digest().unwrap(),
        position: database.position(),
    }
}

fn open_bytes(bytes: &[u8]) -> (tempfile::TempDir, Connection) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("copy.sqlite"), bytes).unwrap();
    let copy = Connection::open(dir.path().join("copy.sqlite")).unwrap();
    (dir, copy)
}

#[test]
fn a_stream_under_writes_is_one_snapshot_at_its_position() {
    let bench = Bench::new();
    let rows = bench.rows();
    let mut database = bench.pin(Journal::Wal);
    assert_eq!(database.position(), Some(Position { term: 1, index: 1 }));
    let mut bytes = Vec::new();
    let mut buffer = [0; 1000];
    let mut index = 1;
    loop {
        let filled = database.read_chunk(&mut buffer).unwrap();
        if filled == 0 {
            break;
        }
        bytes.extend_from_slice(&buffer[..filled]);
        if index < 30 {
            index += 1;
            bench.write(index, 50);
        }
    }
    assert_eq!(bytes.len() as u64, database.bytes());
    assert_eq!(database.bytes(), database.page_count() * database.page_size() as u64);
    assert_eq!(database.digest().unwrap().hash, xxhash_rust::xxh3::xxh3_64(&bytes));
    let (_dir, copy) = open_bytes(&bytes);
    assert_eq!(count(&copy), rows);
    assert_eq!(meta::read(&copy).unwrap().applied.unwrap().index, 1);
    let verdict: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[test]
fn chunks_of_any_size_give_the_same_bytes() {
    let bench = Bench::new();
    let expected = read_all(&mut bench.pin(Journal::Wal), 1 << 20);
    for chunk in [1000, 4096, 4097, 100_000] {
        assert!(
            read_all(&mut bench.pin(Journal::Wal), chunk) == expected,
            "chunks of {chunk}"
        );
    }
}

#[test]
fn the_header_says_the_journal_that_was_asked_for() {
    let bench = Bench::new();
    for (journal, mode, version) in [(Journal::Rollback, "delete", 1), (Journal::Wal, "wal", 2)] {
        let bytes = read_all(&mut bench.pin(journal), 4096);
        assert_eq!(bytes[18..20], [version; 2]);
        let (_dir, copy) = open_bytes(&bytes);
        let found: String = copy.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(found, mode);
        assert_eq!(count(&copy), bench.rows());
    }
}

#[test]
fn the_snapshot_is_released_after_the_last_byte() {
    let bench = Bench::new();
    let mut database = bench.pin(Journal::Wal);
    bench.write(2, 10);
    assert!(bench.checkpoint_is_busy());
    read_all(&mut database, 1 << 20);
    assert!(!database.is_pinned());
    assert!(!bench.checkpoint_is_busy());
}

#[test]
fn a_spilled_stream_goes_on_where_it_stood_and_holds_no_snapshot() {
    for consumed in [0, 1000, 4096, 50_000] {
        let bench = Bench::new();
        let mut plain = bench.pin(Journal::Wal);
        let whole = read_all(&mut plain, 1 << 20);
        let mut database = bench.pin(Journal::Wal);
        let mut begin = vec![0; consumed];
        database.read_chunk(&mut begin).unwrap();
        database.spill(bench.dir.path()).unwrap();
        assert!(!database.is_pinned());
        // Past the age of a pin, over writes and a checkpoint.
        bench.millis.store(600_000, Ordering::Relaxed);
        bench.write(2, 500);
        assert!(!bench.checkpoint_is_busy());
        let rest = read_all(&mut database, 3000);
        assert!([begin, rest].concat() == whole, "after {consumed}");
        assert_eq!(database.digest(), plain.digest());
        database.spill(bench.dir.path()).unwrap();
        assert_eq!(database.digest(), plain.digest());
    }
}

#[test]
fn a_spill_leaves_no_name_behind_and_one_that_fails_can_be_tried_again() {
    let bench = Bench::new();
    let whole = read_all(&mut bench.pin(Journal::Wal), 1 << 20);
    let mut database = bench.pin(Journal::Wal);
    let mut begin = vec![0; 5000];
    database.read_chunk(&mut begin).unwrap();
    assert!(matches!(
        database.spill(&bench.dir.path().join("missing")),
        Err(Error::Io { .. })
    ));
    assert!(database.is_pinned());
    let spills = tempfile::tempdir().unwrap();
    database.spill(spills.path()).unwrap();
    assert_eq!(fs::read_dir(spills.path()).unwrap().count(), 0);
    assert!([begin, read_all(&mut database, 4096)].concat() == whole);
}

#[test]
fn a_snapshot_past_its_age_gives_nothing_more() {
    let bench = Bench::new();
    let mut database = bench.pin(Journal::Wal);
    let mut buffer = [0; 4096];
    database.read_chunk(&mut buffer).unwrap();
    bench.millis.store(60_000, Ordering::Relaxed);
    assert!(matches!(database.read_chunk(&mut buffer), Err(Error::Expired { .. })));
    assert_eq!(database.digest(), None);
}

#[test]
fn what_arrives_whole_becomes_the_current_generation() {
    let mut bench = Bench::new();
    let mut database = bench.pin(Journal::Wal);
    let bytes = read_all(&mut database, 4096);
    let mut incoming = Incoming::new(bench.home.begin().unwrap()).unwrap();
    for chunk in bytes.chunks(777) {
        incoming.write(chunk).unwrap();
    }
    assert_eq!(incoming.bytes(), database.bytes());
    let building = incoming.finish(sent(&database), &Options::default()).unwrap();
    let names: Vec<_> = fs::read_dir(building.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["db.sqlite"]);
    let generation = bench.home.switch(building).unwrap();
    let copy = Connection::open(generation.database()).unwrap();
    assert_eq!(count(&copy), bench.rows());
}

fn refused(bench: &mut Bench, bytes: &[u8], sent: Sent) -> String {
    let building = bench.home.begin().unwrap();
    let folder = building.folder().to_owned();
    let mut incoming = Incoming::new(building).unwrap();
    incoming.write(bytes).unwrap();
    let result = incoming.finish(sent, &Options::default());
    let Err(error) = result else { panic!("not refused") };
    assert!(!folder.exists(), "what arrived is removed");
    error.to_string()
}

#[test]
fn what_arrives_otherwise_than_it_was_sent_is_refused() {
    let mut bench = Bench::new();
    let mut database = bench.pin(Journal::Wal);
    let bytes = read_all(&mut database, 4096);
    let good = sent(&database);

    assert!(refused(&mut bench, &bytes[..bytes.len() - 1], good).contains("was sent"));
    let mut flipped = bytes.clone();
    flipped[9000] ^= 1;
    assert!(refused(&mut bench, &flipped, good).contains("was sent"));
    let elsewhere = Sent {
        position: Some(Position { term: 1, index: 2 }),
        ..good
    };
    assert!(refused(&mut bench, &bytes, elsewhere).contains("index: 2"));
}

#[test]
fn what_is_damaged_at_its_source_is_refused() {
    let mut bench = Bench::new();
    let mut database = bench.pin(Journal::Wal);
    let mut bytes = read_all(&mut database, 4096);
    let last = bytes.len() - 4096;
    bytes[last..].fill(0xff);
    let claim = |bytes: &[u8]| Sent {
        digest: Digest {
            bytes: bytes.len() as u64,
            hash: xxhash_rust::xxh3::xxh3_64(bytes),
        },
        position: database.position(),
    };
    let reason = refused(&mut bench, &bytes, claim(&bytes));
    assert!(!reason.contains("was sent"), "{reason}");
    refused(&mut bench, b"no database at all", claim(b"no database at all"));
}

//! What a crash or a flipped bit leaves of a database that was being checkpointed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use command::request::{Kind, Write};
use command::statement::Statement;

use super::Fixture;
use crate::checkpoint::Checkpointer;
use crate::error::Error;
use crate::faults::{self, Action, FileFaults};
use crate::meta::Position;
use crate::open::Options;
use crate::writer::Writer;

/// WAL: a header, then frames of a header and a page.
const HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = 4096 + 24;
/// Entries that are applied before the checkpoint.
const ENTRIES: u64 = 20;

/// What stands in the files of a database at one moment: its own, the WAL, the floor.
#[derive(Clone)]
struct Files {
    database: Vec<u8>,
    wal: Option<Vec<u8>>,
    floor: Option<Vec<u8>>,
}

/// Where a checkpoint ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The floor is written, not flushed.
    Floor,
    /// So many pages are copied.
    Page(u64),
    /// The folder of the WAL is not flushed.
    Folder,
}

/// Ends checkpoints.
struct Stopper {
    stop: Stop,
    pages: AtomicU64,
}

impl FileFaults for Stopper {
    fn on_write(&self, path: &Path, _offset: u64, _data: &[u8]) -> Action {
        let is_database = path.ends_with("db.sqlite");
        match self.stop {
            Stop::Page(pages) if is_database && self.pages.fetch_add(1, Ordering::Relaxed) == pages => Action::Fail,
            Stop::Page(_) | Stop::Floor | Stop::Folder => Action::Proceed,
        }
    }

    fn on_sync(&self, path: &Path) -> Action {
        match self.stop {
            Stop::Floor if path.ends_with("db.sqlite-floor") => Action::Fail,
            Stop::Page(_) | Stop::Floor | Stop::Folder => Action::Proceed,
        }
    }

    fn on_sync_folder(&self, _folder: &Path) -> Action {
        match self.stop {
            Stop::Folder => Action::Fail,
            Stop::Page(_) | Stop::Floor => Action::Proceed,
        }
    }
}

impl Files {
    fn of(fixture: &Fixture) -> Self {
        let read = |name: &str| std::fs::read(fixture.dir.path().join(name)).ok();
        Self {
            database: read("db.sqlite").unwrap(),
            wal: read("db.sqlite-wal"),
            floor: read("db.sqlite-floor"),
        }
    }

    fn frames(&self) -> usize {
        (self.wal.as_ref().unwrap().len() - HEADER_BYTES) / FRAME_BYTES
    }

    /// With one bit flipped in a frame of the WAL, which counts from 0.
    fn flipped(&self, frame: usize) -> Self {
        let mut files = self.clone();
        files.wal.as_mut().unwrap()[HEADER_BYTES + frame * FRAME_BYTES + 2000] ^= 4;
        files
    }

    /// With a WAL that ends after so many frames.
    fn cut(&self, frames: usize) -> Self {
        let mut files = self.clone();
        files
            .wal
            .as_mut()
            .unwrap()
            .truncate(HEADER_BYTES + frames * FRAME_BYTES);
        files
    }

    /// Opens it, and answers the entry through which it is whole.
    fn open(&self) -> Result<u64, Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db.sqlite");
        let put = |suffix: &str, bytes: &Option<Vec<u8>>| {
            if let Some(bytes) = bytes {
                std::fs::write(dir.path().join(format!("db.sqlite{suffix}")), bytes).unwrap();
            }
        };
        std::fs::write(&path, &self.database).unwrap();
        put("-wal", &self.wal);
        put("-floor", &self.floor);
        let writer = Writer::open(&path, &Options::default())?;
        let at = writer.committed().applied.map_or(0, |at| at.index);
        if at > 0 {
            let query = "SELECT (SELECT count(*) FROM t) || ' ' || (SELECT * FROM pragma_integrity_check)";
            let whole = writer
                .past_authorizer(|connection| connection.query_row(query, [], |row| row.get::<_, String>(0)))
                .unwrap();
            assert_eq!(whole, format!("{} ok", at - 1));
        }
        Ok(at)
    }
}

/// The entry changes old pages and makes new ones.
fn apply(fixture: &mut Fixture, index: u64) {
    let text = match index {
        1 => "CREATE TABLE t(id INTEGER PRIMARY KEY, x)",
        _ => "UPDATE t SET x=randomblob(2000) WHERE id%3=0; INSERT INTO t(x) VALUES(randomblob(3000))",
    };
    let write = Write {
        statements: vec![Statement::new(text)],
        kind: Kind::Execute.into(),
        seed: index,
        ..Write::default()
    };
    fixture.writer.state_mut().applied = Some(Position { term: 1, index });
    fixture.apply(&write);
}

/// A database whose entries are all in the WAL.
fn filled() -> Fixture {
    let mut fixture = Fixture::new();
    (1..=ENTRIES).for_each(|index| apply(&mut fixture, index));
    fixture
}

/// What a checkpoint leaves that ends at `stop`, as after kill -9; `None` when it came to its end.
fn stopped(stop: Stop) -> Option<Files> {
    let dir = tempfile::tempdir().unwrap();
    let pages = AtomicU64::new(0);
    let mut fixture = Fixture {
        writer: Writer::open(&dir.path().join("db.sqlite"), &Options::default()).unwrap(),
        dir,
        options: Options::default(),
    };
    (1..=ENTRIES).for_each(|index| apply(&mut fixture, index));
    // Only what is opened from now on is watched.
    let mut fixture = {
        let prefix: PathBuf = fixture.dir.path().to_owned();
        faults::install(prefix, Arc::new(Stopper { stop, pages }));
        fixture.reopen()
    };
    let done = fixture.writer.finish_checkpoint();
    faults::remove(fixture.dir.path());
    match done {
        Ok(_) => None,
        Err(Error::Node { .. }) => Some(Files::of(&fixture)),
        Err(error) => panic!("{error}"),
    }
}

/// What is left of a checkpoint that was done.
fn copied() -> Files {
    let mut fixture = filled();
    let done = fixture.writer.finish_checkpoint().unwrap().unwrap();
    assert_eq!(done.backfilled, done.log_frames);
    Files::of(&fixture)
}

fn assert_refused(opened: Result<u64, Error>, offset: usize) {
    let error = opened.unwrap_err();
    assert!(error.is_damage(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&format!("db.sqlite-wal is damaged at offset {offset}: ")),
        "{text}"
    );
    assert!(text.contains("join again with an empty data directory"), "{text}");
}

/// SQLite drops the result of its own flush of a folder (sqlite3.c, `unixSync`): ours must end the checkpoint, for good.
#[test]
fn a_wal_whose_name_is_not_durable_is_never_taken_for_flushed() {
    let fixture = filled();
    let prefix = fixture.dir.path().to_owned();
    let (stop, pages) = (Stop::Folder, AtomicU64::new(0));
    faults::install(prefix.clone(), Arc::new(Stopper { stop, pages }));
    let mut beside = Checkpointer::open(&fixture.path(), &Options::default()).unwrap();
    for _ in 0..2 {
        let error = beside.backfill().unwrap_err();
        assert!(matches!(error, Error::Node { .. }), "{error}");
        assert!(error.to_string().contains("db.sqlite-wal"), "{error}");
    }
    faults::remove(&prefix);
}

#[test]
fn a_sound_wal_that_was_copied_is_opened() {
    assert_eq!(copied().open().unwrap(), ENTRIES);
}

#[test]
fn a_bit_that_flips_in_what_was_copied_is_refused() {
    let files = copied();
    for frame in 0..files.frames() {
        assert_refused(files.flipped(frame).open(), HEADER_BYTES + frame * FRAME_BYTES);
    }
    for at in 0..HEADER_BYTES {
        let mut files = files.clone();
        files.wal.as_mut().unwrap()[at] ^= 1;
        assert_refused(files.open(), 0);
    }
}

#[test]
fn a_wal_that_is_gone_is_refused_with_the_way_out() {
    let files = copied();
    for wal in [None, Some(Vec::new())] {
        let gone = Files { wal, ..files.clone() };
        assert_refused(gone.open(), 0);
        // What the message says, for who knows that nothing is lost.
        assert_eq!(Files { floor: None, ..gone }.open().unwrap(), ENTRIES);
    }
}

#[test]
fn a_bit_that_flips_before_anything_was_copied_costs_what_came_after() {
    let files = Files::of(&filled());
    assert!(files.floor.is_none());
    for frame in 0..files.frames() {
        assert!(files.flipped(frame).open().unwrap() < ENTRIES);
    }
}

#[test]
fn a_bit_that_flips_after_half_a_checkpoint_is_refused() {
    let mut stops = 0;
    for pages in (0..).step_by(3) {
        let Some(files) = stopped(Stop::Page(pages)) else {
            break;
        };
        assert_eq!(files.open().unwrap(), ENTRIES, "{pages} pages");
        for frame in (0..files.frames()).step_by(7) {
            assert_refused(files.flipped(frame).open(), HEADER_BYTES + frame * FRAME_BYTES);
        }
        stops += 1;
    }
    assert!(stops > 3);
}

#[test]
fn a_loss_of_power_around_the_floor_is_no_damage() {
    let before = stopped(Stop::Floor).unwrap();
    // The flush failed: the file is not touched, whatever became of the floor on the disk.
    assert_eq!(before.database, Files::of(&filled()).database);
    for floor in [None, Some(Vec::new()), Some(vec![0; 40]), before.floor.clone()] {
        let files = Files {
            floor,
            ..before.clone()
        };
        assert_eq!(files.open().unwrap(), ENTRIES);
    }
    let after = stopped(Stop::Page(0)).unwrap();
    assert!(after.floor.is_some());
    assert_eq!(after.open().unwrap(), ENTRIES);
}

#[test]
fn commits_after_the_floor_may_be_lost() {
    let mut fixture = filled();
    // A reader keeps the WAL from starting over.
    let reader = rusqlite::Connection::open(fixture.path()).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
    fixture.writer.finish_checkpoint().unwrap();
    let frames = Files::of(&fixture).frames();
    apply(&mut fixture, ENTRIES + 1);
    let after = Files::of(&fixture);
    assert!(after.frames() > frames, "it started over");
    assert_eq!(after.open().unwrap(), ENTRIES + 1);
    assert_eq!(after.flipped(frames).open().unwrap(), ENTRIES);
    assert_eq!(after.cut(frames).open().unwrap(), ENTRIES);
    assert_refused(after.cut(frames - 1).open(), HEADER_BYTES + (frames - 1) * FRAME_BYTES);
}

#[test]
fn a_wal_that_started_over_owes_the_old_floor_nothing() {
    let mut fixture = filled();
    fixture.writer.finish_checkpoint().unwrap();
    let old = Files::of(&fixture);
    apply(&mut fixture, ENTRIES + 1);
    let new = Files::of(&fixture);
    assert_eq!(new.frames(), old.frames(), "it did not start over");
    assert_eq!(new.open().unwrap(), ENTRIES + 1);
    assert_eq!(new.flipped(0).open().unwrap(), ENTRIES);
    // Its header is flushed before its first frame is written.
    let mut headed = old;
    headed.wal.as_mut().unwrap()[..HEADER_BYTES].copy_from_slice(&new.wal.as_ref().unwrap()[..HEADER_BYTES]);
    assert_eq!(headed.open().unwrap(), ENTRIES);
}

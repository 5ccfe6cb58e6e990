//! A file that takes the place of the database, and an operator who does not want it any more.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use command::entry::{Action, Chunk, Form, Load};
use sqlite::{Building, Cancel, Error, Generation, Home, Journal, Options, PinBounds, PinnedDatabase};

use super::super::load::Generations;
use super::{Duration, Fixture, action, execute};
use crate::skips::Skips;

const LOAD: u64 = 7;

/// Generations of `home`; while the next database is built, an operator has the entry at an index passed over.
struct Interrupted {
    home: Mutex<Home>,
    skips: Arc<Skips>,
    skipped: Option<u64>,
}

impl Generations for Interrupted {
    fn home(&self) -> PathBuf {
        self.home.lock().unwrap().current().home().to_owned()
    }

    fn begin(&self) -> Result<Building, Error> {
        if let Some(index) = self.skipped {
            self.skips.announce(index);
        }
        self.home.lock().unwrap().begin()
    }

    fn switch(&self, building: Building) -> Result<Generation, Error> {
        self.home.lock().unwrap().switch(building)
    }

    fn is_lone(&self, _: &[u8]) -> bool {
        true
    }
}

/// The file of a database with one table.
fn file() -> Bytes {
    let mut maker = Fixture::new();
    maker.execute("CREATE TABLE loaded(a)");
    let bounds = PinBounds {
        age_max: Duration::from_secs(60),
        cancel: Cancel::new(),
    };
    let clock = Arc::new(Instant::now);
    let mut pinned =
        PinnedDatabase::pin(maker.home.current(), &maker.options, clock, bounds, Journal::Rollback).unwrap();
    let (mut file, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        match pinned.read_chunk(&mut chunk).unwrap() {
            0 => return file.into(),
            filled => file.extend_from_slice(&chunk[..filled]),
        }
    }
}

/// Loads a file at index 3; answers the code of the failure, and the tables then.
fn load(skipped: Option<u64>) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Fixture::at(dir.path(), Options::default());
    it.execute("CREATE TABLE own(a)");
    let home = Home::open(dir.path()).unwrap();
    let skips = it.applier().skips();
    it.applier().serve_loads(Arc::new(Interrupted {
        home: Mutex::new(home),
        skips,
        skipped,
    }));
    let bytes = file();
    let load = Load {
        load: LOAD,
        bytes: bytes.len() as u64,
        form: Form::File.into(),
        ..Load::default()
    };
    let chunk = Chunk {
        load: LOAD,
        offset: 0,
        bytes,
    };
    let batch = [action(2, Action::Chunk(chunk)), action(3, Action::Load(load))];
    let replies = it.applier().apply(&batch).unwrap();
    let code = replies[1]
        .error
        .as_ref()
        .map_or(String::new(), |error| error.code.clone());
    it.write(execute(&["CREATE TABLE later(a)"]));
    let tables = it.ask("SELECT group_concat(name) FROM sqlite_schema WHERE name NOT LIKE 'sqlite%'");
    (code, tables)
}

#[test]
fn a_file_is_loaded() {
    assert_eq!(load(None), (String::new(), "loaded,later".to_owned()));
}

#[test]
fn a_file_that_is_passed_over_while_it_is_adopted_is_not_loaded() {
    assert_eq!(load(Some(3)), ("skipped".to_owned(), "own,later".to_owned()));
}

//! The pool: bounds, reuse, and turning to another generation.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use rusqlite::Connection;

use super::{Readers, ReadersOptions};
use crate::error::Error;
use crate::home::{Generation, Home};
use crate::open::Options;
use crate::reader::{QueryOptions, Reader};
use crate::watch::Cancel;

struct Last(Option<i64>);

impl RowSink for Last {
    fn columns(&mut self, _: &Columns) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        if let [CellRef::Integer(value)] = cells {
            self.0 = Some(*value);
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self, end: End, _: Duration) -> ControlFlow<()> {
        assert_eq!(end, End::Complete);
        ControlFlow::Continue(())
    }
}

fn read(reader: &mut Reader, sql: &str) -> Option<i64> {
    let mut last = Last(None);
    reader
        .query(
            &[Statement::new(sql)],
            &QueryOptions::default(),
            &mut last,
            &Cancel::new(),
        )
        .unwrap();
    last.0
}

fn fill(database: &std::path::Path, value: i64) -> Connection {
    let writer = Connection::open(database).unwrap();
    writer
        .execute_batch(&format!(
            "PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES({value})"
        ))
        .unwrap();
    writer
}

fn readers(generation: &Generation, connections_max: usize, idle_max: usize) -> Readers {
    let options = ReadersOptions {
        connections_max,
        idle_max,
        ..ReadersOptions::default()
    };
    readers_within(generation, options)
}

fn readers_within(generation: &Generation, options: ReadersOptions) -> Readers {
    Readers::new(generation.clone(), Options::default(), options, Arc::new(Instant::now))
}

const NOW: Duration = Duration::ZERO;

#[test]
fn at_most_so_many_are_lent_and_the_next_is_told_busy() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let _writer = fill(&home.current().database(), 7);
    let readers = readers(home.current(), 2, 1);
    let mut one = readers.check_out(NOW).unwrap();
    let two = readers.check_out(NOW).unwrap();
    assert!(matches!(readers.check_out(NOW), Err(Error::Busy)));
    assert_eq!(read(&mut one, "SELECT a FROM t"), Some(7));
    drop(one);
    let three = readers.check_out(NOW).unwrap();
    assert_eq!(readers.open_count(), 2);
    drop((two, three));
    assert_eq!(readers.open_count(), 1, "one is kept");
}

#[test]
fn a_waiting_query_gets_the_next_reader_that_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let _writer = fill(&home.current().database(), 7);
    let readers = readers(home.current(), 1, 1);
    let lease = readers.check_out(NOW).unwrap();
    let (about, waits) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            about.send(()).unwrap();
            let mut lease = readers.check_out(Duration::from_secs(60)).unwrap();
            assert_eq!(read(&mut lease, "SELECT a FROM t"), Some(7));
        });
        waits.recv().unwrap();
        drop(lease);
    });
    assert_eq!(readers.open_count(), 1);
}

#[test]
fn a_soiled_reader_serves_no_other_query() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let _writer = fill(&home.current().database(), 7);
    let readers = readers(home.current(), 1, 1);
    read(&mut readers.check_out(NOW).unwrap(), "PRAGMA case_sensitive_like=ON");
    assert_eq!(
        read(&mut readers.check_out(NOW).unwrap(), "SELECT 'a' LIKE 'A'"),
        Some(1)
    );
}

#[test]
fn a_reader_that_cannot_be_opened_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let readers = readers(home.current(), 1, 1);
    assert!(matches!(readers.check_out(NOW), Err(Error::Sqlite { .. })));
    let _writer = fill(&home.current().database(), 7);
    assert!(readers.check_out(NOW).is_ok());
}

#[test]
fn after_a_switch_new_leases_read_the_new_database_and_old_ones_finish() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::open(dir.path()).unwrap();
    let writer = fill(&home.current().database(), 1);
    let readers = readers(home.current(), 4, 4);
    let mut old = readers.check_out(NOW).unwrap();
    drop(readers.check_out(NOW).unwrap());
    let old_folder = home.current().folder().to_owned();

    let building = home.begin().unwrap();
    drop(fill(&building.database(), 2));
    readers.switch(home.switch(building).unwrap());
    assert_eq!(read(&mut readers.check_out(NOW).unwrap(), "SELECT a FROM t"), Some(2));
    assert_eq!(read(&mut old, "SELECT a FROM t"), Some(1));
    assert_eq!(old.generation().number(), 1);
    assert!(old_folder.exists());
    drop(writer);
    drop(old);
    assert!(!old_folder.exists());
    assert_eq!(readers.generation().number(), 2);
}

#[test]
fn leases_move_between_threads_and_pools_are_shared() {
    fn moves<T: Send>() {}
    fn is_shared<T: Sync>() {}
    moves::<super::Lease>();
    moves::<Reader>();
    moves::<crate::content::Content>();
    moves::<crate::pages::PinnedDatabase>();
    is_shared::<Readers>();
}

fn at_once(readers: &Readers, sql: &str) -> Option<i64> {
    let mut last = Last(None);
    let is_done = readers.query_at_once(&[Statement::new(sql)], &QueryOptions::default(), &mut last);
    is_done.then_some(last.0).flatten()
}

#[test]
fn brief_queries_run_while_every_reader_is_on_loan_and_follow_a_switch() {
    const SQL: &str = "SELECT a FROM t";
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::open(dir.path()).unwrap();
    let _writer = fill(&home.current().database(), 1);
    let readers = readers(home.current(), 2, 2);
    let (mut one, mut two) = (readers.check_out(NOW).unwrap(), readers.check_out(NOW).unwrap());
    assert_eq!(at_once(&readers, SQL), None, "a new text");
    assert_eq!(read(&mut one, SQL), Some(1));
    assert_eq!(read(&mut two, SQL), Some(1), "readers share what they know");
    assert!(matches!(readers.check_out(NOW), Err(Error::Busy)));
    assert_eq!(at_once(&readers, SQL), Some(1));
    assert_eq!(readers.open_count(), 2, "brief queries have a connection of their own");

    let building = home.begin().unwrap();
    drop(fill(&building.database(), 2));
    readers.switch(home.switch(building).unwrap());
    assert_eq!(at_once(&readers, SQL), None, "another database");
    for _ in 0..2 {
        assert_eq!(read(&mut readers.check_out(NOW).unwrap(), SQL), Some(2));
    }
    assert_eq!(at_once(&readers, SQL), Some(2));
}

/// Tells when it is shown a row, and rests until it is told to go on.
struct Slow {
    shown: std::sync::mpsc::Sender<()>,
    goes_on: std::sync::mpsc::Receiver<()>,
}

impl RowSink for Slow {
    fn columns(&mut self, _: &Columns) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn row(&mut self, _: &[CellRef<'_>]) -> ControlFlow<()> {
        self.shown.send(()).unwrap();
        crate::turns::rest(|| self.goes_on.recv()).unwrap();
        ControlFlow::Continue(())
    }

    fn end(&mut self, _: End, _: Duration) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

#[test]
fn a_short_query_comes_through_while_more_run_for_ever_than_may() {
    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n";
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let _writer = fill(&home.current().database(), 7);
    let options = ReadersOptions {
        running_max: 2,
        ..ReadersOptions::default()
    };
    let readers = readers_within(home.current(), options);
    let cancel = Cancel::new();
    std::thread::scope(|scope| {
        for _ in 0..2 * options.running_max {
            scope.spawn(|| {
                let ended = readers.check_out(NOW).unwrap().query(
                    &[Statement::new(ENDLESS)],
                    &QueryOptions::default(),
                    &mut Last(None),
                    &cancel,
                );
                assert!(matches!(ended, Err(Error::Interrupted)));
            });
        }
        for _ in 0..20 {
            assert_eq!(read(&mut readers.check_out(NOW).unwrap(), "SELECT a FROM t"), Some(7));
        }
        cancel.cancel();
    });
}

#[test]
fn a_query_that_waits_for_its_client_lets_others_run() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let _writer = fill(&home.current().database(), 7);
    let options = ReadersOptions {
        running_max: 1,
        ..ReadersOptions::default()
    };
    let readers = readers_within(home.current(), options);
    let (shown, is_shown) = std::sync::mpsc::channel();
    let (go_on, goes_on) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut slow = Slow { shown, goes_on };
            let mut lease = readers.check_out(NOW).unwrap();
            let query = [Statement::new("SELECT a FROM t")];
            lease.query(&query, &QueryOptions::default(), &mut slow, &Cancel::new())
        });
        is_shown.recv().unwrap();
        assert_eq!(read(&mut readers.check_out(NOW).unwrap(), "SELECT a FROM t"), Some(7));
        go_on.send(()).unwrap();
    });
}

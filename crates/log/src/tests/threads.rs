//! The log as production runs it: a real directory, threads, and callers that do not wait for each other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;

use super::{SEGMENT_BYTES, at, ignore, options, record, well};
use crate::{Error, FsDisk, Log, Options, open};

/// Appends and waits.
fn append(log: &Log, index: u64, length: usize) {
    let (tx, rx) = mpsc::channel();
    let done = Box::new(move |result| tx.send(result).expect("somebody waits"));
    log.append(vec![record(1, index, length)], done).expect("appended");
    rx.recv().expect("told").expect("flushed");
}

fn directory() -> (tempfile::TempDir, Arc<FsDisk>) {
    let directory = tempfile::tempdir().expect("a directory");
    let disk = FsDisk::new(directory.path().join("log")).expect("a directory below");
    (directory, Arc::new(disk))
}

#[test]
fn a_thread_flushes_what_waits_and_survives_restarts() {
    let (_directory, disk) = directory();
    for round in 0..3 {
        let (log, flusher) = open(disk.clone(), options()).expect("opens");
        let thread = flusher.spawn();
        for index in round * 100..(round + 1) * 100 {
            append(&log, index, 300);
        }
        log.save_vote(Bytes::from(format!("vote {round}")), well())
            .expect("saved");
        let found = log.read(0..u64::MAX, usize::MAX).expect("read");
        assert_eq!(found.len() as u64, (round + 1) * 100);
        drop(log);
        thread.join().expect("no panic").expect("no failure");
    }
    let (log, _flusher) = open(disk, options()).expect("opens");
    assert_eq!(log.state().vote.as_deref(), Some(&b"vote 2"[..]));
    assert!(log.state().segments > 5);
}

#[test]
fn what_gathers_during_a_flush_goes_with_the_next() {
    let (_directory, disk) = directory();
    let (log, flusher) = open(disk, Options::default()).expect("opens");
    let thread = flusher.spawn();
    let (tx, rx) = mpsc::channel();
    for index in 0..10_000u64 {
        let tx = tx.clone();
        let done = Box::new(move |result: Result<(), Error>| tx.send((index, result.is_ok())).expect("somebody waits"));
        log.append(vec![record(1, index, 50)], done).expect("appended");
    }
    for index in 0..10_000 {
        assert_eq!(rx.recv().expect("told"), (index, true));
    }
    let flushes = log.state().flushes;
    assert!(flushes < 5_000, "{flushes} flushes for 10,000 records");
    drop(log);
    thread.join().expect("no panic").expect("no failure");
}

/// Readers and a purger beside the writer, over segments that are recycled under them.
#[test]
fn readers_never_see_a_recycled_segment() {
    let (_directory, disk) = directory();
    let (log, flusher) = open(
        disk.clone(),
        Options {
            segment_bytes: SEGMENT_BYTES,
            ..options()
        },
    )
    .expect("opens");
    let thread = flusher.spawn();
    let last = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut seen = 0;
                while last.load(Ordering::Relaxed) < 3000 {
                    let from = last.load(Ordering::Relaxed).saturating_sub(150);
                    for found in log.read(from..u64::MAX, 20_000).expect("whole") {
                        assert_eq!(found, record(1, found.position.index, 400));
                        seen += 1;
                    }
                }
                assert!(seen > 0);
            });
        }
        for index in 0..=3000 {
            append(&log, index, 400);
            last.store(index, Ordering::Relaxed);
            if index % 50 == 49 && index > 200 {
                log.purge(at(1, index - 100), ignore());
            }
        }
    });
    let state = log.state();
    assert!(state.disk_bytes < 20 * SEGMENT_BYTES, "{state:?}");
    drop(log);
    thread.join().expect("no panic").expect("no failure");
    let (log, _flusher) = open(disk, options()).expect("opens");
    assert_eq!(log.state().last, Some(at(1, 3000)));
}

#[test]
fn a_record_of_several_segments_passes_between_small_ones() {
    let (_directory, disk) = directory();
    let (log, flusher) = open(disk.clone(), options()).expect("opens");
    let thread = flusher.spawn();
    for index in 0..60 {
        append(&log, index, if index % 7 == 3 { 100_000 } else { 3_000 });
    }
    log.purge(at(1, 30), well());
    append(&log, 60, 10);
    drop(log);
    thread.join().expect("no panic").expect("no failure");
    let (log, _flusher) = open(disk, options()).expect("opens");
    let found = log.read(0..100, usize::MAX).expect("read");
    assert_eq!(
        found.iter().map(|record| record.position.index).collect::<Vec<u64>>(),
        (31..=60).collect::<Vec<u64>>()
    );
}

#[test]
fn the_message_of_a_damaged_file_has_its_path() {
    let (directory, disk) = directory();
    let (log, flusher) = open(disk.clone(), options()).expect("opens");
    let thread = flusher.spawn();
    for index in 0..10 {
        append(&log, index, 100);
    }
    drop(log);
    thread.join().expect("no panic").expect("no failure");
    let path = directory.path().join("log/0000000000000001.log");
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[4300] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let error = open(disk, options()).err().expect("refused");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{} is damaged at offset", path.display())),
        "{error}"
    );
}

#[test]
fn a_log_without_its_flusher_is_closed() {
    let (_directory, disk) = directory();
    let (log, flusher) = open(disk, options()).expect("opens");
    let (tx, rx) = mpsc::channel();
    log.append(
        vec![record(1, 0, 1)],
        Box::new(move |result| tx.send(result).expect("somebody waits")),
    )
    .expect("appended");
    drop(flusher);
    assert!(matches!(rx.recv().expect("told"), Err(Error::Closed)));
    assert!(matches!(
        log.append(vec![record(1, 1, 1)], ignore()),
        Err(Error::Closed)
    ));
}

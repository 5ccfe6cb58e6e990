//! What the log adds to the disk: appends at depth 1 and deeper, next to raw `pwrite` + `fdatasync` on a zero-filled file.
//!
//! `cargo run --release -p log --example floor [DIRECTORY [SECONDS]]`. Rounds of the two alternate, since a shared disk
//! changes its mind every few seconds; the medians are compared.
#![allow(clippy::print_stdout, reason = "its output is what it is for")]
#![allow(clippy::expect_used, reason = "a measurement that cannot go on ends")]

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use log::{Disk, FsDisk, Log, Options, Position, Record};

const RECORD_BYTES: usize = 256;
const ROUNDS: u32 = 9;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("quorlite-floor");
    let seconds: f64 = arguments
        .next()
        .map_or(0.5, |text| text.parse().expect("a number of seconds"));
    let round = Duration::from_secs_f64(seconds);
    let disk = Arc::new(FsDisk::new(&directory).expect("a directory"));
    let raw = FsDisk::new(directory.join("raw")).expect("a directory");
    let (log, flusher) = log::open(disk, Options::default()).expect("an empty log");
    let thread = flusher.spawn();
    let mut index = 0;
    println!("depth   raw flush/s   log append/s   ratio   flushes per append");
    for depth in [1, 8, 64, 256] {
        let (mut floors, mut rates) = (Vec::new(), Vec::new());
        let flushes = log.state().flushes;
        let first = index;
        for _ in 0..ROUNDS {
            floors.push(raw_rate(&raw, round));
            rates.push(log_rate(&log, &mut index, depth, round));
            let through = Position {
                term: 1,
                index: index - 1,
            };
            log.purge(through, Box::new(|_| {}));
        }
        let (floor, rate) = (median(floors), median(rates));
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let per_append = (log.state().flushes - flushes) as f64 / (index - first) as f64;
        println!(
            "{depth:>5} {floor:>13.0} {rate:>14.0} {:>7.2} {per_append:>20.3}",
            rate / floor
        );
    }
    drop(log);
    thread.join().expect("no panic").expect("no failure");
    std::fs::remove_dir_all(directory).expect("removed");
}

/// Flushes per second of one small write each, into a file whose zeros are on the disk.
fn raw_rate(disk: &FsDisk, round: Duration) -> f64 {
    const BYTES: u64 = 16 * 1024 * 1024;
    let file = disk.create("raw", BYTES).expect("a file");
    let record = [7; RECORD_BYTES + 40];
    let (start, mut count) = (Instant::now(), 0u32);
    let mut offset = 0;
    while start.elapsed() < round {
        file.write_at(&record, offset).expect("written");
        file.sync().expect("flushed");
        offset = (offset + record.len() as u64) % (BYTES - 4096);
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    disk.delete("raw").expect("deleted");
    rate
}

/// Appends per second with `depth` of them under way at any time.
fn log_rate(log: &Log, index: &mut u64, depth: u32, round: Duration) -> f64 {
    let (tx, rx) = mpsc::channel();
    let bytes = Bytes::from(vec![7; RECORD_BYTES]);
    let mut append = || {
        let tx = tx.clone();
        let record = Record {
            position: Position { term: 1, index: *index },
            bytes: bytes.clone(),
        };
        *index += 1;
        log.append(
            vec![record],
            Box::new(move |result| tx.send(result).expect("somebody waits")),
        )
        .expect("appended");
    };
    let (start, mut count) = (Instant::now(), 0u32);
    for _ in 0..depth {
        append();
    }
    while start.elapsed() < round {
        rx.recv().expect("told").expect("flushed");
        count += 1;
        append();
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    for _ in 0..depth {
        rx.recv().expect("told").expect("flushed");
    }
    rate
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

//! What a backup costs: time to its first byte and to its last, memory, and bytes written to the disk.
//!
//! `cargo run --release -p sqlite --example measure_backup [MEGABYTES]`
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command::request::{Kind, Write};
use command::statement::Statement;
use sqlite::{
    Cancel, Care, Clock, Conclusion, Dump, Home, Journal, Options, PinBounds, PinnedDatabase, Resume, Writer,
};

fn main() {
    let megabytes: u64 = std::env::args().nth(1).map_or(100, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let options = Options::default();
    fill(&home, &options, megabytes);
    let clock: Clock = Arc::new(Instant::now);
    let bounds = || PinBounds {
        age_max: Duration::from_secs(600),
        cancel: Cancel::new(),
    };
    let pin = |journal| {
        PinnedDatabase::pin_stripped(home.current(), &options, Arc::clone(&clock), bounds(), journal).unwrap()
    };
    println!(
        "{:<24} {:>10} {:>10} {:>10} {:>10} {:>12}",
        "way", "MB out", "first ms", "all ms", "peak MB", "written MB"
    );
    measure("stripped pages", |first| drain(&mut pin(Journal::Wal), first));
    measure("the same, spilled first", |first| {
        let mut database = pin(Journal::Wal);
        database.spill(home.current().home()).unwrap();
        drain(&mut database, first)
    });
    measure("vacuum", |first| {
        let mut database = pin(Journal::Rollback);
        database.vacuum(home.current().home(), &options, Cancel::new()).unwrap();
        drain(&mut database, first)
    });
    measure("SQL text", |first| {
        let mut bytes = 0;
        let dump = Dump::pin(home.current(), &options, Arc::clone(&clock), bounds(), &[]).unwrap();
        dump.write(&mut |piece| {
            first();
            bytes += piece.len() as u64;
            ControlFlow::Continue(())
        })
        .unwrap();
        bytes
    });
}

fn fill(home: &Home, options: &Options, megabytes: u64) {
    let mut writer = Writer::open(&home.current().database(), options).unwrap();
    let mut run = |sql: String| {
        writer.begin().unwrap();
        let write = Write {
            statements: vec![Statement::new(sql)],
            atomic: true,
            kind: Kind::Execute as i32,
            ..Write::default()
        };
        let ran = writer.run(&write, Care::Quick, Resume::default()).unwrap();
        assert!(matches!(ran, Conclusion::Done(_)));
        writer.commit().unwrap().unwrap();
        writer.finish_checkpoint().unwrap();
    };
    run("CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b REAL, c TEXT, d BLOB); CREATE INDEX t_a ON t(a)".to_owned());
    for _ in 0..megabytes {
        run(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 4000) \
             INSERT INTO t(a, b, c, d) SELECT random(), i / 7.0, hex(randomblob(60)), randomblob(80) FROM n"
                .to_owned(),
        );
    }
}

fn drain(database: &mut PinnedDatabase, first: &mut dyn FnMut()) -> u64 {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let filled = database.read_chunk(&mut buffer).unwrap();
        first();
        if filled == 0 {
            return database.bytes();
        }
    }
}

fn measure(way: &str, run: impl FnOnce(&mut dyn FnMut()) -> u64) {
    // Linux forgets the peak so far.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let (before, written, began) = (status("VmRSS:"), written(), Instant::now());
    let mut first = None;
    let bytes = run(&mut || {
        first.get_or_insert_with(|| began.elapsed());
    });
    let all = began.elapsed();
    let peak = status("VmHWM:").saturating_sub(before);
    println!(
        "{way:<24} {:>10.1} {:>10.2} {:>10.0} {:>10.1} {:>12.1}",
        bytes as f64 / 1e6,
        first.unwrap_or_default().as_secs_f64() * 1e3,
        all.as_secs_f64() * 1e3,
        peak as f64 / 1024.0,
        (self::written() - written) as f64 / 1e6,
    );
}

fn status(key: &str) -> u64 {
    number("/proc/self/status", key)
}

fn written() -> u64 {
    number("/proc/self/io", "write_bytes:")
}

fn number(path: &str, key: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

//! Tests of the log at its door: on a disk in memory, driven inline, and on a real one with threads.

mod basics;
mod check;
mod crashes;
mod damage;
mod format;
mod threads;

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::testing::MemDisk;
use crate::{Done, Error, Flusher, Log, Options, Position, Record, Step, open};

/// Small enough that a test sees many segments.
pub(crate) const SEGMENT_BYTES: u64 = 16 * 1024;

/// A log on a disk in memory, whose flusher the test runs.
pub(crate) struct Rig {
    pub disk: MemDisk,
    pub log: Log,
    pub flusher: Flusher,
}

/// What completions said, in the order in which they were called.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<Word>>>);

/// Which operation, and how it ended.
pub(crate) type Word = (u64, Result<(), String>);

impl Rig {
    pub fn new() -> Rig {
        Rig::on(MemDisk::new()).expect("an empty disk opens")
    }

    pub fn on(disk: MemDisk) -> Result<Rig, Error> {
        let checked = check::checked(&disk);
        let opened = open(Arc::new(disk.clone()), options());
        checked.agrees(opened.as_ref().map(|(log, _)| log));
        let (log, flusher) = opened?;
        Ok(Rig { disk, log, flusher })
    }

    /// Runs the flusher until nothing waits.
    pub fn run(&mut self) {
        while self.flusher.step() == Step::Progress {}
    }

    /// Appends `count` records of `length` bytes and flushes them.
    pub fn fill(&mut self, from: u64, count: u64, length: usize) {
        for index in from..from + count {
            self.log
                .append(vec![record(1, index, length)], ignore())
                .expect("the record continues the log");
            self.run();
        }
    }

    /// The process dies and starts again.
    pub fn restart(self) -> Result<Rig, Error> {
        let Rig { disk, log, flusher } = self;
        disk.restart();
        drop((log, flusher));
        Rig::on(disk)
    }

    /// Power is lost; `seed` decides what persists.
    pub fn crash(self, seed: u64) -> Result<Rig, Error> {
        let Rig { disk, log, flusher } = self;
        disk.crash(&mut chooser(seed));
        drop((log, flusher));
        Rig::on(disk)
    }

    pub fn indexes(&self) -> Vec<u64> {
        let records = self.log.read(0..u64::MAX, usize::MAX).expect("records are whole");
        records.iter().map(|record| record.position.index).collect()
    }
}

impl Told {
    /// A completion that notes `what`.
    pub fn done(&self, what: u64) -> Done {
        let told = Arc::clone(&self.0);
        Box::new(move |result| {
            told.lock()
                .expect("no panic")
                .push((what, result.map_err(|error| error.to_string())));
        })
    }

    pub fn all(&self) -> Vec<Word> {
        self.0.lock().expect("no panic").clone()
    }

    /// Those that succeeded.
    pub fn well(&self) -> Vec<u64> {
        self.all()
            .into_iter()
            .filter(|(_, result)| result.is_ok())
            .map(|(what, _)| what)
            .collect()
    }
}

pub(crate) fn options() -> Options {
    Options {
        segment_bytes: SEGMENT_BYTES,
        salt: 0x5eed,
        ..Options::default()
    }
}

pub(crate) fn at(term: u64, index: u64) -> Position {
    Position { term, index }
}

/// A record whose bytes tell its position.
pub(crate) fn record(term: u64, index: u64, length: usize) -> Record {
    let text = format!("{term}.{index};");
    let bytes: Vec<u8> = text.bytes().cycle().take(length).collect();
    Record {
        position: at(term, index),
        bytes: Bytes::from(bytes),
    }
}

pub(crate) fn ignore() -> Done {
    Box::new(|_| {})
}

/// A completion that must succeed.
pub(crate) fn well() -> Done {
    Box::new(|result| result.expect("the operation succeeds"))
}

/// A stream of numbers from a seed (splitmix64).
pub(crate) fn chooser(mut seed: u64) -> impl FnMut(u64) -> u64 {
    move |below| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

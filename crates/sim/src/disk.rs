//! The log's disk as one process has it: a [`MemDisk`] that stops answering when the process dies.
//!
//! The bytes live in the machine's [`MemDisk`], which outlives the process and knows what was flushed. Every write and
//! every flush is a moment at which the process may die ([`Life::operate`]).

use std::io;
use std::sync::Arc;

use log::testing::MemDisk;
use log::{Disk, File};
use xxhash_rust::xxh3::xxh3_64;

use crate::life::{Fate, Life};
use crate::trace::Trace;

/// A process's view of its machine's disk.
pub struct ProcessDisk {
    disk: MemDisk,
    life: Arc<Life>,
    trace: Trace,
}

struct ProcessFile {
    file: Box<dyn File>,
    life: Arc<Life>,
    trace: Trace,
}

impl ProcessDisk {
    /// The view that `life` has of `disk`.
    pub fn new(disk: MemDisk, life: Arc<Life>, trace: Trace) -> ProcessDisk {
        ProcessDisk { disk, life, trace }
    }

    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(ProcessFile {
            file,
            life: self.life.clone(),
            trace: self.trace.clone(),
        })
    }
}

/// Runs `operation` as far as the fate of its process lets it.
fn fated<T>(life: &Life, bytes: u64, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match life.operate(bytes) {
        Fate::Done => operation(),
        Fate::Last => operation().and_then(|_| Err(dead())),
        Fate::Dead => Err(dead()),
    }
}

fn alive(life: &Life) -> io::Result<()> {
    if life.is_alive() { Ok(()) } else { Err(dead()) }
}

/// What a dead process is told; nobody hears it.
pub fn dead() -> io::Error {
    io::Error::other("this process is dead")
}

impl Disk for ProcessDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        alive(&self.life)?;
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        alive(&self.life)?;
        self.disk.open(name).map(|file| self.file(file))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>> {
        self.trace.fold("create", &[bytes], name.as_bytes());
        fated(&self.life, bytes, || self.disk.create(name, bytes)).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.trace.fold("rename", &[], to.as_bytes());
        fated(&self.life, 0, || self.disk.rename(from, to))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.trace.fold("delete", &[], name.as_bytes());
        fated(&self.life, 0, || self.disk.delete(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        fated(&self.life, 0, || self.disk.sync_dir())
    }

    fn describe(&self, name: &str) -> String {
        format!("{}/log/{name}", self.life.name)
    }
}

impl File for ProcessFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        alive(&self.life)?;
        self.file.read_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.trace.fold("write", &[offset], &xxh3_64(bytes).to_le_bytes());
        fated(&self.life, bytes.len() as u64, || self.file.write_at(bytes, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.trace.fold("flush", &[], self.life.name.as_bytes());
        match self.life.operate(0) {
            Fate::Done => self.file.sync(),
            // Power fails while it runs: what was written is torn, and nobody is told that it was flushed.
            Fate::Last | Fate::Dead => Err(dead()),
        }
    }

    fn size(&self) -> io::Result<u64> {
        alive(&self.life)?;
        self.file.size()
    }
}

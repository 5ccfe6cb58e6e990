//! The works: which request comes next, and what its answer must say.
//!
//! Owns the keys: each write takes one that nobody had before, and an acknowledged one is marked, so that the run can be
//! counted afterwards. Knows SQL and paths; knows neither connections nor clocks.

use std::io::Write as _;

use super::check::Expected;
use super::http::Request;
use super::options::{Level, Options};
use super::values::{Picker, value};

#[cfg(test)]
mod tests;

/// A kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One row per request, durable before the answer.
    Write,
    /// Many rows per request, in one transaction.
    Bulk,
    /// One row per request, into the node's queue.
    Queued,
    /// One row by its key.
    Read,
    /// All rows of a large table.
    Big,
    /// Reads, with a share of writes.
    Mixed,
}

/// All works and what they do, for the usage.
pub const KINDS: &[(&str, Kind, &str)] = &[
    (
        "write",
        Kind::Write,
        "insert one row per request, durable before the answer",
    ),
    (
        "bulk",
        Kind::Bulk,
        "insert --batch rows per request, in one transaction",
    ),
    (
        "queued",
        Kind::Queued,
        "insert one row per request into the node's queue, then wait until it is empty",
    ),
    ("read", Kind::Read, "read one row by a random key, at --level"),
    ("big", Kind::Big, "read all --rows rows of five columns, at --level"),
    (
        "mixed",
        Kind::Mixed,
        "--reads percent of point reads, the rest single-row inserts",
    ),
];

impl Kind {
    /// Whether it reads, at a level.
    pub fn reads(self) -> bool {
        match self {
            Kind::Read | Kind::Big | Kind::Mixed => true,
            Kind::Write | Kind::Bulk | Kind::Queued => false,
        }
    }

    /// Whether it inserts rows.
    pub fn writes(self) -> bool {
        match self {
            Kind::Write | Kind::Bulk | Kind::Queued | Kind::Mixed => true,
            Kind::Read | Kind::Big => false,
        }
    }
}

/// One request, ready to send.
#[derive(Debug, Default)]
pub struct Job {
    /// What to send.
    pub request: Request,
    /// Keys that it inserts: the first, and how many.
    pub keys: Option<(u64, u64)>,
}

/// Makes the requests of a run.
pub struct Work {
    kind: Kind,
    level: Level,
    batch: u64,
    rows: u64,
    keys: u64,
    read_percent: u64,
    picker: Picker,
    next_key: u64,
    first_key: u64,
    acknowledged: Vec<bool>,
}

impl Work {
    /// The work that `options` ask for; its first insert takes `first_key`.
    pub fn new(options: &Options, first_key: u64) -> Work {
        Work {
            kind: options.kind,
            level: options.level,
            batch: options.batch,
            rows: options.rows,
            keys: options.keys,
            read_percent: options.read_percent,
            picker: Picker::new(options.seed),
            next_key: first_key,
            first_key,
            acknowledged: Vec::new(),
        }
    }

    /// Fills `job` with the next request and answers what must come back.
    pub fn next(&mut self, job: &mut Job) -> Expected {
        job.request.body.clear();
        job.keys = None;
        match self.kind {
            Kind::Write => self.insert(job, "/db/execute", 1),
            Kind::Bulk => self.insert(job, "/db/execute?transaction", self.batch),
            Kind::Queued => {
                self.insert(job, "/db/execute?queue", 1);
                Expected::Queued
            }
            Kind::Read => self.point_read(job),
            Kind::Big => self.big_read(job),
            Kind::Mixed if self.picker.below(100) < self.read_percent => self.point_read(job),
            Kind::Mixed => self.insert(job, "/db/execute", 1),
        }
    }

    /// Marks the keys of `job` as acknowledged.
    pub fn acknowledge(&mut self, job: &Job) {
        let Some((first, count)) = job.keys else {
            return;
        };
        let from = (first - self.first_key) as usize;
        let to = from + count as usize;
        if self.acknowledged.len() < to {
            self.acknowledged.resize(to, false);
        }
        for key in &mut self.acknowledged[from..to] {
            assert!(!*key, "a key was acknowledged twice");
            *key = true;
        }
    }

    /// The acknowledged keys as ranges, both ends included, in order.
    pub fn acknowledged(&self) -> Vec<(u64, u64)> {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        let keys = self
            .acknowledged
            .iter()
            .enumerate()
            .filter(|(_, acknowledged)| **acknowledged);
        for key in keys.map(|(at, _)| self.first_key + at as u64) {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == key => *last = key,
                _ => ranges.push((key, key)),
            }
        }
        ranges
    }

    /// Every key that was sent: the first and one past the last.
    pub fn sent(&self) -> (u64, u64) {
        (self.first_key, self.next_key)
    }

    fn insert(&mut self, job: &mut Job, path: &'static str, rows: u64) -> Expected {
        job.request.path = path;
        job.keys = Some((self.next_key, rows));
        insert_body("bench_write", self.next_key, rows, &mut job.request.body);
        self.next_key += rows;
        Expected::Written { rows }
    }

    fn point_read(&mut self, job: &mut Job) -> Expected {
        let key = self.picker.below(self.keys) + 1;
        job.request.path = self.level.query_path();
        job.request
            .body
            .extend_from_slice(br#"[["SELECT v FROM bench_read WHERE k=?","#);
        number(key, &mut job.request.body);
        job.request.body.extend_from_slice(b"]]");
        Expected::ValueOf { key }
    }

    fn big_read(&mut self, job: &mut Job) -> Expected {
        job.request.path = self.level.query_path();
        job.request
            .body
            .extend_from_slice(br#"["SELECT id,name,weight,born,note FROM bench_big ORDER BY id"]"#);
        Expected::BigRows { rows: self.rows }
    }
}

/// Writes the statements that insert `rows` keys from `first` into `table`, one each, with parameters.
pub fn insert_body(table: &str, first: u64, rows: u64, body: &mut Vec<u8>) {
    for key in first..first + rows {
        body.extend_from_slice(if key == first { b"[" } else { b"," });
        body.extend_from_slice(br#"["INSERT INTO "#);
        body.extend_from_slice(table.as_bytes());
        body.extend_from_slice(br#"(k,v) VALUES(?,?)","#);
        number(key, body);
        body.extend_from_slice(b",\"");
        body.extend_from_slice(&value(key));
        body.extend_from_slice(b"\"]");
    }
    body.push(b']');
}

/// Writes the statements that insert the rows `first..first + rows` of the big table.
pub fn big_insert_body(first: u64, rows: u64, body: &mut Vec<u8>) {
    for id in first..first + rows {
        body.extend_from_slice(if id == first { b"[" } else { b"," });
        let text = value(id);
        let text = String::from_utf8_lossy(&text);
        let (name, note) = (&text[..16], &text[20..32]);
        let _ = write!(
            body,
            r#"["INSERT INTO bench_big(id,name,weight,born,note) VALUES(?,?,?,?,?)",{id},"{name}",{}.25,{},"{note}"]"#,
            id % 1000,
            1_700_000_000 + id,
        );
    }
    body.push(b']');
}

fn number(number: u64, body: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    body.extend_from_slice(&digits[at..]);
}

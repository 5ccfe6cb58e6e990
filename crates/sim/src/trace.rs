//! What happened, in order: a hash over all of it, and the part that a human reads.
//!
//! Two runs of one seed give the same hash, or the simulator is not deterministic and its seeds are worth nothing.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use tokio::time::Instant;
use xxhash_rust::xxh3::Xxh3;

use crate::chance::lock;

/// The trace of a run; clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    start: Instant,
    /// Lines are printed as they come.
    is_loud: bool,
    /// The folder of all files, whose name differs from run to run: no line holds it.
    root: String,
    state: Mutex<State>,
}

struct State {
    hasher: Xxh3,
    lines: Vec<String>,
    sequence: u64,
}

impl Trace {
    /// An empty trace that starts now, in virtual time; `root` is where files stand.
    pub fn new(root: &Path, is_loud: bool) -> Trace {
        let state = State {
            hasher: Xxh3::new(),
            lines: Vec::new(),
            sequence: 0,
        };
        Trace(Arc::new(Inner {
            start: Instant::now(),
            is_loud,
            root: root.display().to_string(),
            state: Mutex::new(state),
        }))
    }

    /// Virtual microseconds since the start.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The next number of a sequence that orders what happens at one virtual moment.
    pub fn tick(&self) -> u64 {
        let mut state = lock(&self.0.state);
        state.sequence += 1;
        state.sequence
    }

    /// Notes something that a human will want to read.
    #[expect(clippy::print_stdout, reason = "asked for with --trace")]
    pub fn line(&self, who: &str, what: impl std::fmt::Display) {
        let now = self.now_us();
        let mut line = format!("{:>4}.{:03} {who:<4} ", now / 1_000_000, now / 1000 % 1000);
        // Writing to a string does not fail.
        let _ = write!(line, "{what}");
        let line = line.replace(&self.0.root, "");
        if self.0.is_loud {
            println!("{line}");
        }
        let mut state = lock(&self.0.state);
        state.hasher.update(line.as_bytes());
        state.lines.push(line);
    }

    /// Notes something that only the hash remembers: a frame, a write.
    pub fn fold(&self, what: &str, numbers: &[u64], bytes: &[u8]) {
        let now = self.now_us();
        let mut state = lock(&self.0.state);
        state.hasher.update(what.as_bytes());
        state.hasher.update(&now.to_le_bytes());
        for number in numbers {
            state.hasher.update(&number.to_le_bytes());
        }
        state.hasher.update(bytes);
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        lock(&self.0.state).hasher.digest()
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        lock(&self.0.state).lines.clone()
    }
}

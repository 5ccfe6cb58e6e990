//! What happened in a run: latencies, rows, failures by kind, windows of time, and the longest silence.
//!
//! Times are since the start of the run. What ends before the warm-up does is acknowledged but not counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::failure::Failure;
use super::histogram::Histogram;

#[cfg(test)]
mod tests;

/// Width of a window of the time line.
pub const WINDOW: Duration = Duration::from_millis(100);

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub struct Success {
    /// When it was sent; in an open loop, when it was meant to be.
    pub sent: Duration,
    /// When the answer was complete.
    pub answered: Duration,
    /// Rows that it wrote or read.
    pub rows: u64,
    /// Bytes of the answer's body.
    pub bytes: usize,
    /// Whether it acknowledged a write.
    pub wrote: bool,
    /// Which node answered.
    pub node: usize,
}

/// Requests that were sent within one window.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Answered.
    pub requests: u64,
    /// Failed.
    pub failures: u64,
    /// Longest latency of those answered.
    pub latency_max: Duration,
}

/// The longest time between two acknowledged writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When the last acknowledgement before it came, and from which node.
    pub from: (Duration, usize),
    /// When the first one after it came, and from which node.
    pub until: (Duration, usize),
}

impl Gap {
    /// How long it took.
    pub fn length(&self) -> Duration {
        self.until.0 - self.from.0
    }
}

/// Failures of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// What the first one said.
    pub first: String,
}

/// Counts what happened.
pub struct Recorder {
    /// Latencies of all answers after the warm-up.
    pub latencies: Histogram,
    /// Answers within the measured time.
    pub requests: u64,
    /// Rows of those.
    pub rows: u64,
    /// Body bytes of those.
    pub bytes: u64,
    /// Failures by kind, warm-up included: none is passed over.
    pub failures: BTreeMap<String, Count>,
    /// Windows of the measured time, by when requests were sent.
    pub windows: Vec<Window>,
    /// Longest silence between two acknowledged writes, warm-up included.
    pub gap: Option<Gap>,
    /// Requests of an open loop that never left because the server fell too far behind.
    pub unsent: u64,
    from: Duration,
    until: Option<Duration>,
    last_answer: Duration,
    last_write: Option<(Duration, usize)>,
}

impl Recorder {
    /// Counts from `from` to `until`, or to the last answer.
    pub fn new(from: Duration, until: Option<Duration>) -> Recorder {
        Recorder {
            latencies: Histogram::new(),
            requests: 0,
            rows: 0,
            bytes: 0,
            failures: BTreeMap::new(),
            windows: Vec::new(),
            gap: None,
            unsent: 0,
            from,
            until,
            last_answer: from,
            last_write: None,
        }
    }

    /// Counts an answer that passed its check.
    pub fn success(&mut self, success: Success) {
        if success.wrote {
            self.silence(success.answered, success.node);
        }
        if success.answered < self.from {
            return;
        }
        let latency = success.answered.saturating_sub(success.sent);
        self.latencies.record(latency);
        self.last_answer = self.last_answer.max(success.answered);
        if self.until.is_none_or(|until| success.answered <= until) {
            self.requests += 1;
            self.rows += success.rows;
            self.bytes += success.bytes as u64;
        }
        if let Some(window) = self.window(success.sent) {
            window.requests += 1;
            window.latency_max = window.latency_max.max(latency);
        }
    }

    /// Counts a failure.
    pub fn failure(&mut self, sent: Duration, failure: &Failure) {
        let fresh = || Count {
            count: 0,
            first: failure.to_string(),
        };
        self.failures
            .entry(failure.kind().into_owned())
            .or_insert_with(fresh)
            .count += 1;
        if let Some(window) = self.window(sent) {
            window.failures += 1;
        }
    }

    /// The measured time: as asked for, or up to the last answer.
    pub fn elapsed(&self) -> Duration {
        self.until.unwrap_or(self.last_answer).saturating_sub(self.from)
    }

    /// Ends the measured time early, at the last answer: the run was broken off.
    pub fn cut(&mut self) {
        self.until = self.until.map(|until| until.min(self.last_answer));
    }

    /// Failures of all kinds.
    pub fn failures_total(&self) -> u64 {
        self.failures.values().map(|count| count.count).sum()
    }

    fn silence(&mut self, now: Duration, node: usize) {
        if let Some(last) = self.last_write {
            let gap = Gap {
                from: last,
                until: (now, node),
            };
            if self.gap.is_none_or(|longest| gap.length() > longest.length()) {
                self.gap = Some(gap);
            }
        }
        self.last_write = Some((now, node));
    }

    fn window(&mut self, sent: Duration) -> Option<&mut Window> {
        let index = (sent.checked_sub(self.from)?.as_nanos() / WINDOW.as_nanos()) as usize;
        if self.windows.len() <= index {
            self.windows.resize(index + 1, Window::default());
        }
        self.windows.get_mut(index)
    }
}

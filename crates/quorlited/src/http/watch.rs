//! What is watched of the requests that run on this node: counts, durations, the reads in progress, those that are slow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::metrics::Histogram;

use super::counters::Counters;
use super::queries::Queries;
use super::sql::Operation;

/// The limits within which requests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one request's body.
    pub body_bytes_max: usize,
    /// Bytes of one result; 0 = no limit.
    pub result_bytes_max: u64,
    /// Reads that run or wait at a time.
    pub reads_max: usize,
    /// A client that takes nothing for this long is cut: a snapshot is held for it meanwhile (D10).
    pub stall_max: Duration,
    /// What takes at least this long is logged; zero = nothing is.
    pub slow: Duration,
}

/// See the head of this file.
#[derive(Debug)]
pub struct Watch {
    /// What is counted.
    pub counters: Arc<Counters>,
    /// The reads in progress.
    pub queries: Arc<Queries>,
    /// The limits.
    pub limits: Limits,
    /// From a request's first byte to its statements, for `/db/…`.
    pub parse: Histogram,
    /// Whole requests that ran here, by [`OPERATIONS`].
    pub durations: [Histogram; OPERATIONS.len()],
}

/// The operations, in the order in which they are counted.
pub const OPERATIONS: [(Operation, &str); 3] = [
    (Operation::Execute, "execute"),
    (Operation::Query, "query"),
    (Operation::Request, "request"),
];

impl Watch {
    /// Watches nothing yet.
    pub fn new(limits: Limits, counters: Arc<Counters>) -> Self {
        Self {
            counters,
            queries: Arc::new(Queries::new(limits.reads_max)),
            limits,
            parse: Histogram::default(),
            durations: Default::default(),
        }
    }

    /// A request that began at `began` has ended, or its answer has begun.
    pub fn ran(&self, operation: Operation, began: Instant) {
        let place = OPERATIONS.iter().position(|(known, _)| *known == operation);
        if let Some(histogram) = place.and_then(|place| self.durations.get(place)) {
            histogram.observe(began.elapsed());
        }
    }

    /// Whether something that took `time` is to be logged.
    pub fn is_slow(&self, time: Duration) -> bool {
        !self.limits.slow.is_zero() && time >= self.limits.slow
    }
}

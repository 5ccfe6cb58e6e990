//! What is watched of the requests that run on this node: counts, durations, the reads in progress, those that are slow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::metrics::Histogram;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
    /// Read connections; 0 = no limit. Reads beyond wait for one without a thread.
    pub readers_max: usize,
    /// A client that takes nothing for this long is cut: a snapshot is held for it meanwhile (D10).
    pub stall_max: Duration,
    /// What takes at least this long is logged; zero = nothing is.
    pub slow: Duration,
}

/// Threads that read, at most: the others of those that may block (512, tokio's default) stay for snapshots, backups and
/// answers about the node itself.
const SEATS_MAX: usize = 384;

/// How long a read waits for a thread and a connection.
const SEAT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Why a read got no thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSeat {
    /// Its own time was over first.
    Late,
    /// None became free.
    Busy,
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
    /// Threads for reads.
    seats: Arc<Semaphore>,
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
            seats: Arc::new(Semaphore::new(seats(limits.readers_max))),
            parse: Histogram::default(),
            durations: Default::default(),
        }
    }

    /// Waits for leave to occupy a thread and a connection; without a thread.
    ///
    /// # Errors
    ///
    /// None became free in [`SEAT_WAIT_MAX`], or until `deadline`.
    pub async fn seat(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, NoSeat> {
        let (until, failure) = match (deadline, Instant::now() + SEAT_WAIT_MAX) {
            (Some(deadline), longest) if deadline < longest => (deadline, NoSeat::Late),
            (_, longest) => (longest, NoSeat::Busy),
        };
        let seat = tokio::time::timeout_at(until.into(), Arc::clone(&self.seats).acquire_owned()).await;
        // It is never closed.
        seat.ok().and_then(Result::ok).ok_or(failure)
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

fn seats(readers_max: usize) -> usize {
    match readers_max {
        0 => SEATS_MAX,
        most => most.min(SEATS_MAX),
    }
}

#[cfg(test)]
mod tests;

//! Queued writes: requests wait here and leave together.
//!
//! ```text
//!  request ─► room? ─► parsed ─► place? ─► sequence ─► queue ─► flusher ─► one proposal ─► waiters
//!               │ none              │ none
//!               ▼ 503               ▼ waits for one
//! ```
//!
//! What is in the queue is in this node's memory alone, and its answer says so (D1).
//!
//! Invariants:
//! * The order of sequence numbers is that of the queue, and of their effects.
//! * Room for a request is taken before it is read and given back when its batch has ended (D12).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use command::statement::Statement;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::counters::{Counters, add, count};

pub mod flusher;
#[cfg(test)]
mod tests;

/// Bytes of bodies that wait, those for a place in the queue included. Beyond it requests are refused at once.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a request costs beside its body.
const OVERHEAD_BYTES: usize = 512;

/// The longest body of a queued write: a batch has to fit one log entry, in which it may take three times the room.
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How the queue flushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Requests that wait at most.
    pub capacity: usize,
    /// Requests of one batch.
    pub batch_size: usize,
    /// How long the first request of a batch waits for others.
    pub timeout: Duration,
    /// A batch is one transaction.
    pub transaction: bool,
}

/// The queue of a node.
pub struct Queue {
    /// How it flushes.
    pub options: Options,
    tx: mpsc::Sender<Item>,
    /// The sequence number that was given last.
    given: Mutex<u64>,
    /// The sequence number whose batch ended last; 0 before the first.
    ended: AtomicU64,
    room: Arc<Semaphore>,
    is_full: Notify,
    /// Nobody waits for a batch to fill any more.
    is_draining: AtomicBool,
    counters: Arc<Counters>,
}

/// Room for a request; given back when dropped.
#[derive(Debug)]
pub struct Room(OwnedSemaphorePermit);

/// A request in the queue.
#[derive(Debug)]
pub struct Item {
    statements: Vec<Statement>,
    sequence: u64,
    came: Instant,
    bytes: usize,
    done: Option<oneshot::Sender<Done>>,
    room: Room,
}

/// How a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was applied at this log index; 0 when there was nothing to apply.
    Applied(u64),
    /// It was given up.
    GivenUp {
        /// Why.
        message: String,
        /// A machine-readable word.
        code: String,
    },
}

/// A place in the queue.
pub struct Queued {
    /// The request's number.
    pub sequence: u64,
    /// How its batch ends.
    pub done: oneshot::Receiver<Done>,
}

impl Queue {
    /// A queue whose numbers begin at `started`, and the end that a flusher takes.
    pub fn new(options: Options, started: SystemTime, counters: Arc<Counters>) -> (Self, mpsc::Receiver<Item>) {
        let (tx, rx) = mpsc::channel(options.capacity.max(1));
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let queue = Self {
            options,
            tx,
            given: Mutex::new(u64::try_from(since.as_nanos()).unwrap_or_default()),
            ended: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(BYTES_MAX)),
            is_full: Notify::new(),
            is_draining: AtomicBool::new(false),
            counters,
        };
        (queue, rx)
    }

    /// Room for a body of `bytes`; `None` when too much waits already.
    pub fn room(&self, bytes: usize) -> Option<Room> {
        let cost = u32::try_from(bytes + OVERHEAD_BYTES).ok()?;
        Arc::clone(&self.room).try_acquire_many_owned(cost).ok().map(Room)
    }

    /// Waits for a place, and takes it; `None` when nobody flushes any more.
    pub async fn push(&self, statements: Vec<Statement>, room: Room) -> Option<Queued> {
        let place = self.tx.reserve().await.ok()?;
        let (done_tx, done) = oneshot::channel();
        let bytes = room.0.num_permits();
        count(&self.counters.queue.objects_rx);
        add(&self.counters.http.queued_executions_num_stmts_rx, statements.len());
        let came = Instant::now();
        let sequence = {
            // The number is given and the place taken as one: their order is the same.
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            *given += 1;
            place.send(Item {
                statements,
                sequence: *given,
                came,
                bytes,
                done: Some(done_tx),
                room,
            });
            *given
        };
        // The flusher holds the first of a batch in its hand.
        if self.waiting() + 1 >= self.batch_size() || self.is_draining.load(Ordering::Acquire) {
            self.is_full.notify_one();
        }
        Some(Queued { sequence, done })
    }

    /// Waits until everything that is in the queue now has left it; batches no longer wait to be full.
    pub async fn drain(&self) {
        self.is_draining.store(true, Ordering::Release);
        let room = Arc::clone(&self.room).acquire_many_owned(OVERHEAD_BYTES as u32).await;
        let Ok(room) = room.map(Room) else { return };
        if let Some(queued) = self.push(Vec::new(), room).await {
            // An error says that the flusher has ended: nothing leaves any more.
            queued.done.await.ok();
        }
    }

    /// The last number whose batch has ended; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.ended.load(Ordering::Acquire)
    }

    /// Requests that have a place, or are about to take one.
    pub fn waiting(&self) -> usize {
        self.tx.max_capacity() - self.tx.capacity()
    }

    /// Bytes of bodies that wait, with what each request costs beside.
    pub fn bytes(&self) -> usize {
        BYTES_MAX - self.room.available_permits()
    }

    /// A batch that can never fill would always wait for its time.
    fn batch_size(&self) -> usize {
        self.options.batch_size.clamp(1, self.tx.max_capacity())
    }
}

//! Empties the queue: batch after batch, each one proposal.
//!
//! ```text
//!  gather ─► try ─┬─ applied ─────────────────────────────────► waiters told
//!             ▲   ├─ not appended: a pause, a new key ─┐
//!             └───┼─ unknown: a pause, the same key ───┤
//!                 └─ refused for good: given up ───────┼───────► waiters told
//!                                                      └► again
//! ```
//!
//! Invariants:
//! * A batch that may have been applied keeps its key, so that it is applied once (D9).
//! * Only what may yet succeed is tried again: no batch holds up those behind it for good by its own fault.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use command::reply::{OutcomeKind, Reply};
use command::request::{Kind, Write};
use serde::Deserialize;
use serde::de::IgnoredAny;
use store::error::Outcome;
use store::prepared::Prepared;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::{BYTES_MAX, Done, Item, Queue, Room};
use crate::cluster;
use crate::forwarded::{Answer, Forwarded, Operation, Sql};
use crate::http::counters::{add, count};
use crate::http::door::{Opened, Place};
use crate::http::errors::{NOT_APPENDED, OUTCOME_UNKNOWN};

/// What one try may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// Bytes of bodies that one batch gathers; a quarter of what may wait, so that clients can go on meanwhile.
const BATCH_BYTES_MAX: usize = BYTES_MAX / 4;

/// A request that is longer leaves by itself: an entry with one long value gets far fewer steps, and must not take them from
/// others' statements.
const SHARED_BYTES_MAX: usize = 1 << 20;

/// The code of a key that came again after its answer was forgotten: the batch was applied.
const REPLY_NOT_KEPT: &str = "reply_not_kept";

/// Empties a queue.
pub struct Flusher {
    queue: Arc<Queue>,
    rx: mpsc::Receiver<Item>,
    opened: Opened,
    /// Taken out, and too large for the batch before.
    held: Option<Item>,
}

/// What goes out as one.
#[derive(Default)]
struct Batch {
    sql: Sql,
    sequence: u64,
    count: usize,
    bytes: usize,
    /// Bytes of its longest request.
    longest: usize,
    waiters: Vec<oneshot::Sender<Done>>,
    /// Given back when the batch has ended.
    rooms: Vec<Room>,
}

/// How a try ended.
enum Tried {
    Applied {
        index: u64,
        failed: usize,
    },
    /// Certainly nothing happened.
    NotAppended(String),
    /// It may have happened.
    Unknown(String),
    /// It will not be applied, whatever is done.
    Refused {
        message: String,
        code: String,
    },
}

/// What a leader's answer says of a batch as a whole.
#[derive(Deserialize)]
struct Told {
    results: Vec<Element>,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Element {
    #[serde(default)]
    error: Option<IgnoredAny>,
}

impl Flusher {
    /// A flusher of `queue`, whose other end is `rx`.
    pub fn new(queue: Arc<Queue>, rx: mpsc::Receiver<Item>, opened: Opened) -> Self {
        Self {
            queue,
            rx,
            opened,
            held: None,
        }
    }

    /// Flushes for as long as anyone can queue.
    pub async fn run(mut self) {
        loop {
            let first = match self.held.take() {
                // The batch before it was full.
                Some(held) => held,
                None => {
                    let Some(first) = self.rx.recv().await else { return };
                    self.until_full(first.came + self.queue.options.timeout).await;
                    first
                }
            };
            let batch = self.gather(first);
            self.flush(batch).await;
        }
    }

    /// Waits until a batch is there, or `deadline`.
    async fn until_full(&self, deadline: Instant) {
        // The first one has been taken out already.
        let is_draining = &self.queue.is_draining;
        while self.queue.waiting() + 1 < self.queue.batch_size() && !is_draining.load(Ordering::Acquire) {
            let is_full = self.queue.is_full.notified();
            if tokio::time::timeout_at(deadline, is_full).await.is_err() {
                count(&self.queue.counters.queue.num_timeout);
                return;
            }
        }
    }

    fn gather(&mut self, first: Item) -> Batch {
        let mut batch = Batch::default();
        batch.add(first);
        while batch.count < self.queue.batch_size() {
            let Ok(item) = self.rx.try_recv() else { break };
            if !batch.takes(&item) {
                self.held = Some(item);
                break;
            }
            batch.add(item);
        }
        batch
    }

    async fn flush(&self, mut batch: Batch) {
        let counters = &self.queue.counters;
        count(&counters.queue.num_flush);
        let statements = batch.sql.statements.len();
        let done = if statements == 0 {
            Done::Applied(0)
        } else {
            self.carry_through(std::mem::take(&mut batch.sql)).await
        };
        match &done {
            Done::Applied(_) => {
                count(&counters.http.queued_executions_ok);
                add(&counters.http.queued_executions_num_stmts_tx, statements);
            }
            Done::GivenUp { message, code } => {
                count(&counters.http.queued_executions_failed);
                error!(%message, %code, requests = batch.count, "queued writes given up");
            }
        }
        add(&counters.queue.objects_tx, batch.count);
        self.queue.ended.store(batch.sequence, Ordering::Release);
        for waiter in batch.waiters {
            // Whoever does not wait has dropped the other end.
            waiter.send(done.clone()).ok();
        }
    }

    /// Tries until the batch has ended.
    async fn carry_through(&self, mut sql: Sql) -> Done {
        sql.atomic = self.queue.options.transaction;
        sql.key = Some(self.opened.peers.key());
        let mut forwarded = Forwarded {
            operation: Some(Operation::Execute(sql)),
            is_own: true,
            ..Forwarded::default()
        };
        let mut may_have_happened = false;
        loop {
            let tried = self.try_once(&mut forwarded).await;
            match tried {
                Tried::Applied { index, failed } => {
                    if failed > 0 {
                        debug!(failed, index, "statements of queued writes failed");
                    }
                    return Done::Applied(index);
                }
                Tried::Refused { message, code } => return Done::GivenUp { message, code },
                Tried::NotAppended(why) => warn!(%why, "queued writes not appended; trying again"),
                Tried::Unknown(why) => {
                    may_have_happened = true;
                    count(&self.queue.counters.http.queued_executions_leadership_lost);
                    warn!(%why, "outcome of queued writes unknown; trying again under the same key");
                }
            }
            if !may_have_happened && let Some(Operation::Execute(sql)) = &mut forwarded.operation {
                // The old one grows older, until it is refused.
                sql.key = Some(self.opened.peers.key());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_once(&self, forwarded: &mut Forwarded) -> Tried {
        let http = &self.queue.counters.http;
        match self.opened.place() {
            Place::Here => match &mut forwarded.operation {
                Some(Operation::Execute(sql)) => self.here(sql).await,
                _ => unreachable!("a batch is an execute"),
            },
            Place::There(_) => {
                count(&http.queued_executions_not_leader);
                match self.opened.peers.forward_again(forwarded, TIMEOUT).await {
                    Ok(served) => told(served.answer).await,
                    Err(error) => not_forwarded(error),
                }
            }
            Place::Nowhere => {
                count(&http.queued_executions_no_leader);
                Tried::NotAppended("leader not found".to_owned())
            }
        }
    }

    async fn here(&self, sql: &mut Sql) -> Tried {
        let ledger = &self.opened.ledger;
        let statements = std::mem::take(&mut sql.statements);
        let prepared = Prepared::new(Write {
            key: sql.key.clone(),
            ..ledger.stamp(statements, Kind::Execute, sql.atomic)
        });
        match ledger.write_prepared(&prepared, TIMEOUT).await {
            Ok(reply) => replied(&reply),
            Err(error) => {
                sql.statements = prepared.into_write().statements;
                not_written(&error)
            }
        }
    }
}

impl Batch {
    /// Whether a request may leave with those that are here.
    fn takes(&self, item: &Item) -> bool {
        let is_alone = self.count > 0 && self.longest.max(item.bytes) > SHARED_BYTES_MAX;
        !is_alone && self.bytes + item.bytes <= BATCH_BYTES_MAX
    }

    fn add(&mut self, item: Item) {
        self.sequence = item.sequence;
        self.count += 1;
        self.bytes += item.bytes;
        self.longest = self.longest.max(item.bytes);
        if self.sql.statements.is_empty() {
            self.sql.statements = item.statements;
        } else {
            self.sql.statements.extend(item.statements);
        }
        self.waiters.extend(item.done.filter(|waiter| !waiter.is_closed()));
        self.rooms.push(item.room);
    }
}

fn replied(reply: &Reply) -> Tried {
    let is_failed = |kind: &OutcomeKind| matches!(kind, OutcomeKind::Error(_));
    match &reply.error {
        None => Tried::Applied {
            index: reply.index,
            failed: reply
                .outcomes
                .iter()
                .filter_map(|outcome| outcome.kind.as_ref())
                .filter(|kind| is_failed(kind))
                .count(),
        },
        Some(failure) => whole(failure.message.clone(), failure.code.clone(), reply.index),
    }
}

/// A failure of the batch as a whole, by its code.
fn whole(message: String, code: String, index: u64) -> Tried {
    match code.as_str() {
        REPLY_NOT_KEPT => Tried::Applied { index, failed: 0 },
        NOT_APPENDED => Tried::NotAppended(message),
        OUTCOME_UNKNOWN => Tried::Unknown(message),
        _ => Tried::Refused { message, code },
    }
}

fn not_written(error: &store::Error) -> Tried {
    let message = error.to_string();
    match error.outcome() {
        Outcome::NotAppended => Tried::NotAppended(message),
        Outcome::Unknown => Tried::Unknown(message),
        Outcome::Refused => Tried::Refused {
            message,
            code: NOT_APPENDED.to_owned(),
        },
    }
}

fn not_forwarded(error: cluster::Error) -> Tried {
    match error {
        cluster::Error::Unknown { .. } | cluster::Error::Unanswered { .. } => Tried::Unknown(error.to_string()),
        error => Tried::NotAppended(error.to_string()),
    }
}

/// What the leader answered.
async fn told(mut answer: Answer) -> Tried {
    let mut body = Vec::new();
    while let Some(chunk) = answer.body.recv().await {
        match chunk {
            Ok(chunk) => body.extend_from_slice(&chunk),
            Err(broken) => return Tried::Unknown(broken.to_string()),
        }
    }
    read(&answer.head, &body.into())
}

fn read(head: &crate::forwarded::Head, body: &Bytes) -> Tried {
    let text = || String::from_utf8_lossy(body).trim_end().to_owned();
    match (head.status, serde_json::from_slice::<Told>(body)) {
        (503, _) => Tried::NotAppended(text()),
        (200, Ok(told)) => match told.error {
            None => Tried::Applied {
                index: head.index,
                failed: told.results.iter().filter(|element| element.error.is_some()).count(),
            },
            Some(message) => whole(message, told.code, head.index),
        },
        (200, Err(error)) => Tried::Unknown(format!("the leader's answer cannot be read: {error}")),
        _ => Tried::Refused {
            message: text(),
            code: String::new(),
        },
    }
}

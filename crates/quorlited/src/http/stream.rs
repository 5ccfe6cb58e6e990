//! A read and its answer: at once if it is brief, else on a thread of its own, as it comes.
//!
//! ```text
//!  this thread ── brief, and all of it fits one chunk ──► handed over whole
//!       │ otherwise, from the start
//!       ▼
//!  reader's thread ── rows ──► Results ──chunk──► channel ──► hyper, or another node
//!                                 │
//!                                 └── all of it fits one chunk: handed over whole, no channel
//! ```
//!
//! Invariants:
//! * At most [`CHUNKS_MAX`] chunks wait (D12); the read waits with them, for a bounded time, and lets others run (D10).
//! * A body that broke off ends in an error, never like one that is complete.
//! * A client that goes away cancels its query.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use command::statement::Statement;
use sqlite::{Cancel, QueryOptions};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};

use super::ledger::Ledger;
use super::queries;
use super::reply::{Payload, Running, Stream};
use super::results::{CHUNK_BYTES, Form, Outlet, Results, Tail, Unencodable};
use super::slow;
use super::watch::{Limits, NoSeat, Watch};
use crate::forwarded::{Broken, CHUNKS_MAX, Style};

type Chunk = Result<Bytes, Broken>;

/// A read, ready to run.
pub struct Query {
    /// The statements.
    pub statements: Vec<Statement>,
    /// How they run.
    pub options: QueryOptions,
    /// How the answer looks.
    pub style: Style,
    /// Which form failed elements take.
    pub form: Form,
    /// When the request came.
    pub began: Instant,
    /// The log index of a strong read; 0 otherwise.
    pub index: u64,
    /// Whose it is; `None` is another node's client.
    pub client: Option<SocketAddr>,
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The first chunk holds a value that JSON cannot.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
    /// The read could not run.
    #[error(transparent)]
    Sqlite(#[from] sqlite::Error),
    /// Its time was over before it could begin.
    #[error("context deadline exceeded")]
    Late,
    /// Somebody ended it.
    #[error("query was ended by an operator")]
    Ended,
    /// Its result is longer than may be.
    #[error("result is longer than {0} bytes")]
    TooLong(u64),
    /// The thread that ran it is gone.
    #[error("the read broke off")]
    Lost,
}

impl From<NoSeat> for Failed {
    fn from(none: NoSeat) -> Self {
        match none {
            NoSeat::Late => Self::Late,
            NoSeat::Busy => Self::Sqlite(sqlite::Error::Busy),
        }
    }
}

/// Runs `query`; resolves once the answer is whole, or its first chunk is full.
///
/// # Errors
///
/// [`Failed`]; then nothing has been answered.
pub async fn run(ledger: Arc<dyn Ledger>, watch: Arc<Watch>, mut query: Query) -> Result<Payload, Failed> {
    if let Some(answer) = at_once(&*ledger, &query) {
        return brief(ledger, &watch, query, answer);
    }
    let (tx, opening) = oneshot::channel();
    let running = Running(Cancel::new());
    let cancel = running.0.clone();
    let statements = std::mem::take(&mut query.statements);
    let listed = watch
        .queries
        .admit(statements, query.client, query.began, cancel.clone());
    let listed = listed.ok_or(Failed::Sqlite(sqlite::Error::Busy))?;
    let seat = watch.seat(query.options.deadline).await?;
    let chunks = Chunks::new(tx, Handle::current(), watch.limits);
    tokio::task::spawn_blocking(move || {
        sqlite::turns::step_back();
        let began = Instant::now();
        read(&*ledger, &query, &listed.query, chunks, &cancel);
        if watch.is_slow(began.elapsed()) {
            slow::log(&*ledger, &listed.query.statements, began.elapsed(), query.client);
        }
        drop(seat);
    });
    match opening.await {
        Ok(Opening::Whole(bytes)) => Ok(bytes.into()),
        Ok(Opening::Stream(chunks)) => Ok(Payload::Stream(Stream {
            first: None,
            chunks,
            query: running,
        })),
        Ok(Opening::Failed(failed)) => Err(failed),
        Err(_) => Err(Failed::Lost),
    }
}

/// What was answered at once, within the limits of every answer.
fn brief(
    ledger: Arc<dyn Ledger>,
    watch: &Watch,
    query: Query,
    answer: Result<Payload, Failed>,
) -> Result<Payload, Failed> {
    let took = query.began.elapsed();
    if watch.is_slow(took) {
        tokio::task::spawn_blocking(move || slow::log(&*ledger, &query.statements, took, query.client));
    }
    let most = watch.limits.result_bytes_max;
    match answer {
        Ok(Payload::Whole(bytes)) if most > 0 && bytes.len() as u64 > most => Err(Failed::TooLong(most)),
        answer => answer,
    }
}

/// The whole answer, if there is one at once.
fn at_once(ledger: &dyn Ledger, query: &Query) -> Option<Result<Payload, Failed>> {
    let mut results = Results::new(query.style, query.form, OneChunk);
    if !ledger.query_at_once(&query.statements, &query.options, &mut results) {
        return None;
    }
    let tail = Tail {
        elapsed: query.began.elapsed(),
        index: query.index,
        ..Tail::default()
    };
    Some(match results.finish(&tail) {
        Ok((bytes, _)) => Ok(bytes.into()),
        Err((unencodable, _)) => Err(Failed::Unencodable(unencodable)),
    })
}

/// Room for one chunk, which does not leave.
struct OneChunk;

impl Outlet for OneChunk {
    fn is_due(&self, length: usize) -> bool {
        length >= CHUNK_BYTES
    }

    fn put(&mut self, _chunk: Vec<u8>) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// How an answer begins.
enum Opening {
    Whole(Vec<u8>),
    Stream(mpsc::Receiver<Chunk>),
    Failed(Failed),
}

fn read(ledger: &dyn Ledger, query: &Query, listed: &queries::Running, chunks: Chunks, cancel: &Cancel) {
    let mut results = Results::new(query.style, query.form, chunks);
    let run = ledger.query(&listed.statements, &query.options, &mut results, cancel);
    let error = match run {
        Ok(()) => None,
        Err(sqlite::Error::Interrupted) if listed.is_ended() => {
            results.into_outlet().fail(Failed::Ended);
            return;
        }
        Err(sqlite::Error::Interrupted) => return,
        Err(error) if !results.has_begun() => {
            results.into_outlet().fail(Failed::Sqlite(error));
            return;
        }
        Err(error) => {
            tracing::error!(%error, "read failed");
            Some(error.to_string())
        }
    };
    if results.is_abandoned() {
        return;
    }
    let tail = Tail {
        error,
        elapsed: query.began.elapsed(),
        index: query.index,
        ..Tail::default()
    };
    match results.finish(&tail) {
        Ok((rest, chunks)) => chunks.end(rest),
        Err((unencodable, chunks)) => chunks.fail(Failed::Unencodable(unencodable)),
    }
}

/// The reader's end of the answer.
struct Chunks {
    runtime: Handle,
    limits: Limits,
    /// Bytes that have left.
    left: u64,
    state: State,
}

enum State {
    /// Nothing has left.
    Unopened(oneshot::Sender<Opening>),
    /// Chunks leave; the room for a last word is kept free.
    Open {
        tx: mpsc::Sender<Chunk>,
        last_word: mpsc::OwnedPermit<Chunk>,
    },
    Ended,
}

impl Chunks {
    fn new(opening: oneshot::Sender<Opening>, runtime: Handle, limits: Limits) -> Self {
        Self {
            runtime,
            limits,
            left: 0,
            state: State::Unopened(opening),
        }
    }

    /// The last chunk, which may be the only one.
    fn end(mut self, rest: Vec<u8>) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Unopened(opening) => drop(opening.send(Opening::Whole(rest))),
            State::Open { last_word, .. } => drop(last_word.send(Ok(rest.into()))),
            State::Ended => {}
        }
    }

    fn fail(mut self, failed: Failed) {
        self.fail_now(failed);
    }

    fn fail_now(&mut self, failed: Failed) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Unopened(opening) => drop(opening.send(Opening::Failed(failed))),
            State::Open { last_word, .. } => drop(last_word.send(Err(Broken(failed.to_string())))),
            State::Ended => {}
        }
    }

    /// Waits while there is no room: others read meanwhile (D10).
    fn send(&self, tx: &mpsc::Sender<Chunk>, chunk: Bytes) -> bool {
        match tx.try_send(Ok(chunk)) {
            Ok(()) => true,
            Err(TrySendError::Closed(_)) => false,
            Err(TrySendError::Full(chunk)) => sqlite::turns::rest(|| {
                let sent = tx.send_timeout(chunk, self.limits.stall_max);
                self.runtime.block_on(sent).is_ok()
            }),
        }
    }

    fn open(opening: oneshot::Sender<Opening>, first: Vec<u8>) -> State {
        // One place more, for the last word.
        let (tx, rx) = mpsc::channel(CHUNKS_MAX + 1);
        let Ok(last_word) = tx.clone().try_reserve_owned() else {
            return State::Ended;
        };
        let is_sent = tx.try_send(Ok(first.into())).is_ok() && opening.send(Opening::Stream(rx)).is_ok();
        if is_sent {
            State::Open { tx, last_word }
        } else {
            State::Ended
        }
    }
}

impl Outlet for Chunks {
    fn is_due(&self, length: usize) -> bool {
        length >= CHUNK_BYTES
    }

    fn put(&mut self, chunk: Vec<u8>) -> ControlFlow<()> {
        self.left += chunk.len() as u64;
        let most = self.limits.result_bytes_max;
        if most > 0 && self.left > most {
            self.fail_now(Failed::TooLong(most));
            return ControlFlow::Break(());
        }
        self.state = match std::mem::replace(&mut self.state, State::Ended) {
            State::Unopened(opening) => Self::open(opening, chunk),
            State::Open { tx, last_word } => {
                if self.send(&tx, chunk.into()) {
                    State::Open { tx, last_word }
                } else {
                    last_word.send(Err(Broken("the client took no data for too long".to_owned())));
                    State::Ended
                }
            }
            State::Ended => State::Ended,
        };
        match self.state {
            State::Ended => ControlFlow::Break(()),
            State::Unopened(_) | State::Open { .. } => ControlFlow::Continue(()),
        }
    }
}

impl Drop for Chunks {
    /// Reached while open only when the reader's thread panicked or was cancelled.
    fn drop(&mut self) {
        if let State::Open { last_word, .. } = std::mem::replace(&mut self.state, State::Ended) {
            last_word.send(Err(Broken("the read broke off".to_owned())));
        }
    }
}

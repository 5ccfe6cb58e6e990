//! A pipelined stream of appends: requests go out while the answers to earlier ones are awaited.
//!
//! ```text
//!  requests ──► window ──► pump ──► frames ──► peer
//!                 ▲                             │
//!  openraft ◄─────┴── answers, in request order ┘
//! ```
//!
//! Invariant: what a peer has not answered is bounded in bytes (D12): a slow one holds its own stream back, not memory.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use tokio::sync::{Semaphore, mpsc};

use crate::consensus::dial::{Task, broken};
use crate::consensus::kept::Acknowledged;
use crate::consensus::network::{RpcError, rpc_error};
use crate::consensus::state_machine::Progress;
use crate::consensus::types::{LogId, Types};
use crate::consensus::wire::{self, AppendAnswer, AppendAsk};
use crate::transport::Duplex;

/// How long requests may stand without an answer. A flush takes milliseconds; a follower that needs longer than this is
/// better asked again on a fresh stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of requests that one peer may leave unanswered: eight full frames, more than a network between two machines
/// holds. A larger request goes alone.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// Who is at the other end, and what is noted of it.
pub(crate) struct Follower {
    pub id: u64,
    /// The term in which this node leads it.
    pub term: u64,
    pub acknowledged: Arc<Acknowledged>,
    pub progress: Arc<Progress>,
}

impl Follower {
    /// Notes what it has flushed.
    ///
    /// # Errors
    ///
    /// It is so far behind that the log would have to be kept for it beyond the cap: it is to get the database.
    fn note(&self, matched: Option<&LogId>) -> io::Result<()> {
        let index = matched.map_or(0, |at| at.index);
        self.acknowledged.note(self.id, self.term, index);
        if index < self.progress.keep_from() {
            return Err(io::Error::other(format!(
                "the follower has entry {index}, and the log is not kept for it any longer"
            )));
        }
        Ok(())
    }
}

/// The answers of a stream, and the task that sends its requests.
pub(crate) struct Pipeline {
    peer: Follower,
    rx: mpsc::Receiver<Bytes>,
    /// Kept until all is answered: dropping the last sender breaks the stream.
    _tx: mpsc::Sender<Bytes>,
    window: Arc<Window>,
    pump: Task<()>,
    pumped: bool,
    failed: bool,
}

/// What is sent and not answered.
struct Window {
    free: Semaphore,
    /// The shares of the window that the unanswered requests hold, oldest first.
    held: Mutex<VecDeque<usize>>,
}

impl Window {
    /// Waits until a frame of `bytes` may go, and counts it as sent.
    async fn enter(&self, bytes: usize) {
        let share = bytes.min(WINDOW_BYTES);
        // The semaphore is never closed.
        if let Ok(permit) = self.free.acquire_many(u32::try_from(share).unwrap_or(u32::MAX)).await {
            permit.forget();
            self.held().push_back(share);
        }
    }

    /// The oldest request was answered; false if there was none.
    fn leave(&self) -> bool {
        let share = self.held().pop_front();
        self.free.add_permits(share.unwrap_or(0));
        share.is_some()
    }

    fn is_empty(&self) -> bool {
        self.held().is_empty()
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipeline {
    /// Sends the frame `first` and then what `input` gives.
    pub(crate) fn start<S>(peer: Follower, first: Bytes, input: S, duplex: Duplex) -> Self
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let Duplex { tx, rx } = duplex;
        let window = Arc::new(Window {
            free: Semaphore::new(WINDOW_BYTES),
            held: Mutex::default(),
        });
        let pump = Task(tokio::spawn(pump(first, input, tx.clone(), window.clone())));
        Self {
            peer,
            rx,
            _tx: tx,
            window,
            pump,
            pumped: false,
            failed: false,
        }
    }

    /// The next answer; `None` when every request has been answered and no more will come.
    pub(crate) async fn next(&mut self) -> Option<Result<StreamAppendResult<Types>, RpcError>> {
        if self.failed {
            return None;
        }
        let result = match self.answer().await {
            Ok(None) => return None,
            Ok(Some(answer)) => wire::stream_result(answer).and_then(|result| {
                if let Ok(matched) = &result {
                    self.peer.note(matched.as_ref())?;
                }
                Ok(result)
            }),
            Err(error) => Err(error),
        };
        self.failed = result.is_err();
        Some(result.map_err(|error| rpc_error(&error)))
    }

    async fn answer(&mut self) -> io::Result<Option<AppendAnswer>> {
        loop {
            let outstanding = !self.window.is_empty();
            if self.pumped && !outstanding {
                return Ok(None);
            }
            tokio::select! {
                biased;
                frame = self.rx.recv() => {
                    let answer = wire::read(frame.ok_or_else(broken)?)?;
                    if !self.window.leave() {
                        return Err(wire::invalid("an answer to no request"));
                    }
                    return Ok(Some(answer));
                }
                _ = &mut self.pump.0, if !self.pumped => self.pumped = true,
                () = tokio::time::sleep(ANSWER_TIMEOUT) => if outstanding {
                    let text = format!("appends went unanswered for {ANSWER_TIMEOUT:?}");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                },
            }
        }
    }
}

/// Sends each request as a frame, until there are no more or the stream breaks.
async fn pump<S>(first: Bytes, mut input: S, tx: mpsc::Sender<Bytes>, window: Arc<Window>)
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    let mut next = Some(first);
    while let Some(frame) = next {
        window.enter(frame.len()).await;
        if tx.send(frame).await.is_err() {
            return;
        }
        next = input
            .next()
            .await
            .map(|request| wire::frame(&AppendAsk::from(&request)));
    }
}

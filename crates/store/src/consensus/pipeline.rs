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
use crate::consensus::network::{RpcError, rpc_error};
use crate::consensus::types::Types;
use crate::consensus::wire::{self, AppendAnswer, AppendAsk};

/// How long requests may stand without an answer. A flush takes milliseconds; a follower that needs longer than this is
/// better asked again on a fresh stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of requests that one peer may leave unanswered: eight full frames, more than a network between two machines
/// holds. A larger request goes alone.
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// The answers of a stream, and the task that sends its requests.
pub(crate) struct Pipeline {
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
    /// Sends `first` and then what `input` gives.
    pub(crate) fn start<S>(
        first: AppendEntriesRequest<Types>,
        input: S,
        tx: mpsc::Sender<Bytes>,
        rx: mpsc::Receiver<Bytes>,
    ) -> Self
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let window = Arc::new(Window {
            free: Semaphore::new(WINDOW_BYTES),
            held: Mutex::default(),
        });
        let pump = Task(tokio::spawn(pump(first, input, tx.clone(), window.clone())));
        Self {
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
            Ok(Some(answer)) => wire::stream_result(answer),
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
async fn pump<S>(first: AppendEntriesRequest<Types>, mut input: S, tx: mpsc::Sender<Bytes>, window: Arc<Window>)
where
    S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
{
    let mut next = Some(first);
    while let Some(request) = next {
        let frame = wire::frame(&AppendAsk::from(&request));
        drop(request);
        window.enter(frame.len()).await;
        if tx.send(frame).await.is_err() {
            return;
        }
        next = input.next().await;
    }
}

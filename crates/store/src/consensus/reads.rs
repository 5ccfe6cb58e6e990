//! Read indexes in rounds: all who ask while one round runs share the next.
//!
//! A round confirms leadership with a majority (openraft's ReadIndex, never a lease: after a restart the stored vote has
//! none). Who joins a round asked before it began, so its index covers every write acknowledged before they asked (D8).
//!
//! Source: Raft thesis §6.4.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{LinearizableReadError, RaftError};
use tokio::sync::oneshot;

use crate::consensus::control::Control;
use crate::consensus::dial::Dialler;
use crate::consensus::wire::{ControlAnswerKind, ControlAskKind, ReadIndexAsk};
use crate::consensus::{Raft, fatal, forwarded, membership};
use crate::error::Error;
use crate::member::{NodeId, Peer};

/// How long the leader may take to answer one round; it asks a majority first.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);

/// A round that takes longer is given up, so that it holds up nobody who comes later.
const ROUND_TIMEOUT: Duration = Duration::from_secs(3);

/// Readers that may wait for the next round. Beyond it they are refused: the round that runs is stuck.
const WAITING_MAX: usize = 65_536;

/// Why there is no read index, in a form that many can be told.
#[derive(Clone, Debug)]
enum Refusal {
    NotLeader(Option<Peer>),
    Unverified(String),
    Stopped(String),
}

type Waiter = oneshot::Sender<Result<u64, Refusal>>;

/// Where a round gets its index from.
pub(crate) trait Source: Send + Sync + 'static {
    /// One round: a read index that was taken after the call.
    fn read_index(&self) -> impl Future<Output = Result<u64, Error>> + Send;
}

/// The rounds over one source.
pub(crate) struct Rounds<S> {
    source: S,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    running: bool,
    waiting: Vec<Waiter>,
}

impl<S: Source> Rounds<S> {
    pub(crate) fn new(source: S) -> Arc<Self> {
        Arc::new(Self {
            source,
            state: Mutex::default(),
        })
    }

    /// The index that a linearizable read must see applied.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::Unverified`], [`Error::Stopped`].
    pub(crate) async fn index(self: &Arc<Self>) -> Result<u64, Error> {
        let (tx, rx) = oneshot::channel();
        let start = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.waiting.len() >= WAITING_MAX {
                state.waiting.retain(|waiter| !waiter.is_closed());
            }
            if state.waiting.len() >= WAITING_MAX {
                return Err(Error::Overloaded(
                    "too many reads wait for a confirmation; try again later",
                ));
            }
            state.waiting.push(tx);
            !std::mem::replace(&mut state.running, true)
        };
        if start {
            tokio::spawn(run(self.clone()));
        }
        match rx.await {
            Ok(Ok(index)) => Ok(index),
            Ok(Err(refusal)) => Err(refusal.into()),
            Err(_) => Err(Error::Stopped("reads have stopped".to_owned())),
        }
    }

    /// Those who wait now; none ends the rounds.
    fn take(&self) -> Vec<Waiter> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut state.waiting);
        state.running = !waiting.is_empty();
        waiting
    }
}

async fn run<S: Source>(rounds: Arc<Rounds<S>>) {
    loop {
        let waiting = rounds.take();
        if waiting.is_empty() {
            return;
        }
        let result = match tokio::time::timeout(ROUND_TIMEOUT, rounds.source.read_index()).await {
            Ok(result) => result.map_err(Refusal::from),
            Err(_) => Err(Refusal::Unverified(format!("no answer in {ROUND_TIMEOUT:?}"))),
        };
        for waiter in waiting {
            // The reader may have gone.
            let _ = waiter.send(result.clone());
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::NotLeader { leader } => Self::NotLeader(leader),
            Error::Unverified(text) => Self::Unverified(text),
            error => Self::Stopped(error.to_string()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotLeader(leader) => Self::NotLeader { leader },
            Refusal::Unverified(text) => Self::Unverified(text),
            Refusal::Stopped(text) => Self::Stopped(text),
        }
    }
}

/// This node as leader: a majority confirms it.
pub(crate) struct Leading(pub Raft);

impl Source for Leading {
    async fn read_index(&self) -> Result<u64, Error> {
        match self.0.get_read_linearizer(ReadPolicy::ReadIndex).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => Err(Error::NotLeader {
                leader: forwarded(&forward),
            }),
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(error))) => {
                Err(Error::Unverified(error.to_string()))
            }
            Err(RaftError::Fatal(error)) => Err(fatal(&error)),
        }
    }
}

/// This node as follower: the leader is asked.
pub(crate) struct Asking {
    pub raft: Raft,
    pub dialler: Dialler,
    /// The calls to the leader that was asked last.
    pub control: tokio::sync::Mutex<Option<(NodeId, Control)>>,
}

impl Source for Asking {
    async fn read_index(&self) -> Result<u64, Error> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let leader = membership::leader(&metrics).ok_or(Error::NotLeader { leader: None })?;
        let mut slot = self.control.lock().await;
        if slot.as_ref().is_none_or(|(id, _)| *id != leader.id) {
            *slot = Some((leader.id, Control::new(self.dialler.clone(), leader.clone())));
        }
        let Some((_, control)) = slot.as_mut() else {
            return Err(Error::NotLeader { leader: None });
        };
        match control
            .call(ControlAskKind::ReadIndex(ReadIndexAsk {}), ASK_TIMEOUT)
            .await
        {
            Ok(ControlAnswerKind::ReadIndex(index)) => Ok(index),
            Ok(_) => Err(Error::Unverified("a read index was not answered with one".to_owned())),
            Err(error) => Err(Error::Unverified(format!("ask {}: {error}", leader.address))),
        }
    }
}

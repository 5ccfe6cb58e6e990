//! Requests that must run on the leader, sent there from a follower.
//!
//! ```text
//!  key, once ──► leader ──answer──► head, and the body as it comes
//!                 │  ▲
//!                 │  └── dial refused, not leader, or broken with a key: the leader known now, until the deadline
//!                 └───── broken without a key: outcome unknown
//!  no leader known ──► wait while one was heard a moment ago: an election runs
//! ```
//!
//! Invariants:
//! * A write gets its key before it first leaves, and keeps it: however often it is sent, it runs once (D9).
//! * What has no key and may have arrived is not sent again.
//! * That nothing was done is true of the try that was answered so: once another may have arrived, the outcome is unknown.
//! * After the head, a broken stream is an error in the body, never its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use std::{io, mem};

use bytes::Bytes;
use command::request::{ForwardKey, Key, KeyOrigin};
use store::member::{NodeId, Peer};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::debug;

use super::client::{Client, Failure, Repeat, read_tell};
use super::error::Error;
use super::ledger::Ledger;
use super::message::{Ask, Opening, Request, Tell};
use super::pool::Connection;
use super::service::Handler;
use crate::forwarded::{Answer, Body, Broken, CHUNKS_MAX, Forwarded, Head, Operation};
use crate::net::counters::count;

/// A pause before the next try, so that a leader that is just going down is not asked a thousand times.
const PAUSE: Duration = Duration::from_millis(25);

/// Sends clients' requests to the leader; one for the process.
pub struct Forwarder {
    ledger: Arc<dyn Ledger>,
    handler: Arc<dyn Handler>,
    client: Client,
    me: NodeId,
    boot: u64,
    sequence: AtomicU64,
}

/// An answer and who gave it.
#[derive(Debug)]
pub struct Served {
    /// The answer.
    pub answer: Answer,
    /// The inter-node address of the node that answered.
    pub by: String,
}

/// What one try led to.
enum Tried {
    Served(Served),
    /// Certainly nothing happened there; the leader that it named, if any.
    Elsewhere(Option<Peer>),
    Failed(Failure),
    /// It makes no sense to ask again.
    Refused(Error),
}

impl Forwarder {
    /// A forwarder whose keys are unique to `boot`, a random number drawn at each start.
    pub fn new(ledger: Arc<dyn Ledger>, handler: Arc<dyn Handler>, client: Client, boot: u64) -> Self {
        Self {
            me: ledger.peer().id,
            ledger,
            handler,
            client,
            boot,
            sequence: AtomicU64::new(0),
        }
    }

    /// Runs `forwarded` on the leader; returns as soon as the answer begins.
    ///
    /// Runs it here if this node has become the leader meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`], [`Error::Unsent`], [`Error::Refused`]: certainly nothing happened. [`Error::Unknown`]: it
    /// may have.
    pub async fn forward(&self, mut forwarded: Forwarded, timeout: Duration) -> Result<Served, Error> {
        self.forward_again(&mut forwarded, timeout).await
    }

    /// As [`Self::forward`], for a request that is kept for another try; a write keeps its key.
    ///
    /// # Errors
    ///
    /// As [`Self::forward`].
    pub async fn forward_again(&self, forwarded: &mut Forwarded, timeout: Duration) -> Result<Served, Error> {
        let served = self.carry(forwarded, timeout).await;
        if let Some(operation) = &forwarded.operation {
            let (sent, failed) = self.client.counters().sent(operation);
            count(sent);
            if let (Err(_), Some(failed)) = (&served, failed) {
                count(failed);
            }
        }
        served
    }

    async fn carry(&self, forwarded: &mut Forwarded, timeout: Duration) -> Result<Served, Error> {
        let deadline = Instant::now() + timeout;
        self.give_key(forwarded);
        let repeat = repeat(forwarded);
        let is_read = matches!(forwarded.operation, Some(Operation::Query(_) | Operation::Backup(_)));
        let mut last: Option<(String, Failure)> = None;
        let mut named = None;
        loop {
            let Some(leader) = named.take().or_else(|| self.ledger.leader()) else {
                match last {
                    Some((_, Failure::Sent(_))) if Instant::now() < deadline => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Some((address, Failure::Sent(cause))) => return Err(Error::Unknown { address, cause }),
                    Some((_, Failure::Unsent(_))) | None
                        if self.ledger.expects_leader() && Instant::now() < deadline =>
                    {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                    Some((_, Failure::Unsent(_))) | None => return Err(Error::NoLeader),
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            forwarded.timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            match self.try_once(&leader, forwarded, deadline, &mut last).await {
                Tried::Served(served) if is_read || !served.answer.head.is_refusal() => return Ok(served),
                Tried::Served(served) => return unless_sent(last, Ok(served)),
                Tried::Elsewhere(leader) => named = leader,
                Tried::Refused(error) => return unless_sent(last, Err(error)),
                Tried::Failed(failure) => {
                    debug!(leader = %leader.address, ?failure, "forwarding failed");
                    last = Some((leader.address, worse(last.take(), failure)));
                }
            }
            if let Some(given_up) = give_up(&mut last, repeat, deadline) {
                return Err(given_up);
            }
            self.count_retry(forwarded);
            tokio::time::sleep(PAUSE.min(left)).await;
        }
    }

    /// Notes in `last` what may have arrived before the answer.
    async fn try_once(
        &self,
        leader: &Peer,
        forwarded: &mut Forwarded,
        deadline: Instant,
        last: &mut Option<(String, Failure)>,
    ) -> Tried {
        if leader.id == self.me {
            let answer = self.handler.handle(forwarded.clone()).await;
            return tried(answer, &leader.address);
        }
        let frame = encode(forwarded);
        let may_have_arrived = AtomicBool::new(false);
        let retried = |failure: &Failure| {
            may_have_arrived.store(matches!(failure, Failure::Sent(_)), Ordering::Relaxed);
            if let Some(counter) = self.retry_counter(forwarded) {
                count(counter);
            }
        };
        let called = self
            .client
            .call(&leader.address, frame, repeat(forwarded), deadline, retried)
            .await;
        if may_have_arrived.into_inner() {
            let cause = io::Error::from(io::ErrorKind::ConnectionReset);
            *last = Some((leader.address.clone(), Failure::Sent(cause)));
        }
        match called {
            Ok((connection, Tell::Opening(opening))) => match read_opening(connection, opening) {
                Some(answer) => tried(answer, &leader.address),
                None => Tried::Failed(Failure::Sent(io::Error::other("an answer without a head"))),
            },
            Ok((_, Tell::Refused(refused))) => Tried::Refused(Error::Refused {
                address: leader.address.clone(),
                message: refused.message,
            }),
            Ok(_) => Tried::Failed(Failure::Sent(io::Error::other("an answer to another question"))),
            Err(Failure::Unsent(cause)) if cause.kind() == io::ErrorKind::InvalidInput => {
                Tried::Refused(Error::Unsent {
                    address: leader.address.clone(),
                    cause,
                })
            }
            Err(failure) => Tried::Failed(failure),
        }
    }

    fn give_key(&self, forwarded: &mut Forwarded) {
        let key = match &mut forwarded.operation {
            Some(Operation::Execute(sql) | Operation::Request(sql)) => &mut sql.key,
            Some(Operation::Load(load)) => &mut load.key,
            Some(
                Operation::Query(_)
                | Operation::Remove(_)
                | Operation::StepDown(_)
                | Operation::Backup(_)
                | Operation::Gather(_)
                | Operation::Skip(_)
                | Operation::Verify(_),
            )
            | None => return,
        };
        if key.is_none() {
            *key = Some(self.key());
        }
    }

    /// A key of this node that no other write has.
    pub fn key(&self) -> Key {
        let key = ForwardKey {
            incarnation: self.me.0,
            boot: self.boot,
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed) + 1,
            issued_at: self.ledger.applied(),
        };
        Key {
            origin: Some(KeyOrigin::Forward(key)),
        }
    }

    fn count_retry(&self, forwarded: &Forwarded) {
        count(&self.client.counters().client_retries);
        if let Some(counter) = self.retry_counter(forwarded) {
            count(counter);
        }
    }

    fn retry_counter(&self, forwarded: &Forwarded) -> Option<&AtomicU64> {
        let operation = forwarded.operation.as_ref()?;
        self.client.counters().retried(operation)
    }
}

/// The frame of a request, made without copying the statements. The client's own credentials are inside.
fn encode(forwarded: &mut Forwarded) -> Bytes {
    let request = Request::new(Ask::Forward(mem::take(forwarded)), None);
    let frame = request.encode_frame();
    if let Some(Ask::Forward(taken)) = request.ask {
        *forwarded = taken;
    }
    frame
}

/// A read and a write with its key can be repeated, a removal and a skip: the second one finds nothing; a second
/// verification finds what the first did. A second hand-over would unseat the new leader.
fn repeat(forwarded: &Forwarded) -> Repeat {
    let keyed = |key: &Option<Key>| key.as_ref().is_some_and(|key| key.origin.is_some());
    match &forwarded.operation {
        Some(
            Operation::Query(_)
            | Operation::Remove(_)
            | Operation::Backup(_)
            | Operation::Gather(_)
            | Operation::Skip(_)
            | Operation::Verify(_),
        ) => Repeat::Harmless,
        Some(Operation::Execute(sql) | Operation::Request(sql)) if keyed(&sql.key) => Repeat::Harmless,
        Some(Operation::Load(load)) if keyed(&load.key) => Repeat::Harmless,
        Some(Operation::Execute(_) | Operation::Request(_) | Operation::Load(_) | Operation::StepDown(_)) | None => {
            Repeat::Never
        }
    }
}

fn give_up(last: &mut Option<(String, Failure)>, repeat: Repeat, deadline: Instant) -> Option<Error> {
    let may_go_on = match last {
        Some((_, Failure::Sent(_))) => repeat == Repeat::Harmless,
        Some((_, Failure::Unsent(_))) | None => true,
    };
    if may_go_on && Instant::now() < deadline {
        return None;
    }
    Some(match last.take() {
        Some((address, Failure::Sent(cause))) => Error::Unknown { address, cause },
        Some((address, Failure::Unsent(cause))) => Error::Unsent { address, cause },
        None => Error::NoLeader,
    })
}

/// `end`, which says that nothing was done, unless an earlier try may have arrived.
fn unless_sent(last: Option<(String, Failure)>, end: Result<Served, Error>) -> Result<Served, Error> {
    match last {
        Some((address, Failure::Sent(cause))) => Err(Error::Unknown { address, cause }),
        Some((_, Failure::Unsent(_))) | None => end,
    }
}

/// Once it may have arrived somewhere, no later failure makes it certain that it did not.
fn worse(earlier: Option<(String, Failure)>, failure: Failure) -> Failure {
    match (earlier, failure) {
        (Some((_, Failure::Sent(_))), Failure::Unsent(cause) | Failure::Sent(cause)) => Failure::Sent(cause),
        (_, failure) => failure,
    }
}

fn tried(answer: Answer, by: &str) -> Tried {
    match &answer.head.not_leader {
        None => Tried::Served(Served {
            answer,
            by: by.to_owned(),
        }),
        Some(leader) if leader.address.is_empty() || leader.address == by => Tried::Elsewhere(None),
        Some(leader) => Tried::Elsewhere(Some(Peer {
            id: NodeId(leader.id),
            name: leader.name.clone(),
            address: leader.address.clone(),
        })),
    }
}

fn read_opening(connection: Connection, opening: Opening) -> Option<Answer> {
    let head: Head = opening.head?;
    let (tx, body): (_, Body) = mpsc::channel(CHUNKS_MAX);
    if !opening.body.is_empty() {
        // The channel is new, and has room for one.
        tx.try_send(Ok(opening.body)).ok();
    }
    if opening.complete {
        connection.give_back();
    } else {
        tokio::spawn(relay(connection, tx));
    }
    Some(Answer { head, body })
}

/// Hands the rest of a body on. When nobody reads it any more, the connection is closed, which tells the leader.
async fn relay(mut connection: Connection, tx: mpsc::Sender<Result<Bytes, Broken>>) {
    loop {
        let frame = tokio::select! {
            frame = connection.receive() => frame,
            () = tx.closed() => return,
        };
        let told = frame.map(read_tell);
        let part = match told {
            Some(Ok(Tell::Chunk(chunk))) => Ok(chunk),
            Some(Ok(Tell::End(_))) => return connection.give_back(),
            Some(Ok(Tell::Broken(text))) => Err(Broken(text)),
            Some(Ok(_)) => Err(Broken("the leader sent an answer to another question".to_owned())),
            Some(Err(error)) => Err(Broken(error.to_string())),
            None => Err(Broken("the connection to the leader broke".to_owned())),
        };
        let broken = part.is_err();
        if tx.send(part).await.is_err() || broken {
            return;
        }
    }
}

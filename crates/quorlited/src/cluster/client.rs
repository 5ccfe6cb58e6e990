//! Asking other nodes: one request, its reply, and one more try where that is harmless.
//!
//! ```text
//!  pooled connection ──broken, and the request may be repeated──► brand-new connection ──► reply, or failure
//! ```
//!
//! Invariant: what may already have taken effect is sent again only when that is harmless (D9).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use store::member::Peer;
use store::transport::FRAME_BYTES_MAX;
use tokio::time::{Instant, timeout_at};

use super::counters::Counters;
use super::error::Error;
use super::message::{Ask, Attempt, Describe, Description, Join, Notify, Release, Released, Reply, Request, Tell};
use super::pool::{Connection, Origin, Pool, Usage};
use crate::forwarded::Credentials;
use crate::net::TcpTransport;
use crate::net::counters::count;

/// How often a join follows the leader's address from node to node.
const REDIRECTS_MAX: usize = 10;

/// Asks other nodes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    counters: Arc<Counters>,
    credentials: Option<Credentials>,
}

/// May a request be sent again after it may have arrived?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Twice is the same as once.
    Harmless,
    /// Twice is not once.
    Never,
}

/// How a call failed, as far as its effect is concerned.
#[derive(Debug)]
pub enum Failure {
    /// It certainly did not arrive.
    Unsent(io::Error),
    /// It may have arrived.
    Sent(io::Error),
}

/// What a join led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedThrough {
    /// The leader's address, as it was reached.
    pub leader: String,
}

impl Client {
    /// A client that presents `credentials` when it joins, notifies or removes.
    pub fn new(transport: TcpTransport, credentials: Option<Credentials>, counters: Arc<Counters>) -> Self {
        Self {
            pool: Arc::new(Pool::new(transport)),
            counters,
            credentials,
        }
    }

    /// What is counted.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The connections that there are, by the address of the peer.
    pub fn connections(&self) -> Vec<(String, Usage)> {
        self.pool.usage()
    }

    /// Asks the node at `address` who it is.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`], [`Error::Unanswered`], and what the node answered instead.
    pub async fn describe(&self, address: &str, timeout: Duration) -> Result<Description, Error> {
        match self.ask(address, Ask::Describe(Describe {}), timeout).await? {
            Tell::Description(description) => Ok(description),
            other => Err(unexpected(address, other)),
        }
    }

    /// Asks the node at `address`, and then whom it names as leader, to take `join` in.
    ///
    /// # Errors
    ///
    /// [`Error::NoLeader`], [`Error::Refused`]: not taken in. [`Error::Unanswered`]: perhaps. [`Error::Unreachable`].
    pub async fn join(&self, address: &str, join: &Join, timeout: Duration) -> Result<JoinedThrough, Error> {
        let mut address = address.to_owned();
        for _ in 0..=REDIRECTS_MAX {
            match self.ask(&address, Ask::Join(join.clone()), timeout).await? {
                Tell::Done(_) => return Ok(JoinedThrough { leader: address }),
                Tell::Redirect(leader) => address = leader.address,
                Tell::NoLeader(_) => return Err(Error::NoLeader),
                other => return Err(unexpected(&address, other)),
            }
        }
        Err(Error::Refused {
            address,
            message: format!("redirected more than {REDIRECTS_MAX} times"),
        })
    }

    /// Tells the node at `address` that this one waits for a cluster to be formed.
    ///
    /// # Errors
    ///
    /// As [`Client::describe`].
    pub async fn notify(&self, address: &str, notify: Notify, timeout: Duration) -> Result<(), Error> {
        match self.ask(address, Ask::Notify(notify), timeout).await? {
            Tell::Done(_) => Ok(()),
            other => Err(unexpected(address, other)),
        }
    }

    /// Asks `peer` for its promise to `attempt`.
    ///
    /// # Errors
    ///
    /// As [`Client::describe`].
    pub async fn promise(&self, peer: &Peer, attempt: Attempt, timeout: Duration) -> Result<(), Error> {
        match self.ask(&peer.address, Ask::Promise(attempt), timeout).await? {
            Tell::Done(_) => Ok(()),
            other => Err(unexpected(&peer.address, other)),
        }
    }

    /// Asks the coordinator at `address` to give an attempt up.
    ///
    /// # Errors
    ///
    /// As [`Client::describe`].
    pub async fn release(&self, address: &str, release: Release, timeout: Duration) -> Result<Released, Error> {
        match self.ask(address, Ask::Release(release), timeout).await? {
            Tell::Released(released) => Ok(released),
            other => Err(unexpected(address, other)),
        }
    }

    /// Every request that a node sends on its own behalf can be repeated: asked twice, the answer is the same.
    async fn ask(&self, address: &str, ask: Ask, timeout: Duration) -> Result<Tell, Error> {
        let describes = matches!(ask, Ask::Describe(_));
        let frame = Request::new(ask, self.credentials.clone()).encode_frame();
        let retried = |_: &Failure| {
            if describes {
                count(&self.counters.describe_req_retries);
            }
        };
        let answered = self
            .call(address, frame, Repeat::Harmless, Instant::now() + timeout, retried)
            .await;
        match answered {
            Ok((connection, tell)) => {
                connection.give_back();
                Ok(tell)
            }
            Err(failure) => Err(failed(address, failure)),
        }
    }

    /// Sends the frame of a request and reads the first frame of its reply; the connection holds the rest, if there is more.
    /// Tells `retried` of the failure after which it is sent once more.
    ///
    /// # Errors
    ///
    /// [`Failure`] says whether the request may have arrived.
    pub async fn call(
        &self,
        address: &str,
        frame: Bytes,
        repeat: Repeat,
        deadline: Instant,
        retried: impl Fn(&Failure),
    ) -> Result<(Connection, Tell), Failure> {
        let length = frame.len();
        if length > FRAME_BYTES_MAX {
            let text = format!("request of {length} bytes, where {FRAME_BYTES_MAX} are the limit");
            return Err(Failure::Unsent(io::Error::new(io::ErrorKind::InvalidInput, text)));
        }
        let connection = self.connect(self.pool.take(address), deadline).await?;
        let origin = connection.origin();
        if origin == Origin::AfterStale {
            count(&self.counters.client_force_new_conn);
        }
        let failure = match self.exchange(connection, frame.clone(), deadline).await {
            Ok(answered) => return Ok(answered),
            Err(failure) => failure,
        };
        let again = match &failure {
            Failure::Unsent(_) => true,
            Failure::Sent(_) => repeat == Repeat::Harmless,
        };
        if origin != Origin::Pooled || !again || Instant::now() >= deadline {
            return Err(failure);
        }
        count(&self.counters.client_retries);
        count(&self.counters.client_force_new_conn);
        retried(&failure);
        let connection = match self.connect(self.pool.fresh(address), deadline).await {
            Ok(connection) => connection,
            Err(second) => return Err(worse(failure, second)),
        };
        let second = self.exchange(connection, frame, deadline).await;
        second.map_err(|second| worse(failure, second))
    }

    async fn connect(
        &self,
        connecting: impl Future<Output = io::Result<Connection>>,
        deadline: Instant,
    ) -> Result<Connection, Failure> {
        match timeout_at(deadline, connecting).await {
            Ok(connected) => connected.map_err(Failure::Unsent),
            Err(_) => {
                count(&self.counters.client_write_timeouts);
                Err(Failure::Unsent(timed_out("no connection in time")))
            }
        }
    }

    async fn exchange(
        &self,
        mut connection: Connection,
        frame: Bytes,
        deadline: Instant,
    ) -> Result<(Connection, Tell), Failure> {
        if !connection.send(frame).await {
            return Err(Failure::Unsent(broken()));
        }
        match timeout_at(deadline, connection.receive()).await {
            Ok(Some(frame)) => match read_tell(frame) {
                Ok(tell) => Ok((connection, tell)),
                Err(cause) => Err(Failure::Sent(cause)),
            },
            Ok(None) => Err(Failure::Sent(broken())),
            Err(_) => {
                count(&self.counters.client_read_timeouts);
                Err(Failure::Sent(timed_out("no reply in time")))
            }
        }
    }
}

/// Reads one frame of a reply.
///
/// # Errors
///
/// The frame is no reply, or one that this release does not know.
pub fn read_tell(frame: Bytes) -> io::Result<Tell> {
    let reply = Reply::decode(frame).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "a reply that this release does not know");
    reply.tell.ok_or_else(unknown)
}

/// A request that may have arrived once may have arrived, whatever became of its second try.
fn worse(first: Failure, second: Failure) -> Failure {
    match (first, second) {
        (Failure::Unsent(_), second) => second,
        (Failure::Sent(_), Failure::Unsent(cause) | Failure::Sent(cause)) => Failure::Sent(cause),
    }
}

fn failed(address: &str, failure: Failure) -> Error {
    let address = address.to_owned();
    match failure {
        Failure::Unsent(cause) => Error::Unreachable { address, cause },
        Failure::Sent(cause) => Error::Unanswered { address, cause },
    }
}

fn unexpected(address: &str, tell: Tell) -> Error {
    match tell {
        Tell::Refused(refused) => Error::Refused {
            address: address.to_owned(),
            message: refused.message,
        },
        Tell::NoLeader(_) => Error::NoLeader,
        Tell::Redirect(_)
        | Tell::Description(_)
        | Tell::Done(_)
        | Tell::Released(_)
        | Tell::Opening(_)
        | Tell::Chunk(_)
        | Tell::End(_)
        | Tell::Broken(_) => Error::Puzzled(address.to_owned()),
    }
}

fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "connection broken")
}

fn timed_out(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, text)
}

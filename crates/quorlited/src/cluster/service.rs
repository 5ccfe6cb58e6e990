//! The cluster service: answers what other nodes ask on the service channel.
//!
//! ```text
//!  duplex ──Request──► describe │ join (admission) │ notify, promise, release (founding) │ forward (http's handler)
//!         ◄──Reply───
//! ```
//!
//! One request at a time on each connection; an idle one is dropped after half a minute, unless told otherwise. An answer streams, and the
//! stream is held back by the one who reads it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use store::member::Joined;
use store::transport::{BoxFuture, Duplex};
use tracing::debug;

use super::admission::{self, Admission};
use super::client::Client;
use super::counters::Counters;
use super::founding::Founding;
use super::ledger::Ledger;
use super::message::{Ask, Description, Done, Opening, Reply, Request, Tell};
use super::pool::Usage;
use crate::forwarded::{Answer, Forwarded};
use crate::net::counters::count;

/// A connection that asks nothing for this long is dropped.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Answers forwarded requests, on the node that leads.
pub trait Handler: Send + Sync + 'static {
    /// Runs a request here. A node that does not lead says so in the head.
    ///
    /// Dropping the future, or the answer's body, means that the client has gone.
    fn handle(&self, forwarded: Forwarded) -> BoxFuture<'static, Answer>;
}

/// What a node tells about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its HTTP API, with scheme.
    pub api_url: String,
    /// Its release.
    pub version: String,
}

/// The service; cheap to clone.
#[derive(Clone)]
pub struct Service {
    ledger: Arc<dyn Ledger>,
    handler: Arc<dyn Handler>,
    founding: Arc<Founding>,
    client: Client,
    identity: Identity,
    idle_time_max: Duration,
}

impl Service {
    /// A service for `ledger`, whose forwarded requests go to `handler`.
    pub fn new(
        ledger: Arc<dyn Ledger>,
        handler: Arc<dyn Handler>,
        founding: Arc<Founding>,
        client: Client,
        identity: Identity,
    ) -> Self {
        Self {
            ledger,
            handler,
            founding,
            client,
            identity,
            idle_time_max: IDLE_TIME_MAX,
        }
    }

    /// The same, with another patience for idle connections.
    pub fn with_idle_time_max(mut self, idle_time_max: Duration) -> Self {
        self.idle_time_max = idle_time_max;
        self
    }

    /// Serves one connection; returns when it breaks or has been idle for too long.
    pub async fn serve(&self, mut duplex: Duplex, from: SocketAddr) {
        while let Ok(Some(frame)) = tokio::time::timeout(self.idle_time_max, duplex.rx.recv()).await {
            let request = match Request::decode(frame) {
                Ok(request) if request.version > 0 => request,
                Ok(_) | Err(_) => {
                    debug!(%from, "malformed request");
                    duplex
                        .tx
                        .send(Reply::frame(Tell::refused("malformed request")))
                        .await
                        .ok();
                    return;
                }
            };
            if !self.answer(&duplex, request, from).await {
                return;
            }
        }
    }

    /// What this node tells about itself.
    pub fn describe(&self) -> Description {
        let peer = self.ledger.peer();
        let leader = self.ledger.leader();
        Description {
            is_leader: leader.as_ref().is_some_and(|leader| leader.id == peer.id),
            peer: Some((&peer).into()),
            api_url: self.identity.api_url.clone(),
            version: self.identity.version.clone(),
            commit_index: self.ledger.committed(),
            leader: leader.as_ref().map(Into::into),
            initialized: self.ledger.is_initialized(),
            quarantine: self.ledger.quarantine().unwrap_or_default(),
        }
    }

    /// Describes the node at `address`, without a connection when that is this one.
    ///
    /// # Errors
    ///
    /// As [`Client::describe`].
    pub async fn describe_peer(&self, address: &str, timeout: Duration) -> Result<Description, super::Error> {
        if address == self.ledger.peer().address {
            count(&self.counters().describe_req_local);
            return Ok(self.describe());
        }
        self.client.describe(address, timeout).await
    }

    /// Connections to other nodes' services, by address.
    pub fn connections(&self) -> Vec<(String, Usage)> {
        self.client.connections()
    }

    /// What is counted.
    pub fn counters(&self) -> &Counters {
        self.client.counters()
    }

    /// False when the connection is of no more use.
    async fn answer(&self, duplex: &Duplex, request: Request, from: SocketAddr) -> bool {
        let counters = self.counters();
        let tell = match request.ask {
            Some(Ask::Forward(forwarded)) => return self.forward(duplex, forwarded).await,
            Some(Ask::Describe(_)) => {
                count(&counters.describe_req);
                count(&counters.describe_resp);
                Tell::Description(self.describe())
            }
            Some(Ask::Join(join)) => {
                count(&counters.join_req);
                let admission = admission::admit(&*self.ledger, &self.client, join).await;
                if let Admission::Joined(joined) = &admission {
                    count(match joined {
                        Joined::Added => &counters.joins,
                        Joined::Unchanged => &counters.ignored_joins,
                        Joined::Replaced => &counters.removed_before_joins,
                    });
                }
                admission.into()
            }
            Some(Ask::Notify(notify)) => {
                count(&counters.notify_req);
                told(self.founding.note(&*self.ledger, notify).await)
            }
            Some(Ask::Promise(attempt)) => told(self.founding.promise(&*self.ledger, attempt).await),
            Some(Ask::Release(release)) => Tell::Released(self.founding.release(&*self.ledger, release)),
            None => {
                debug!(%from, version = request.version, "unknown request");
                Tell::refused(format!("unknown request: this node runs {}", self.identity.version))
            }
        };
        duplex.tx.send(Reply::frame(tell)).await.is_ok()
    }

    async fn forward(&self, duplex: &Duplex, forwarded: Forwarded) -> bool {
        if let Some(operation) = &forwarded.operation {
            count(self.counters().received(operation));
        }
        let answer = tokio::select! {
            answer = self.handler.handle(forwarded) => answer,
            () = duplex.tx.closed() => return false,
        };
        stream(duplex, answer).await
    }
}

impl From<Admission> for Tell {
    fn from(admission: Admission) -> Self {
        match admission {
            Admission::Joined(_) => Self::Done(Done {}),
            Admission::Redirect(leader) => Self::Redirect((&leader).into()),
            Admission::NoLeader => Self::NoLeader(Done {}),
            Admission::Refused(message) => Self::refused(message),
        }
    }
}

fn told(result: Result<(), String>) -> Tell {
    match result {
        Ok(()) => Tell::Done(Done {}),
        Err(message) => Tell::refused(message),
    }
}

/// Sends an answer as it is made; what is there at once travels with the head.
async fn stream(duplex: &Duplex, mut answer: Answer) -> bool {
    let first = match answer.body.try_recv() {
        Ok(Ok(chunk)) => chunk,
        Ok(Err(broken)) => return send(duplex, Tell::Broken(broken.0)).await,
        Err(_) => Bytes::new(),
    };
    let complete = answer.body.is_closed() && answer.body.is_empty();
    let opening = Opening {
        head: Some(answer.head),
        body: first,
        complete,
    };
    if !send(duplex, Tell::Opening(opening)).await {
        return false;
    }
    if complete {
        return true;
    }
    loop {
        let chunk = tokio::select! {
            chunk = answer.body.recv() => chunk,
            () = duplex.tx.closed() => return false,
        };
        let (tell, last) = match chunk {
            Some(Ok(chunk)) => (Tell::Chunk(chunk), false),
            Some(Err(broken)) => (Tell::Broken(broken.0), true),
            None => (Tell::End(Done {}), true),
        };
        let broken = matches!(tell, Tell::Broken(_));
        if !send(duplex, tell).await || broken {
            return false;
        }
        if last {
            return true;
        }
    }
}

async fn send(duplex: &Duplex, tell: Tell) -> bool {
    duplex.tx.send(Reply::frame(tell)).await.is_ok()
}

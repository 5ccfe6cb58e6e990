//! Connections to other nodes' cluster services, kept for the next request.
//!
//! A connection carries one request at a time. At most [`PER_PEER_MAX`] of them are in use for one peer; further
//! requests wait. The receiver drops idle ones after a while, and a peer that restarts drops them all: a connection
//! that has ended is found out when it is taken, or at the latest when its request breaks.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use store::transport::{Channel, Duplex};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::net::TcpTransport;

/// Requests in flight to one peer. Further ones wait their turn, within their own time limit.
pub const PER_PEER_MAX: usize = 64;

/// The pool; one for the process.
#[derive(Debug)]
pub struct Pool {
    transport: TcpTransport,
    lanes: Mutex<HashMap<String, Arc<Lane>>>,
}

#[derive(Debug)]
struct Lane {
    idle: Mutex<Vec<Duplex>>,
    slots: Arc<Semaphore>,
}

/// Connections to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Kept for the next request.
    pub idle: usize,
    /// Carrying one.
    pub in_use: usize,
}

/// Where a connection came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It has served before, and may turn out to be stale.
    Pooled,
    /// It was made for this request.
    Fresh,
    /// It was made for this request, because those in the pool had ended.
    AfterStale,
}

/// A connection in use. Dropping it closes it; [`Connection::give_back`] keeps it.
#[derive(Debug)]
pub struct Connection {
    duplex: Duplex,
    origin: Origin,
    lane: Arc<Lane>,
    _slot: OwnedSemaphorePermit,
}

impl Pool {
    /// An empty pool.
    pub fn new(transport: TcpTransport) -> Self {
        Self {
            transport,
            lanes: Mutex::new(HashMap::new()),
        }
    }

    /// A connection to `address`, pooled if there is one that has not ended.
    ///
    /// # Errors
    ///
    /// Those of dialling.
    pub async fn take(&self, address: &str) -> io::Result<Connection> {
        let lane = self.lane(address);
        let slot = lane.slot().await?;
        let mut origin = Origin::Fresh;
        while let Some(mut duplex) = lane.pop() {
            if is_open(&mut duplex) {
                return Ok(Connection {
                    duplex,
                    origin: Origin::Pooled,
                    lane,
                    _slot: slot,
                });
            }
            origin = Origin::AfterStale;
        }
        self.dial(address, lane, slot, origin).await
    }

    /// A connection to `address` that nobody has used. Those in the pool are as old as one that has just failed, and go.
    ///
    /// # Errors
    ///
    /// Those of dialling.
    pub async fn fresh(&self, address: &str) -> io::Result<Connection> {
        let lane = self.lane(address);
        lock(&lane.idle).clear();
        let slot = lane.slot().await?;
        self.dial(address, lane, slot, Origin::Fresh).await
    }

    /// The connections that there are, by peer.
    pub fn usage(&self) -> Vec<(String, Usage)> {
        let lanes = lock(&self.lanes);
        let usage = |lane: &Lane| Usage {
            idle: lock(&lane.idle).len(),
            in_use: PER_PEER_MAX - lane.slots.available_permits(),
        };
        lanes
            .iter()
            .map(|(address, lane)| (address.clone(), usage(lane)))
            .collect()
    }

    async fn dial(
        &self,
        address: &str,
        lane: Arc<Lane>,
        slot: OwnedSemaphorePermit,
        origin: Origin,
    ) -> io::Result<Connection> {
        let duplex = self.transport.dial(address, Channel::Service).await?;
        Ok(Connection {
            duplex,
            origin,
            lane,
            _slot: slot,
        })
    }

    fn lane(&self, address: &str) -> Arc<Lane> {
        let mut lanes = lock(&self.lanes);
        if let Some(lane) = lanes.get(address) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane {
            idle: Mutex::new(Vec::new()),
            slots: Arc::new(Semaphore::new(PER_PEER_MAX)),
        });
        lanes.insert(address.to_owned(), Arc::clone(&lane));
        lane
    }
}

impl Lane {
    async fn slot(&self) -> io::Result<OwnedSemaphorePermit> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        slot.map_err(|closed| io::Error::other(closed.to_string()))
    }

    fn pop(&self) -> Option<Duplex> {
        lock(&self.idle).pop()
    }
}

impl Connection {
    /// Where it came from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Queues a frame; false when the connection has ended and the frame certainly did not leave.
    pub async fn send(&self, frame: Bytes) -> bool {
        self.duplex.tx.send(frame).await.is_ok()
    }

    /// The next frame; `None` when the connection has ended.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.duplex.rx.recv().await
    }

    /// Keeps the connection for the next request. Only when the reply to the last one was read to its end.
    pub fn give_back(self) {
        lock(&self.lane.idle).push(self.duplex);
    }
}

/// Anything that came unasked makes a connection as useless as its end does.
fn is_open(duplex: &mut Duplex) -> bool {
    !duplex.tx.is_closed() && matches!(duplex.rx.try_recv(), Err(TryRecvError::Empty))
}

/// Nothing panics under these locks, so a poisoned one still holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

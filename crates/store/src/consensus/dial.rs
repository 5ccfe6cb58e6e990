//! Connecting to peers: who speaks to whom, from where, and with a bound on the wait.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::consensus::addresses::Addresses;
use crate::consensus::kept::Acknowledged;
use crate::consensus::wire::{self, Open};
use crate::member::{NodeId, Peer};
use crate::transport::{Channel, Duplex, Transport};

/// How long connecting may take, whatever the transport's own patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens streams from this node.
#[derive(Clone)]
pub(crate) struct Dialler {
    pub me: NodeId,
    pub transport: Arc<dyn Transport>,
    pub addresses: Arc<Addresses>,
    /// What peers have acknowledged to this node.
    pub acknowledged: Arc<Acknowledged>,
}

impl Dialler {
    /// Connects and says who speaks to whom.
    ///
    /// # Errors
    ///
    /// What the transport reports; `TimedOut`.
    pub(crate) async fn dial(&self, peer: &Peer, channel: Channel) -> io::Result<Duplex> {
        let peer = self.addresses.locate(peer);
        let connecting = self.transport.connect(&peer, channel);
        let duplex = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| {
            // As unreachable as one that refuses: consensus backs off.
            let text = format!("{} did not accept a connection in {CONNECT_TIMEOUT:?}", peer.address);
            io::Error::new(io::ErrorKind::HostUnreachable, text)
        })??;
        let open = Open {
            version: wire::VERSION,
            from: self.me.0,
            to: peer.id.0,
        };
        duplex.tx.send(wire::frame(&open)).await.map_err(|_| broken())?;
        Ok(duplex)
    }
}

/// The stream broke.
pub(crate) fn broken() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the stream broke")
}

/// A task that ends with its owner.
pub(crate) struct Task<T>(pub tokio::task::JoinHandle<T>);

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

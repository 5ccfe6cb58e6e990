//! What the API asks of other nodes, so that it can be tested without a network.

use std::time::Duration;

use command::request::Key;
use store::transport::BoxFuture;

use crate::cluster::forward::Served;
use crate::cluster::message::Description;
use crate::cluster::{Error, Forwarder, Service};
use crate::forwarded::Forwarded;

/// The other nodes.
pub trait Peers: Send + Sync + 'static {
    /// Runs a request on the leader; resolves when its answer begins.
    fn forward(&self, forwarded: Forwarded, timeout: Duration) -> BoxFuture<'_, Result<Served, Error>>;
    /// As [`Self::forward`], for a request that is kept for another try.
    fn forward_again<'a>(
        &'a self,
        forwarded: &'a mut Forwarded,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Served, Error>>;
    /// A key that makes a write of this node's own harmless to repeat.
    fn key(&self) -> Key;
    /// Asks the node at an inter-node address who it is.
    fn describe<'a>(&'a self, address: &'a str, timeout: Duration) -> BoxFuture<'a, Result<Description, Error>>;
}

/// The other nodes, by way of the cluster service.
pub struct Cluster {
    /// Sends requests to the leader.
    pub forwarder: Forwarder,
    /// Describes nodes, this one included.
    pub service: Service,
}

impl Peers for Cluster {
    fn forward(&self, forwarded: Forwarded, timeout: Duration) -> BoxFuture<'_, Result<Served, Error>> {
        Box::pin(self.forwarder.forward(forwarded, timeout))
    }

    fn forward_again<'a>(
        &'a self,
        forwarded: &'a mut Forwarded,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Served, Error>> {
        Box::pin(self.forwarder.forward_again(forwarded, timeout))
    }

    fn key(&self) -> Key {
        self.forwarder.key()
    }

    fn describe<'a>(&'a self, address: &'a str, timeout: Duration) -> BoxFuture<'a, Result<Description, Error>> {
        Box::pin(self.service.describe_peer(address, timeout))
    }
}

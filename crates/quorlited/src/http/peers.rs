//! What the API asks of other nodes, so that it can be tested without a network.

use std::time::Duration;

use command::request::Key;
use store::transport::BoxFuture;

use crate::cluster::forward::Served;
use crate::cluster::message::Description;
use crate::cluster::pool::Usage;
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
    /// What is counted of them.
    fn counters(&self) -> Counted;
    /// Open connections to them, by their addresses.
    fn connections(&self) -> Vec<(String, Usage)>;
    /// Asks the node at an inter-node address who it is.
    fn describe<'a>(&'a self, address: &'a str, timeout: Duration) -> BoxFuture<'a, Result<Description, Error>>;
}

/// Counters, by the maps of `/debug/vars` in which they stand.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// `cluster`
    pub cluster: Vec<(&'static str, u64)>,
    /// `mux`
    pub mux: Vec<(&'static str, u64)>,
    /// `proxy`
    pub proxy: Vec<(&'static str, u64)>,
    /// A part of `store`.
    pub store: Vec<(&'static str, u64)>,
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

    fn counters(&self) -> Counted {
        let counters = self.service.counters();
        Counted {
            cluster: counters.cluster().into(),
            mux: counters.net.mux().into(),
            proxy: counters.proxy().into(),
            store: counters.joining().into(),
        }
    }

    fn connections(&self) -> Vec<(String, Usage)> {
        self.service.connections()
    }

    fn describe<'a>(&'a self, address: &'a str, timeout: Duration) -> BoxFuture<'a, Result<Description, Error>> {
        Box::pin(self.service.describe_peer(address, timeout))
    }
}

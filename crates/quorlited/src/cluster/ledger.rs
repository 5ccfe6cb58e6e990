//! What the cluster service asks of the node, so that it can be tested without one.

use command::entry::Settings;
use store::member::{Joined, Member, Peer};
use store::node::Node;
use store::transport::BoxFuture;

/// A node, as the cluster service sees it.
pub trait Ledger: Send + Sync + 'static {
    /// This node.
    fn peer(&self) -> Peer;
    /// The leader, when one is known.
    fn leader(&self) -> Option<Peer>;
    /// There was a leader a moment ago: if none is known now, the next is being elected.
    fn expects_leader(&self) -> bool;
    /// Why it is in quarantine; `None` when it is not.
    fn quarantine(&self) -> Option<String> {
        None
    }
    /// It is or was part of a cluster.
    fn is_initialized(&self) -> bool;
    /// Membership as last known here.
    fn members(&self) -> Vec<Member>;
    /// The last index known to be committed.
    fn committed(&self) -> u64;
    /// The last applied index.
    fn applied(&self) -> u64;
    /// Forms a new cluster of exactly these voters.
    fn initialize(&self, voters: Vec<Peer>) -> BoxFuture<'_, Result<(), store::Error>>;
    /// The flags of this node that change results.
    fn settings(&self) -> Settings;
    /// Whether a node with these flags may join the cluster of this one.
    ///
    /// # Errors
    ///
    /// What differs, and the way out.
    fn check_joiner(&self, settings: &Settings) -> Result<(), store::Error>;
    /// Adds a node (leader only).
    fn add(&self, peer: Peer, voter: bool) -> BoxFuture<'_, Result<Joined, store::Error>>;
}

impl Ledger for Node {
    fn peer(&self) -> Peer {
        Node::peer(self).clone()
    }

    fn leader(&self) -> Option<Peer> {
        Node::leader(self)
    }

    fn expects_leader(&self) -> bool {
        Node::expects_leader(self)
    }

    fn quarantine(&self) -> Option<String> {
        self.status().soundness.quarantine
    }

    fn is_initialized(&self) -> bool {
        Node::is_initialized(self)
    }

    fn members(&self) -> Vec<Member> {
        Node::members(self)
    }

    fn committed(&self) -> u64 {
        self.status().committed
    }

    fn applied(&self) -> u64 {
        Node::applied(self)
    }

    fn initialize(&self, voters: Vec<Peer>) -> BoxFuture<'_, Result<(), store::Error>> {
        Box::pin(Node::initialize(self, voters))
    }

    fn settings(&self) -> Settings {
        Node::settings(self).clone()
    }

    fn check_joiner(&self, settings: &Settings) -> Result<(), store::Error> {
        Node::check_joiner(self, settings)
    }

    fn add(&self, peer: Peer, voter: bool) -> BoxFuture<'_, Result<Joined, store::Error>> {
        Box::pin(Node::add(self, peer, voter))
    }
}

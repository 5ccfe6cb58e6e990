//! Who is in the cluster: nodes, their names and addresses.

use std::fmt;

/// The identity that consensus knows: random, fsynced in the data directory before its first use, never reused.
///
/// The user's node id is a *name* in the [`Peer`] record; a wiped node comes back under a new identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A node as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its identity in consensus.
    pub id: NodeId,
    /// The user's node id (`-node-id`).
    pub name: String,
    /// The advertised inter-node address, `host:port`, resolved when dialled.
    pub address: String,
}

/// A peer and its part in the membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The node.
    pub peer: Peer,
    /// A voter as the user asked for it; false for a read replica.
    ///
    /// A voter that still catches up as a learner counts as one here, and has `catching_up` set.
    pub voter: bool,
    /// It will vote once it has caught up.
    pub catching_up: bool,
}

/// What became of a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joined {
    /// Added as a learner; a voter is promoted once it has caught up.
    Added,
    /// Already a member with this identity and address.
    Unchanged,
    /// An older entry under this name or address was removed first.
    Replaced,
}

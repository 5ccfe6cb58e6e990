//! Where members are now: a client to a peer outlives the membership that it was made from.
//!
//! openraft keeps its clients when only a node's record changes, so a peer that moved is looked up when it is dialled.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::consensus::types::Membership;
use crate::member::Peer;

/// Addresses by identity, as the last membership seen has them. Bounded by the number of members.
#[derive(Debug, Default)]
pub(crate) struct Addresses(RwLock<BTreeMap<u64, String>>);

impl Addresses {
    /// Takes over what `membership` says.
    pub(crate) fn follow(&self, membership: &Membership) {
        let now = membership.nodes().map(|(id, record)| (*id, record.address.clone()));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = now.collect();
    }

    /// The peer, at its present address; at the one that it is known under when nothing newer is.
    pub(crate) fn locate(&self, peer: &Peer) -> Peer {
        let addresses = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut peer = peer.clone();
        if let Some(address) = addresses.get(&peer.id.0) {
            peer.address.clone_from(address);
        }
        peer
    }
}

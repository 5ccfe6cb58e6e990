//! Who is a member, and the changes: add as learner, promote, remove, hand over.
//!
//! A joiner counts for nothing until it has caught up: it is added as a learner, and the leader's keeper promotes it.
//! An identity is never used again: a wiped node comes back as another one, and the old one is removed first.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use openraft::ChangeMembers;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::consensus::types::{Membership, Record};
use crate::consensus::{Core, Metrics, write_error};
use crate::error::Error;
use crate::member::{Joined, Member, NodeId, Peer};

/// Entries that a learner may lack and still be promoted: at most what one frame carries.
const PROMOTION_LAG_MAX: u64 = 512;

/// How long a change of membership waits for one that is in progress.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(5);

/// How often it looks.
const CHANGE_PAUSE: Duration = Duration::from_millis(10);

/// The members, in order of name.
pub(crate) fn members(membership: &Membership) -> Vec<Member> {
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let mut members: Vec<Member> = membership
        .nodes()
        .map(|(id, record)| Member {
            peer: peer(*id, record),
            voter: record.voter,
            catching_up: record.voter && !voters.contains(id),
        })
        .collect();
    members.sort_by(|a, b| a.peer.name.cmp(&b.peer.name));
    members
}

/// A member as a peer.
pub(crate) fn peer(id: u64, record: &Record) -> Peer {
    Peer {
        id: NodeId(id),
        name: record.name.clone(),
        address: record.address.clone(),
    }
}

/// The leader that the metrics know, unless it is this node without the right to lead.
pub(crate) fn leader(metrics: &Metrics) -> Option<Peer> {
    let id = metrics.current_leader?;
    let record = metrics.membership_config.membership().get_node(&id)?;
    Some(peer(id, record))
}

impl Core {
    /// See [`crate::Node::add`].
    pub(crate) async fn add(&self, peer: Peer, voter: bool) -> Result<Joined, Error> {
        let metrics = self.leading()?;
        let membership = metrics.membership_config.membership().clone();
        if let Some(record) = membership.get_node(&peer.id.0) {
            if record.address == peer.address && record.name == peer.name {
                return Ok(Joined::Unchanged);
            }
            let record = Record {
                name: peer.name,
                address: peer.address,
                voter: record.voter,
            };
            self.change(ChangeMembers::SetNodes(BTreeMap::from([(peer.id.0, record)])), true)
                .await?;
            return Ok(Joined::Replaced);
        }
        let replaced = self.make_room(&membership, &peer).await?;
        info!(node = %peer.name, id = %peer.id, address = %peer.address, voter, "adding node");
        let record = Record {
            name: peer.name,
            address: peer.address,
            voter,
        };
        self.change(ChangeMembers::AddNodes(BTreeMap::from([(peer.id.0, record)])), true)
            .await?;
        Ok(if replaced { Joined::Replaced } else { Joined::Added })
    }

    /// Removes what stands under the name or address of a node that is to be added.
    async fn make_room(&self, membership: &Membership, peer: &Peer) -> Result<bool, Error> {
        let taken: Vec<u64> = membership
            .nodes()
            .filter(|(_, record)| record.name == peer.name || record.address == peer.address)
            .map(|(id, _)| *id)
            .collect();
        for id in &taken {
            self.remove_id(*id).await?;
        }
        Ok(!taken.is_empty())
    }

    /// See [`crate::Node::remove`].
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        let metrics = self.leading()?;
        let membership = metrics.membership_config.membership();
        let ids: Vec<u64> = membership
            .nodes()
            .filter(|(_, record)| record.name == name)
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            self.remove_id(id).await?;
        }
        Ok(())
    }

    async fn remove_id(&self, id: u64) -> Result<(), Error> {
        let metrics = self.leading()?;
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let Some(record) = membership.get_node(&id) else {
            return Ok(());
        };
        info!(node = %record.name, id = %NodeId(id), "removing node");
        if !voters.contains(&id) {
            return self
                .change(ChangeMembers::RemoveNodes(BTreeSet::from([id])), false)
                .await;
        }
        if voters.len() == 1 {
            let text = format!("need at least one voter in configuration: {} is the last", record.name);
            return Err(Error::Membership(text));
        }
        self.change(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false)
            .await
    }

    /// Promotes learners that are to vote and have caught up; the leader's keeper calls it.
    pub(crate) async fn promote(&self) {
        let Ok(metrics) = self.leading() else { return };
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = |id: &u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(id).and_then(|at| at.as_ref()).map(|at| at.index)
        };
        let ready: BTreeSet<u64> = membership
            .nodes()
            .filter(|(id, record)| record.voter && !voters.contains(id))
            .filter(|(id, _)| matched(id).is_some_and(|at| at + PROMOTION_LAG_MAX >= last))
            .map(|(id, _)| *id)
            .collect();
        // One at a time: each promotion must not lose the quorum that it starts from.
        if let Some(id) = ready.first() {
            info!(id = %NodeId(*id), "promoting node to voter");
            if let Err(error) = self
                .change(ChangeMembers::AddVoterIds(BTreeSet::from([*id])), true)
                .await
            {
                warn!(%error, id = %NodeId(*id), "promotion failed, will be tried again");
            }
        }
    }

    /// Changes the membership, after a change that is still in progress.
    async fn change(&self, change: ChangeMembers<u64, Record>, retain: bool) -> Result<(), Error> {
        let deadline = Instant::now() + CHANGE_TIME_MAX;
        loop {
            let changed = self.raft().change_membership(change.clone(), retain).await;
            let Err(error) = changed else {
                return Ok(());
            };
            // Certain: nothing was appended.
            let in_progress = matches!(
                error,
                RaftError::APIError(ClientWriteError::ChangeMembershipError(
                    ChangeMembershipError::InProgress(_)
                ))
            );
            if !in_progress || Instant::now() >= deadline {
                return Err(write_error(error));
            }
            tokio::time::sleep(CHANGE_PAUSE).await;
        }
    }

    /// See [`crate::Node::transfer`].
    pub(crate) async fn transfer(&self, target: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let metrics = self.leading()?;
        let target = self.successor(&metrics, target)?;
        info!(to = %NodeId(target), "handing over leadership");
        let mut watch = self.raft().metrics();
        self.raft()
            .trigger()
            .transfer_leader(target)
            .await
            .map_err(|e| Error::Stopped(e.to_string()))?;
        let handed_over = async {
            loop {
                if watch
                    .borrow_watched()
                    .current_leader
                    .is_some_and(|leader| leader != self.id().0)
                {
                    return;
                }
                if watch.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(timeout, handed_over)
            .await
            .map_err(|_| Error::NoPeer)
    }

    /// The voter to hand over to: the named one, or the most up to date.
    fn successor(&self, metrics: &Metrics, target: Option<&str>) -> Result<u64, Error> {
        let me = self.id().0;
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        if let Some(name) = target {
            let (id, _) = membership
                .nodes()
                .find(|(_, record)| record.name == name)
                .ok_or(Error::UnknownNode)?;
            if *id == me {
                return Err(Error::AlreadyLeader);
            }
            if !voters.contains(id) {
                return Err(Error::Membership(format!(
                    "node {name} does not vote, so it cannot lead"
                )));
            }
            return Ok(*id);
        }
        let matched = |id: &u64| {
            let replication = metrics.replication.as_ref()?;
            replication.get(id).and_then(|at| at.as_ref()).map(|at| at.index)
        };
        voters
            .into_iter()
            .filter(|id| *id != me)
            .max_by_key(|id| matched(id))
            .ok_or(Error::NoPeer)
    }

    /// The metrics, if this node leads.
    pub(crate) fn leading(&self) -> Result<Metrics, Error> {
        let metrics = self.metrics();
        if metrics.current_leader == Some(self.id().0) {
            return Ok(metrics);
        }
        Err(Error::NotLeader { leader: self.leader() })
    }
}

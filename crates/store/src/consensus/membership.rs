//! Who is a member, and the changes: add as learner, promote, remove, hand over.
//!
//! A joiner counts for nothing until it has caught up: it is added as a learner, and the leader's keeper promotes it.
//! An identity is never used again: a wiped node comes back as another one, and the old one is removed first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant, ServerState};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::consensus::types::{Membership, Record};
use crate::consensus::{Core, Metrics, Raft, write_error};
use crate::error::Error;
use crate::member::{Joined, Member, NodeId, Peer};

/// Entries that a learner may lack and still be promoted: at most what one frame carries.
const PROMOTION_LAG_MAX: u64 = 512;

/// How long a change may take before its asker is told that it is not confirmed.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// A node that answered the leader within this is up.
const SILENCE_MAX: Duration = Duration::from_secs(1);

/// How often a change looks whether another, of a leader before, has come through.
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

/// How far each follower's log is known to agree with that of `me`, by name; nothing unless it leads.
pub(crate) fn followers(metrics: &Metrics, me: NodeId) -> Vec<(String, u64)> {
    let name = |id: u64| {
        let mut nodes = metrics.membership_config.membership().nodes();
        nodes
            .find(|(known, _)| **known == id)
            .map(|(_, record)| record.name.clone())
    };
    metrics
        .replication
        .iter()
        .flatten()
        .filter(|(id, _)| **id != me.0)
        .filter_map(|(id, at)| Some((name(*id)?, at.as_ref().map_or(0, |at| at.index))))
        .collect()
}

/// A member as a peer.
pub(crate) fn peer(id: u64, record: &Record) -> Peer {
    Peer {
        id: NodeId(id),
        name: record.name.clone(),
        address: record.address.clone(),
    }
}

/// This node leads, as far as it knows.
///
/// openraft names a node as its own leader also after it was removed, or shut down: its state says more.
pub(crate) fn leads(metrics: &Metrics) -> bool {
    metrics.current_leader == Some(metrics.id) && metrics.state == ServerState::Leader
}

/// No other node votes.
pub(crate) fn is_alone(metrics: &Metrics) -> bool {
    // Not by `voter_ids`, which builds a set: this runs with every request.
    let configs = metrics.membership_config.membership().get_joint_config();
    configs.iter().flatten().all(|id| *id == metrics.id)
}

/// The leader that the metrics know, unless it is this node without the right to lead.
pub(crate) fn leader(metrics: &Metrics) -> Option<Peer> {
    let id = metrics.current_leader?;
    if id == metrics.id && !leads(metrics) {
        return None;
    }
    let record = metrics.membership_config.membership().get_node(&id)?;
    Some(peer(id, record))
}

/// How far a node's log is known to match the leader's.
fn matched(metrics: &Metrics, id: u64) -> Option<u64> {
    let replication = metrics.replication.as_ref()?;
    replication.get(&id)?.as_ref().map(|at| at.index)
}

/// This node votes, by the latest membership in its log, committed or not: its changes of it can be asked for.
pub(crate) fn may_change(metrics: &Metrics) -> bool {
    let membership = metrics.membership_config.membership();
    membership.voter_ids().any(|id| id == metrics.id)
}

/// A node answered the leader of late.
fn is_up(metrics: &Metrics, id: u64) -> bool {
    let answered = metrics.heartbeat.as_ref().and_then(|nodes| nodes.get(&id).copied());
    answered.flatten().is_some_and(|at| at.elapsed() <= SILENCE_MAX)
}

/// The voters are being changed, and the second of the two entries is not there.
fn is_half_way(metrics: &Metrics) -> bool {
    let membership = &metrics.membership_config;
    membership.membership().get_joint_config().len() > 1
        && membership.log_id() == metrics.committed_membership_config.log_id()
}

/// A learner that is to vote, has caught up, and is there: a voter that is not would cost the cluster a majority.
pub(crate) fn promotable(metrics: &Metrics) -> Option<u64> {
    let membership = metrics.membership_config.membership();
    let voters: BTreeSet<u64> = membership.voter_ids().collect();
    let last = metrics.last_log_index.unwrap_or(0);
    membership
        .nodes()
        .filter(|(id, record)| record.voter && !voters.contains(id))
        .filter(|(id, _)| matched(metrics, **id).is_some_and(|at| at + PROMOTION_LAG_MAX >= last))
        .find(|(id, _)| is_up(metrics, **id))
        .map(|(id, _)| *id)
}

/// Makes one change when its turn comes: between the two entries of another it would end that one early.
async fn change_in_turn(
    raft: Raft,
    turn: Arc<Semaphore>,
    change: ChangeMembers<u64, Record>,
    retain: bool,
) -> Result<(), Error> {
    let _turn = turn.acquire().await.map_err(|e| Error::Stopped(e.to_string()))?;
    let deadline = tokio::time::Instant::now() + CHANGE_TIMEOUT;
    loop {
        // A node that was removed may still be elected, to commit its own removal; openraft panics in debug builds when
        // asked for a change then. Certain: nothing was appended.
        if !may_change(&raft.metrics().borrow_watched()) {
            return Err(Error::NotLeader { leader: None });
        }
        let Err(error) = raft.change_membership(change.clone(), retain).await else {
            return Ok(());
        };
        // Certain: nothing was appended, since an entry of a leader before is not committed yet.
        let in_progress = matches!(
            error,
            RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_)
            ))
        );
        if !in_progress || tokio::time::Instant::now() >= deadline {
            return Err(write_error(error));
        }
        tokio::time::sleep(CHANGE_PAUSE).await;
    }
}

impl Core {
    /// See [`crate::Node::add`].
    pub(crate) async fn add(&self, peer: Peer, voter: bool) -> Result<Joined, Error> {
        // One at a time: two that come under one name at once must see each other.
        let _one = self
            .admission
            .acquire()
            .await
            .map_err(|e| Error::Stopped(e.to_string()))?;
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

    /// Something in the membership is to be finished by this node, the leader.
    pub(crate) fn has_unfinished(&self) -> bool {
        self.turn.available_permits() > 0
            && self.with_metrics(|metrics| leads(metrics) && (is_half_way(metrics) || promotable(metrics).is_some()))
    }

    /// Finishes what a leader left half-way, and promotes one learner that is to vote and has caught up.
    pub(crate) async fn finish(&self) {
        let Ok(metrics) = self.leading() else { return };
        if is_half_way(&metrics) {
            info!("finishing a change of membership that another leader began");
            // An empty change: the voters that were to be stay, those that were to go are gone.
            self.try_change(
                ChangeMembers::AddVoterIds(BTreeSet::new()),
                false,
                "membership not finished",
            )
            .await;
            return;
        }
        // One at a time: each promotion must not lose the quorum that it starts from.
        if let Some(id) = promotable(&metrics) {
            info!(id = %NodeId(id), "promoting node to voter");
            self.try_change(
                ChangeMembers::AddVoterIds(BTreeSet::from([id])),
                true,
                "promotion failed",
            )
            .await;
        }
    }

    async fn try_change(&self, change: ChangeMembers<u64, Record>, retain: bool, failed: &str) {
        if let Err(error) = self.change(change, retain).await {
            warn!(%error, "{failed}, will be tried again");
        }
    }

    /// Changes the membership, after a change that is in progress, and waits for as long as a majority may take.
    ///
    /// A change of voters is two entries. Whoever asked may give up; the second is proposed all the same.
    async fn change(&self, change: ChangeMembers<u64, Record>, retain: bool) -> Result<(), Error> {
        let changing = tokio::spawn(change_in_turn(self.raft().clone(), self.turn.clone(), change, retain));
        match tokio::time::timeout(CHANGE_TIMEOUT, changing).await {
            Ok(Ok(changed)) => changed,
            Ok(Err(error)) => Err(Error::Stopped(error.to_string())),
            Err(_) => Err(Error::Membership(format!(
                "no majority confirmed the change in {CHANGE_TIMEOUT:?}: it may or may not take effect; look at the \
                 members before you ask for it again"
            ))),
        }
    }

    /// See [`crate::Node::transfer`].
    pub(crate) async fn transfer(&self, target: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let metrics = self.leading()?;
        let target = self.successor(&metrics, target)?;
        info!(to = %NodeId(target), "handing over leadership");
        self.raft()
            .trigger()
            .transfer_leader(target)
            .await
            .map_err(|e| Error::Stopped(e.to_string()))?;
        let me = self.id().0;
        let decided = self.until(|now| {
            let leader = now.current_leader.filter(|_| now.current_term > metrics.current_term)?;
            Some(leader != me)
        });
        match tokio::time::timeout(timeout, decided).await {
            Ok(Some(true)) => Ok(()),
            Ok(Some(false)) => Err(Error::Membership(
                "the chosen node did not take over, and this one was elected again; try again, or choose another"
                    .to_owned(),
            )),
            Ok(None) => Err(Error::Stopped("consensus has stopped".to_owned())),
            Err(_) => Err(Error::Membership(format!(
                "nobody has taken over in {timeout:?}; the hand-over may still happen"
            ))),
        }
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
            if self.progress.divergence.is_in_quarantine(NodeId(*id)) {
                return Err(Error::Membership(format!(
                    "node {name} is in quarantine: choose another, or none"
                )));
            }
            if !is_up(metrics, *id) {
                // The leader would step back for a node that is not there, and nobody would take writes meanwhile.
                return Err(Error::Membership(format!(
                    "node {name} did not answer within the last {SILENCE_MAX:?}: choose another, or none"
                )));
            }
            return Ok(*id);
        }
        voters
            .into_iter()
            .filter(|id| *id != me && !self.progress.divergence.is_in_quarantine(NodeId(*id)))
            .max_by_key(|id| (is_up(metrics, *id), matched(metrics, *id)))
            .ok_or(Error::NoPeer)
    }

    /// Whether this node leads; cheap, for every request.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`].
    pub(crate) fn ensure_leading(&self) -> Result<(), Error> {
        if self.with_metrics(leads) {
            return Ok(());
        }
        Err(Error::NotLeader { leader: self.leader() })
    }

    /// Whether this node leads and was answered by a majority of late: what a weak read asks.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`].
    pub(crate) fn ensure_followed(&self) -> Result<(), Error> {
        if self.is_followed()? {
            return Ok(());
        }
        Err(Error::NotLeader { leader: self.leader() })
    }

    /// The metrics, if this node leads and a majority is behind it.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`].
    fn leading(&self) -> Result<Metrics, Error> {
        let metrics = self.metrics();
        if leads(&metrics) && self.is_answered(&metrics) {
            return Ok(metrics);
        }
        Err(Error::NotLeader { leader: self.leader() })
    }
}

//! Consensus: the only room that knows openraft. What leaves it are our own types.
//!
//! ```text
//!  node ──► Core ──► openraft ──► log_storage ──► log
//!                       │   └───► network ──► peers ──► server
//!                       └──► state_machine ──► executor ──► apply
//! ```
//!
//! Every trap of openraft that was found has its comment where it is avoided:
//! * pre-vote on, and implemented ([`network`], [`config`]); transfer implemented; appends pipelined ([`network`]).
//! * entries are decoded once ([`tail`]); log ids carry the term only ([`types`]).
//! * a node is addressed by identity, never by address alone ([`wire::Open`], [`server`]).
//! * reads by ReadIndex only ([`reads`]); no leader is restored from a stored vote ([`config`]).
//! * snapshots and purges by our own triggers ([`config`], `keeper`); purging makes SQLite durable first ([`log_storage`]).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::error::{ClientWriteError, Fatal, ForwardReason, ForwardToLeader, InitializeError, RaftError};
use openraft::type_config::alias::WatchReceiverOf;
use openraft::{Config, ServerState, SnapshotPolicy};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

use crate::consensus::addresses::Addresses;
use crate::consensus::dial::Dialler;
use crate::consensus::state_machine::{Progress, StateMachine};
use crate::consensus::types::{Answer, Proposal, Record, Types};
use crate::consensus::waiter::Waiter;
use crate::databases::Databases;
use crate::environment::Runner;
use crate::error::Error;
use crate::member::{NodeId, Peer};
use crate::proposals::Room;
use crate::status::Role;

pub(crate) mod addresses;
pub(crate) mod codec;
pub(crate) mod compare;
pub(crate) mod control;
pub(crate) mod dial;
pub(crate) mod kept;
pub(crate) mod log_storage;
pub(crate) mod membership;
pub(crate) mod network;
pub(crate) mod pipeline;
pub(crate) mod reads;
pub mod reread;
pub(crate) mod seed;
pub(crate) mod server;
pub(crate) mod snapshot;
pub(crate) mod state_machine;
pub(crate) mod tail;
pub(crate) mod types;
pub(crate) mod waiter;
pub(crate) mod wire;

#[cfg(test)]
mod tests;

pub(crate) type Raft = openraft::Raft<Types, StateMachine>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;

/// When the leader was last heard, and what it said was committed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// The last time.
    pub at: Option<Instant>,
    /// What was last said to be committed.
    pub committed: u64,
    /// What the leader first said in this process.
    pub first_committed: u64,
    /// When `committed` last moved.
    pub moved: Option<Instant>,
    /// The last time that this node was seen to lead with a majority behind it.
    pub led: Option<Instant>,
}

impl Heard {
    /// For how long this node has known of committed entries beyond `applied`.
    pub(crate) fn behind_for(&self, applied: u64) -> Duration {
        if self.committed <= applied {
            Duration::ZERO
        } else {
            self.moved.map_or(Duration::ZERO, |at| at.elapsed())
        }
    }
}

/// After a silence of this many election timeouts there is no leader: one that was followed is gone after the first, the
/// wait for an election ends with the second, and who had won it would have spoken by the third. A leader that no
/// majority answered for as long has none behind it.
const ELECTIONS: u32 = 3;

/// One node's consensus.
pub(crate) struct Core {
    id: NodeId,
    raft: Raft,
    metrics: WatchReceiverOf<Types, Metrics>,
    leading: Arc<reads::Rounds<reads::Leading>>,
    asking: Arc<reads::Rounds<reads::Asking>>,
    heard: Mutex<Heard>,
    kept: kept::Kept,
    dialler: Dialler,
    /// Who is being added.
    admission: Semaphore,
    /// Whose turn it is to change the membership.
    turn: Arc<Semaphore>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) databases: Arc<Databases>,
    pub(crate) runner: Runner,
}

/// openraft's configuration.
///
/// `election_timeout` bounds the silence after which a follower stands: the lease is its upper end, the randomised wait
/// after it lies between half of it and the whole.
pub(crate) fn config(heartbeat: Duration, election_timeout: Duration) -> Config {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
    Config {
        cluster_name: "quorlite".to_owned(),
        heartbeat_interval: millis(heartbeat),
        election_timeout_min: millis(election_timeout / 2).max(millis(heartbeat) + 1),
        election_timeout_max: millis(election_timeout).max(millis(heartbeat) + 2),
        // Off by default, and without it a node that was cut off disturbs the cluster when it returns.
        enable_pre_vote: Some(true),
        // On by default: a restarted leader would lead again on the strength of a stored vote.
        enable_leader_restore: Some(false),
        snapshot_policy: SnapshotPolicy::Never,
        // Purges are asked for by `keeper`: openraft's own takes no notice of one that is asked for and still waits, and
        // asserts that it was not meant to go further (seed 49 of the simulator, at the commit that brought this).
        max_in_snapshot_log_to_keep: u64::MAX,
        max_payload_entries: 512,
        replication_lag_threshold: u64::MAX,
        ..Config::default()
    }
}

impl Core {
    pub(crate) fn new(
        raft: Raft,
        progress: Arc<Progress>,
        databases: Arc<Databases>,
        dialler: Dialler,
        runner: Runner,
        kept: kept::Kept,
    ) -> Self {
        let (id, addresses) = (dialler.me, dialler.addresses.clone());
        let own = dialler.clone();
        let leading = reads::Rounds::new(reads::Leading(raft.clone()));
        let asking = reads::Rounds::new(reads::Asking {
            raft: raft.clone(),
            dialler,
            control: tokio::sync::Mutex::new(None),
        });
        Self {
            id,
            metrics: raft.metrics(),
            raft,
            leading,
            asking,
            heard: Mutex::default(),
            kept,
            dialler: own,
            admission: Semaphore::new(1),
            turn: Arc::new(Semaphore::new(1)),
            addresses,
            progress,
            databases,
            runner,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.raft
    }

    /// The current metrics, copied: not for what runs with every request.
    pub(crate) fn metrics(&self) -> Metrics {
        self.metrics.borrow_watched().clone()
    }

    /// Looks at the current metrics without copying them. `look` must not look again: the lock is not reentrant.
    pub(crate) fn with_metrics<T>(&self, look: impl FnOnce(&Metrics) -> T) -> T {
        look(&self.metrics.borrow_watched())
    }

    /// The leader, while there is a sign of it.
    ///
    /// openraft names the leader of its term until there is another, which never comes where no majority is left.
    pub(crate) fn leader(&self) -> Option<Peer> {
        self.with_metrics(|metrics| {
            let leader = membership::leader(metrics)?;
            let shows = if leader.id == self.id {
                self.is_answered(metrics)
            } else {
                self.hears_leader()
            };
            shows.then_some(leader)
        })
    }

    /// [`Self::leader`] is this node.
    pub(crate) fn leads(&self) -> bool {
        self.with_metrics(|metrics| {
            let is_member = metrics.membership_config.membership().get_node(&self.id.0).is_some();
            is_member && membership::leads(metrics) && self.is_answered(metrics)
        })
    }

    /// Whether this node is the leader of which there is a sign; false when another is.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`] when no leader is known.
    pub(crate) fn is_followed(&self) -> Result<bool, Error> {
        if self.leads() {
            return Ok(true);
        }
        let leader = self.leader().ok_or(Error::NotLeader { leader: None })?;
        Ok(leader.id == self.id)
    }

    /// There was a sign of a leader of late, this node or another: if none is known now, the next is being elected.
    pub(crate) fn expects_leader(&self) -> bool {
        let heard = self.last_heard();
        let sign = heard.at.max(heard.led);
        sign.is_some_and(|at| at.elapsed() < self.silence_max())
    }

    /// Notes whether this node leads with a majority behind it; called now and then.
    pub(crate) fn note_lead(&self) {
        if self.with_metrics(|metrics| membership::leads(metrics) && self.is_answered(metrics)) {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).led = Some(Instant::now());
        }
    }

    /// A leader spoke of late.
    pub(crate) fn hears_leader(&self) -> bool {
        self.last_heard().at.is_some_and(|at| at.elapsed() < self.silence_max())
    }

    /// A majority answered this leader of late; openraft lets it lead on without one.
    fn is_answered(&self, metrics: &Metrics) -> bool {
        let answered = metrics.last_quorum_acked.as_ref();
        membership::is_alone(metrics)
            || answered.is_some_and(|at| openraft::Instant::elapsed(&**at) < self.silence_max())
    }

    fn silence_max(&self) -> Duration {
        ELECTIONS * Duration::from_millis(self.raft.config().election_timeout_max)
    }

    /// Waits until `reached` gives something, looking again whenever the metrics change; `None` when consensus stopped.
    pub(crate) async fn until<T>(&self, mut reached: impl FnMut(&Metrics) -> Option<T>) -> Option<T> {
        let mut metrics = self.raft.metrics();
        loop {
            // Cloned, so that `reached` may look at the metrics again: the lock is not reentrant.
            let now = metrics.borrow_watched().clone();
            if let Some(found) = reached(&now) {
                return Some(found);
            }
            metrics.changed().await.ok()?;
        }
    }

    /// Waits until consensus has stopped on this node; why, unless it was asked to.
    pub(crate) async fn ended(&self) -> Option<String> {
        // These change seldom, unlike the others, and end with consensus.
        let mut seldom = self.raft.server_metrics();
        while seldom.changed().await.is_ok() {}
        self.with_metrics(|metrics| match &metrics.running_state {
            Err(Fatal::Stopped) => None,
            Err(error) => Some(format!("consensus: {}", state_machine::chain(error))),
            // It says goodbye, unless it panicked.
            Ok(()) => Some("consensus: its task has ended".to_owned()),
        })
    }

    /// This node's part.
    pub(crate) fn role(&self) -> Role {
        match self.with_metrics(|metrics| metrics.state) {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner | ServerState::Follower => Role::Follower,
            ServerState::Shutdown => Role::Shutdown,
        }
    }

    /// See [`crate::Node::initialize`].
    pub(crate) async fn initialize(&self, voters: Vec<Peer>) -> Result<(), Error> {
        let members: BTreeMap<u64, Record> = voters
            .into_iter()
            .map(|peer| {
                (
                    peer.id.0,
                    Record {
                        name: peer.name,
                        address: peer.address,
                        voter: true,
                    },
                )
            })
            .collect();
        self.raft.initialize(members).await.map_err(initialize_error)?;
        // The metrics follow a little later: who asks again at once must not be told that there is no cluster.
        let is_known = |metrics: &Metrics| metrics.membership_config.membership().nodes().next().map(|_| ());
        let stopped = || Error::Stopped("consensus has stopped".to_owned());
        self.until(is_known).await.ok_or_else(stopped)
    }

    /// Has a snapshot made of what is applied; returns before it is.
    pub(crate) async fn trigger_snapshot(&self) -> Result<(), Error> {
        self.raft.trigger().snapshot().await.map_err(|error| fatal(&error))
    }

    /// Purges the log through `index`, which a snapshot covers.
    pub(crate) async fn trigger_purge(&self, index: u64) -> Result<(), Error> {
        self.raft
            .trigger()
            .purge_log(index)
            .await
            .map_err(|error| fatal(&error))
    }

    /// Stands for election at once. Nothing happens while a leader's lease runs.
    pub(crate) async fn trigger_election(&self) -> Result<(), Error> {
        self.raft.trigger().elect(false).await.map_err(|error| fatal(&error))
    }

    /// Whether this node stands for election when no leader is heard.
    pub(crate) fn set_standing(&self, stands: bool) {
        self.raft.runtime_config().elect(stands);
    }

    /// Stops consensus on this node.
    pub(crate) async fn shutdown(&self) {
        if let Err(error) = self.raft.shutdown().await {
            warn!(%error, "consensus did not stop cleanly");
        }
    }

    /// Stops the node if it has acknowledged more to the leader of `term` than it started with. Consensus has ended
    /// before anybody is told: a node that lost entries must not help to elect a leader without them meanwhile.
    ///
    /// # Errors
    ///
    /// What is missing: consensus must not hear of the request.
    pub(crate) async fn check_kept(&self, term: u64, acknowledged: u64) -> std::io::Result<()> {
        let Err(reason) = self.kept.check(term, acknowledged) else {
            return Ok(());
        };
        self.shutdown().await;
        self.progress.stop(reason.clone());
        Err(std::io::Error::other(reason))
    }

    /// Notes that the leader was heard at `at`: one whose request was not refused for its term.
    pub(crate) fn heard(&self, at: Instant, committed: u64) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.at = heard.at.max(Some(at));
        if heard.first_committed == 0 {
            heard.first_committed = committed;
        }
        if committed > heard.committed {
            heard.committed = committed;
            heard.moved = Some(at);
        }
    }

    /// When the leader was last heard.
    pub(crate) fn last_heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index that a linearizable read must see applied; on the leader only.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::Unverified`], [`Error::Stopped`].
    pub(crate) async fn read_index(&self) -> Result<u64, Error> {
        match self.lone_index() {
            Some(index) => Ok(index),
            None => self.leading.index().await,
        }
    }

    /// The read index of a leader that is its own majority, which has nobody to ask.
    ///
    /// Nobody else can commit before this node has given up leading, or taken a voter in: both need entries or votes of
    /// its own, and openraft's core publishes what it has become before it takes the next message. An entry of this term
    /// is applied, so all that was acknowledged earlier is too; and what this process acknowledged was applied first, which
    /// is why the index may lag behind.
    fn lone_index(&self) -> Option<u64> {
        self.with_metrics(|metrics| {
            let applied = metrics.last_applied.as_ref()?;
            let is_of_this_term = applied.committed_leader_id().term == metrics.current_term;
            let is_lone = membership::leads(metrics) && membership::is_alone(metrics) && is_of_this_term;
            is_lone.then(|| applied.index())
        })
    }

    /// The same on any node: a follower asks the leader.
    ///
    /// # Errors
    ///
    /// As [`Self::read_index`]; [`Error::NotLeader`] only while no leader is known.
    pub(crate) async fn read_index_anywhere(&self) -> Result<u64, Error> {
        if self.is_followed()? {
            return self.read_index().await;
        }
        self.asking.index().await
    }

    /// Waits until `index` is applied here.
    ///
    /// # Errors
    ///
    /// [`Error::ReadTimeout`], [`Error::Stopped`].
    pub(crate) async fn wait_applied(&self, index: u64, timeout: Duration) -> Result<(), Error> {
        if *self.progress.applied.borrow() >= index {
            return Ok(());
        }
        let mut applied = self.progress.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(Error::Stopped("apply has stopped".to_owned())),
            Err(_) => Err(Error::ReadTimeout { index }),
        }
    }

    /// Proposes within `enqueue`, and waits for the answer of apply.
    ///
    /// # Errors
    ///
    /// As [`crate::Node::write`].
    pub(crate) async fn propose(&self, proposal: Proposal, room: Room, enqueue: Duration) -> Result<Answer, Error> {
        let (waiter, answer) = Waiter::new(room);
        let queued = self.raft.client_write_ff(proposal, Some(waiter));
        // A proposal that did not get into the queue goes with the future that tried.
        let queued = tokio::time::timeout(enqueue, queued)
            .await
            .map_err(|_| Error::Enqueue)?;
        queued.map_err(|error| fatal(&error))?;
        #[cfg(feature = "mutations")]
        let Some(answer) = early(answer).await else {
            return Ok(Answer::default());
        };
        #[cfg(not(feature = "mutations"))]
        let answer = answer.await;
        let answer = answer.map(|(answer, at)| {
            self.progress.metrics.reply.observe(at.elapsed());
            answer
        });
        match answer {
            Ok(Ok(response)) => {
                let mut answer = response.data;
                answer.0.index = response.log_id.index;
                Ok(answer)
            }
            Ok(Err(error)) => Err(write_error(RaftError::APIError(error))),
            // Dropped unanswered: consensus has stopped with the proposal somewhere on its way, or this node, which is in
            // quarantine by now, does not apply it.
            Err(_) => Err(Error::Stopped(
                "this node stopped before it could answer; the write may or may not take effect".to_owned(),
            )),
        }
    }
}

/// What became of a write that openraft did not carry through.
pub(crate) fn write_error(error: RaftError<Types, ClientWriteError<Types>>) -> Error {
    match error {
        // Certain: nothing was appended.
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => match forward.reason {
            ForwardReason::LeadershipTransfer => Error::Transferring,
            // The lease is lost though the node still leads: it names no leader, and must not name itself.
            ForwardReason::LeaseExpired | ForwardReason::NotLeader => Error::NotLeader {
                leader: forwarded(&forward),
            },
        },
        // Unknown: appended here, then overtaken by another leader.
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => Error::LeadershipLost,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => Error::Membership(error.to_string()),
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => Error::Membership(error.to_string()),
        RaftError::Fatal(error) => fatal(&error),
    }
}

/// Consensus has stopped on this node.
pub(crate) fn fatal(error: &Fatal<Types>) -> Error {
    Error::Stopped(error.to_string())
}

/// An initialization that was refused.
fn initialize_error(error: RaftError<Types, InitializeError<Types>>) -> Error {
    match error {
        RaftError::APIError(error) => Error::Membership(error.to_string()),
        RaftError::Fatal(error) => fatal(&error),
    }
}

/// The leader that a refusal names.
pub(crate) fn forwarded(forward: &ForwardToLeader<Types>) -> Option<Peer> {
    let (id, record) = (forward.leader_id?, forward.leader_node.as_ref()?);
    Some(Peer {
        id: NodeId(id),
        name: record.name.clone(),
        address: record.address.clone(),
    })
}

/// Waits for an answer; a mutation waits for no majority.
#[cfg(feature = "mutations")]
async fn early<F: Future>(answer: F) -> Option<F::Output> {
    if mutation::is(mutation::Mutation::AckBeforeMajority) {
        return tokio::time::timeout(Duration::from_millis(20), answer).await.ok();
    }
    Some(answer.await)
}

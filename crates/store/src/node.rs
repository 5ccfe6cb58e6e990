//! A node: the one handle through which the rest of the server uses the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command::entry::{Action, Command, Settings, Skip, Verify};
use command::reply::Reply;
use command::request::{Kind, Write};
use command::statement::Statement;
use sqlite::Readers;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::config::Config;
use crate::consensus::types::Proposal;
use crate::consensus::{Core, Metrics, membership, server};
use crate::databases::blocking;
use crate::environment::Environment;
use crate::error::Error;
use crate::executor::Executor;
use crate::identity::DirectoryLock;
use crate::member::{Joined, Member, Peer};
use crate::open::Flushing;
use crate::proposals::Budget;
use crate::read::{Confirmed, Level, ReadRequest};
use crate::settings::Flags;
use crate::skips::Skips;
use crate::status::Status;
use crate::transport::{Channel, Duplex};

/// A running node; cheap to clone.
#[derive(Clone)]
pub struct Node {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub config: Config,
    pub environment: Environment,
    pub peer: Peer,
    pub core: Arc<Core>,
    pub executor: Executor,
    pub log: log::Log,
    pub databases: Arc<crate::databases::Databases>,
    pub flags: Flags,
    pub skips: Arc<Skips>,
    pub settings_known: AtomicBool,
    pub budget: Budget,
    /// One file at a time is checked before it is loaded: SQLite has it for itself then.
    pub checks: Semaphore,
    pub ready: AtomicBool,
    /// Committed when the process started, as far as this node knew.
    pub committed_at_start: u64,
    pub disk: crate::keeper::DiskSpace,
    /// Set when shutdown begins: peers' streams end.
    pub closing: watch::Sender<bool>,
    /// The flush thread, until shutdown has seen its end.
    pub flushing: Mutex<Flushing>,
    /// Held from open to the end of shutdown.
    pub lock: Mutex<Option<DirectoryLock>>,
}

/// A content hash and the log index at which it was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHash {
    /// The applied index that the hashed transaction saw.
    pub index: u64,
    /// XXH3 over the content as design.md §5 defines it.
    pub hash: u64,
}

impl Node {
    /// Serves one incoming stream of a peer; returns when it breaks. [`Channel::Service`] does not come here.
    pub async fn accept(&self, channel: Channel, duplex: Duplex) {
        let mut closing = self.inner.closing.subscribe();
        tokio::select! {
            () = server::serve(self.inner.core.clone(), channel, duplex) => {}
            _ = closing.wait_for(|closing| *closing) => {}
        }
    }

    /// This node.
    pub fn peer(&self) -> &Peer {
        &self.inner.peer
    }

    /// The log holds a membership: the node has been part of a cluster.
    ///
    /// Asks the log itself, whose first entry is always a membership: consensus' metrics come a moment later, and who
    /// asks in that moment would found a second cluster.
    pub fn is_initialized(&self) -> bool {
        let log = self.inner.log.state();
        log.last.or(log.purged).is_some()
    }

    /// The leader, when one is known and was heard a moment ago.
    pub fn leader(&self) -> Option<Peer> {
        self.inner.core.leader()
    }

    /// No leader may be known now, but there was one a moment ago: who waits a little will see the next.
    pub fn expects_leader(&self) -> bool {
        !*self.inner.closing.borrow() && self.inner.core.expects_leader()
    }

    /// [`Self::leader`] is this node. Cheap enough for every request.
    pub fn leads(&self) -> bool {
        self.inner.core.leads()
    }

    /// This node leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.inner.core.with_metrics(membership::leads)
    }

    /// Membership as last known here.
    pub fn members(&self) -> Vec<Member> {
        let members = |metrics: &Metrics| membership::members(metrics.membership_config.membership());
        self.inner.core.with_metrics(members)
    }

    /// The flags of this node that change results.
    pub fn settings(&self) -> &Settings {
        self.inner.flags.own()
    }

    /// Whether a node with `joiner`'s flags may join the cluster of this one.
    ///
    /// # Errors
    ///
    /// [`Error::Membership`] with the way out.
    pub fn check_joiner(&self, joiner: &Settings) -> Result<(), Error> {
        self.inner.flags.check_joiner(joiner)
    }

    /// Stamps a write with clock and seed.
    pub fn stamp(&self, statements: Vec<Statement>, kind: Kind, atomic: bool) -> Write {
        Write {
            statements,
            atomic,
            kind: kind.into(),
            clock_us: self.inner.environment.clock.now_us(),
            seed: self.inner.environment.random.next(),
            steps_max: 0,
            key: None,
        }
    }

    /// Proposes a write and waits until it is applied here. On return it is flushed on a majority (D1).
    ///
    /// # Errors
    ///
    /// The variants of [`Error`] say whether the outcome is known.
    pub async fn write(&self, write: Write, timeout: Duration) -> Result<Reply, Error> {
        self.inner.disk.check()?;
        self.propose(Command::new(Some(Action::Write(write))), timeout).await
    }

    /// Has all nodes verify what they hold, each at the index that the reply names, while writes go on (leader only).
    ///
    /// On return this node has begun; what comes of it is in [`Status`], and compared with other nodes' in a while.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub async fn verify(&self, timeout: Duration) -> Result<Reply, Error> {
        self.propose(Command::new(Some(Action::Verify(Verify {}))), timeout)
            .await
    }

    /// Whether this node may serve reads and take writes.
    ///
    /// # Errors
    ///
    /// [`Error::Quarantined`] with the reason.
    pub fn check_quarantine(&self) -> Result<(), Error> {
        match self.inner.core.progress.divergence.quarantine.reason() {
            Some(reason) => Err(Error::Quarantined(reason)),
            None => Ok(()),
        }
    }

    /// Proposes any command.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) async fn propose(&self, command: Command, timeout: Duration) -> Result<Reply, Error> {
        self.propose_encoded(Proposal::new(command), timeout).await
    }

    /// Proposes what is encoded already.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) async fn propose_encoded(&self, proposal: Proposal, timeout: Duration) -> Result<Reply, Error> {
        let deadline = Instant::now() + timeout;
        if self.is_in_quarantine() {
            // It would be appended, and never answered. Leadership is being handed over.
            self.inner.core.ensure_leading()?;
            return Err(Error::Transferring);
        }
        let room = self.inner.budget.take(proposal.bytes().len())?;
        // Nothing is proposed before this has come through.
        tokio::time::timeout_at(deadline, self.fix_settings())
            .await
            .map_err(|_| Error::Enqueue)??;
        let enqueue = timeout.min(self.inner.config.apply_timeout);
        match tokio::time::timeout_at(deadline, self.inner.core.propose(proposal, room, enqueue)).await {
            Ok(answer) => answer.map(|answer| answer.0),
            Err(_) => Err(Error::Unconfirmed),
        }
    }

    /// Passes over the committed entry at `index`, also while it is being applied (leader only): it has no effect, and
    /// whoever waits for it is told so. On return this node has passed over it.
    ///
    /// A node that has run the entry before it hears of this goes into quarantine, and is re-seeded.
    ///
    /// # Errors
    ///
    /// [`Error::Unskippable`] when the entry is not one that waits here, or runs; else as [`Self::write`].
    pub async fn skip(&self, index: u64, timeout: Duration) -> Result<Reply, Error> {
        let core = &self.inner.core;
        core.ensure_leading()?;
        let committed = core.with_metrics(|metrics| metrics.cluster_committed.as_ref().map_or(0, |id| id.index));
        if index > committed {
            return Err(Error::Unskippable {
                index,
                what: "is not committed",
            });
        }
        let applied = Error::Unskippable {
            index,
            what: "has been applied already",
        };
        let held = self.inner.skips.hold(index).ok_or(applied)?;
        // Settings are fixed: an entry waits. To look would be to wait behind it.
        let proposal = Proposal::new(Command::new(Some(Action::Skip(Skip { index }))));
        let room = self.inner.budget.take_reserved()?;
        let enqueue = timeout.min(self.inner.config.apply_timeout);
        let core = core.clone();
        let proposed = held.until(async move { core.propose(proposal, room, enqueue).await });
        match tokio::time::timeout(timeout, proposed).await {
            Ok(Some(answer)) => answer.map(|answer| answer.0),
            Ok(None) => Err(Error::Stopped("the node is closing".to_owned())),
            Err(_) => Err(Error::Unconfirmed),
        }
    }

    /// The first command of a cluster fixes the flags that change results.
    ///
    /// # Errors
    ///
    /// Only those that say that the command at hand was not proposed.
    async fn fix_settings(&self) -> Result<(), Error> {
        let inner = &self.inner;
        if inner.settings_known.load(Ordering::Acquire) {
            return Ok(());
        }
        inner.core.ensure_leading()?;
        let applied = inner.executor.run(|applier| applier.applied().settings).await;
        if applied.map_err(|e| Error::Stopped(e.to_string()))?.is_none() {
            let command = Command::new(Some(Action::Settings(inner.flags.own().clone())));
            let proposal = Proposal::new(command);
            let room = inner.budget.take(proposal.bytes().len())?;
            match inner.core.propose(proposal, room, inner.config.apply_timeout).await {
                Ok(_) => {}
                // Whatever became of the settings: the command itself was not proposed.
                Err(Error::LeadershipLost) => return Err(Error::NotLeader { leader: self.leader() }),
                Err(error) => return Err(error),
            }
        }
        // Whoever fixed them: the state machine has compared them with this node's before it went on.
        inner.settings_known.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits until a local read at this level may begin.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`] when the read must be forwarded, [`Error::Stale`], [`Error::ReadTimeout`], …
    pub async fn confirm(&self, read: ReadRequest) -> Result<Confirmed, Error> {
        let began = Instant::now();
        let confirmed = self.confirm_at(&read).await;
        self.metrics().confirmed(read.level, began);
        confirmed
    }

    /// What this node's store measures.
    pub fn metrics(&self) -> &Arc<crate::metrics::Metrics> {
        &self.inner.core.progress.metrics
    }

    fn is_in_quarantine(&self) -> bool {
        self.inner.core.progress.divergence.quarantine.is_on()
    }

    /// What a node in quarantine answers to a read: who else could, if that is how such reads are answered.
    fn refuse_read(&self, level: Level) -> Result<(), Error> {
        let me = self.inner.peer.id;
        match (level, self.leader().filter(|leader| leader.id != me)) {
            (Level::Weak | Level::Linearizable | Level::Strong, Some(leader)) => {
                Err(Error::NotLeader { leader: Some(leader) })
            }
            (Level::None | Level::Auto, _) | (_, None) => self.check_quarantine(),
        }
    }

    async fn confirm_at(&self, read: &ReadRequest) -> Result<Confirmed, Error> {
        if self.is_in_quarantine() {
            self.refuse_read(read.level)?;
        }
        let confirmed = self.confirm_level(read).await?;
        // It may have been found out while the read waited.
        self.check_quarantine()?;
        Ok(confirmed)
    }

    async fn confirm_level(&self, read: &ReadRequest) -> Result<Confirmed, Error> {
        let core = &self.inner.core;
        let level = match read.level {
            Level::Auto if self.is_voter() => Level::Weak,
            Level::Auto => Level::None,
            level => level,
        };
        let mut index = 0;
        match level {
            Level::None | Level::Auto => self.check_freshness(read)?,
            Level::Weak => {
                core.ensure_followed()?;
                self.ready(read.timeout).await?;
            }
            #[cfg(feature = "mutations")]
            Level::Linearizable if mutation::is(mutation::Mutation::ReadWithoutIndex) => {}
            Level::Linearizable => {
                let bound = tokio::time::timeout(read.timeout, core.read_index_anywhere()).await;
                let at = bound.map_err(|_| Error::Unverified("no majority answered in time".to_owned()))??;
                core.wait_applied(at, read.timeout).await?;
            }
            Level::Strong => index = self.propose(Command::new(None), read.timeout).await?.index,
        }
        if read.min_index > 0 {
            core.wait_applied(read.min_index, read.timeout).await?;
        }
        Ok(Confirmed { index })
    }

    /// Level none away from the leader: is what is here fresh enough?
    fn check_freshness(&self, read: &ReadRequest) -> Result<(), Error> {
        let Some(limit) = read.freshness else { return Ok(()) };
        if self.inner.core.ensure_followed().is_ok() {
            return Ok(());
        }
        let heard = self.inner.core.last_heard();
        if heard.at.is_none_or(|at| at.elapsed() > limit) {
            return Err(Error::Stale);
        }
        let applied = *self.inner.core.progress.applied.borrow();
        if read.freshness_strict && heard.committed > applied && heard.behind_for(applied) > limit {
            return Err(Error::Stale);
        }
        Ok(())
    }

    fn is_voter(&self) -> bool {
        let me = self.inner.peer.id.0;
        let votes = |metrics: &Metrics| metrics.membership_config.membership().voter_ids().any(|id| id == me);
        self.inner.core.with_metrics(votes)
    }

    /// The read-only connections of the current database. Blocking; run off the runtime.
    pub fn readers(&self) -> Arc<Readers> {
        self.inner.databases.readers()
    }

    /// The content hash at a pinned index. Long work, done off the runtime.
    ///
    /// # Errors
    ///
    /// SQLite's failures.
    pub async fn content_hash(&self) -> Result<ContentHash, Error> {
        let readers = self.readers();
        let hashed = blocking(self.inner.environment.runner, move || sqlite::content_hash(&readers)).await?;
        let hashed = hashed?;
        Ok(ContentHash {
            index: hashed.index,
            hash: hashed.hash,
        })
    }

    /// Forms a new cluster of exactly these voters; this node is one of them.
    ///
    /// # Errors
    ///
    /// [`Error::Membership`] when it is already part of one.
    pub async fn initialize(&self, voters: Vec<Peer>) -> Result<(), Error> {
        self.inner.core.initialize(voters).await
    }

    /// Adds a node (leader only): as a learner at once, promoted in the background when `voter`.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::Membership`].
    pub async fn add(&self, peer: Peer, voter: bool) -> Result<Joined, Error> {
        self.inner.core.add(peer, voter).await
    }

    /// Removes a node by name (leader only); an unknown name is success.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::Membership`].
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        self.inner.core.remove(name).await
    }

    /// Hands leadership to the named voter, or to the most up-to-date one, and waits for the hand-over.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`], [`Error::UnknownNode`], [`Error::AlreadyLeader`], [`Error::NoPeer`].
    pub async fn transfer(&self, target: Option<&str>, timeout: Duration) -> Result<(), Error> {
        self.inner.core.transfer(target, timeout).await
    }

    /// Makes the applied index durable and purges the log below it, less the tail; false if there was nothing to do.
    ///
    /// # Errors
    ///
    /// SQLite's and the log's failures.
    pub async fn snapshot(&self, trailing: Option<u64>) -> Result<bool, Error> {
        crate::keeper::snapshot(&self.inner, trailing).await
    }

    /// This node has applied everything that it knew to be committed at start, and knows a leader.
    pub fn is_ready(&self) -> bool {
        crate::keeper::is_ready(&self.inner)
    }

    /// Waits until this node is ready.
    ///
    /// # Errors
    ///
    /// [`Error::NotReady`] after `timeout`.
    pub async fn ready(&self, timeout: Duration) -> Result<(), Error> {
        if self.is_ready() {
            return Ok(());
        }
        // The metrics follow every apply. The deadline decides; what was reached is looked at once more below.
        let ready = self.inner.core.until(|_| self.is_ready().then_some(()));
        let _ = tokio::time::timeout(timeout, ready).await;
        if self.is_ready() { Ok(()) } else { Err(Error::NotReady) }
    }

    /// The last index applied here.
    pub fn applied(&self) -> u64 {
        *self.inner.core.progress.applied.borrow()
    }

    /// Waits until this node has applied `index`.
    ///
    /// # Errors
    ///
    /// [`Error::ReadTimeout`], [`Error::Stopped`].
    pub async fn wait_applied(&self, index: u64, timeout: Duration) -> Result<(), Error> {
        self.inner.core.wait_applied(index, timeout).await
    }

    /// Resolves with the reason when the node has stopped itself to protect data; the process must then exit.
    pub async fn stopped(&self) -> String {
        let mut stopped = self.inner.core.progress.stopped.subscribe();
        // Cloned at once: a future that holds the borrowed value cannot move between threads.
        let reason = stopped.wait_for(Option::is_some).await.map(|reason| reason.clone());
        match reason {
            Ok(reason) => reason.unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops consensus, makes the database durable, closes everything; the directory is free on return.
    ///
    /// Waits for the batch that is being applied. Writes that are in progress are answered, or told that their outcome
    /// is unknown.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.core.shutdown().await;
        // Not before: consensus would see its peers' streams break while it still runs.
        inner.closing.send_replace(true);
        if let Err(error) = inner.executor.make_durable().await {
            warn!(%error, "the database could not be made durable; the log will be replayed");
        }
        inner.executor.close().await;
        inner.log.close();
        let flushing = inner.flushing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(flushing) = flushing {
            // It finishes what waits. Until then nobody else may have the directory.
            let ended = blocking(inner.environment.runner, move || flushing.join()).await;
            if !matches!(ended, Ok(Ok(()))) {
                warn!("the flush thread did not end cleanly");
            }
        }
        drop(inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Everything about this node, without waiting.
    pub fn status(&self) -> Status {
        let inner = &self.inner;
        let metrics = inner.core.metrics();
        let log = inner.log.state();
        let voter = self.is_voter();
        let pair = |at: Option<log::Position>| at.map_or((0, 0), |at| (at.index, at.term));
        let snapshot = *inner.core.progress.last_snapshot.borrow();
        let applied = metrics.last_applied.as_ref().map_or(0, |id| id.leader_id.term);
        Status {
            peer: inner.peer.clone(),
            leader: inner.core.leader(),
            role: inner.core.role(),
            voter,
            ready: self.is_ready(),
            term: metrics.current_term,
            last_log: pair(log.last.or(log.purged)),
            flushed: log.flushed.map_or(0, |at| at.index),
            committed: metrics.cluster_committed.as_ref().map_or(0, |id| id.index),
            applied: (*inner.core.progress.applied.borrow(), applied),
            snapshot: (snapshot.1, snapshot.0),
            purged: log.purged.map_or(0, |at| at.index),
            members: membership::members(metrics.membership_config.membership()),
            joint: metrics.membership_config.membership().get_joint_config().len() > 1,
            membership_index: metrics.membership_config.log_id().as_ref().map_or(0, |id| id.index),
            last_contact: if self.is_leader() {
                Some(Duration::ZERO)
            } else {
                inner.core.last_heard().at.map(|at| at.elapsed())
            },
            database: inner.databases.path(),
            log_bytes: log.disk_bytes,
            log_flushes: log.flushes,
            applying: inner.skips.running(),
            matched: membership::followers(&metrics, inner.peer.id),
            snapshots: inner.core.progress.snapshots.load(Ordering::Relaxed),
            restores: inner.core.progress.restores.load(Ordering::Relaxed),
            soundness: inner.core.progress.divergence.soundness(),
        }
    }
}

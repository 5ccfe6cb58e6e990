//! A node: the one handle through which the rest of the server uses the store.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use command::entry::{Action, Command, Settings};
use command::reply::Reply;
use command::request::{Kind, Write};
use command::statement::Statement;
use sqlite::Readers;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::config::Config;
use crate::consensus::types::Proposal;
use crate::consensus::{Core, membership, server};
use crate::environment::Environment;
use crate::error::Error;
use crate::executor::Executor;
use crate::identity::DirectoryLock;
use crate::member::{Joined, Member, Peer};
use crate::read::{Confirmed, Level, ReadRequest};
use crate::status::Status;
use crate::transport::{Channel, Duplex};

/// Proposals that wait for their answer at once. Beyond it a write is refused at once rather than queued: at full speed
/// this many are a fifth of a second of work.
pub(crate) const PROPOSALS_MAX: usize = 16_384;

/// The largest encoded command. One entry is read, sent and applied whole.
const COMMAND_BYTES_MAX: usize = 64 * 1024 * 1024;

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
    pub settings: Settings,
    pub settings_known: AtomicBool,
    pub proposals: Semaphore,
    pub ready: AtomicBool,
    /// Committed when the process started, as far as this node knew.
    pub committed_at_start: u64,
    pub disk: crate::keeper::DiskSpace,
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
        server::serve(self.inner.core.clone(), channel, duplex).await;
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

    /// This node leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.inner.core.leading().is_ok()
    }

    /// Membership as last known here.
    pub fn members(&self) -> Vec<Member> {
        membership::members(self.inner.core.metrics().membership_config.membership())
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

    /// Proposes any command.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub(crate) async fn propose(&self, command: Command, timeout: Duration) -> Result<Reply, Error> {
        let _place = self
            .inner
            .proposals
            .try_acquire()
            .map_err(|_| Error::Overloaded("too many writes in progress"))?;
        let proposal = Proposal::new(command);
        let bytes = proposal.bytes().len();
        if bytes > COMMAND_BYTES_MAX {
            return Err(Error::TooLarge {
                bytes,
                limit: COMMAND_BYTES_MAX,
            });
        }
        let work = async {
            self.fix_settings().await?;
            self.inner.core.propose(proposal).await
        };
        match tokio::time::timeout(timeout, work).await {
            Ok(answer) => answer.map(|answer| answer.0),
            Err(_) => Err(Error::Unconfirmed),
        }
    }

    /// The first command of a cluster fixes the flags that change results.
    async fn fix_settings(&self) -> Result<(), Error> {
        if self.inner.settings_known.load(Ordering::Acquire) {
            return Ok(());
        }
        self.inner.core.leading()?;
        let applied = self.inner.executor.run(|applier| applier.applied().settings).await;
        if applied.map_err(|e| Error::Stopped(e.to_string()))?.is_none() {
            let command = Command::new(Some(Action::Settings(self.inner.settings.clone())));
            self.inner.core.propose(Proposal::new(command)).await?;
        }
        self.inner.settings_known.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits until a local read at this level may begin.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`] when the read must be forwarded, [`Error::Stale`], [`Error::ReadTimeout`], …
    pub async fn confirm(&self, read: ReadRequest) -> Result<Confirmed, Error> {
        let core = &self.inner.core;
        let level = match read.level {
            Level::Auto if self.is_voter() => Level::Weak,
            Level::Auto => Level::None,
            level => level,
        };
        let mut index = 0;
        match level {
            Level::None | Level::Auto => self.check_freshness(&read)?,
            Level::Weak => {
                core.leading()?;
                self.ready(read.timeout).await?;
            }
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
        if self.is_leader() {
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
        let metrics = self.inner.core.metrics();
        metrics
            .membership_config
            .membership()
            .voter_ids()
            .any(|id| id == self.inner.peer.id.0)
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
        let hashed =
            crate::databases::blocking(self.inner.environment.runner, move || sqlite::content_hash(&readers)).await?;
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
        match stopped.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops consensus, makes the database durable, closes everything.
    pub async fn shutdown(&self) {
        self.inner.core.shutdown().await;
        let durable = self.inner.executor.make_durable().await;
        if let Err(error) = durable {
            warn!(%error, "the database could not be made durable; the log will be replayed");
        }
        self.inner.executor.close().await;
        drop(self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
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
            membership_index: metrics.membership_config.log_id().as_ref().map_or(0, |id| id.index),
            last_contact: if self.is_leader() {
                Some(Duration::ZERO)
            } else {
                inner.core.last_heard().at.map(|at| at.elapsed())
            },
            database: inner.databases.path(),
            log_bytes: log.disk_bytes,
            log_flushes: log.flushes,
            snapshots: inner.core.progress.snapshots.load(Ordering::Relaxed),
            restores: inner.core.progress.restores.load(Ordering::Relaxed),
        }
    }
}

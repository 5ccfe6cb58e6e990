//! The state machine as openraft wants it, over the apply core.
//!
//! A snapshot is not a copy: building one makes an index durable in SQLite, and the data behind it is the database
//! itself, pinned when a follower needs it whole.
//!
//! Invariants:
//! * A reply leaves after the commit of the batch that holds its entry.
//! * A failure of the node is reported once, stops consensus here, and is never an answer (D4).
//! * Entries are applied in order, none twice (D2), and under the cluster's flags (D3).
//! * The meta of a snapshot that is sent is read inside the transaction that is sent.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use command::entry::{Action, Settings};
use futures_util::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use sqlite::Building;
use sqlite::meta::Position;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

use crate::apply::{self, Body};
use crate::consensus::codec;
use crate::consensus::log_storage::LogStorage;
use crate::consensus::snapshot::{self, Snapshot, SnapshotData};
use crate::consensus::types::{
    Answer, Entry, LogId, Proposal, Responder, SnapshotMeta, StoredMembership, Types, log_id, position,
};
use crate::databases::Databases;
use crate::divergence::{Divergence, verify};
use crate::environment::Runner;
use crate::executor::Executor;
use crate::member::NodeId;
use crate::metrics::Metrics;
use crate::settings::Flags;

/// Entries of one SQLite transaction: more with savepoints get slower (measured, design.md §8).
const BATCH_ENTRIES_MAX: usize = 128;

/// Bytes of bodies of one SQLite transaction: bounds the time a batch holds the writer, and memory.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What the state machine shows to the rest of the node.
pub(crate) struct Progress {
    /// The last applied index, published after its commit.
    pub applied: watch::Sender<u64>,
    /// Why the node stopped applying; set once.
    pub stopped: watch::Sender<Option<String>>,
    /// Snapshots made.
    pub snapshots: AtomicU64,
    /// Snapshots installed.
    pub restores: AtomicU64,
    /// Term and index of the last snapshot made or installed, as (term, index).
    pub last_snapshot: watch::Sender<(u64, u64)>,
    /// Index through which the log was last asked to be purged.
    pub purge_through: AtomicU64,
    /// See [`Progress::keep_from`].
    keep_from: AtomicU64,
    /// Databases being sent, and when the last one was done: its follower still wants the log from there on.
    streams: Mutex<(usize, Option<Instant>)>,
    /// The last entry that consensus gave to be applied; in quarantine more than what is.
    pub fed: AtomicU64,
    /// What is measured.
    pub metrics: Arc<Metrics>,
    /// How this database, and others', differ.
    pub divergence: Divergence,
}

/// How long after a database was sent the log behind it is still kept.
const STREAM_AFTERMATH: Duration = Duration::from_secs(5);

impl Progress {
    pub(crate) fn new(divergence: Divergence) -> Self {
        let applied = 0;
        Self {
            applied: watch::Sender::new(applied),
            stopped: watch::Sender::new(None),
            snapshots: AtomicU64::new(0),
            restores: AtomicU64::new(0),
            last_snapshot: watch::Sender::new((0, 0)),
            purge_through: AtomicU64::new(0),
            keep_from: AtomicU64::new(0),
            streams: Mutex::new((0, None)),
            fed: AtomicU64::new(applied),
            metrics: Arc::default(),
            divergence,
        }
    }

    /// A database is being sent until the guard is dropped.
    pub(crate) fn streaming(self: &Arc<Self>) -> Streaming {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).0 += 1;
        Streaming(self.clone())
    }

    /// A follower is being sent the database, or has just been.
    pub(crate) fn is_streaming(&self) -> bool {
        let (running, ended) = *self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        running > 0 || ended.is_some_and(|at| at.elapsed() < STREAM_AFTERMATH)
    }

    /// The log is not kept for a follower that has less than this: it is to get the database. 0: it is kept for all.
    pub(crate) fn keep_from(&self) -> u64 {
        self.keep_from.load(Ordering::Relaxed)
    }

    /// From now on the log is kept for nobody who has less than `index`.
    pub(crate) fn stop_keeping(&self, index: u64) {
        self.keep_from.store(index, Ordering::Relaxed);
    }

    /// Notes that the database is durable through `at`, by a snapshot made or installed.
    fn note_snapshot(&self, at: Option<Position>) {
        let Some(at) = at else { return };
        self.last_snapshot.send_if_modified(|last| {
            // One that was made may be told of after a later one was installed.
            let newer = last.1 < at.index;
            if newer {
                *last = (at.term, at.index);
            }
            newer
        });
    }

    /// Notes why the node stops; the first reason stays.
    pub(crate) fn stop(&self, reason: String) {
        self.stopped.send_if_modified(|stopped| {
            if stopped.is_some() {
                return false;
            }
            error!(%reason, "node stops to protect data");
            *stopped = Some(reason);
            true
        });
    }
}

/// See [`Progress::streaming`].
pub(crate) struct Streaming(Arc<Progress>);

impl Drop for Streaming {
    fn drop(&mut self) {
        let mut streams = self.0.streams.lock().unwrap_or_else(PoisonError::into_inner);
        *streams = (streams.0 - 1, Some(Instant::now()));
    }
}

/// The state machine.
pub(crate) struct StateMachine {
    executor: Executor,
    databases: Arc<Databases>,
    progress: Arc<Progress>,
    flags: Flags,
    origin: Origin,
    /// The last entry that was given to apply; the next one comes after it.
    last: Option<u64>,
    /// What a database holds that came from another node: it may be ahead of what was given to apply.
    seeded: Option<Position>,
}

/// Where entries come from, for a node that did not apply them when they came.
pub(crate) struct Origin {
    /// This node.
    pub id: NodeId,
    /// Its log.
    pub log: LogStorage,
    /// Who runs what takes long.
    pub runner: Runner,
}

impl StateMachine {
    pub(crate) fn new(
        executor: Executor,
        databases: Arc<Databases>,
        progress: Arc<Progress>,
        flags: Flags,
        origin: Origin,
    ) -> Self {
        Self {
            executor,
            databases,
            progress,
            flags,
            origin,
            last: None,
            seeded: None,
        }
    }

    /// Applies a batch, if there is anything in it.
    async fn finish(&self, batch: &mut Batch) -> io::Result<()> {
        if batch.entries.is_empty() {
            return Ok(());
        }
        self.apply_batch(std::mem::take(batch)).await
    }

    /// Stops the node before it would apply anything twice, or out of order (D2).
    fn expect(&mut self, index: u64) -> io::Result<()> {
        if self.last.is_some_and(|last| last >= index) {
            let text = format!("entry {index} follows entry {} in apply", self.last.unwrap_or(0));
            self.progress.stop(text.clone());
            return Err(io::Error::other(text));
        }
        self.fed_through(index);
        Ok(())
    }

    fn fed_through(&mut self, index: u64) {
        self.last = Some(index);
        self.progress.fed.store(index, Ordering::Release);
    }

    /// Takes one entry, in order: applies it, or what came before it, when it is time.
    async fn take(&self, batch: &mut Batch, entry: &Entry, responder: Option<Responder>) -> io::Result<()> {
        let index = entry.log_id.index;
        if self.seeded.is_some_and(|seeded| index <= seeded.index) || self.progress.divergence.quarantine.is_on() {
            // Applied where the database came from; or to be applied once another is here.
            return Ok(());
        }
        if let Some(settings) = settings(entry) {
            // What stands before them is applied first: it may have fixed others.
            self.finish(batch).await?;
            self.check_flags(Some(settings)).await?;
        }
        batch.push(entry, responder);
        let verifies = asks_to_verify(entry);
        if verifies || batch.is_full() {
            self.finish(batch).await?;
        }
        if verifies && *self.progress.applied.borrow() == index {
            verify::begin(&self.databases, &self.progress, self.origin.runner, index).await;
        }
        Ok(())
    }

    /// Stops the node if the flags that the cluster fixes, or has fixed, are not its own (D3).
    ///
    /// The first command that fixes them stands; what a later one says changes nothing.
    async fn check_flags(&self, proposed: Option<&Settings>) -> io::Result<()> {
        let fixed = self.executor.run(|applier| applier.applied().settings).await?;
        let Some(fixed) = fixed.as_ref().or(proposed) else {
            return Ok(());
        };
        self.flags.check(fixed).map_err(|error| {
            self.progress.stop(error.to_string());
            io::Error::other(error)
        })
    }

    /// Applies one batch and answers those who wait.
    async fn apply_batch(&self, batch: Batch) -> io::Result<()> {
        let progress = self.progress.clone();
        let committed = Instant::now();
        for entry in &batch.entries {
            progress.metrics.committed(entry.position.index);
        }
        let applied = self.executor.run(move |applier| {
            let replies = match applier.apply(&batch.entries) {
                Ok(replies) => replies,
                Err(error) => {
                    // Entries before the one that failed may be in.
                    let state = applier.applied();
                    progress.applied.send_replace(state.position.map_or(0, |at| at.index));
                    return Err((error, state.membership));
                }
            };
            progress.metrics.applied(batch.entries.len(), committed);
            progress.applied.send_replace(batch.last);
            for (responder, reply) in batch.responders.into_iter().zip(replies) {
                if let Some(responder) = responder {
                    responder.send(Answer(reply));
                }
            }
            Ok(())
        });
        match applied.await? {
            Ok(()) => Ok(()),
            Err((error, membership)) => self.failed(error, membership),
        }
    }

    /// This node cannot apply on. If its database is at fault, and there are others to have one from, it waits for that;
    /// otherwise it stops (D4).
    fn failed(&self, error: apply::Error, membership: Option<Bytes>) -> io::Result<()> {
        let reason = format!("apply: {}", chain(&error));
        let is_unsound = matches!(error, apply::Error::Unsound { .. });
        let me = self.origin.id.0;
        if is_unsound && stored(membership)?.voter_ids().any(|voter| voter != me) {
            let generation = self.databases.current().number();
            self.progress.divergence.quarantine.enter(generation, &reason);
            return Ok(());
        }
        self.progress.stop(reason);
        Err(io::Error::other(error))
    }

    /// Puts a database that the leader sent, which holds everything through `at`, in the place of this one, and applies
    /// what came meanwhile.
    ///
    /// # Errors
    ///
    /// Why it is of no use. A failure of this node stops it.
    pub(crate) async fn seed(&mut self, building: Building, at: Position) -> io::Result<()> {
        let applied = self.executor.run(|applier| applier.applied()).await?.position;
        if !self.progress.divergence.quarantine.is_on() || applied > Some(at) {
            return Err(io::Error::other("a database came that is not wanted any more"));
        }
        // After a crash the vote must not be of an earlier term than the database: `reconcile`.
        if self.origin.log.flushed_term() < at.term {
            return Err(io::Error::other(format!(
                "nothing of term {} is flushed here yet",
                at.term
            )));
        }
        self.replace(building).await?;
        self.seeded = Some(at);
        self.progress.divergence.reseeds.fetch_add(1, Ordering::Relaxed);
        self.progress.restores.fetch_add(1, Ordering::Relaxed);
        self.progress.applied.send_replace(at.index);
        self.catch_up(at.index).await.inspect_err(|error| {
            self.progress.stop(format!("apply after re-seeding: {}", chain(error)));
        })
    }

    /// Makes `building` the database, durably; a quarantine ends with that.
    async fn replace(&self, building: Building) -> io::Result<()> {
        let databases = self.databases.clone();
        let replaced = self
            .executor
            .run(move |applier| applier.replace(|| databases.switch(building)))
            .await?;
        replaced.map_err(|error| {
            self.progress.stop(format!("install database: {}", chain(&error)));
            io::Error::other(error)
        })?;
        self.progress.divergence.replaced();
        self.check_flags(None).await
    }

    /// Applies what was given after `index` and passed by.
    async fn catch_up(&self, index: u64) -> io::Result<()> {
        let (mut next, last) = (index + 1, self.last.unwrap_or(0));
        while next <= last {
            let entries = self.origin.log.entries(next, last + 1, BATCH_BYTES_MAX)?;
            let Some(end) = entries.last() else {
                return Err(io::Error::other(format!("entry {next} is not in the log")));
            };
            next = end.log_id.index + 1;
            let mut batch = Batch::default();
            for entry in &entries {
                self.take(&mut batch, entry, None).await?;
            }
            self.finish(&mut batch).await?;
        }
        Ok(())
    }
}

/// Entries for one transaction, and who waits for each.
#[derive(Default)]
struct Batch {
    entries: Vec<apply::Entry>,
    responders: Vec<Option<Responder>>,
    bytes: usize,
    last: u64,
}

impl Batch {
    fn push(&mut self, entry: &Entry, responder: Option<Responder>) {
        let (body, bytes) = match &entry.payload {
            EntryPayload::Blank => (Body::Blank, 0),
            EntryPayload::Normal(proposal) => (command_body(proposal), proposal.bytes().len()),
            EntryPayload::Membership(membership) => {
                let bytes = codec::stored_membership_bytes(membership, &entry.log_id);
                (Body::Membership(bytes), 0)
            }
        };
        self.entries.push(apply::Entry {
            position: position(&entry.log_id),
            body,
        });
        self.responders.push(responder);
        self.bytes += bytes;
        self.last = entry.log_id.index;
    }

    fn is_full(&self) -> bool {
        self.entries.len() >= BATCH_ENTRIES_MAX || self.bytes >= BATCH_BYTES_MAX
    }
}

fn command_body(proposal: &Proposal) -> Body {
    Body::Command(proposal.command().clone())
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.executor.run(|applier| applier.applied()).await?;
        if let Some(at) = applied.position {
            self.fed_through(at.index);
        }
        Ok((applied.position.map(log_id), stored(applied.membership)?))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut batch = Batch::default();
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.expect(entry.log_id.index)?;
            self.take(&mut batch, &entry, responder).await?;
        }
        self.finish(&mut batch).await
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            executor: self.executor.clone(),
            databases: self.databases.clone(),
            progress: self.progress.clone(),
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let last = meta.last_log_id.as_ref().map(position);
        if let Some(at) = last {
            self.fed_through(at.index);
        }
        if self.seeded >= last {
            // One that came by another way is ahead.
            return Ok(());
        }
        let received = snapshot::installable(snapshot, &self.databases).map_err(io::Error::other)?;
        self.replace(received).await?;
        self.progress.restores.fetch_add(1, Ordering::Relaxed);
        self.progress.note_snapshot(last);
        self.progress.applied.send_replace(last.map_or(0, |at| at.index));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        // Pinned only when it is sent: a failure here would end consensus, there it is tried again.
        let applied = self.executor.run(|applier| applier.applied()).await?;
        let Some(last) = applied.position else { return Ok(None) };
        Ok(Some(Snapshot {
            meta: SnapshotMeta {
                last_log_id: Some(log_id(last)),
                last_membership: stored(applied.membership)?,
            },
            snapshot: SnapshotData::Here(self.databases.clone()),
        }))
    }
}

/// Makes the applied index durable: that is the snapshot.
pub(crate) struct SnapshotBuilder {
    executor: Executor,
    databases: Arc<Databases>,
    progress: Arc<Progress>,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (durable, membership) = self.executor.make_durable().await.inspect_err(|error| {
            self.progress
                .stop(format!("make the database durable: {}", chain(error)));
        })?;
        if durable.is_some_and(|at| at.index > self.progress.fed.load(Ordering::Acquire)) {
            // The database of another node took the place of this one's, ahead of what consensus knows to be applied: to
            // it that is no snapshot yet.
            return Ok(Snapshot {
                meta: SnapshotMeta::default(),
                snapshot: SnapshotData::Here(self.databases.clone()),
            });
        }
        self.progress.snapshots.fetch_add(1, Ordering::Relaxed);
        self.progress.note_snapshot(durable);
        let meta = SnapshotMeta {
            last_log_id: durable.map(log_id),
            last_membership: stored(membership)?,
        };
        Ok(Snapshot {
            meta,
            snapshot: SnapshotData::Here(self.databases.clone()),
        })
    }
}

/// The membership that the database keeps.
fn stored(membership: Option<Bytes>) -> io::Result<StoredMembership> {
    match membership {
        Some(bytes) => codec::stored_membership(&bytes),
        None => Ok(StoredMembership::default()),
    }
}

/// The settings that an entry would fix.
fn settings(entry: &Entry) -> Option<&Settings> {
    let EntryPayload::Normal(proposal) = &entry.payload else {
        return None;
    };
    match &proposal.command().action {
        Some(Action::Settings(settings)) => Some(settings),
        Some(Action::Write(_) | Action::Skip(_) | Action::Chunk(_) | Action::Load(_) | Action::Verify(_)) | None => {
            None
        }
    }
}

/// Whether an entry asks for a verification.
fn asks_to_verify(entry: &Entry) -> bool {
    match &entry.payload {
        EntryPayload::Blank | EntryPayload::Membership(_) => false,
        EntryPayload::Normal(proposal) => matches!(proposal.command().action, Some(Action::Verify(_))),
    }
}

/// An error and its sources, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

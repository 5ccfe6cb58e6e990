//! What a node does without being asked: snapshots, checkpoints, promotions, and a look at the disk.
//!
//! Invariants:
//! * A snapshot is an index made durable; nothing is copied, no write waits for it.
//! * Below the watermark no write is taken, before one could fail (design.md §3, "Disk nearly full").

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::apply::Applier;
use crate::consensus::state_machine::chain;
use crate::consensus::types::LogId;
use crate::consensus::{Core, Metrics, membership};
use crate::error::Error;
use crate::member::NodeId;
use crate::node::Inner;

#[cfg(test)]
mod tests;

/// How often the keeper looks around; a virtual 100 ms in the simulator.
const TICK: Duration = Duration::from_millis(100);

/// Ticks between two snapshots at least: at full speed the entries alone would ask for several a second, each a flush
/// of everything that SQLite has written.
const SNAPSHOT_TICKS: u64 = 10;

/// How many times the usual number of entries the log may hold for a follower that is slow or is sent the database.
const STREAM_PATIENCE: u64 = 32;

/// How long one snapshot may take before its asker is told that it failed: an fdatasync on a slow disk, at most.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(30);

/// A wish for a snapshot may have been dropped: after this it is uttered again.
const SNAPSHOT_LOOK: Duration = Duration::from_millis(500);

/// Free space of the data directory, looked at now and then.
pub(crate) struct DiskSpace {
    dir: PathBuf,
    watermark: u64,
    free: AtomicU64,
}

impl DiskSpace {
    pub(crate) fn new(dir: &Path, watermark: u64) -> Self {
        let disk = Self {
            dir: dir.to_owned(),
            watermark,
            free: AtomicU64::new(u64::MAX),
        };
        disk.look();
        disk
    }

    /// Whether a write may be taken.
    ///
    /// # Errors
    ///
    /// [`Error::DiskFull`] below the watermark.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let free = self.free.load(Ordering::Relaxed);
        if free >= self.watermark {
            Ok(())
        } else {
            Err(Error::DiskFull {
                free,
                watermark: self.watermark,
            })
        }
    }

    fn look(&self) {
        let Ok(stat) = rustix::fs::statvfs(&self.dir) else {
            return;
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let before = self.free.swap(free, Ordering::Relaxed);
        match (before >= self.watermark, free >= self.watermark) {
            (true, false) => warn!(free, watermark = self.watermark, "disk nearly full, refusing writes"),
            (false, true) => info!(free, "disk has room again, taking writes"),
            (true, true) | (false, false) => {}
        }
    }
}

/// Runs until the node is dropped or stops.
///
/// Waits for nothing but its tick: what may take long runs beside it, each kind once at a time.
pub(crate) async fn run(inner: Weak<Inner>) {
    let mut tick = 0_u64;
    let mut known = Known::default();
    let (mut tending, mut finishing) = (Slot::default(), Slot::default());
    loop {
        tokio::time::sleep(TICK).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.core.progress.stopped.borrow().is_some() || *inner.closing.borrow() {
            return;
        }
        tick += 1;
        look_around(&inner, &mut known);
        // Every tick: at 100 MB/s the watermark is more than half a second away, a second would be too late.
        inner.disk.look();
        tending.run(|| tend(inner.clone(), tick.is_multiple_of(SNAPSHOT_TICKS)));
        if inner.core.has_unfinished() {
            finishing.run(|| finish(inner.clone()));
        }
    }
}

/// Runs one future at a time, and what comes while it runs not at all.
#[derive(Default)]
struct Slot(Option<tokio::task::JoinHandle<()>>);

impl Slot {
    fn run<F: Future<Output = ()> + Send + 'static>(&mut self, work: impl FnOnce() -> F) {
        if self.0.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            self.0 = Some(tokio::spawn(work()));
        }
    }
}

/// Checkpoints and snapshots: both wait for the batch that is being applied.
async fn tend(inner: Arc<Inner>, may_snapshot: bool) {
    if inner.core.progress.divergence.quarantine.is_on() {
        // Nothing is applied; and the writer may have stopped in the middle of something.
        return;
    }
    maintain(&inner).await;
    give_up_the_slow(&inner);
    if may_snapshot
        && due(&inner)
        && let Err(error) = snapshot(&inner, None).await
    {
        warn!(%error, "snapshot failed");
    }
}

/// Gives up followers that are so slow that the log cannot be purged for them: they get the database instead.
///
/// Consensus puts a purge off while an entry of it is on its way to anybody, which a follower that lags and goes on
/// lagging would make for ever.
fn give_up_the_slow(inner: &Inner) {
    let progress = &inner.core.progress;
    let wanted = progress.purge_through.load(Ordering::Relaxed);
    let purged = inner.log.state().purged.map_or(0, |at| at.index);
    let from = keep_from(wanted, purged, inner.config.snapshot_entries);
    if from > 0 && progress.keep_from() == 0 {
        warn!(
            wanted,
            purged, "a follower is too slow for the log to be purged, it gets the database"
        );
    }
    progress.stop_keeping(from);
}

/// The index below which the log is kept for nobody; 0 while it may wait for all.
fn keep_from(wanted: u64, purged: u64, snapshot_entries: u64) -> u64 {
    let waits = wanted.saturating_sub(purged);
    if waits > snapshot_entries.saturating_mul(STREAM_PATIENCE) {
        wanted
    } else {
        0
    }
}

/// Changes of membership, which wait for a majority.
async fn finish(inner: Arc<Inner>) {
    inner.core.finish().await;
}

/// Stops the node as soon as consensus has stopped by itself.
pub(crate) async fn guard(core: Arc<Core>) {
    if let Some(reason) = core.ended().await {
        core.progress.stop(reason);
    }
}

/// What was last seen.
#[derive(Default)]
struct Known {
    leader: Option<u64>,
    /// Index of the membership.
    membership: Option<LogId>,
}

/// Notes who leads and where members are.
fn look_around(inner: &Inner, known: &mut Known) {
    announce(inner, &mut known.leader);
    inner.core.note_lead();
    inner.core.with_metrics(|metrics| {
        let membership = &metrics.membership_config;
        if *membership.log_id() != known.membership {
            known.membership = *membership.log_id();
            inner.core.addresses.follow(membership.membership());
        }
    });
}

/// Says once who leads, whenever that changes.
fn announce(inner: &Inner, known: &mut Option<u64>) {
    let (leader, term) = inner
        .core
        .with_metrics(|metrics| (metrics.current_leader, metrics.current_term));
    if leader == *known {
        return;
    }
    *known = leader;
    if leader.is_some() {
        inner
            .core
            .progress
            .metrics
            .leader_changes
            .fetch_add(1, Ordering::Relaxed);
    }
    match known {
        Some(id) if *id == inner.peer.id.0 => {
            inner
                .core
                .progress
                .metrics
                .elections_won
                .fetch_add(1, Ordering::Relaxed);
            info!(term, "this node leads");
        }
        Some(id) => info!(term, leader = %NodeId(*id), "following leader"),
        None => info!(term, "no leader known"),
    }
}

/// Lets the apply core finish checkpoints between two batches.
async fn maintain(inner: &Inner) {
    match inner.executor.run(Applier::maintain).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            inner.core.progress.stop(format!("checkpoint: {}", chain(&error)));
        }
        // Unless it was closed, its thread has died: nothing would be applied any more.
        Err(error) if !*inner.closing.borrow() => inner.core.progress.stop(chain(&error)),
        Err(_) => {}
    }
}

/// Enough entries since the last snapshot?
///
/// While a follower is sent the database the log is kept, so that it can go on from there; up to a cap, since the log
/// must not fill the disk for one slow follower.
fn due(inner: &Inner) -> bool {
    let progress = &inner.core.progress;
    let (_, last) = *progress.last_snapshot.borrow();
    let entries = progress.applied.borrow().saturating_sub(last);
    let patience = if progress.is_streaming() { STREAM_PATIENCE } else { 1 };
    entries >= inner.config.snapshot_entries.saturating_mul(patience)
}

/// See [`crate::Node::snapshot`].
pub(crate) async fn snapshot(inner: &Arc<Inner>, trailing: Option<u64>) -> Result<bool, Error> {
    let applied = *inner.core.progress.applied.borrow();
    if applied == 0 || inner.core.progress.last_snapshot.borrow().1 >= applied {
        return Ok(false);
    }
    let index = made_in_time(inner, applied).await?;
    debug!(index, "snapshot made");
    // What is kept spares a follower that lags a little the whole database.
    let kept = trailing.unwrap_or(inner.config.snapshot_entries.saturating_mul(5) / 4);
    if index > kept {
        let through = index - kept;
        inner.core.progress.purge_through.fetch_max(through, Ordering::Relaxed);
        inner.core.trigger_purge(through).await?;
    }
    Ok(true)
}

/// Drops the log through `index`, without a tail, whoever made the snapshot that stands for it.
pub(crate) async fn purge_through(inner: &Arc<Inner>, index: u64) -> Result<(), Error> {
    made_in_time(inner, index).await?;
    inner.core.trigger_purge(index).await
}

async fn made_in_time(inner: &Arc<Inner>, applied: u64) -> Result<u64, Error> {
    match tokio::time::timeout(SNAPSHOT_TIMEOUT, made(inner, applied)).await {
        Ok(made) => made,
        Err(_) => Err(Error::Stopped(format!(
            "snapshot of index {applied} not done in {SNAPSHOT_TIMEOUT:?}"
        ))),
    }
}

/// Has a snapshot made, of `applied` or later; answers of what.
///
/// Consensus drops a wish that comes while another snapshot is made, so that one may be older: it is asked again then.
async fn made(inner: &Arc<Inner>, applied: u64) -> Result<u64, Error> {
    let index = |metrics: &Metrics| metrics.snapshot.as_ref().map_or(0, |at| at.index);
    loop {
        let before = inner.core.with_metrics(index);
        if before >= applied {
            return Ok(before);
        }
        inner.core.trigger_snapshot().await?;
        // Consensus must know of the snapshot before it can purge below it; the builder alone is not enough.
        let known = inner.core.until(|metrics| (index(metrics) > before).then_some(()));
        match tokio::time::timeout(SNAPSHOT_LOOK, known).await {
            Ok(Some(())) | Err(_) => {}
            Ok(None) => return Err(Error::Stopped("consensus has stopped".to_owned())),
        }
    }
}

/// Has this node applied what it knew to be committed at start, and does it know a leader?
///
/// The leader is ready with the first entry of its own term; a follower with what the leader first told it. Latched: a
/// node does not lose its readiness by falling behind, only by losing the leader.
pub(crate) fn is_ready(inner: &Inner) -> bool {
    let leader = inner.core.with_metrics(|metrics| {
        let is_of_term = |id: &LogId| id.leader_id.term == metrics.current_term;
        let known = membership::leads(metrics)
            || metrics.current_leader.is_some_and(|id| id != metrics.id) && inner.core.hears_leader();
        known.then(|| {
            (
                metrics.current_leader,
                metrics.last_applied.as_ref().is_some_and(is_of_term),
            )
        })
    });
    let Some((leader, has_applied_of_term)) = leader else {
        return false;
    };
    if inner.ready.load(Ordering::Acquire) {
        return true;
    }
    let applied = *inner.core.progress.applied.borrow();
    let caught_up = if leader == Some(inner.peer.id.0) {
        has_applied_of_term
    } else {
        let heard = inner.core.last_heard();
        heard.committed > 0 && applied >= heard.first_committed
    };
    let ready = caught_up && applied >= inner.committed_at_start;
    if ready {
        inner.ready.store(true, Ordering::Release);
    }
    ready
}

/// A lone voter need not wait for anybody's silence: it stands at once.
pub(crate) async fn elect_if_alone(inner: &Inner) {
    let metrics = inner.core.metrics();
    let voters: Vec<u64> = metrics.membership_config.membership().voter_ids().collect();
    if voters != [inner.peer.id.0] {
        return;
    }
    if let Err(error) = inner.core.trigger_election().await {
        warn!(%error, "could not stand for election");
    }
    let led = inner.core.until(|metrics| metrics.current_leader);
    // Not fatal if it takes longer: the election timer goes on.
    let _ = tokio::time::timeout(Duration::from_secs(1), led).await;
}

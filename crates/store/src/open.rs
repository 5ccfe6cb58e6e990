//! Opening a node: the order in which a directory becomes a running replica.
//!
//! ```text
//!  lock ─► identity ─► log (recovered) ─► database (applied index) ─► settings agree? ─► reconciled ─► consensus replays
//! ```
//!
//! Restart costs what the log holds beyond the applied index, not what the database holds.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use log::{Flusher, Step};
use tokio::sync::{Notify, Semaphore, watch};
use tracing::info;

use crate::apply::Applier;
use crate::config::Config;
use crate::consensus::dial::Dialler;
use crate::consensus::log_storage::{self, LogStorage};
use crate::consensus::network::NetworkFactory;
use crate::consensus::state_machine::{Origin, Progress, StateMachine};
use crate::consensus::{self, Core, Raft};
use crate::databases::Databases;
use crate::divergence::{self, Divergence};
use crate::environment::{Clock, Environment, Random, Runner};
use crate::error::Error;
use crate::executor::Executor;
use crate::identity;
use crate::keeper::{self, DiskSpace};
use crate::load;
use crate::member::{NodeId, Peer};
use crate::node::{Inner, Node};
use crate::proposals::Budget;
use crate::reconcile;
use crate::settings::Flags;
use crate::skips::Skips;

/// A frame of SQLite's WAL: a page of the default size and its header.
const WAL_FRAME_BYTES: u64 = 4096 + 24;

impl Node {
    /// Opens the data directory and starts consensus: replays the tail of the log, joins nobody.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`], [`Error::Foreign`], and what log and SQLite report.
    pub async fn open(config: Config, environment: Environment) -> Result<Self, Error> {
        let lock = identity::lock(&config.dir)?;
        let id = identity::identity(&config.dir, environment.random.as_ref())?;
        let peer = Peer {
            id,
            name: config.name.clone(),
            address: config.address.clone(),
        };
        let databases = Arc::new(Databases::open(&config)?);
        let divergence = Divergence::open(&config.dir, databases.current().number())?;
        let progress = Arc::new(Progress::new(divergence));
        let (log, flushing) = open_log(&config, &environment, id, &progress)?;
        let mut applier = open_applier(&config, &databases, &progress, environment.runner)?;
        load::resume(&mut applier, &databases, &log)?;
        let flags = Flags::new(&config);
        #[cfg(feature = "mutations")]
        apply_twice(&log, &mut applier)?;
        let applied = applier.applied();
        if let Some(fixed) = &applied.settings {
            flags.check(fixed)?;
        }
        let applied_at = applied.position.map_or(0, |at| at.index);
        let log_state = log.state();
        info!(%id, applied = applied_at, last = log_state.last.map_or(0, |at| at.index), "opened");

        let skips = applier.skips();
        let executor = start_applying(applier, environment.runner)?;
        progress.applied.send_replace(applied_at);
        reconcile::reconcile(&config.dir, id, &log, &executor, &applied).await?;
        let core = start(Parts {
            config: &config,
            environment: &environment,
            id,
            log: &log,
            executor: &executor,
            databases: &databases,
            progress: &progress,
            flags: &flags,
            skips: &skips,
        })
        .await?;
        let inner = Arc::new(Inner {
            disk: DiskSpace::new(&config.dir, config.disk_watermark),
            settings_known: AtomicBool::new(applied.settings.is_some()),
            budget: Budget::new(),
            checks: Semaphore::new(1),
            ready: AtomicBool::new(false),
            committed_at_start: log_state.committed.map_or(0, |at| at.index),
            config,
            environment,
            peer,
            core,
            executor,
            log,
            databases,
            flags,
            skips,
            closing: watch::Sender::new(false),
            flushing: Mutex::new(flushing),
            lock: Mutex::new(Some(lock)),
        });
        keeper::elect_if_alone(&inner).await;
        tokio::spawn(keeper::guard(inner.core.clone()));
        tokio::spawn(keeper::run(Arc::downgrade(&inner)));
        tokio::spawn(divergence::watch::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }
}

fn open_applier(config: &Config, databases: &Databases, progress: &Progress, runner: Runner) -> Result<Applier, Error> {
    let mut applier = Applier::open(&databases.path(), databases.options())?;
    if runner == Runner::Threads {
        applier.backfill_beside();
    }
    if config.snapshot_wal_bytes > 0 {
        applier.checkpoint_at(u32::try_from(config.snapshot_wal_bytes / WAL_FRAME_BYTES).unwrap_or(u32::MAX));
    }
    applier.mark_every(config.mark_entries, progress.divergence.marks.clone());
    Ok(applier)
}

fn start_applying(applier: Applier, runner: Runner) -> Result<Executor, Error> {
    Executor::start(applier, runner).map_err(|source| Error::Io {
        what: "start the apply thread".to_owned(),
        source,
    })
}

/// Takes the last applied entry for one that is still to come, if the log has it and the one before it.
#[cfg(feature = "mutations")]
fn apply_twice(log: &log::Log, applier: &mut Applier) -> Result<(), Error> {
    let applied = applier.applied().position.map_or(0, |at| at.index);
    let state = log.state();
    let is_held = state.last.is_some_and(|last| last.index >= applied);
    let before = log.position_at(applied.saturating_sub(1));
    if let Some(before) = before.filter(|_| is_held && mutation::is(mutation::Mutation::ApplyTwice)) {
        applier.forget_last(sqlite::meta::Position {
            term: before.term,
            index: before.index,
        })?;
    }
    Ok(())
}

/// The flush thread; none in the simulator.
pub(crate) type Flushing = Option<std::thread::JoinHandle<()>>;

/// Opens the log and sets its flush loop going.
fn open_log(
    config: &Config,
    environment: &Environment,
    id: NodeId,
    progress: &Arc<Progress>,
) -> Result<(log::Log, Flushing), Error> {
    let mut options = log::Options {
        salt: id.0,
        ..config.log.clone()
    };
    match environment.runner {
        Runner::Threads => {
            let (log, flusher) = log::open(environment.disk.clone(), options)?;
            let progress = progress.clone();
            let flushing = std::thread::Builder::new()
                .name("flush".to_owned())
                .spawn(move || {
                    if let Err(error) = flusher.run() {
                        progress.stop(format!("log: {}", consensus::state_machine::chain(&error)));
                    }
                })
                .map_err(|source| Error::Io {
                    what: "start the flush thread".to_owned(),
                    source,
                })?;
            Ok((log, Some(flushing)))
        }
        Runner::Inline => {
            let work = Arc::new(Notify::new());
            let wake = work.clone();
            options.notify = Some(Arc::new(move || wake.notify_one()));
            let (log, flusher) = log::open(environment.disk.clone(), options)?;
            tokio::spawn(flush_inline(
                flusher,
                work,
                environment.clock.clone(),
                environment.random.clone(),
            ));
            Ok((log, None))
        }
    }
}

/// The flush loop of the simulator: a flush takes as long as the clock says.
async fn flush_inline(mut flusher: Flusher, work: Arc<Notify>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) {
    loop {
        match flusher.step() {
            Step::Idle => work.notified().await,
            Step::Progress => tokio::time::sleep(clock.flush_time(random.next())).await,
            // A failure reaches consensus through the completions, and the keeper from there.
            Step::Closed => return,
        }
    }
}

/// The pieces that consensus is started from.
#[derive(Clone, Copy)]
struct Parts<'a> {
    config: &'a Config,
    environment: &'a Environment,
    id: NodeId,
    log: &'a log::Log,
    executor: &'a Executor,
    databases: &'a Arc<Databases>,
    progress: &'a Arc<Progress>,
    flags: &'a Flags,
    skips: &'a Arc<Skips>,
}

fn state_machine(parts: &Parts<'_>, log: LogStorage) -> StateMachine {
    let origin = Origin {
        id: parts.id,
        log,
        runner: parts.environment.runner,
    };
    StateMachine::new(
        parts.executor.clone(),
        parts.databases.clone(),
        parts.progress.clone(),
        parts.flags.clone(),
        origin,
    )
}

/// Starts consensus; returns once the committed part of the log is applied.
async fn start(parts: Parts<'_>) -> Result<Arc<Core>, Error> {
    let Parts {
        config,
        environment,
        id,
        log,
        executor,
        databases,
        progress,
        flags: _,
        skips,
    } = parts;
    let raft_config = consensus::config(config.heartbeat_interval, config.election_timeout)
        .validate()
        .map_err(|error| Error::Membership(format!("consensus timings: {error}")))?;
    let dialler = Dialler {
        me: id,
        transport: environment.transport.clone(),
        addresses: Arc::default(),
        acknowledged: Arc::default(),
    };
    let network = NetworkFactory {
        dialler: dialler.clone(),
        runner: environment.runner,
        progress: progress.clone(),
    };
    let kept = log_storage::kept(log).map_err(|source| Error::Io {
        what: "read the vote".to_owned(),
        source,
    })?;
    let applied = *progress.applied.borrow();
    let storage = LogStorage::new(
        log.clone(),
        Arc::new(executor.clone()),
        skips.clone(),
        applied,
        progress.metrics.clone(),
    );
    let committed = log.state().committed.map_or(0, |at| at.index);
    storage.announce_skips(committed).map_err(|source| Error::Io {
        what: "read the log for entries to pass over".to_owned(),
        source,
    })?;
    let state_machine = state_machine(&parts, storage.clone());
    let raft = Raft::new(id.0, Arc::new(raft_config), network, storage, state_machine)
        .await
        .map_err(|error| Error::Stopped(format!("start consensus: {}", consensus::state_machine::chain(&error))))?;
    let core = Core::new(
        raft,
        progress.clone(),
        databases.clone(),
        dialler,
        environment.runner,
        kept,
    );
    // The metrics are empty until consensus has run once; who asks before would take an old node for a new one.
    let last = log.state().last.map(|at| at.index);
    let started = core.until(|metrics| (metrics.last_log_index >= last).then_some(()));
    started
        .await
        .ok_or_else(|| Error::Stopped("consensus stopped while it started".to_owned()))?;
    Ok(Arc::new(core))
}

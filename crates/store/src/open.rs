//! Opening a node: the order in which a directory becomes a running replica.
//!
//! ```text
//!  lock ─► identity ─► log (recovered) ─► database (applied index) ─► settings agree? ─► consensus replays the rest
//! ```
//!
//! Restart costs what the log holds beyond the applied index, not what the database holds.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use command::entry::Settings;
use log::{Flusher, Step};
use tokio::sync::{Notify, Semaphore};
use tracing::info;

use crate::apply::Applier;
use crate::config::Config;
use crate::consensus::log_storage::LogStorage;
use crate::consensus::network::NetworkFactory;
use crate::consensus::state_machine::{Progress, StateMachine};
use crate::consensus::{self, Core, Raft};
use crate::databases::Databases;
use crate::environment::{Environment, Random, Runner};
use crate::error::Error;
use crate::executor::Executor;
use crate::identity;
use crate::keeper::{self, DiskSpace};
use crate::member::{NodeId, Peer};
use crate::node::{Inner, Node, PROPOSALS_MAX};

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
        let progress = Arc::new(Progress::new(0));
        let log = open_log(&config, &environment, id, &progress)?;
        let databases = Arc::new(Databases::open(&config)?);
        let mut applier = Applier::open(&databases.path(), databases.options())?;
        if environment.runner == Runner::Threads {
            applier.backfill_beside();
        }
        let settings = own_settings(&config);
        let applied = applier.applied();
        check_settings(&config, applied.settings.as_ref(), &settings)?;
        let applied_at = applied.position.map_or(0, |at| at.index);
        let log_state = log.state();
        info!(%id, applied = applied_at, last = log_state.last.map_or(0, |at| at.index), "opened");

        let executor = Executor::start(applier, environment.runner).map_err(|source| Error::Io {
            what: "start the apply thread".to_owned(),
            source,
        })?;
        progress.applied.send_replace(applied_at);
        let core = start(Parts {
            config: &config,
            environment: &environment,
            id,
            log: &log,
            executor: &executor,
            databases: &databases,
            progress: &progress,
        })
        .await?;
        let inner = Arc::new(Inner {
            disk: DiskSpace::new(&config.dir, config.disk_watermark),
            settings_known: AtomicBool::new(applied.settings.is_some()),
            proposals: Semaphore::new(PROPOSALS_MAX),
            ready: AtomicBool::new(false),
            committed_at_start: log_state.committed.map_or(0, |at| at.index),
            config,
            environment,
            peer,
            core,
            executor,
            log,
            databases,
            settings,
            lock: Mutex::new(Some(lock)),
        });
        keeper::elect_if_alone(&inner).await;
        tokio::spawn(keeper::run(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }
}

/// Opens the log and sets its flush loop going.
fn open_log(
    config: &Config,
    environment: &Environment,
    id: NodeId,
    progress: &Arc<Progress>,
) -> Result<log::Log, Error> {
    let mut options = log::Options {
        salt: id.0,
        ..config.log.clone()
    };
    match environment.runner {
        Runner::Threads => {
            let (log, flusher) = log::open(environment.disk.clone(), options)?;
            let progress = progress.clone();
            std::thread::Builder::new()
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
            Ok(log)
        }
        Runner::Inline => {
            let work = Arc::new(Notify::new());
            let wake = work.clone();
            options.notify = Some(Arc::new(move || wake.notify_one()));
            let (log, flusher) = log::open(environment.disk.clone(), options)?;
            tokio::spawn(flush_inline(flusher, work, environment.random.clone()));
            Ok(log)
        }
    }
}

/// The flush loop of the simulator: a flush takes 0.1 to 2.1 virtual milliseconds.
async fn flush_inline(mut flusher: Flusher, work: Arc<Notify>, random: Arc<dyn Random>) {
    loop {
        match flusher.step() {
            Step::Idle => work.notified().await,
            Step::Progress => tokio::time::sleep(Duration::from_micros(100 + random.next() % 2_000)).await,
            // A failure reaches consensus through the completions, and the keeper from there.
            Step::Closed => return,
        }
    }
}

/// The pieces that consensus is started from.
struct Parts<'a> {
    config: &'a Config,
    environment: &'a Environment,
    id: NodeId,
    log: &'a log::Log,
    executor: &'a Executor,
    databases: &'a Arc<Databases>,
    progress: &'a Arc<Progress>,
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
    } = parts;
    let kept = config.snapshot_entries + config.snapshot_entries / 4;
    let raft_config = consensus::config(config.heartbeat_interval, config.election_timeout, kept)
        .validate()
        .map_err(|error| Error::Membership(format!("consensus timings: {error}")))?;
    let network = NetworkFactory {
        me: id,
        transport: environment.transport.clone(),
        runner: environment.runner,
        progress: progress.clone(),
    };
    let storage = LogStorage::new(log.clone(), Arc::new(executor.clone()));
    let state_machine = StateMachine::new(executor.clone(), databases.clone(), progress.clone());
    let raft = Raft::new(id.0, Arc::new(raft_config), network, storage, state_machine)
        .await
        .map_err(|error| Error::Stopped(format!("start consensus: {}", consensus::state_machine::chain(&error))))?;
    let core = Arc::new(Core::new(id, raft, progress.clone(), databases.clone(), environment));
    // The metrics are empty until consensus has run once; who asks before would take an old node for a new one.
    let last = log.state().last.map(|at| at.index);
    let started = core.until(|metrics| (metrics.last_log_index >= last).then_some(()));
    started
        .await
        .ok_or_else(|| Error::Stopped("consensus stopped while it started".to_owned()))?;
    Ok(core)
}

/// What this node's flags say about results.
fn own_settings(config: &Config) -> Settings {
    let mut extensions: Vec<String> = config
        .extensions
        .iter()
        .map(|path| {
            path.file_name()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    extensions.sort();
    Settings {
        foreign_keys: config.foreign_keys,
        extensions,
        sqlite: sqlite::version().to_owned(),
    }
}

/// Flags that change results are the cluster's: a node with others would compute other results.
pub(crate) fn check_settings(config: &Config, fixed: Option<&Settings>, own: &Settings) -> Result<(), Error> {
    let Some(fixed) = fixed else { return Ok(()) };
    let refuse = |what: String| {
        Err(Error::Foreign {
            path: config.dir.clone(),
            what,
        })
    };
    if fixed.foreign_keys != own.foreign_keys {
        return refuse(format!(
            "belongs to a cluster that was formed with -fk={}, this node was started with -fk={}: start it with the \
             cluster's setting",
            fixed.foreign_keys, own.foreign_keys
        ));
    }
    if fixed.extensions != own.extensions {
        return refuse(format!(
            "belongs to a cluster that was formed with the extensions {:?}, this node was started with {:?}: start it \
             with the cluster's",
            fixed.extensions, own.extensions
        ));
    }
    Ok(())
}

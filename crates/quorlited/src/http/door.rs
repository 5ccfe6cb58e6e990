//! What every endpoint can reach: this node, once it is open, and the others.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use store::member::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::call::Call;
use super::counters::Counters;
use super::errors;
use super::ledger::Ledger;
use super::peers::Peers;
use super::queue::flusher::Flusher;
use super::queue::{self, Item, Queue};
use super::reply::Reply;
use super::vault::Vault;
use super::watch::{Limits, Watch};
use hyper::StatusCode;

/// How long a leader may take to be found after a hand-over began, before a request that met it is answered.
const HANDOVER_TIME_MAX: Duration = Duration::from_secs(2);

/// How often the leader is looked up while one is elected.
const ELECTION_PAUSE: Duration = Duration::from_millis(10);

/// How often it is looked up during a hand-over.
const HANDOVER_PAUSE: Duration = Duration::from_millis(5);

/// Bytes of bodies that may be in memory at a time, but for those that are streamed. Beyond it requests are refused.
const BODIES_BYTES_MAX: usize = 512 * 1024 * 1024;

/// The API's configuration.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it listens.
    pub bind: String,
    /// Its address as clients see it.
    pub advertised: String,
    /// The inter-node port's bind address.
    pub inter_node_bind: String,
    /// The CORS allow-origin header's value.
    pub allow_origin: Option<String>,
    /// Write requests are atomic unless they say otherwise.
    pub atomic_requests: bool,
    /// How queued writes leave.
    pub queue: queue::Options,
    /// Within which limits requests run.
    pub limits: Limits,
    /// Settings of the store that `/status` shows.
    pub store: store::config::Config,
    /// Longest dial of a peer.
    pub connect_timeout: Duration,
    /// The log's level, by name.
    pub log_level: String,
    /// The process runs in a Kubernetes pod.
    pub is_in_kubernetes: bool,
}

/// The API's state; there before the store is open.
pub struct Door {
    /// Its configuration.
    pub options: Options,
    /// When the process started.
    pub started: SystemTime,
    /// The same on the monotonic clock.
    pub started_at: Instant,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// What is watched of the requests.
    pub watch: Arc<Watch>,
    /// Room for bodies.
    bodies: Arc<Semaphore>,
    /// Writes that wait.
    pub queue: Arc<Queue>,
    /// The other end of the queue, until the store is open.
    queued: Mutex<Option<mpsc::Receiver<Item>>>,
    opened: OnceLock<Opened>,
    last_backup: Mutex<Option<SystemTime>>,
}

/// What is there once the store is open.
#[derive(Clone)]
pub struct Opened {
    /// This node.
    pub ledger: Arc<dyn Ledger>,
    /// The others.
    pub peers: Arc<dyn Peers>,
    /// This node's database, as a whole.
    pub vault: Arc<dyn Vault>,
}

/// Where a request is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this node.
    Here,
    /// On another.
    There(Peer),
    /// No leader is known.
    Nowhere,
}

impl Door {
    /// A door to a store that is not open yet.
    pub fn new(options: Options) -> Self {
        let started = SystemTime::now();
        let counters = Arc::<Counters>::default();
        let (queue, queued) = Queue::new(options.queue, started, Arc::clone(&counters));
        let watch = Arc::new(Watch::new(options.limits, Arc::clone(&counters)));
        Self {
            options,
            watch,
            bodies: Arc::new(Semaphore::new(BODIES_BYTES_MAX)),
            started,
            started_at: Instant::now(),
            counters,
            queue: Arc::new(queue),
            queued: Mutex::new(Some(queued)),
            opened: OnceLock::new(),
            last_backup: Mutex::default(),
        }
    }

    /// The store is open, and queued writes begin to leave. Only the first call counts.
    pub fn open(&self, opened: Opened) {
        let queued = self.queued.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(queued) = queued {
            tokio::spawn(Flusher::new(Arc::clone(&self.queue), queued, opened.clone()).run());
        }
        // A second opening would be a second store in one process; the first one stays.
        self.opened.set(opened).ok();
    }

    /// Room for `bytes` more of bodies; `None` when there is none.
    pub fn body_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        Arc::clone(&self.bodies).try_acquire_many_owned(bytes).ok()
    }

    /// Bytes of bodies in memory.
    pub fn body_bytes(&self) -> usize {
        BODIES_BYTES_MAX - self.bodies.available_permits()
    }

    /// A backup was handed out at `time`.
    pub fn backed_up(&self, time: SystemTime) {
        *self.last_backup.lock().unwrap_or_else(PoisonError::into_inner) = Some(time);
    }

    /// When a backup was last handed out, if any was.
    pub fn last_backup(&self) -> Option<SystemTime> {
        *self.last_backup.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there, once it is.
    pub fn opened(&self) -> Option<&Opened> {
        self.opened.get()
    }
}

impl Opened {
    /// Where what needs the leader runs.
    pub fn place(&self) -> Place {
        self.place_of(self.ledger.leader())
    }

    /// The same, for a leader that the store has named.
    pub fn place_of(&self, leader: Option<Peer>) -> Place {
        match leader {
            None => Place::Nowhere,
            Some(leader) if leader.id == self.ledger.peer().id => Place::Here,
            Some(leader) => Place::There(leader),
        }
    }

    /// The same as [`Self::place`], once an election that may be running is over; at most for `timeout`.
    pub async fn place_once_elected(&self, timeout: Duration) -> Place {
        let deadline = Instant::now() + timeout;
        loop {
            match self.place() {
                Place::Nowhere if self.ledger.expects_leader() && Instant::now() < deadline => {
                    tokio::time::sleep(ELECTION_PAUSE).await;
                }
                place => return place,
            }
        }
    }

    /// Waits for the end of a hand-over: until another node leads, or nobody does any more.
    pub async fn place_after_handover(&self, timeout: Duration) -> Place {
        let deadline = Instant::now() + timeout.min(HANDOVER_TIME_MAX);
        loop {
            match self.place() {
                Place::There(leader) => return Place::There(leader),
                place if Instant::now() >= deadline => return place,
                Place::Here | Place::Nowhere => tokio::time::sleep(HANDOVER_PAUSE).await,
            }
        }
    }

    /// Sends the client to the leader's own API.
    pub async fn redirect(&self, leader: &Peer, call: &Call) -> Reply {
        match self.peers.describe(&leader.address, call.params.timeout()).await {
            Ok(description) if !description.api_url.is_empty() => {
                let mut reply = Reply::empty(StatusCode::MOVED_PERMANENTLY);
                reply.location = Some(format!("{}{}", description.api_url, call.target()));
                reply
            }
            Ok(_) | Err(_) => errors::no_leader_to_redirect_to(),
        }
    }
}

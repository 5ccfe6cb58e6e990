//! The order in which a server starts and stops.
//!
//! ```text
//!  start   banner ─► both ports bound ─► HTTP answers "not open" ─► store opens ─► inter-node port serves
//!                 ─► join, form or resume ─► run
//!  stop    leave, if asked ─► hand leadership over ─► no new HTTP, drain ─► inter-node port closed ─► store closed
//! ```
//!
//! Invariants:
//! * HTTP is there before the store is (operations §3).
//! * Leadership is handed over while HTTP still answers: what comes meanwhile is forwarded.
//! * The drain is bounded.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::Node;
use store::environment::{Environment, Random, Runner, log_disk};
use store::transport::{Channel, Duplex};
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::VERSION;
use crate::cluster::form::{Formation, Plan};
use crate::cluster::join::Attempts;
use crate::cluster::service::Identity;
use crate::cluster::{self, Client, Forwarder, Founding, Handler, Service, leave};
use crate::config::{Config, Stop};
use crate::http::desk::Desk;
use crate::http::door::{Door, Opened, Options};
use crate::http::peers::{Cluster, Peers};
use crate::http::serve::{self, Stopper};
use crate::machine::{SeededStream, WallClock, allow_many_files};
use crate::net::{self, TcpTransport};
use crate::signals::Signals;

/// How long a hand-over may take before the node stops without one.
const HANDOVER_TIME_MAX: Duration = Duration::from_secs(5);

/// Why the server ended other than by request.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Signals, or the machine's randomness.
    #[error("{what}: {source}")]
    Machine {
        /// What was wanted.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A port could not be bound.
    #[error("listen on {address} ({flag}): {source}")]
    Bind {
        /// The address.
        address: String,
        /// The flag that names it.
        flag: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The store could not be opened.
    #[error("{0}")]
    Open(String),
    /// The node could not come into a cluster, or leave it.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// A signal came before the node was in a cluster.
    #[error("{0} came before this node was in a cluster")]
    Interrupted(&'static str),
    /// The node stopped itself to protect data.
    #[error("node stopped to protect data: {0}")]
    Stopped(String),
}

/// A server that runs.
struct Running {
    node: Node,
    door: Arc<Door>,
    cluster: Arc<Cluster>,
    inter_node: JoinHandle<()>,
    http: JoinHandle<()>,
    http_stopper: Stopper,
}

/// Runs a server until it is asked to stop.
///
/// # Errors
///
/// [`Error`]; the process then exits with 1.
pub async fn run(config: Config) -> Result<(), Error> {
    let mut signals = Signals::install().map_err(machine("handle signals"))?;
    announce(&config);
    allow_many_files();
    let ports = Ports::bind(&config).await?;
    let door = Arc::new(Door::new(options(&config)));
    let (http_stopper, stop) = serve::stop();
    let http = tokio::spawn(ports.http.serve(Arc::clone(&door), stop));

    let random = Arc::new(SeededStream::from_system().map_err(machine("read random numbers"))?);
    let transport = TcpTransport::new(config.cluster.connect_timeout);
    let environment = environment(&config, transport.clone(), &random)?;
    let node = Node::open(config.store.clone(), environment)
        .await
        .map_err(open_error)?;

    let client = Client::new(transport, None, Arc::new(cluster::Counters::new(ports.counters)));
    let (joining, cluster) = join(&config, &node, &door, client, random)?;
    let inter_node = tokio::spawn(serve_inter_node(
        ports.inter_node,
        node.clone(),
        cluster.service.clone(),
    ));
    door.open(Opened {
        ledger: Arc::new(node.clone()),
        peers: Arc::clone(&cluster) as Arc<dyn Peers>,
        vault: Arc::new(node.clone()),
    });
    let running = Running {
        node,
        door,
        cluster,
        inter_node,
        http,
        http_stopper,
    };
    let reason = running.live(joining, &config, &mut signals).await;
    signals.only_log();
    running.stop(reason, config.stop).await
}

/// Why a server stops.
enum Reason {
    /// It was asked to.
    Signal(&'static str),
    /// It must not go on.
    Failed(Error),
}

impl Running {
    /// Comes into a cluster, then runs until there is a reason to stop.
    async fn live(&self, joining: Joining, config: &Config, signals: &mut Signals) -> Reason {
        let formed = tokio::select! {
            formed = joining.run() => formed.map_err(Error::from),
            name = signals.next() => Err(Error::Interrupted(name)),
            reason = self.node.stopped() => Err(Error::Stopped(reason)),
        };
        match formed {
            Ok(()) => {}
            // A cluster that has formed meanwhile is as good as one that was waited for.
            Err(Error::Interrupted(name)) if self.node.leader().is_some() => return Reason::Signal(name),
            Err(error) => return Reason::Failed(error),
        }
        info!(
            url = config.api_url(),
            shell = format!("quorlite -H {}", config.http.advertised),
            "ready to serve"
        );
        tokio::select! {
            name = signals.next() => Reason::Signal(name),
            reason = self.node.stopped() => Reason::Failed(Error::Stopped(reason)),
        }
    }

    async fn stop(self, reason: Reason, stop: Stop) -> Result<(), Error> {
        let name = match reason {
            Reason::Signal(name) => name,
            Reason::Failed(error) => {
                self.inter_node.abort();
                self.http.abort();
                return Err(error);
            }
        };
        info!(signal = name, "stopping");
        if stop.leaves {
            leave::leave(&self.node, &self.cluster.forwarder, None).await?;
            info!("left the cluster");
        }
        if stop.steps_down {
            step_down(&self.node).await;
        }
        self.http_stopper.stop();
        let drained = async {
            if let Err(error) = self.http.await {
                warn!(%error, "the HTTP listener broke");
            }
            // What was queued by then was acknowledged: it is carried to whoever leads now.
            self.door.queue.drain().await;
        };
        if tokio::time::timeout(stop.drain_timeout, drained).await.is_err() {
            warn!(after = ?stop.drain_timeout, "requests in progress cut");
        }
        self.inter_node.abort();
        self.node.shutdown().await;
        info!("stopped");
        Ok(())
    }
}

/// Hands leadership to whoever is ready; a node that is alone keeps it.
async fn step_down(node: &Node) {
    let me = node.peer().id;
    let has_others = node.members().iter().any(|member| member.voter && member.peer.id != me);
    if !node.is_leader() || !has_others {
        return;
    }
    match node.transfer(None, HANDOVER_TIME_MAX).await {
        Ok(()) => info!("leadership handed over"),
        Err(error) => warn!(%error, "leadership not handed over"),
    }
}

/// Both ports, bound.
struct Ports {
    inter_node: net::Listener,
    http: serve::Listener,
    counters: Arc<net::Counters>,
}

impl Ports {
    async fn bind(config: &Config) -> Result<Self, Error> {
        let counters = Arc::new(net::Counters::default());
        let address = &config.cluster.bind;
        let inter_node = net::Listener::bind(address, Arc::clone(&counters))
            .await
            .map_err(bind_error(address, "-raft-addr"))?;
        let address = &config.http.bind;
        let http = serve::Listener::bind(address)
            .await
            .map_err(bind_error(address, "-http-addr"))?;
        if let (Ok(http), Ok(inter_node)) = (http.local_addr(), inter_node.local_addr()) {
            info!(%http, %inter_node, "listening");
        }
        Ok(Self {
            inter_node,
            http,
            counters,
        })
    }
}

/// How this node comes into a cluster.
struct Joining {
    formation: Formation,
    plan: Plan,
}

impl Joining {
    async fn run(self) -> Result<(), cluster::Error> {
        self.formation.run(self.plan).await
    }
}

/// The node's way into a cluster, and its work for the others.
fn join(
    config: &Config,
    node: &Node,
    door: &Door,
    client: Client,
    random: Arc<SeededStream>,
) -> Result<(Joining, Arc<Cluster>), Error> {
    let flags = &config.cluster;
    let attempts = Attempts {
        targets: flags.join.clone(),
        passes: flags.join_attempts,
        interval: flags.join_interval,
    };
    let expect = usize::try_from(flags.bootstrap_expect).unwrap_or(usize::MAX);
    let plan = Plan::from_flags(attempts, expect, flags.bootstrap_expect_timeout);
    let expect = if matches!(plan, Plan::Bootstrap { .. }) {
        expect
    } else {
        0
    };
    let founding = Founding::open(&config.store.dir, node.peer().clone(), expect, client.clone())?;
    let founding = Arc::new(founding);
    let ledger: Arc<dyn cluster::ledger::Ledger> = Arc::new(node.clone());
    let desk: Arc<dyn Handler> = Arc::new(Desk::new(
        Arc::new(node.clone()),
        Arc::new(node.clone()),
        Arc::clone(&door.watch),
    ));
    let identity = Identity {
        api_url: config.api_url(),
        version: VERSION.to_owned(),
    };
    let cluster = Cluster {
        forwarder: Forwarder::new(Arc::clone(&ledger), Arc::clone(&desk), client.clone(), random.next()),
        service: Service::new(
            Arc::clone(&ledger),
            desk,
            Arc::clone(&founding),
            client.clone(),
            identity,
        ),
    };
    let formation = Formation {
        ledger,
        founding,
        client,
        random,
        voter: config.store.voter,
    };
    Ok((Joining { formation, plan }, Arc::new(cluster)))
}

/// Serves the inter-node port until it is aborted.
async fn serve_inter_node(listener: net::Listener, node: Node, service: Service) {
    let accept = move |channel: Channel, duplex: Duplex, from: SocketAddr| match channel {
        Channel::Service => {
            let service = service.clone();
            tokio::spawn(async move { service.serve(duplex, from).await });
        }
        Channel::Control | Channel::Append | Channel::Bulk => {
            let node = node.clone();
            tokio::spawn(async move { node.accept(channel, duplex).await });
        }
    };
    listener.serve(accept).await;
}

fn environment(config: &Config, transport: TcpTransport, random: &Arc<SeededStream>) -> Result<Environment, Error> {
    Ok(Environment {
        transport: Arc::new(transport),
        disk: log_disk(&config.store.dir).map_err(open_error)?,
        clock: Arc::new(WallClock),
        random: Arc::clone(random) as Arc<dyn Random>,
        runner: Runner::Threads,
    })
}

fn options(config: &Config) -> Options {
    Options {
        bind: config.http.bind.clone(),
        advertised: config.http.advertised.clone(),
        inter_node_bind: config.cluster.bind.clone(),
        allow_origin: config.http.allow_origin.clone(),
        atomic_requests: config.http.atomic_requests,
        queue: config.http.queue,
        limits: config.http.limits,
        store: config.store.clone(),
        connect_timeout: config.cluster.connect_timeout,
        log_level: config.log_level.clone(),
        is_in_kubernetes: config.is_in_kubernetes,
    }
}

/// Who starts, and with which words.
fn announce(config: &Config) {
    // A closed standard output is no reason not to serve.
    let _ = writeln!(io::stdout(), "quorlite {VERSION}: SQLite, replicated");
    let words: Vec<String> = std::env::args().collect();
    info!(
        version = VERSION,
        sqlite = sqlite::version(),
        os = std::env::consts::OS,
        arch = std::env::consts::ARCH,
        command = words.join(" "),
        "starting"
    );
    info!(node = %config.store.name, address = %config.store.address, dir = %config.store.dir.display(), "node");
    for remark in &config.remarks {
        warn!(%remark, "flag without effect");
    }
}

fn machine(what: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Machine { what, source }
}

fn bind_error(address: &str, flag: &'static str) -> impl FnOnce(io::Error) -> Error {
    let address = address.to_owned();
    move |source| Error::Bind { address, flag, source }
}

/// The store's error with its causes, which it keeps apart.
fn open_error(error: store::Error) -> Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    Error::Open(text)
}

//! The network between the machines: ordered streams that are slow, stall, and break, as TCP's do.
//!
//! ```text
//!  connect ──► Link ─┬─ Flow a→b: frames wait for their delay, then for the route ──► peer's Duplex
//!                    └─ Flow b→a
//! ```
//!
//! A cut route stalls what is under way. If it heals in time the stream goes on; otherwise it breaks after a patience of
//! its own, and what was under way is lost. A process that is killed breaks its streams at once; a machine that loses
//! power leaves them silent.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use store::Node;
use store::member::Peer;
use store::transport::{BoxFuture, Channel, Duplex, FRAMES_MAX, Transport};
use tokio::sync::{mpsc, watch};

use crate::chance::{Chance, lock};
use crate::life::{Death, Life};
use crate::trace::Trace;

mod flow;
mod route;

use flow::{Flow, Link};
pub use route::Route;

/// A machine's number, from 0.
pub type MachineId = usize;

/// The network; clones are the same one.
#[derive(Clone)]
pub struct Network(Arc<Inner>);

struct Inner {
    trace: Trace,
    state: Mutex<Inside>,
    /// Tells flows that wait for a route that some route has changed.
    changed: watch::Sender<u64>,
}

struct Inside {
    chance: Chance,
    routes: BTreeMap<(MachineId, MachineId), Route>,
    /// The process that runs on a machine, and its node once it answers.
    processes: BTreeMap<MachineId, Process>,
    addresses: BTreeMap<String, MachineId>,
    links: Vec<Weak<Link>>,
    frames: u64,
    breaks: u64,
}

#[derive(Clone)]
struct Process {
    life: Arc<Life>,
    node: Option<Node>,
}

/// What became of an attempt to reach a machine.
enum Reached {
    Process(Process),
    Refused,
    Silence,
}

impl Network {
    /// A network of machines at `addresses`.
    pub fn new(addresses: Vec<String>, trace: Trace, mut chance: Chance) -> Network {
        let machines = addresses.len();
        let mut routes = BTreeMap::new();
        for from in 0..machines {
            for to in (0..machines).filter(|to| *to != from) {
                routes.insert((from, to), Route::new(&mut chance));
            }
        }
        let state = Inside {
            chance,
            routes,
            processes: BTreeMap::new(),
            addresses: addresses
                .into_iter()
                .enumerate()
                .map(|(id, address)| (address, id))
                .collect(),
            links: Vec::new(),
            frames: 0,
            breaks: 0,
        };
        Network(Arc::new(Inner {
            trace,
            state: Mutex::new(state),
            changed: watch::Sender::new(0),
        }))
    }

    /// What `life` on `machine` uses to reach its peers.
    pub fn transport(&self, machine: MachineId, life: Arc<Life>) -> ProcessTransport {
        ProcessTransport {
            network: self.clone(),
            machine,
            life,
        }
    }

    /// A process starts on `machine`; it refuses streams until its `node` is there.
    pub fn listen(&self, machine: MachineId, life: Arc<Life>, node: Option<Node>) {
        self.inside().processes.insert(machine, Process { life, node });
    }

    /// The process on `machine` has died.
    pub fn hang_up(&self, machine: MachineId, death: Death) {
        let mut inside = self.inside();
        if death == Death::Kill {
            // The operating system lives, and refuses who calls.
            if let Some(process) = inside.processes.get_mut(&machine) {
                process.node = None;
            }
        } else {
            inside.processes.remove(&machine);
        }
        let links: Vec<Arc<Link>> = inside.links.iter().filter_map(Weak::upgrade).collect();
        for link in links.into_iter().filter(|link| link.touches(machine)) {
            inside.breaks += 1;
            let patience = inside.chance.millis(50, 4000);
            link.end(if death == Death::Kill { Duration::ZERO } else { patience });
        }
    }

    /// Changes the route from one machine to another.
    pub fn change(&self, from: MachineId, to: MachineId, change: impl FnOnce(&mut Route)) {
        if let Some(route) = self.inside().routes.get_mut(&(from, to)) {
            change(route);
        }
        self.0.changed.send_modify(|version| *version += 1);
    }

    /// Breaks every stream between two machines.
    pub fn reset(&self, one: MachineId, other: MachineId) {
        let mut inside = self.inside();
        let links: Vec<Arc<Link>> = inside.links.iter().filter_map(Weak::upgrade).collect();
        for link in links
            .into_iter()
            .filter(|link| link.touches(one) && link.touches(other))
        {
            inside.breaks += 1;
            link.end(Duration::ZERO);
        }
    }

    /// Frames delivered and streams broken so far.
    pub fn counts(&self) -> (u64, u64) {
        let inside = self.inside();
        (inside.frames, inside.breaks)
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        lock(&self.0.state)
    }

    fn route(&self, from: MachineId, to: MachineId) -> Route {
        self.inside().routes.get(&(from, to)).cloned().unwrap_or_default()
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.inside().chance)
    }

    fn reach(&self, from: MachineId, to: MachineId) -> Reached {
        let inside = self.inside();
        let is_shut = |route: &Route| route.is_cut || route.is_held;
        let is_cut = |pair| inside.routes.get(&pair).is_some_and(is_shut);
        if is_cut((from, to)) || is_cut((to, from)) {
            return Reached::Silence;
        }
        match inside.processes.get(&to) {
            None => Reached::Silence,
            Some(process) if process.life.is_alive() && process.node.is_some() => Reached::Process(process.clone()),
            Some(_) => Reached::Refused,
        }
    }

    async fn connect(self, from: MachineId, life: Arc<Life>, peer: Peer, channel: Channel) -> io::Result<Duplex> {
        let to = self.inside().addresses.get(&peer.address).copied();
        let to = to.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such address"))?;
        let round_trip = self.delay(from, to, 0) + self.delay(to, from, 0);
        tokio::time::sleep(round_trip).await;
        if !life.is_alive() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match self.reach(from, to) {
            Reached::Process(process) => Ok(self.open((from, life), (to, process), channel)),
            Reached::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            Reached::Silence => {
                let patience = self.draw(|chance| chance.millis(200, 2000));
                tokio::time::sleep(patience).await;
                Err(io::ErrorKind::TimedOut.into())
            }
        }
    }

    /// Makes a stream and hands its far end to the node there.
    fn open(&self, near: (MachineId, Arc<Life>), far: (MachineId, Process), channel: Channel) -> Duplex {
        let ((from, dialler), (to, process)) = (near, far);
        let link = Arc::new(Link::new(from, to, channel));
        let mut inside = self.inside();
        inside.links.retain(|link| link.strong_count() > 0);
        inside.links.push(Arc::downgrade(&link));
        drop(inside);
        let (near_tx, out) = mpsc::channel(FRAMES_MAX);
        let (into_far, far_rx) = mpsc::channel(FRAMES_MAX);
        let (far_tx, back) = mpsc::channel(FRAMES_MAX);
        let (into_near, near_rx) = mpsc::channel(FRAMES_MAX);
        let lives = [dialler, process.life];
        tokio::spawn(Flow::new(self.clone(), link.clone(), (from, to), lives.clone()).run(out, into_far));
        tokio::spawn(Flow::new(self.clone(), link, (to, from), lives).run(back, into_near));
        if let Some(node) = process.node {
            tokio::spawn(async move { node.accept(channel, Duplex { tx: far_tx, rx: far_rx }).await });
        }
        Duplex {
            tx: near_tx,
            rx: near_rx,
        }
    }

    /// How long a frame of `bytes` takes now.
    fn delay(&self, from: MachineId, to: MachineId, bytes: usize) -> Duration {
        let mut inside = self.inside();
        let route = inside.routes.get(&(from, to)).cloned().unwrap_or_default();
        route.delay(&mut inside.chance, bytes)
    }

    fn delivered(&self, from: MachineId, to: MachineId, channel: Channel, frame: &[u8]) {
        self.inside().frames += 1;
        let hash = xxhash_rust::xxh3::xxh3_64(frame);
        self.0.trace.fold(
            "frame",
            &[from as u64, to as u64, channel as u64, frame.len() as u64, hash],
            &[],
        );
    }
}

/// The transport of one process.
pub struct ProcessTransport {
    network: Network,
    machine: MachineId,
    life: Arc<Life>,
}

impl Transport for ProcessTransport {
    fn connect(&self, peer: &Peer, channel: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        Box::pin(
            self.network
                .clone()
                .connect(self.machine, self.life.clone(), peer.clone(), channel),
        )
    }
}

#[cfg(test)]
mod tests;

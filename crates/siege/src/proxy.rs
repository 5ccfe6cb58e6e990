//! The proxy between each two nodes: what makes their connections slow, lossy, broken or garbled.
//!
//! ```text
//!  caller ──► read ──► chunks, each with the time at which it is due ──► write ──► node
//!         ◄── write ◄──                                              ◄── read ◄──
//! ```
//!
//! As TCP shows loss: what is lost comes later, and everything behind it waits. Order is kept.

use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use checkers::chance::Chance;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use crate::topology::{NodeId, Topology};

/// Chunks that wait in one direction; behind them the sender waits, as behind a full socket.
const CHUNKS_MAX: usize = 256;

const CHUNK_BYTES: usize = 16 * 1024;

/// How long a lost chunk takes longer: TCP's first and second timeouts.
const LOST_MS: (u64, u64) = (200, 700);

/// What one direction between two nodes is like.
pub struct Route {
    /// Each chunk takes so much longer.
    delay_ms: AtomicU32,
    /// Of a thousand chunks so many are lost.
    loss_per_mille: AtomicU32,
    /// So many of the next chunks have a bit flipped.
    garbled: AtomicU32,
    /// Changes when all its connections break.
    breaks: watch::Sender<u64>,
}

impl Route {
    fn new() -> Route {
        Route {
            delay_ms: AtomicU32::new(0),
            loss_per_mille: AtomicU32::new(0),
            garbled: AtomicU32::new(0),
            breaks: watch::Sender::new(0),
        }
    }

    /// Slow by so much; 0 as it should be.
    pub fn delay(&self, delay_ms: u32) {
        self.delay_ms.store(delay_ms, Ordering::Relaxed);
    }

    /// Loses so many chunks of a thousand.
    pub fn lose(&self, per_mille: u32) {
        self.loss_per_mille.store(per_mille, Ordering::Relaxed);
    }

    /// Flips a bit in the next chunk.
    pub fn garble(&self) {
        self.garbled.fetch_add(1, Ordering::Relaxed);
    }

    /// Breaks its connections.
    pub fn reset(&self) {
        self.breaks.send_modify(|count| *count += 1);
    }

    /// As it should be.
    pub fn heal(&self) {
        self.delay(0);
        self.lose(0);
        self.garbled.store(0, Ordering::Relaxed);
    }

    /// What becomes of a chunk that was read now: it is garbled or not, and due then.
    fn pass(&self, chunk: &mut [u8], chance: &mut Chance) -> Instant {
        let take = |left: u32| left.checked_sub(1);
        let is_garbled = self
            .garbled
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok();
        if is_garbled {
            let place = chance.index(chunk.len());
            if let Some(byte) = chunk.get_mut(place) {
                *byte ^= 1 << chance.below(8);
            }
        }
        let mut late = Duration::from_millis(self.delay_ms.load(Ordering::Relaxed).into());
        if chance.below(1000) < self.loss_per_mille.load(Ordering::Relaxed).into() {
            late += chance.millis(LOST_MS.0, LOST_MS.1);
        }
        Instant::now() + late
    }
}

/// All directions between nodes, and the proxies that obey them.
pub struct Proxy {
    nodes: usize,
    routes: Vec<Route>,
}

impl Proxy {
    /// Starts listening for each node, on a thread of its own.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn start(topology: &Arc<Topology>, nodes: usize, seed: u64) -> Result<Arc<Proxy>> {
        let proxy = Arc::new(Proxy {
            nodes,
            // A caller that cannot be told has a row of its own.
            routes: (0..(nodes + 1) * (nodes + 1)).map(|_| Route::new()).collect(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        for node in 0..nodes {
            let address = topology.public(node);
            let listener = runtime.block_on(TcpListener::bind(address));
            let listener = listener.with_context(|| format!("listen on {address}"))?;
            let door = Door {
                proxy: proxy.clone(),
                topology: topology.clone(),
                to: node,
                seed,
            };
            runtime.spawn(door.keep(listener));
        }
        std::thread::Builder::new()
            .name("proxy".to_owned())
            .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        Ok(proxy)
    }

    /// The direction from one node to another.
    pub fn route(&self, from: NodeId, to: NodeId) -> &Route {
        &self.routes[from * (self.nodes + 1) + to]
    }

    /// Who may be behind a connection from `node`: itself, or, where callers cannot be told, anybody.
    pub fn rows(&self, topology: &Topology, node: NodeId) -> NodeId {
        if topology.has_network() { node } else { self.nodes }
    }

    /// All as they should be.
    pub fn heal(&self) {
        self.routes.iter().for_each(Route::heal);
    }
}

/// The proxy for one node.
struct Door {
    proxy: Arc<Proxy>,
    topology: Arc<Topology>,
    to: NodeId,
    seed: u64,
}

impl Door {
    async fn keep(self, listener: TcpListener) {
        let mut number = 0;
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                // Out of descriptors, or a caller that is gone.
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            number += 1;
            let from = match peer.ip() {
                IpAddr::V4(ip) => self.topology.caller(ip),
                IpAddr::V6(_) => self.proxy.nodes,
            };
            let source = self.topology.source(from, self.to);
            let behind = self.topology.behind(self.to);
            let link = Link {
                proxy: self.proxy.clone(),
                from,
                to: self.to,
                seed: self.seed ^ number,
            };
            tokio::spawn(async move {
                match call(behind, source.map(|ip| SocketAddrV4::new(ip, 0))).await {
                    Ok(node) => link.carry(stream, node).await,
                    // As close to a refused connection as a caller that was accepted can be told.
                    Err(_) => _ = stream.set_zero_linger(),
                }
            });
        }
    }
}

async fn call(address: SocketAddrV4, source: Option<SocketAddrV4>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(source.into())?;
    }
    socket.connect(SocketAddr::V4(address)).await
}

/// One connection, both directions.
struct Link {
    proxy: Arc<Proxy>,
    from: NodeId,
    to: NodeId,
    seed: u64,
}

impl Link {
    async fn carry(self, mut caller: TcpStream, mut node: TcpStream) {
        let (there, back) = (
            self.proxy.route(self.from, self.to),
            self.proxy.route(self.to, self.from),
        );
        let (mut there_breaks, mut back_breaks) = (there.breaks.subscribe(), back.breaks.subscribe());
        for stream in [&caller, &node] {
            _ = stream.set_nodelay(true);
        }
        let (caller_read, caller_write) = caller.split();
        let (node_read, node_write) = node.split();
        let chance = |name| Chance::new(self.seed, name);
        let is_broken = tokio::select! {
            _ = there_breaks.changed() => true,
            _ = back_breaks.changed() => true,
            _ = async {
                tokio::join!(
                    pump(caller_read, node_write, there, chance("there")),
                    pump(node_read, caller_write, back, chance("back")),
                )
            } => false,
        };
        if is_broken {
            for stream in [&caller, &node] {
                _ = stream.set_zero_linger();
            }
        }
    }
}

/// Carries one direction until its end.
async fn pump(read: ReadHalf<'_>, write: WriteHalf<'_>, route: &Route, chance: Chance) {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::join!(take(read, sender, route, chance), give(write, receiver));
}

async fn take(mut read: ReadHalf<'_>, sender: mpsc::Sender<(Instant, Vec<u8>)>, route: &Route, mut chance: Chance) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let Ok(length @ 1..) = read.read(&mut chunk).await else {
            return;
        };
        chunk.truncate(length);
        let due = route.pass(&mut chunk, &mut chance);
        if sender.send((due, chunk)).await.is_err() {
            return;
        }
    }
}

async fn give(mut write: WriteHalf<'_>, mut receiver: mpsc::Receiver<(Instant, Vec<u8>)>) {
    while let Some((due, chunk)) = receiver.recv().await {
        sleep_until(due).await;
        if write.write_all(&chunk).await.is_err() {
            return;
        }
    }
    _ = write.shutdown().await;
}

#[cfg(test)]
mod tests;

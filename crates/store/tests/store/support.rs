//! Nodes for tests: an in-process transport, temporary directories, and waiting for conditions.
#![expect(clippy::expect_used, reason = "a test's own scaffolding may fail the test")]

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use command::reply::{OutcomeKind, Reply};
use command::request::Kind;
use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use sqlite::{Cancel, QueryOptions};
use store::config::Config;
use store::environment::{Clock, Environment, Random, Runner};
use store::member::Peer;
use store::read::{Level, ReadRequest};
use store::transport::{BoxFuture, Channel, Duplex, FRAMES_MAX, Transport};
use store::{Error, Node};
use tempfile::TempDir;
use tokio::sync::mpsc;

/// How long a condition may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How often a condition is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What is wrong with the way to an address.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Connecting never ends.
    Hangs,
    /// Connections stand, and nothing is ever read or answered: a paused process.
    Silent,
    /// Connecting takes this long.
    Slow(Duration),
}

/// Reaches nodes by address within this process.
#[derive(Default)]
pub struct Switchboard {
    nodes: Mutex<HashMap<String, Node>>,
    faults: Mutex<HashMap<String, Fault>>,
}

impl Switchboard {
    pub fn plug(&self, node: &Node) {
        self.nodes
            .lock()
            .expect("unpoisoned")
            .insert(node.peer().address.clone(), node.clone());
    }

    pub fn unplug(&self, address: &str) {
        self.nodes.lock().expect("unpoisoned").remove(address);
    }

    /// From now on connections to `address` are made like this; those that stand are not touched.
    pub fn fault(&self, address: &str, fault: Option<Fault>) {
        let mut faults = self.faults.lock().expect("unpoisoned");
        match fault {
            Some(fault) => faults.insert(address.to_owned(), fault),
            None => faults.remove(address),
        };
    }
}

pub struct Wire(pub Arc<Switchboard>);

impl Transport for Wire {
    fn connect(&self, peer: &Peer, channel: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        let node = self.0.nodes.lock().expect("unpoisoned").get(&peer.address).cloned();
        let fault = self.0.faults.lock().expect("unpoisoned").get(&peer.address).copied();
        Box::pin(async move {
            let (to, from_here) = mpsc::channel(FRAMES_MAX);
            let (from_there, back) = mpsc::channel(FRAMES_MAX);
            match fault {
                Some(Fault::Hangs) => std::future::pending().await,
                Some(Fault::Slow(delay)) => {
                    let _ = tokio::time::timeout(delay, std::future::pending::<()>()).await;
                }
                Some(Fault::Silent) => {
                    // Held for as long as the other side holds its ends.
                    tokio::spawn(async move {
                        let _unread = from_here;
                        from_there.closed().await;
                    });
                    return Ok(Duplex { tx: to, rx: back });
                }
                None => {}
            }
            let node = node.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let theirs = Duplex {
                tx: from_there,
                rx: from_here,
            };
            tokio::spawn(async move { node.accept(channel, theirs).await });
            Ok(Duplex { tx: to, rx: back })
        })
    }
}

struct WallClock;

impl Clock for WallClock {
    fn now_us(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        i64::try_from(since.as_micros()).expect("before the year 294,000")
    }
}

struct Counter(AtomicU64);

impl Random for Counter {
    fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// Patient with machines that do much else meanwhile: a leader is not lost for a second's silence.
pub fn config(dir: &Path, name: &str, voter: bool) -> Config {
    Config {
        voter,
        election_timeout: Duration::from_secs(1),
        ..Config::new(dir.to_owned(), name.to_owned(), format!("{name}:4002"))
    }
}

pub async fn open(config: Config, board: &Arc<Switchboard>) -> Result<Node, Error> {
    // No two nodes share one, nor a node and the one that comes after it in its place.
    static OPENED: AtomicU64 = AtomicU64::new(1);
    let seed = OPENED.fetch_add(1, Ordering::Relaxed) << 32 | u64::from(std::process::id());
    let environment = Environment {
        transport: Arc::new(Wire(board.clone())),
        disk: Arc::new(log::FsDisk::new(config.dir.join("log")).expect("a log directory")),
        clock: Arc::new(WallClock),
        random: Arc::new(Counter(AtomicU64::new(seed))),
        runner: Runner::Threads,
    };
    let node = Node::open(config, environment).await?;
    board.plug(&node);
    Ok(node)
}

/// A cluster of voters named by their letters, each in a directory of its own.
pub struct Cluster {
    pub board: Arc<Switchboard>,
    pub nodes: Vec<Node>,
    pub dirs: Vec<TempDir>,
}

impl Cluster {
    pub async fn form(names: &[&str]) -> Self {
        Self::form_with(names, |_| {}).await
    }

    /// The same, with something changed in each configuration.
    pub async fn form_with(names: &[&str], change: impl Fn(&mut Config)) -> Self {
        let board = Arc::new(Switchboard::default());
        let (mut nodes, mut dirs) = (Vec::new(), Vec::new());
        for name in names {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let mut config = config(dir.path(), name, true);
            change(&mut config);
            nodes.push(open(config, &board).await.expect("a new node"));
            dirs.push(dir);
        }
        let voters = nodes.iter().map(|node| node.peer().clone()).collect();
        nodes[0].initialize(voters).await.expect("a new cluster");
        assert!(nodes[0].is_initialized(), "known as soon as it is done");
        let cluster = Self { board, nodes, dirs };
        cluster.leader().await;
        cluster
    }

    /// The node that leads, once there is one that is ready.
    pub async fn leader(&self) -> Node {
        until("a leader", || {
            self.nodes
                .iter()
                .find(|node| node.is_leader() && node.is_ready())
                .cloned()
        })
        .await
    }

    pub async fn follower(&self) -> Node {
        let leader = self.leader().await;
        self.nodes
            .iter()
            .find(|node| node.peer() != leader.peer())
            .cloned()
            .expect("a second node")
    }

    /// Stops a follower, whose directory stays; answers its configuration. Who opens it again puts it last.
    pub async fn stop_a_follower(&mut self, leader: &Node) -> Config {
        let nth = self
            .nodes
            .iter()
            .position(|node| node.peer() != leader.peer())
            .expect("a follower");
        let node = self.nodes.remove(nth);
        let dir = self.dirs.remove(nth);
        let config = config(dir.path(), &node.peer().name, true);
        self.dirs.push(dir);
        self.board.unplug(&node.peer().address);
        node.shutdown().await;
        config
    }

    /// Every node has applied `index`, and all hold the same content.
    pub async fn converged(&self, index: u64) {
        let mut hashes = Vec::new();
        for node in &self.nodes {
            node.wait_applied(index, PATIENCE).await.expect("applied in time");
            hashes.push(node.content_hash().await.expect("hashable").hash);
        }
        assert!(
            hashes.windows(2).all(|pair| pair[0] == pair[1]),
            "content differs: {hashes:x?}"
        );
    }
}

/// Waits for `probe` to give something.
pub async fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(looks.tick().await < deadline, "no {what} within {PATIENCE:?}");
    }
}

pub async fn execute(node: &Node, statements: &[&str]) -> Result<Reply, Error> {
    let statements = statements.iter().map(|sql| Statement::new(*sql)).collect();
    node.write(node.stamp(statements, Kind::Execute, true), PATIENCE).await
}

/// Executes, and expects no error anywhere in the reply.
pub async fn succeed(node: &Node, statements: &[&str]) -> Reply {
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let reply = loop {
        match execute(node, statements).await {
            // Certain: nothing happened. The lease ran out on a busy machine.
            Err(Error::NotLeader { leader: None }) => assert!(looks.tick().await < deadline, "no lease"),
            answer => break answer.expect("taken"),
        }
    };
    assert_eq!(reply.error, None);
    for outcome in &reply.outcomes {
        assert!(!matches!(outcome.kind, Some(OutcomeKind::Error(_))), "{outcome:?}");
    }
    reply
}

pub fn read(level: Level) -> ReadRequest {
    ReadRequest {
        level,
        freshness: None,
        freshness_strict: false,
        min_index: 0,
        timeout: PATIENCE,
    }
}

/// Writes one row after another until `stop`; answers which were acknowledged and of which that is unknown.
pub async fn insert_until(node: Node, first: u64, stop: Arc<AtomicBool>) -> Inserted {
    let mut inserted = Inserted::default();
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    let mut id = first;
    while !stop.load(Ordering::Relaxed) {
        match execute(&node, &[&format!("INSERT INTO t(id) VALUES({id})")]).await {
            Ok(reply) => {
                assert_eq!(reply.error, None);
                inserted.acknowledged.push(id);
                inserted.index = reply.index;
            }
            Err(
                Error::NotLeader { .. } | Error::Transferring | Error::Enqueue | Error::Overloaded(_) | Error::NotReady,
            ) => {
                inserted.refused.push(id);
                looks.tick().await;
            }
            Err(Error::LeadershipLost | Error::Unconfirmed | Error::Stopped(_)) => {
                inserted.unknown.push(id);
                return inserted;
            }
            Err(error) => panic!("insert {id}: {error}"),
        }
        id += 1;
    }
    inserted
}

/// What became of the rows of one writer.
#[derive(Debug, Default)]
pub struct Inserted {
    pub acknowledged: Vec<u64>,
    pub unknown: Vec<u64>,
    pub refused: Vec<u64>,
    /// The last acknowledged index.
    pub index: u64,
}

/// The ids in table `t` of a node, whatever its state.
pub async fn ids(node: &Node) -> Vec<u64> {
    let rows = query(node, "SELECT id FROM t ORDER BY id", Level::None)
        .await
        .expect("readable");
    rows.iter().map(|row| row.parse().expect("a number")).collect()
}

/// The rows of one query at a level, each as text with `|` between cells.
pub async fn query(node: &Node, sql: &str, level: Level) -> Result<Vec<String>, Error> {
    node.confirm(read(level)).await?;
    let mut sink = Text::default();
    let statements = [Statement::new(sql)];
    let readers = node.readers();
    let mut reader = readers.check_out(PATIENCE).expect("a reader");
    reader
        .query(&statements, &QueryOptions::default(), &mut sink, &Cancel::new())
        .expect("readable");
    Ok(sink.0)
}

#[derive(Default)]
struct Text(Vec<String>);

impl RowSink for Text {
    fn columns(&mut self, _columns: &Columns) -> std::ops::ControlFlow<()> {
        std::ops::ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> std::ops::ControlFlow<()> {
        let cells: Vec<String> = cells
            .iter()
            .map(|cell| match cell {
                CellRef::Null => "NULL".to_owned(),
                CellRef::Integer(value) => value.to_string(),
                CellRef::Real(value) => value.to_string(),
                CellRef::Text(bytes) | CellRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            })
            .collect();
        self.0.push(cells.join("|"));
        std::ops::ControlFlow::Continue(())
    }

    fn end(&mut self, end: End, _elapsed: Duration) -> std::ops::ControlFlow<()> {
        if let End::Failed(text) = end {
            self.0.push(format!("error: {text}"));
        }
        std::ops::ControlFlow::Continue(())
    }
}

/// Opens a directory again as soon as its last owner has let go of it.
pub async fn reopen(config: Config, board: &Arc<Switchboard>) -> Node {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut looks = tokio::time::interval(LOOK_AGAIN);
    loop {
        match open(config.clone(), board).await {
            Ok(node) => return node,
            Err(Error::Locked(_)) => assert!(looks.tick().await < deadline, "still locked after {PATIENCE:?}"),
            Err(error) => panic!("reopen: {error}"),
        }
    }
}

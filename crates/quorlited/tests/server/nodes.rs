//! Nodes as processes of the built binary, each with a directory and ports of its own.
//!
//! What is started here ends with its owner.

use std::fs::File;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::wire;

/// Longer than any start or election here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that is awaited.
const PAUSE: Duration = Duration::from_millis(10);

/// One process.
pub struct Node {
    /// Its name in the cluster.
    pub id: String,
    /// `host:port` of its HTTP API.
    pub http: String,
    /// `host:port` for other nodes.
    pub raft: String,
    process: Child,
}

/// Nodes that know each other.
pub struct Cluster {
    nodes: Vec<Node>,
    // Removed after the nodes: fields are dropped in order.
    folder: TempDir,
}

impl Drop for Node {
    fn drop(&mut self) {
        // A process that is already gone is as good as one that ends now.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Node {
    fn start(folder: &Path, id: &str, [http, raft]: [String; 2], flags: &[String]) -> Result<Self> {
        let home = folder.join(id);
        std::fs::create_dir(&home)?;
        let process = Command::new(env!("CARGO_BIN_EXE_quorlited"))
            .args(["-node-id", id, "-http-addr", &http, "-raft-addr", &raft])
            .args(flags)
            .arg(home.join("data"))
            .stdin(Stdio::null())
            .stdout(File::create(home.join("stdout"))?)
            .stderr(File::create(home.join("stderr"))?)
            .spawn()
            .context("start quorlited")?;
        Ok(Self {
            id: id.to_owned(),
            http,
            raft,
            process,
        })
    }

    fn wait_ready(&mut self, folder: &Path) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if wire::get(&self.http, "/readyz").is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            let said = || std::fs::read_to_string(folder.join(&self.id).join("stderr")).unwrap_or_default();
            if let Some(status) = self.process.try_wait()? {
                bail!("{} ended with {status}: {}", self.id, said());
            }
            ensure!(Instant::now() < deadline, "{} is not ready: {}", self.id, said());
            thread::park_timeout(PAUSE);
        }
    }

    /// A sub-tree of `/status`.
    pub fn status(&self, key: &str) -> Result<Value> {
        let answer = wire::get(&self.http, &format!("/status?key={key}"))?;
        serde_json::from_slice(&answer.body).with_context(|| format!("{key} of /status"))
    }

    fn is_leader(&self) -> Result<bool> {
        Ok(self.status("store.raft.state")? == "Leader")
    }
}

impl Cluster {
    /// Starts `size` nodes with `flags` and waits until each is ready.
    ///
    /// # Errors
    ///
    /// A node that ends or does not become ready; the text holds what it said.
    pub fn start(size: usize, flags: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let ports = free_ports(2 * size)?;
        let addrs: Vec<[String; 2]> = ports.chunks(2).map(|pair| [addr(pair[0]), addr(pair[1])]).collect();
        let mut flags = flags.to_vec();
        if size > 1 {
            let join = addrs
                .iter()
                .map(|[_, raft]| raft.as_str())
                .collect::<Vec<_>>()
                .join(",");
            flags.extend([
                "-bootstrap-expect".to_owned(),
                size.to_string(),
                "-join".to_owned(),
                join,
            ]);
        }
        let mut cluster = Self {
            nodes: Vec::new(),
            folder,
        };
        for (at, pair) in addrs.into_iter().enumerate() {
            let node = Node::start(cluster.folder.path(), &format!("n{}", at + 1), pair, &flags)?;
            cluster.nodes.push(node);
        }
        for node in &mut cluster.nodes {
            node.wait_ready(cluster.folder.path())?;
        }
        Ok(cluster)
    }

    /// The node that calls itself leader.
    pub fn leader(&self) -> Result<&Node> {
        wait_for("leader", || {
            let leader = self.nodes.iter().find(|node| node.is_leader().unwrap_or(false));
            Ok(leader)
        })
    }

    /// The first node that is no leader, once it and the leader agree on that; the leader itself when it is alone.
    pub fn follower(&self) -> Result<&Node> {
        wait_for("follower of the leader", || {
            let leader = self.leader()?;
            let follower = self.nodes.iter().find(|node| node.id != leader.id).unwrap_or(leader);
            let names =
                |node: &Node| Ok::<_, anyhow::Error>(node.status("store.leader.node_id")? == leader.id.as_str());
            Ok((names(leader)? && names(follower)?).then_some(follower))
        })
    }

    /// Kills all nodes but the one that is chosen, and waits until that one has noticed.
    ///
    /// # Errors
    ///
    /// The survivor keeps believing in a leader.
    pub fn lose_majority(&mut self, choose: impl Fn(&Self) -> Result<&Node>) -> Result<()> {
        let survivor = choose(self)?.id.clone();
        self.nodes.retain(|node| node.id == survivor);
        let survivor = &self.nodes[0];
        wait_for("survivor without a leader", || {
            let answer = wire::get(&survivor.http, "/leader")?;
            Ok((answer.status == 503).then_some(()))
        })
    }

    /// Every node, in the order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Waits until `node` has applied what the leader has applied by now.
    pub fn wait_applied(&self, node: &Node) -> Result<()> {
        let wanted = applied(self.leader()?)?;
        wait_for("applied index", || Ok((applied(node)? >= wanted).then_some(())))
    }
}

fn applied(node: &Node) -> Result<u64> {
    node.status("store.raft.applied_index")?
        .as_u64()
        .context("an applied index that is no number")
}

/// Looks again and again until `look` finds something.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        thread::park_timeout(PAUSE);
    }
}

/// Ports that were free a moment ago, all held until all are found, so that none comes twice.
fn free_ports(count: usize) -> Result<Vec<u16>> {
    let held = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<Vec<_>, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

fn addr(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

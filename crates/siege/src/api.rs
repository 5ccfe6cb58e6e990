//! What an operator asks nodes over HTTP: who is in the cluster, who leads, and to change it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use command::statement::Statement;
use serde_json::{Value, json};

use crate::http::{Connection, Request, Response};
use crate::siege::Siege;
use crate::sql::{self, Envelope};
use crate::topology::NodeId;

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How often an operator looks again.
pub const LOOK: Duration = Duration::from_millis(50);

impl Siege {
    /// Asks a node; `None` when it does not answer.
    pub fn ask(&self, node: NodeId, method: &str, path: &str, body: &str) -> Option<Response> {
        let request = Request {
            method,
            path,
            body,
            key: None,
        };
        Connection::new(self.topology.http(node)).send(request, PATIENCE).ok()
    }

    /// The members as a node tells them.
    fn members(&self, node: NodeId) -> Option<Vec<Value>> {
        let response = self.ask(node, "GET", "/nodes?ver=2&nonvoters&timeout=1s", "")?;
        let tree: Value = serde_json::from_slice(&response.body).ok()?;
        tree.get("nodes")?.as_array().cloned()
    }

    /// The node that says that it leads.
    pub fn leader(&self) -> Option<NodeId> {
        let says = |node: &NodeId| {
            let state = self.ask(*node, "GET", "/status?key=store.raft.state", "");
            state.is_some_and(|state| state.status == 200 && state.body.starts_with(b"\"Leader\""))
        };
        (0..self.nodes.len())
            .filter(|node| self.nodes[*node].is_running())
            .find(says)
    }

    /// All nodes are ready, and each is known as a voter that answers.
    pub fn is_whole(&self) -> bool {
        let is_ready = |node: NodeId| {
            self.ask(node, "GET", "/readyz", "")
                .is_some_and(|answer| answer.status == 200)
        };
        let is = |member: &Value, what: &str| member.get(what) == Some(&json!(true));
        (0..self.nodes.len()).all(|node| self.nodes[node].is_running() && is_ready(node))
            && self.members(0).is_some_and(|members| {
                members.len() == self.nodes.len()
                    && members
                        .iter()
                        .all(|member| is(member, "voter") && is(member, "reachable"))
                    && members.iter().filter(|member| is(member, "leader")).count() == 1
            })
    }

    /// It is whole, and that is committed, since a later write is: a node that only its leader knows as a voter counts for
    /// no majority yet.
    pub fn is_settled(&self) -> bool {
        let write = [Statement::new("INSERT INTO bulk(data) VALUES(zeroblob(1))")];
        self.is_whole() && self.insist(&write, Instant::now()).is_ok() && self.is_whole()
    }

    /// What the cluster looks like, for a message.
    pub fn picture(&self) -> String {
        let of_node = |node: NodeId| {
            let answer = |path: &str| {
                let body = self.ask(node, "GET", path, "").map(|answer| answer.body);
                body.map_or("no answer".to_owned(), |body| {
                    String::from_utf8_lossy(&body).into_owned()
                })
            };
            let (raft, ready) = (answer("/status?key=store.raft"), answer("/readyz"));
            format!(
                "{}: ready {ready:?}, nodes {}, raft {raft}",
                self.nodes[node].name,
                answer("/nodes?ver=2&nonvoters")
            )
        };
        (0..self.nodes.len()).map(of_node).collect::<Vec<_>>().join("\n")
    }

    /// Writes until it is done, whatever it takes until the deadline; harmless to repeat. Returns the index.
    pub fn insist(&self, statements: &[Statement], deadline: Instant) -> Result<u64> {
        let body = sql::body(statements);
        let mut last = "no answer".to_owned();
        loop {
            for node in 0..self.nodes.len() {
                let Some(answer) = self.ask(node, "POST", "/db/execute?timeout=1s", &body) else {
                    continue;
                };
                let envelope = Envelope::parse(&answer.body);
                match (envelope, answer.index) {
                    (Some(Envelope { error: None, .. }), Some(index)) if answer.status == 200 => {
                        return Ok(index);
                    }
                    _ => last = String::from_utf8_lossy(&answer.body).into_owned(),
                }
            }
            anyhow::ensure!(
                Instant::now() < deadline && !self.has_failed(),
                "no write is accepted: {last}"
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Index and content hash of a node.
    pub fn hash(&self, node: NodeId) -> Option<(u64, u64)> {
        let answer = self.ask(node, "GET", "/quorlite/hash", "")?;
        let tree: Value = serde_json::from_slice(&answer.body).ok()?;
        let hash = u64::from_str_radix(tree.get("hash")?.as_str()?, 16).ok()?;
        Some((tree.get("index")?.as_u64()?, hash))
    }

    /// Reads at level none, once the node has applied `index`.
    pub fn read(&self, node: NodeId, index: u64, statements: &[Statement]) -> Result<Vec<sql::Rows>> {
        let path = format!("/db/query?level=none&transaction&min_index={index}&timeout=10s");
        let body = sql::body(statements);
        let request = Request {
            method: "POST",
            path: &path,
            body: &body,
            key: None,
        };
        let name = &self.nodes[node].name;
        let sent = Connection::new(self.topology.http(node)).send(request, Duration::from_secs(30));
        let answer = sent.ok().with_context(|| format!("{name} does not answer"))?;
        let told = || format!("{name} cannot be read: {}", String::from_utf8_lossy(&answer.body));
        let envelope = Envelope::parse(&answer.body).with_context(told)?;
        anyhow::ensure!(envelope.error.is_none() && envelope.problem().is_none(), told());
        Ok(envelope.rows())
    }
}

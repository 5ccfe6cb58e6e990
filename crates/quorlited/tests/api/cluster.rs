//! Three nodes: joining, forwarding, handing over, leaving.

use hyper::Method;
use serde_json::Value;

use crate::server::{Addresses, PATIENCE, Server, folder};

pub struct Trio {
    held: Vec<tempfile::TempDir>,
    pub nodes: Vec<Server>,
}

impl Trio {
    /// The first forms a cluster, the others join it.
    pub async fn form() -> Self {
        Self::form_with(&[]).await
    }

    /// The same, each started with `words`.
    pub async fn form_with(words: &[&str]) -> Self {
        let mut trio = Self {
            held: Vec::new(),
            nodes: Vec::new(),
        };
        for name in ["n1", "n2", "n3"] {
            let node = match trio.nodes.first() {
                None => trio.add(name, words),
                Some(first) => {
                    let raft = first.raft.clone();
                    trio.add(name, &[words, &["-join", &raft]].concat())
                }
            };
            node.until_ready().await;
            trio.nodes.push(node);
        }
        trio.nodes[0]
            .until("/status?key=store.nodes", |answer| {
                let nodes = answer.json();
                nodes
                    .as_array()
                    .is_some_and(|nodes| nodes.len() == 3 && nodes.iter().all(|node| node.get("catching_up").is_none()))
            })
            .await;
        trio
    }

    fn add(&mut self, name: &str, words: &[&str]) -> Server {
        let (held, dir) = folder();
        self.held.push(held);
        Server::launch(&dir, &Addresses::free(), &[&["-node-id", name], words].concat())
    }
}

impl Trio {
    /// The data directory of the node that was added as the `nth`, from 0.
    pub fn dir(&self, nth: usize) -> std::path::PathBuf {
        self.held[nth].path().join("data")
    }
}

async fn id_of_leader(server: &Server) -> String {
    let answer = server
        .until("/status?key=store.leader", |answer| answer.json()["node_id"] != "")
        .await;
    answer.json()["node_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn three_nodes_answer_alike() {
    let trio = Trio::form().await;
    let [first, second, third] = &trio.nodes[..] else {
        panic!("three nodes")
    };
    let created = second
        .say("/db/execute", r#"["CREATE TABLE t (a INTEGER PRIMARY KEY, b)"]"#)
        .await;
    assert_eq!(created, r#"{"results":[{}]}"#);
    let written = third
        .post(
            "/db/execute",
            r#"[["INSERT INTO t(b) VALUES(?)", "x'00'"],["INSERT INTO t(b) VALUES(random())"]]"#,
        )
        .await;
    assert_eq!(
        written.body,
        r#"{"results":[{"last_insert_id":1,"rows_affected":1},{"last_insert_id":2,"rows_affected":1}]}"#
    );
    assert_eq!(written.header("x-rqlite-served-by"), Some(first.raft.as_str()));
    let index = written.header("x-quorlite-index").unwrap();

    let read = r#"["SELECT * FROM t", "SELECT * FROM nowhere"]"#;
    let expected = first.say("/db/query?pretty", read).await;
    for node in [second, third] {
        for level in ["weak", "linearizable", "strong"] {
            let answer = node.post(&format!("/db/query?pretty&level={level}"), read).await;
            assert_eq!(answer.body, expected, "{level}");
        }
        let own = node
            .post(&format!("/db/query?pretty&level=none&min_index={index}"), read)
            .await;
        assert_eq!(own.body, expected);
        assert_eq!(own.header("x-rqlite-served-by"), Some(node.http.as_str()));
    }
    assert_same_content(&trio.nodes).await;

    let big = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<50000) SELECT i FROM n";
    let answer = second.post("/db/query", &format!("[\"{big}\"]")).await;
    assert_eq!(answer.json()["results"][0]["values"].as_array().unwrap().len(), 50_000);

    let redirected = second.post("/db/execute?redirect", r#"["DELETE FROM t"]"#).await;
    assert_eq!(redirected.status, 301);
    let location = format!("http://{}/db/execute?redirect", first.http);
    assert_eq!(redirected.header("location"), Some(location.as_str()));
}

/// At one index on every node, with one hash.
pub async fn assert_same_content(nodes: &[Server]) {
    let expected = nodes[0].get("/quorlite/hash").await.json();
    for node in nodes {
        node.until("/quorlite/hash", |answer| answer.json() == expected).await;
    }
}

#[tokio::test]
async fn leadership_is_handed_over_on_request_and_at_sigterm() {
    let mut trio = Trio::form().await;
    assert_eq!(id_of_leader(&trio.nodes[1]).await, "n1");
    let json = &[("content-type", "application/json")];
    let stepped = trio.nodes[1]
        .send(Method::POST, "/leader?wait=true", json, r#"{"id":"n3"}"#)
        .await;
    assert_eq!((stepped.status, stepped.body.as_str()), (200, ""));
    for node in &trio.nodes {
        node.until("/leader", |answer| answer.status == 200 && answer.json()["id"] == "n3")
            .await;
    }
    let third = trio.nodes.remove(2);
    third.stop().await;
    let leader: Value = trio.nodes[0]
        .until("/leader", |answer| answer.status == 200)
        .await
        .json();
    assert_ne!(leader["id"], "n3");
    let answer = trio.nodes[0]
        .say("/db/execute", r#"["CREATE TABLE after_it (a)"]"#)
        .await;
    assert_eq!(answer, r#"{"results":[{}]}"#);
}

#[tokio::test]
async fn nodes_leave_by_request_and_by_themselves() {
    let mut trio = Trio::form().await;
    let removed = trio.nodes[1]
        .send(Method::DELETE, "/remove", &[], r#"{"id":"n3"}"#)
        .await;
    assert_eq!((removed.status, removed.body.as_str()), (200, ""));
    let names = |answer: &crate::server::Answer| -> Vec<String> {
        answer.json().as_object().unwrap().keys().cloned().collect()
    };
    trio.nodes[0]
        .until("/nodes", |answer| names(answer) == ["n1", "n2"])
        .await;
    trio.nodes.truncate(2);

    let raft = trio.nodes[0].raft.clone();
    let leaver = trio.add("n4", &["-join", &raft, "-raft-cluster-remove-shutdown"]);
    leaver.until_ready().await;
    trio.nodes[0]
        .until("/nodes", |answer| names(answer) == ["n1", "n2", "n4"])
        .await;
    leaver.stop().await;
    trio.nodes[0]
        .until("/nodes", |answer| names(answer) == ["n1", "n2"])
        .await;
}

#[tokio::test]
async fn a_read_replica_reads_and_does_not_vote() {
    let mut trio = Trio::form().await;
    let raft = trio.nodes[0].raft.clone();
    let replica = trio.add("r1", &["-join", &raft, "-raft-non-voter"]);
    replica.until_ready().await;
    let written = replica
        .post("/db/execute", r#"["CREATE TABLE t (a)","INSERT INTO t VALUES(1)"]"#)
        .await;
    let index = written.header("x-quorlite-index").unwrap().to_owned();
    let read = replica
        .post(
            &format!("/db/query?level=auto&min_index={index}"),
            r#"["SELECT * FROM t"]"#,
        )
        .await;
    assert_eq!(read.header("x-rqlite-served-by"), Some(replica.http.as_str()));
    assert!(read.body.ends_with(r#""values":[[1]]}]}"#), "{}", read.body);
    let nodes = trio.nodes[1].get("/nodes?ver=2&nonvoters").await.json();
    let listed: Vec<(&str, bool)> = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["id"].as_str().unwrap(), node["voter"].as_bool().unwrap()))
        .collect();
    assert_eq!(listed, [("n1", true), ("n2", true), ("n3", true), ("r1", false)]);
    assert!(trio.nodes[1].get("/nodes").await.json().get("r1").is_none());
}

#[tokio::test]
async fn three_nodes_form_a_cluster_together() {
    let addresses: Vec<Addresses> = (0..3).map(|_| Addresses::free()).collect();
    let join: Vec<&str> = addresses.iter().map(|addresses| addresses.raft.as_str()).collect();
    let join = join.join(",");
    let mut held = Vec::new();
    let mut nodes = Vec::new();
    for addresses in &addresses {
        let (folder, dir) = folder();
        held.push(folder);
        let words = ["-bootstrap-expect", "3", "-join", join.as_str()];
        nodes.push(Server::launch(&dir, addresses, &words));
    }
    for node in &nodes {
        let ready = tokio::time::timeout(PATIENCE / 2, node.until_ready()).await;
        let logs: Vec<String> = nodes.iter().map(Server::log).collect();
        assert!(ready.is_ok(), "{}", logs.join("\n"));
        let members = node.until("/nodes", |answer| {
            answer.json().as_object().is_some_and(|nodes| nodes.len() == 3)
        });
        members.await;
    }
    let answer = nodes[2].say("/db/execute", r#"["CREATE TABLE t (a)"]"#).await;
    assert_eq!(answer, r#"{"results":[{}]}"#);
}

#[tokio::test]
async fn a_node_that_cannot_join_ends_and_answers_meanwhile() {
    let (_held, dir) = folder();
    let nobody = Addresses::free();
    let words = [
        "-join",
        nobody.raft.as_str(),
        "-join-attempts",
        "2",
        "-join-interval",
        "300ms",
    ];
    let mut server = Server::launch(&dir, &Addresses::free(), &words);
    server.until("/readyz?noleader", |answer| answer.status == 200).await;
    assert_eq!(server.exit().await.code(), Some(1));
}

#[tokio::test]
async fn an_operator_gets_past_an_entry_that_runs() {
    let trio = Trio::form().await;
    let [first, second, third] = &trio.nodes[..] else {
        panic!("three nodes")
    };
    first.say("/db/execute", r#"["CREATE TABLE t(a)"]"#).await;
    // Hours, within its steps.
    let hostile = r#"["INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)
        SELECT sum(length(printf('%.900000c', 'x') || x)) FROM c"]"#;
    let body = hostile.replace('\n', " ");
    let operate = async {
        let runs_long = |answer: &crate::server::Answer| {
            let raft = answer.json();
            let since = raft["applying_for"].as_str().unwrap_or_default();
            // Not "900ms".
            since
                .trim_end_matches('s')
                .parse::<f64>()
                .is_ok_and(|seconds| seconds >= 1.0)
        };
        let mut raft = Value::Null;
        for node in [first, second, third] {
            raft = node.until("/status?key=store.raft", runs_long).await.json();
        }
        let index = raft["applying_index"].as_u64().unwrap();
        let skipped = second.post(&format!("/quorlite/skip?index={index}"), "").await;
        assert_eq!(skipped.status, 200, "{}", skipped.body);
        assert_eq!(skipped.json()["skipped"], index);
    };
    let (answer, ()) = tokio::join!(first.post("/db/execute", &body), operate);
    assert!(answer.body.contains("passed over by an operator"), "{}", answer.body);
    for node in [first, second, third] {
        let written = node.say("/db/execute", r#"["INSERT INTO t VALUES(1)"]"#).await;
        assert!(!written.contains("error"), "{written}");
    }
}

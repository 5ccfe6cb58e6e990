//! `GET /nodes`: the members of the cluster, each asked who it is.

use std::time::{Duration, Instant};

use hyper::StatusCode;
use store::member::{Member, Peer};

use crate::http::call::Call;
use crate::http::door::Opened;
use crate::http::json::{Pretty, Writer};
use crate::http::number;
use crate::http::reply::Reply;
use crate::{cluster, duration};

/// A node, as far as it answered.
pub struct Node {
    peer: Peer,
    voter: bool,
    found: Result<Found, String>,
}

struct Found {
    api_url: String,
    version: String,
    is_leader: bool,
    quarantine: String,
    elapsed: Duration,
}

/// Answers it.
pub async fn get(call: &Call) -> Reply {
    let Some(opened) = call.door.opened() else {
        return Reply::failure(StatusCode::SERVICE_UNAVAILABLE, "store nodes: store not open");
    };
    let mut members = opened.ledger.status().members;
    members.retain(|member| member.voter || call.params.flag("nonvoters"));
    members.sort_by(|a, b| a.peer.name.cmp(&b.peer.name));
    let nodes = ask_all(opened, members, call.params.timeout()).await;
    let mut json = Writer::new(Pretty::from(call.params.flag("pretty")));
    json.begin_object();
    if call.params.text("ver").as_deref() == Some("2") {
        json.key("nodes");
        json.begin_array();
        nodes.iter().for_each(|node| node.write(&mut json));
        json.end_array();
    } else {
        for node in &nodes {
            json.key(&node.peer.name);
            node.write(&mut json);
        }
    }
    json.end_object();
    Reply::json(json.out.into())
}

/// Asks one node.
pub async fn ask(opened: Opened, peer: Peer, voter: bool, timeout: Duration) -> Node {
    let began = Instant::now();
    let answered = tokio::time::timeout(timeout, opened.peers.describe(&peer.address, timeout)).await;
    let found = match answered {
        Ok(Ok(description)) => Ok(Found {
            api_url: description.api_url,
            version: description.version,
            is_leader: description.is_leader,
            quarantine: description.quarantine,
            elapsed: began.elapsed(),
        }),
        Ok(Err(cluster::Error::Unanswered { cause, .. })) if cause.kind() == std::io::ErrorKind::TimedOut => {
            Err(TIMED_OUT.to_owned())
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(TIMED_OUT.to_owned()),
    };
    Node { peer, voter, found }
}

const TIMED_OUT: &str = "timeout waiting for node to respond";

/// Asks all of them at once; their order is kept.
async fn ask_all(opened: &Opened, members: Vec<Member>, timeout: Duration) -> Vec<Node> {
    let asked: Vec<_> = members
        .into_iter()
        .map(|member| ask(opened.clone(), member.peer, member.voter, timeout))
        .collect();
    futures_util::future::join_all(asked).await
}

impl Node {
    /// Writes it as JSON.
    pub fn write(&self, json: &mut Writer) {
        let found = self.found.as_ref().ok();
        json.begin_object();
        json.key("id");
        json.string(&self.peer.name);
        if let Some(found) = found {
            json.key("api_addr");
            json.string(&found.api_url);
        }
        json.key("addr");
        json.string(&self.peer.address);
        json.key("version");
        json.string(found.map_or("", |found| &found.version));
        json.key("voter");
        json.boolean(self.voter);
        json.key("reachable");
        json.boolean(found.is_some());
        json.key("leader");
        json.boolean(found.is_some_and(|found| found.is_leader));
        if let Some(found) = found.filter(|found| !found.quarantine.is_empty()) {
            json.key("quarantine");
            json.string(&found.quarantine);
        }
        match &self.found {
            Ok(found) => {
                json.key("time");
                json.value(|out| number::push(out, number::seconds(found.elapsed)));
                json.key("time_s");
                json.string(duration::text(found.elapsed));
            }
            Err(error) => {
                json.key("error");
                json.string(error);
            }
        }
        json.end_object();
    }
}

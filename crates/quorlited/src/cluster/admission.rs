//! Whether a node may join: the identity rules, on the leader.
//!
//! ```text
//!  not leader ──► redirect
//!  other flags that change results ──► refused
//!  same name or address, another incarnation ──► is the old one still there? ──yes──► refused
//!                                                         └──no──► the store replaces it
//!  everything else ──► the store adds it as a learner
//! ```
//!
//! Invariant: a live node is never displaced by another that carries its name.

use std::time::Duration;

use store::member::Joined;
use store::member::Peer;
use tracing::{info, warn};

use super::client::Client;
use super::ledger::Ledger;
use super::message::Join;

/// How long the old bearer of a name may take to answer. A joiner waits one second for its reply.
const PROBE_TIME_MAX: Duration = Duration::from_millis(600);

/// What became of a wish to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is a member.
    Joined(Joined),
    /// This node does not lead.
    Redirect(Peer),
    /// Nobody leads.
    NoLeader,
    /// No, and why.
    Refused(String),
}

/// Judges `join` and, on the leader, carries it out.
pub async fn admit(ledger: &dyn Ledger, client: &Client, join: Join) -> Admission {
    let Some(record) = join.peer.as_ref().filter(|peer| peer.id != 0 && !peer.name.is_empty()) else {
        return Admission::Refused("a join without a node".to_owned());
    };
    let peer = Peer::from(record);
    let Some(leader) = ledger.leader() else {
        return Admission::NoLeader;
    };
    if leader.id != ledger.peer().id {
        return Admission::Redirect(leader);
    }
    if let Some(Err(refusal)) = join.settings.as_ref().map(|settings| ledger.check_joiner(settings)) {
        warn!(name = %peer.name, address = %peer.address, %refusal, "join refused");
        return Admission::Refused(refusal.to_string());
    }
    if let Err(refusal) = resolvable(&peer.address).await {
        return Admission::Refused(refusal);
    }
    if let Some(live) = displaced(ledger, client, &peer).await {
        warn!(name = %peer.name, address = %peer.address, live = %live.address, "join refused: its id is in use");
        return Admission::Refused(format!(
            "node id {} is in use by a live node at {}: choose another -node-id, or remove that node first",
            live.name, live.address
        ));
    }
    add(ledger, peer, join.voter).await
}

/// Checks that the host of `address` can be resolved here.
///
/// # Errors
///
/// A text for the one who gave the address.
pub async fn resolvable(address: &str) -> Result<(), String> {
    match tokio::net::lookup_host(address).await {
        Ok(mut found) => match found.next() {
            Some(_) => Ok(()),
            None => Err(format!("cannot resolve {address}: no addresses")),
        },
        Err(error) => Err(format!("cannot resolve {address}: {error}")),
    }
}

async fn add(ledger: &dyn Ledger, peer: Peer, voter: bool) -> Admission {
    match ledger.add(peer.clone(), voter).await {
        Ok(joined) => {
            info!(name = %peer.name, address = %peer.address, voter, ?joined, "node joined");
            Admission::Joined(joined)
        }
        Err(store::Error::NotLeader { leader: Some(leader) }) => Admission::Redirect(leader),
        Err(store::Error::NotLeader { leader: None }) => Admission::NoLeader,
        Err(error) => {
            warn!(name = %peer.name, address = %peer.address, %error, "join failed");
            Admission::Refused(error.to_string())
        }
    }
}

/// The member that `peer` would push out although it is alive. Its own former incarnation is not: one data directory
/// and one address have one process.
async fn displaced(ledger: &dyn Ledger, client: &Client, peer: &Peer) -> Option<Peer> {
    let rivals = ledger.members().into_iter().map(|member| member.peer);
    for rival in
        rivals.filter(|rival| rival.id != peer.id && (rival.name == peer.name || rival.address == peer.address))
    {
        let lives = if rival.id == ledger.peer().id {
            true
        } else {
            answers(client, &rival).await
        };
        if lives {
            return Some(rival);
        }
    }
    None
}

async fn answers(client: &Client, rival: &Peer) -> bool {
    let Ok(description) = client.describe(&rival.address, PROBE_TIME_MAX).await else {
        return false;
    };
    description.peer.is_some_and(|peer| peer.id == rival.id.0)
}

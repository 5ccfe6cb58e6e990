//! Joining through given addresses.
//!
//! ```text
//!  attempt: each address in turn ──► its leader ──► taken in: done
//!           all failed ──► pause ──► next attempt
//! ```

use std::time::Duration;

use tracing::{info, warn};

use super::client::Client;
use super::error::Error;
use super::founding::Founding;
use super::ledger::Ledger;
use super::message::Join;

/// How long each node on the way may take to answer.
const REPLY_TIME_MAX: Duration = Duration::from_secs(1);

/// Where and how often to try.
#[derive(Clone, Debug)]
pub struct Attempts {
    /// Inter-node addresses of nodes that may know the leader.
    pub targets: Vec<String>,
    /// Passes over the addresses.
    pub passes: u32,
    /// The pause between two passes.
    pub interval: Duration,
}

/// Joins, also when this node is a member already: then its address is brought up to date.
///
/// # Errors
///
/// [`Error::Alone`] at once when this node is a cluster of its own; [`Error::NotJoined`] after the last attempt.
pub async fn join(
    ledger: &dyn Ledger,
    founding: &Founding,
    client: &Client,
    voter: bool,
    attempts: &Attempts,
) -> Result<(), Error> {
    let me = ledger.peer();
    let members = ledger.members();
    if ledger.is_initialized() && members.iter().all(|member| member.peer.id == me.id) && !members.is_empty() {
        return Err(Error::Alone);
    }
    let wish = Join {
        peer: Some((&me).into()),
        voter,
        settings: Some(ledger.settings()),
    };
    let mut last = Error::NoLeader;
    for pass in 1..=attempts.passes.max(1) {
        for target in &attempts.targets {
            match through(ledger, founding, client, target, &wish).await {
                Ok(leader) => {
                    info!(%leader, "joined cluster");
                    return Ok(());
                }
                Err(error) => {
                    warn!(%target, pass, %error, "join failed");
                    last = error;
                }
            }
        }
        if pass < attempts.passes {
            tokio::time::sleep(attempts.interval).await;
        }
    }
    Err(Error::NotJoined {
        targets: attempts.targets.join(","),
        last: Box::new(last),
    })
}

/// Asks once, through `target`, and answers the leader's address. Bound to no other cluster meanwhile, nor afterwards
/// unless it is certain that nobody took this node in.
///
/// # Errors
///
/// Those of [`Client::join`] and [`Founding::begin_join`].
pub async fn through(
    ledger: &dyn Ledger,
    founding: &Founding,
    client: &Client,
    target: &str,
    wish: &Join,
) -> Result<String, Error> {
    founding.begin_join(ledger).await?;
    match client.join(target, wish, REPLY_TIME_MAX).await {
        Ok(joined) => Ok(joined.leader),
        Err(error @ (Error::Unanswered { .. } | Error::Puzzled(_))) => Err(error),
        Err(error) => {
            founding.end_join()?;
            Err(error)
        }
    }
}

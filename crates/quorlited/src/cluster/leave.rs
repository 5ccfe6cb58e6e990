//! Leaving the cluster during shutdown (`-raft-cluster-remove-shutdown`).
//!
//! ```text
//!  a leader, within 5 s ──► remove me, up to 5 times, within 10 s ──► wait a little until I know of it myself
//! ```

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::error::Error;
use super::forward::{Forwarder, Served};
use super::ledger::Ledger;
use crate::forwarded::{Credentials, Forwarded, Operation, Remove};

const LEADER_TIME_MAX: Duration = Duration::from_secs(5);
const REMOVE_TIME_MAX: Duration = Duration::from_secs(10);
/// A leader has nothing more to say to a node once its removal is committed, so the news may never come.
const MEMBERSHIP_TIME_MAX: Duration = Duration::from_millis(250);
const TRIES_MAX: u32 = 5;
const TRY_INTERVAL: Duration = Duration::from_millis(250);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Removes this node from its cluster. The leader's word is enough: it answers once the removal is committed.
///
/// # Errors
///
/// [`Error::NoLeader`], [`Error::NotLeft`] with the last refusal.
pub async fn leave(ledger: &dyn Ledger, forwarder: &Forwarder, credentials: Option<Credentials>) -> Result<(), Error> {
    let me = ledger.peer();
    if !until(LEADER_TIME_MAX, || ledger.leader().is_some()).await {
        return Err(Error::NoLeader);
    }
    let removal = Forwarded {
        operation: Some(Operation::Remove(Remove { name: me.name })),
        credentials,
        timeout_ms: 0,
        is_own: true,
    };
    remove(forwarder, &removal).await?;
    let gone = || ledger.members().iter().all(|member| member.peer.id != me.id);
    if !until(MEMBERSHIP_TIME_MAX, gone).await {
        tracing::debug!("left the cluster without hearing of it");
    }
    Ok(())
}

async fn remove(forwarder: &Forwarder, removal: &Forwarded) -> Result<(), Error> {
    let deadline = Instant::now() + REMOVE_TIME_MAX;
    let mut last = Error::NoLeader;
    for tries in 1..=TRIES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        match forwarder.forward(removal.clone(), left).await {
            Ok(served) if served.answer.head.status == 200 => return Ok(()),
            Ok(served) => last = Error::NotLeft(refusal(served).await),
            Err(error) => last = error,
        }
        if tries < TRIES_MAX && Instant::now() < deadline {
            tokio::time::sleep(TRY_INTERVAL).await;
        }
    }
    Err(last)
}

async fn refusal(served: Served) -> String {
    let status = served.answer.head.status;
    let mut body = served.answer.body;
    match timeout(LEADER_TIME_MAX, body.recv()).await {
        Ok(Some(Ok(text))) if !text.is_empty() => String::from_utf8_lossy(&text).trim_end().to_owned(),
        Ok(_) | Err(_) => format!("{} answered with status {status}", served.by),
    }
}

async fn until(limit: Duration, is_so: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !is_so() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    true
}

//! Requests of other nodes' clients, on the node that leads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use store::member::Peer;
use store::transport::BoxFuture;

use super::endpoint::{backup, load, skip, verify};
use super::errors;
use super::ledger::Ledger;
use super::reply::Reply;
use super::sql::{self, Detour, Job};
use super::vault::Vault;
use super::watch::Watch;
use crate::cluster::Handler;
use crate::forwarded::{Answer, Forwarded, Head, NotLeader, Operation, Sql, StepDown};

#[cfg(test)]
mod tests;

/// What a request waits at most when it does not say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Where forwarded requests are worked on.
pub struct Desk {
    ledger: Arc<dyn Ledger>,
    vault: Arc<dyn Vault>,
    watch: Arc<Watch>,
}

impl Desk {
    /// A desk for a node's two sides.
    pub fn new(ledger: Arc<dyn Ledger>, vault: Arc<dyn Vault>, watch: Arc<Watch>) -> Self {
        Self { ledger, vault, watch }
    }
}

impl Handler for Desk {
    fn handle(&self, forwarded: Forwarded) -> BoxFuture<'static, Answer> {
        let (ledger, vault, watch) = (self.ledger.clone(), self.vault.clone(), self.watch.clone());
        Box::pin(async move {
            match run(&ledger, &vault, &watch, forwarded).await {
                Ok(reply) => reply.into_answer(),
                Err(leader) => not_leader(leader),
            }
        })
    }
}

/// Hands leadership over; at once when nobody waits for it.
///
/// # Errors
///
/// This node does not lead; the leader, if one is known.
pub async fn step_down(
    ledger: &Arc<dyn Ledger>,
    step_down: StepDown,
    timeout: Duration,
) -> Result<Reply, Option<Peer>> {
    let target = (!step_down.name.is_empty()).then_some(step_down.name);
    if let Some(refusal) = refusal(&**ledger, target.as_deref()) {
        return Ok(errors::cluster_operation("stepdown: ", &refusal));
    }
    if !step_down.wait {
        let ledger = Arc::clone(ledger);
        tokio::spawn(async move {
            if let Err(error) = ledger.transfer(target.as_deref(), timeout).await {
                tracing::info!(%error, "leadership not handed over");
            }
        });
        return Ok(Reply::empty(StatusCode::OK));
    }
    match ledger.transfer(target.as_deref(), timeout).await {
        Ok(()) => Ok(Reply::empty(StatusCode::OK)),
        Err(store::Error::NotLeader { leader }) => Err(leader),
        Err(error) => Ok(errors::cluster_operation("stepdown: ", &error)),
    }
}

/// What is refused with or without waiting.
fn refusal(ledger: &dyn Ledger, target: Option<&str>) -> Option<store::Error> {
    let target = target?;
    if ledger.peer().name == target && ledger.leader().is_some_and(|leader| leader.name == target) {
        return Some(store::Error::AlreadyLeader);
    }
    match ledger.status().members.iter().find(|member| member.peer.name == target) {
        None => Some(store::Error::UnknownNode),
        Some(member) if !member.voter => Some(store::Error::Membership(format!(
            "{target} is a read replica and cannot lead"
        ))),
        Some(_) => None,
    }
}

async fn run(
    ledger: &Arc<dyn Ledger>,
    vault: &Arc<dyn Vault>,
    watch: &Arc<Watch>,
    forwarded: Forwarded,
) -> Result<Reply, Option<Peer>> {
    let timeout = match forwarded.timeout_ms {
        0 => TIMEOUT,
        ms => Duration::from_millis(ms),
    };
    match forwarded.operation {
        Some(Operation::Execute(sql)) => data(ledger, watch, sql::Operation::Execute, sql, timeout).await,
        Some(Operation::Query(sql)) => data(ledger, watch, sql::Operation::Query, sql, timeout).await,
        Some(Operation::Request(sql)) => data(ledger, watch, sql::Operation::Request, sql, timeout).await,
        Some(Operation::Remove(remove)) => match ledger.remove(&remove.name).await {
            Ok(()) => Ok(Reply::empty(StatusCode::OK)),
            Err(store::Error::NotLeader { leader }) => Err(leader),
            Err(error) => Ok(errors::cluster_operation("", &error)),
        },
        Some(Operation::StepDown(asked)) => {
            // Whoever was asked may have handed over before: then it is done.
            match ledger.leader() {
                Some(leader) if leader.id == ledger.peer().id => step_down(ledger, asked, timeout).await,
                leader => Err(leader),
            }
        }
        Some(Operation::Backup(wanted)) => match ledger.leader() {
            Some(leader) if leader.id == ledger.peer().id => Ok(backup::here(vault, wanted.into()).await),
            leader => Err(leader),
        },
        Some(Operation::Skip(asked)) => match ledger.skip(asked.index, timeout).await {
            Ok(skipped) => Ok(skip::done(asked.index, &skipped)),
            Err(store::Error::NotLeader { leader }) => Err(leader),
            Err(error) => Ok(errors::cluster_operation("", &error)),
        },
        Some(Operation::Verify(_)) => match ledger.verify(timeout).await {
            Ok(asked) => Ok(verify::begun(&asked)),
            Err(store::Error::NotLeader { leader }) => Err(leader),
            Err(store::Error::Transferring) => Err(None),
            Err(error) => Ok(errors::cluster_operation("", &error)),
        },
        Some(Operation::Gather(gather)) => {
            // A leader that is none any more answers 503, and the piece is sent again to whoever leads then.
            Ok(load::gather_for_another(vault, gather, timeout).await)
        }
        Some(Operation::Load(end)) => match load::end_here(vault, load::Ending::received(end, timeout)).await {
            Ok(reply) => Ok(reply),
            Err(Detour::Leader(leader)) => Err(leader),
            Err(Detour::Transferring) => Err(None),
        },
        None => Ok(errors::still_to_come("this operation")),
    }
}

async fn data(
    ledger: &Arc<dyn Ledger>,
    watch: &Arc<Watch>,
    operation: sql::Operation,
    sql: Sql,
    timeout: Duration,
) -> Result<Reply, Option<Peer>> {
    let job = Job {
        operation,
        sql,
        began: Instant::now(),
        timeout,
        client: None,
    };
    match sql::run(ledger, watch, job).await {
        Ok(reply) => Ok(reply),
        Err(Detour::Leader(leader)) => Err(leader),
        Err(Detour::Transferring) => Err(None),
    }
}

fn not_leader(leader: Option<Peer>) -> Answer {
    let leader = leader.map(|leader| NotLeader {
        id: leader.id.0,
        name: leader.name,
        address: leader.address,
    });
    let mut answer = Reply::empty(StatusCode::OK).into_answer();
    answer.head = Head {
        not_leader: Some(leader.unwrap_or_default()),
        ..Head::default()
    };
    answer
}

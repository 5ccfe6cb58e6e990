//! `GET /readyz`: is this node of use?

use std::time::Duration;

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use hyper::StatusCode;
use sqlite::{Cancel, QueryOptions};
use std::ops::ControlFlow;
use std::sync::Arc;
use tokio::time::Instant;

use crate::http::call::Call;
use crate::http::door::Opened;
use crate::http::ledger::Ledger;
use crate::http::reply::Reply;

/// How often an index is looked at while `sync` waits.
const SYNC_PAUSE: Duration = Duration::from_millis(5);

/// Answers it.
pub async fn get(call: &Call) -> Reply {
    let mut lines = vec!["[+]node ok".to_owned()];
    if call.params.flag("noleader") {
        return said(StatusCode::OK, &lines);
    }
    let failed = match call.door.opened() {
        Some(opened) => check(opened, call, &mut lines).await.err(),
        None => Some("[+]leader does not exist".to_owned()),
    };
    match failed {
        None => said(StatusCode::OK, &lines),
        Some(line) => {
            lines.push(line);
            said(StatusCode::SERVICE_UNAVAILABLE, &lines)
        }
    }
}

/// Adds a line for each thing that is well.
///
/// # Errors
///
/// The line for the first that is not.
async fn check(opened: &Opened, call: &Call, lines: &mut Vec<String>) -> Result<(), String> {
    let timeout = call.params.timeout();
    let leader = opened.ledger.leader().ok_or("[+]leader does not exist")?;
    let described = opened.peers.describe(&leader.address, timeout).await;
    let leader = described.map_err(|error| format!("[+]leader not contactable: {error}"))?;
    lines.push("[+]leader ok".to_owned());
    let status = opened.ledger.status();
    if let Some(reason) = status.soundness.quarantine {
        return Err(format!("[+]store in quarantine: {reason}"));
    }
    if !status.ready {
        return Err("[+]store not ready".to_owned());
    }
    lines.push("[+]store ok".to_owned());
    if call.params.flag("sync") {
        sync(&*opened.ledger, leader.commit_index, timeout).await?;
        lines.push("[+]sync ok".to_owned());
    }
    probe(Arc::clone(&opened.ledger), timeout)
        .await
        .map_err(|error| format!("[+]db not ok: ({error})"))?;
    lines.push("[+]db ok".to_owned());
    Ok(())
}

/// Waits until this node has committed what its leader had when it was asked.
async fn sync(ledger: &dyn Ledger, index: u64, timeout: Duration) -> Result<(), String> {
    let deadline = Instant::now() + timeout;
    while ledger.status().committed < index {
        if Instant::now() >= deadline {
            return Err(format!("[+]sync timeout waiting for index {index}"));
        }
        tokio::time::sleep(SYNC_PAUSE).await;
    }
    Ok(())
}

/// Reads something.
async fn probe(ledger: Arc<dyn Ledger>, timeout: Duration) -> Result<(), String> {
    let read = tokio::task::spawn_blocking(move || {
        let mut outcome = Outcome(None);
        let options = QueryOptions {
            deadline: std::time::Instant::now().checked_add(timeout),
            ..QueryOptions::default()
        };
        ledger
            .query(&[Statement::new("SELECT 1")], &options, &mut outcome, &Cancel::new())
            .map_err(|error| error.to_string())?;
        outcome.0.map_or(Ok(()), Err)
    });
    read.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Whether a read failed, and how.
struct Outcome(Option<String>);

impl RowSink for Outcome {
    fn columns(&mut self, _columns: &Columns) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn row(&mut self, _cells: &[CellRef<'_>]) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn end(&mut self, end: End, _elapsed: Duration) -> ControlFlow<()> {
        self.0 = match end {
            End::Complete => None,
            End::Failed(error) => Some(error),
        };
        ControlFlow::Continue(())
    }
}

fn said(status: StatusCode, lines: &[String]) -> Reply {
    Reply::text(status, lines.join("\n"))
}

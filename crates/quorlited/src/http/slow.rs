//! The log of slow statements: text, duration, plan. Values of parameters are never logged.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use sqlite::{Cancel, QueryOptions};
use tracing::warn;

use super::ledger::Ledger;

/// Lines of a plan that are logged.
const LINES_MAX: usize = 64;

/// Logs statements that took `time`. Asks SQLite for their plans: blocks.
pub fn log(ledger: &dyn Ledger, statements: &[Statement], time: Duration, client: Option<SocketAddr>) {
    for statement in statements {
        let plan = plan(ledger, statement);
        warn!(sql = %statement.sql, duration = ?time, %plan, ?client, of = statements.len(), "slow query");
    }
}

/// The plan of a text's first statement, as `EXPLAIN QUERY PLAN` tells it; empty where there is none.
fn plan(ledger: &dyn Ledger, statement: &Statement) -> String {
    let asked = Statement {
        sql: format!("EXPLAIN QUERY PLAN {}", statement.sql),
        parameters: statement.parameters.clone(),
    };
    // What follows in the text has run already, and its rows are no plan.
    let options = QueryOptions {
        first_only: true,
        ..QueryOptions::default()
    };
    let mut plan = Plan::default();
    // Without a plan the text and its time are still worth a line.
    ledger.query(&[asked], &options, &mut plan, &Cancel::new()).ok();
    plan.0.join(" | ")
}

/// Keeps the last column of every row: its `detail`.
#[derive(Default)]
struct Plan(Vec<String>);

impl RowSink for Plan {
    fn columns(&mut self, _columns: &Columns) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        if let Some(CellRef::Text(text)) = cells.last() {
            self.0.push(String::from_utf8_lossy(text).into_owned());
        }
        if self.0.len() < LINES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    fn end(&mut self, _end: End, _elapsed: Duration) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

//! A node's answers to queries, cell by cell, through its readers.

use std::ops::ControlFlow;
use std::time::Duration;

use command::reply::{Cell, Row};
use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::{Statement, Value};
use store::Node;

/// Longest wait for a reader; there are always enough, so that this never waits for real time.
const READER_WAIT: Duration = Duration::from_secs(1);

/// Answers a query.
///
/// # Errors
///
/// What the node said.
pub fn rows(node: &Node, sql: &str) -> Result<Vec<Row>, String> {
    let readers = node.readers();
    let mut lease = readers.check_out(READER_WAIT).map_err(|error| error.to_string())?;
    let mut rows = Rows::default();
    let options = sqlite::QueryOptions::default();
    lease
        .query(&[Statement::new(sql)], &options, &mut rows, &sqlite::Cancel::new())
        .map_err(|error| error.to_string())?;
    match rows.failure {
        None => Ok(rows.rows),
        Some(failure) => Err(failure),
    }
}

/// Gathers rows.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    failure: Option<String>,
}

impl RowSink for Rows {
    fn columns(&mut self, _columns: &Columns) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        let value = |cell: &CellRef<'_>| match cell {
            CellRef::Null => None,
            CellRef::Integer(value) => Some(Value::Integer(*value)),
            CellRef::Real(value) => Some(Value::Real(*value)),
            CellRef::Text(text) => Some(Value::Text(String::from_utf8_lossy(text).into_owned())),
            CellRef::Blob(bytes) => Some(Value::Blob(bytes.to_vec().into())),
        };
        let cells = cells.iter().map(|cell| Cell { value: value(cell) });
        self.rows.push(Row { cells: cells.collect() });
        ControlFlow::Continue(())
    }

    fn end(&mut self, end: End, _elapsed: Duration) -> ControlFlow<()> {
        if let End::Failed(text) = end {
            self.failure = Some(text);
        }
        ControlFlow::Continue(())
    }
}

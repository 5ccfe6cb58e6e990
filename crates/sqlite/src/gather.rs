//! Rows gathered in memory, for what runs in apply: RETURNING, and the reads of a mixed request.

use std::sync::Arc;

use bytes::Bytes;
use command::reply::{Cell, Row, Rows};
use command::rows::{CellRef, Columns};
use command::statement::Value;
use rusqlite::ffi::SQLITE_TOOBIG;

use crate::ffi::statement::{Execution, StatementError};

/// Bytes that a cell costs in memory beyond its text or BLOB.
const CELL_OVERHEAD_BYTES: u64 = 40;
const TOO_LARGE: &str = "the rows of this request are more than a reply may hold: read them by a query instead";

/// The result so far.
#[derive(Default)]
pub(crate) struct Gathered {
    columns: Option<Arc<Columns>>,
    rows: Vec<Row>,
}

impl Gathered {
    /// Takes the row that the last step made ready, and its cost off `bytes_left`.
    ///
    /// # Errors
    ///
    /// When the reply has grown too large: the same on every replica.
    pub(crate) fn take(&mut self, execution: &mut Execution<'_>, bytes_left: &mut u64) -> Result<(), StatementError> {
        let cells = execution.row()?;
        let cost: u64 = cells.iter().map(cost).sum();
        let Some(left) = bytes_left.checked_sub(cost) else {
            return Err(StatementError {
                code: SQLITE_TOOBIG,
                message: TOO_LARGE.to_owned(),
            });
        };
        *bytes_left = left;
        self.rows.push(Row {
            cells: cells.iter().map(cell).collect(),
        });
        Ok(())
    }

    /// Takes the names and types of the columns, after the first step.
    pub(crate) fn name(&mut self, execution: &mut Execution<'_>) {
        self.columns = Some(execution.columns());
    }

    /// Whether a row was shown.
    pub(crate) fn has_begun(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The result, with the failure that ended it.
    pub(crate) fn into_rows(self, error: Option<String>) -> Rows {
        let columns = self.columns.unwrap_or_default();
        Rows {
            names: columns.names.clone(),
            types: columns.types.clone(),
            rows: self.rows,
            error,
        }
    }
}

fn cost(cell: &CellRef<'_>) -> u64 {
    let bytes = match cell {
        CellRef::Null | CellRef::Integer(_) | CellRef::Real(_) => 0,
        CellRef::Text(bytes) | CellRef::Blob(bytes) => bytes.len() as u64,
    };
    bytes + CELL_OVERHEAD_BYTES
}

fn cell(cell: &CellRef<'_>) -> Cell {
    let value = match *cell {
        CellRef::Null => None,
        CellRef::Integer(value) => Some(Value::Integer(value)),
        CellRef::Real(value) => Some(Value::Real(value)),
        CellRef::Text(bytes) => Some(Value::Text(String::from_utf8_lossy(bytes).into_owned())),
        CellRef::Blob(bytes) => Some(Value::Blob(Bytes::copy_from_slice(bytes))),
    };
    Cell { value }
}

//! Rows as they stream: borrowed cells, and the sink that takes them.
//!
//! A read is never gathered: SQLite's cells are shown to a [`RowSink`] one row at a time (D12).

use std::ops::ControlFlow;
use std::time::Duration;

use crate::reply::Cell;
use crate::statement::Value;

/// A cell, borrowed from SQLite or from a stored reply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CellRef<'a> {
    /// NULL.
    Null,
    /// A 64-bit signed integer.
    Integer(i64),
    /// A double.
    Real(f64),
    /// Text as stored; SQLite does not promise UTF-8.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

/// The columns of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// SQLite's result-column names.
    pub names: Vec<String>,
    /// Declared types, lower-cased, inner blanks kept; empty where there is none.
    pub types: Vec<String>,
    /// The table that a column comes from unchanged; empty for an expression. Filled only when asked for.
    pub tables: Vec<String>,
}

/// How a result ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All rows were shown.
    Complete,
    /// The statement failed: before its columns were known, or in the middle of its rows. The text is SQLite's.
    Failed(String),
}

/// Takes the results of a query, statement after statement.
///
/// Calls come as `columns (row)* end` for a statement that could be prepared, and as a lone `end` for one that could
/// not. [`ControlFlow::Break`] stops the whole query: the client has gone, or a limit is reached.
pub trait RowSink: Send {
    /// A result begins.
    fn columns(&mut self, columns: &Columns) -> ControlFlow<()>;
    /// The next row; `cells` has as many items as there are columns.
    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()>;
    /// The result ended after `elapsed` inside SQLite.
    fn end(&mut self, end: End, elapsed: Duration) -> ControlFlow<()>;
}

impl<'a> From<&'a Cell> for CellRef<'a> {
    fn from(cell: &'a Cell) -> Self {
        match &cell.value {
            None => CellRef::Null,
            Some(Value::Integer(value)) => CellRef::Integer(*value),
            Some(Value::Real(value)) => CellRef::Real(*value),
            Some(Value::Text(text)) => CellRef::Text(text.as_bytes()),
            Some(Value::Blob(bytes)) => CellRef::Blob(bytes),
        }
    }
}

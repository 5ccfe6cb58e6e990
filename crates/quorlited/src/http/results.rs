//! The answer of the data endpoints, written as it comes: envelope, elements, rows.
//!
//! A [`command::rows::RowSink`] for streamed reads; stored replies go through the same code, so that a result looks the
//! same whichever way it came.
//!
//! ```text
//!  {"results":[ element, element … ],"error":…,"time":…,"sequence_number":…,"raft_index":…,"code":…}
//!               │
//!               └── begun at `columns`, rows at the first row, closed at `end`;
//!                   fails while none of it has left: rewound and written as its error alone
//!                   fails later: its arrays are closed, and its error comes after them
//! ```
//!
//! Invariants:
//! * No more than one chunk and one row is held in memory (D12).
//! * What has left is the beginning of a valid document, whatever happens next.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::time::Duration;

use command::reply::{Changes, Outcome, OutcomeKind, Reply, Rows};
use command::rows::{CellRef, Columns, End, RowSink};

use super::json::{Mark, Pretty, Writer};
use super::number;
use crate::forwarded::Style;

mod cell;
mod column;
#[cfg(test)]
mod tests;

use cell::Unwritable;
use column::Column;

/// A chunk leaves once it has grown to this: large enough that handing it over costs nothing, small enough that the
/// first row arrives early.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// Where chunks go.
pub trait Outlet: Send {
    /// A buffer that has grown to `length` is to leave.
    fn is_due(&self, length: usize) -> bool;
    /// Takes a chunk; breaks when nobody wants it any more. May block.
    fn put(&mut self, chunk: Vec<u8>) -> ControlFlow<()>;
}

/// An outlet for what is answered whole.
#[derive(Clone, Copy, Debug)]
pub struct Whole;

impl Outlet for Whole {
    fn is_due(&self, _length: usize) -> bool {
        false
    }

    fn put(&mut self, _chunk: Vec<u8>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Which form the elements of failed reads take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/db/query`: always a query result.
    Query,
    /// `/db/execute`, `/db/request`: what could not be prepared is an error alone.
    Mixed,
}

/// What stands behind the results.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The request failed as a whole.
    pub error: Option<String>,
    /// A machine-readable word for that failure.
    pub code: Option<Cow<'static, str>>,
    /// Wall time of the request; shown with `timings`.
    pub elapsed: Duration,
    /// The number of a queued write; 0 for what is not queued.
    pub sequence: u64,
    /// The log index of the request; shown with `raft_index`, unless it is 0.
    pub index: u64,
}

/// A value that JSON cannot hold came before anything had left: the answer is a failure as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("json: unsupported value: {0}")]
pub struct Unencodable(pub &'static str);

/// Writes one answer.
pub struct Results<O> {
    json: Writer,
    outlet: O,
    style: Style,
    form: Form,
    element: Option<Element>,
    has_begun: bool,
    has_left: bool,
    is_abandoned: bool,
    unencodable: Option<Unencodable>,
}

/// The element that is being written.
struct Element {
    columns: Vec<Column>,
    /// Its beginning, as long as nothing of it has left.
    mark: Option<Mark>,
    has_rows: bool,
    failed: Option<String>,
}

impl<O: Outlet> Results<O> {
    /// Begins an answer.
    pub fn new(style: Style, form: Form, outlet: O) -> Self {
        let mut json = Writer::new(Pretty::from(style.pretty));
        json.begin_object();
        json.key("results");
        json.begin_array();
        Self {
            json,
            outlet,
            style,
            form,
            element: None,
            has_begun: false,
            has_left: false,
            is_abandoned: false,
            unencodable: None,
        }
    }

    /// The elements of a stored reply.
    pub fn reply(&mut self, reply: &Reply) {
        for outcome in &reply.outcomes {
            if self.outcome(outcome).is_break() {
                return;
            }
        }
    }

    /// Ends the answer, and gives what has not left yet; the outlet comes back with it.
    ///
    /// # Errors
    ///
    /// [`Unencodable`], as long as nothing has left.
    pub fn finish(mut self, tail: &Tail) -> Result<(Vec<u8>, O), (Unencodable, O)> {
        if let Some(unencodable) = self.unencodable.take() {
            if !self.has_left {
                return Err((unencodable, self.outlet));
            }
            if let Some(element) = self.element.take() {
                self.close_failed(element, &unencodable.to_string(), Duration::ZERO);
            }
        }
        self.json.end_array();
        self.write_tail(tail);
        self.json.end_object();
        Ok((self.json.out, self.outlet))
    }

    /// An element stands in the answer, or a part of one.
    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Gives the answer up.
    pub fn into_outlet(self) -> O {
        self.outlet
    }

    /// Nobody wants the rest.
    pub fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    fn write_tail(&mut self, tail: &Tail) {
        if let Some(error) = &tail.error {
            self.json.key("error");
            self.json.string(error);
        }
        self.write_time(tail.elapsed);
        if tail.sequence > 0 {
            self.json.key("sequence_number");
            self.json.integer(tail.sequence);
        }
        if self.style.raft_index && tail.index > 0 {
            self.json.key("raft_index");
            self.json.integer(tail.index);
        }
        if let Some(code) = &tail.code {
            self.json.key("code");
            self.json.string(code.as_bytes());
        }
    }

    fn write_time(&mut self, elapsed: Duration) {
        if self.style.timings && !elapsed.is_zero() {
            self.json.key("time");
            self.json.value(|out| number::push(out, number::seconds(elapsed)));
        }
    }

    fn outcome(&mut self, outcome: &Outcome) -> ControlFlow<()> {
        let elapsed = Duration::from_nanos(outcome.elapsed_ns);
        match &outcome.kind {
            Some(OutcomeKind::Changes(changes)) => self.changes(*changes, elapsed),
            Some(OutcomeKind::Rows(rows)) => self.rows(rows, elapsed),
            Some(OutcomeKind::Error(text)) => self.end(End::Failed(text.clone()), Duration::ZERO),
            // From a newer release: there is nothing that this one could say of it.
            None => self.changes(Changes::default(), elapsed),
        }
    }

    fn changes(&mut self, changes: Changes, elapsed: Duration) -> ControlFlow<()> {
        self.json.begin_object();
        for (key, value) in [
            ("last_insert_id", changes.last_insert_id),
            ("rows_affected", changes.rows_affected),
        ] {
            if value != 0 {
                self.json.key(key);
                self.json.integer(value);
            }
        }
        self.write_time(elapsed);
        if self.style.associative {
            self.json.key("rows");
            self.json.null();
        }
        self.json.end_object();
        self.drain()
    }

    fn rows(&mut self, rows: &Rows, elapsed: Duration) -> ControlFlow<()> {
        self.columns(&Columns {
            names: rows.names.clone(),
            types: rows.types.clone(),
            tables: Vec::new(),
        })?;
        let mut cells = Vec::new();
        for row in &rows.rows {
            cells.clear();
            cells.extend(row.cells.iter().map(CellRef::from));
            self.row(&cells)?;
        }
        self.end(rows.error.clone().map_or(End::Complete, End::Failed), elapsed)
    }

    /// Columns and types, known once the first row is there or the result has ended without one.
    fn write_header(&mut self, columns: &[Column], first: Option<&[CellRef<'_>]>) {
        let cell = |at: usize| first.and_then(|cells| cells.get(at));
        if self.style.associative {
            if !columns.is_empty() {
                self.json.key("types");
                self.json.begin_object();
                for at in column::in_order(columns) {
                    self.json.rendered_key(&columns[*at].key);
                    self.json.string(columns[*at].kind(cell(*at)));
                }
                self.json.end_object();
            }
            self.json.key("rows");
            self.json.begin_array();
            return;
        }
        if !columns.is_empty() {
            self.json.key("columns");
            self.json.begin_array();
            columns.iter().for_each(|column| self.json.raw(&column.key));
            self.json.end_array();
            self.json.key("types");
            self.json.begin_array();
            for (at, column) in columns.iter().enumerate() {
                self.json.string(column.kind(cell(at)));
            }
            self.json.end_array();
        }
        if first.is_some() {
            self.json.key("values");
            self.json.begin_array();
        }
    }

    fn write_row(&mut self, columns: &[Column], cells: &[CellRef<'_>]) -> Result<(), Unwritable> {
        if self.style.associative {
            self.json.begin_object();
            for at in column::in_order(columns) {
                let column = &columns[*at];
                self.json.rendered_key(&column.key);
                cell::write(&mut self.json, column, cells[*at], self.style.blob_array)?;
            }
            self.json.end_object();
            return Ok(());
        }
        self.json.begin_array();
        for (column, cell) in columns.iter().zip(cells) {
            cell::write(&mut self.json, column, *cell, self.style.blob_array)?;
        }
        self.json.end_array();
        Ok(())
    }

    fn close_complete(&mut self, element: Element, elapsed: Duration) {
        if !element.has_rows {
            self.write_header(&element.columns, None);
        }
        if element.has_rows || self.style.associative {
            self.json.end_array();
        }
        self.write_time(elapsed);
        self.json.end_object();
    }

    fn close_failed(&mut self, element: Element, error: &str, elapsed: Duration) {
        match element.mark {
            Some(mark) => {
                self.json.rewind(mark);
                self.json.begin_object();
                self.write_empty_rows();
            }
            None if element.has_rows => self.json.end_array(),
            None => self.write_empty_rows(),
        }
        self.json.key("error");
        self.json.string(error);
        self.write_time(elapsed);
        self.json.end_object();
    }

    fn write_empty_rows(&mut self) {
        if self.style.associative {
            self.json.key("rows");
            self.json.begin_array();
            self.json.end_array();
        }
    }

    /// Lets a chunk leave, once there is one.
    fn drain(&mut self) -> ControlFlow<()> {
        if !self.outlet.is_due(self.json.out.len()) {
            return ControlFlow::Continue(());
        }
        if let Some(element) = &mut self.element {
            element.mark = None;
        }
        self.has_left = true;
        let flow = self.outlet.put(std::mem::take(&mut self.json.out));
        self.is_abandoned |= flow.is_break();
        flow
    }
}

impl<O: Outlet> Results<O> {
    /// Writes a row, or takes back what was written of it.
    fn add_row(&mut self, element: &mut Element, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        let mark = self.json.mark();
        match self.write_row(&element.columns, cells) {
            Ok(()) => {
                element.has_rows = true;
                ControlFlow::Continue(())
            }
            Err(Unwritable::Time(out_of_range)) => {
                self.json.rewind(mark);
                element.failed = Some(out_of_range.to_string());
                ControlFlow::Continue(())
            }
            Err(Unwritable::Number(value)) => {
                self.json.rewind(mark);
                self.unencodable = Some(Unencodable(value));
                ControlFlow::Break(())
            }
        }
    }
}

impl<O: Outlet> RowSink for Results<O> {
    fn columns(&mut self, columns: &Columns) -> ControlFlow<()> {
        self.has_begun = true;
        let mark = Some(self.json.mark());
        self.json.begin_object();
        self.element = Some(Element {
            columns: Column::all(columns),
            mark,
            has_rows: false,
            failed: None,
        });
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        let Some(mut element) = self.element.take() else {
            return ControlFlow::Break(());
        };
        if element.failed.is_none() {
            if !element.has_rows {
                self.write_header(&element.columns, Some(cells));
                element.has_rows = true;
            }
            let flow = self.add_row(&mut element, cells);
            self.element = Some(element);
            flow?;
            return self.drain();
        }
        self.element = Some(element);
        ControlFlow::Continue(())
    }

    fn end(&mut self, end: End, elapsed: Duration) -> ControlFlow<()> {
        self.has_begun = true;
        match (self.element.take(), end) {
            (Some(mut element), end) => match (element.failed.take(), end) {
                (None, End::Complete) => self.close_complete(element, elapsed),
                (Some(error), _) | (None, End::Failed(error)) => self.close_failed(element, &error, elapsed),
            },
            (None, end) => {
                self.json.begin_object();
                if self.form == Form::Query {
                    self.write_empty_rows();
                }
                if let End::Failed(error) = end {
                    self.json.key("error");
                    self.json.string(error);
                }
                self.json.end_object();
            }
        }
        self.drain()
    }
}

//! Reading the workload's rows back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::{Statement, Value};
use store::Node;

use crate::history::{Effect, Holding, WriteId};
use crate::linearizability::Action;
use crate::lists::Step;
use crate::workload::{self, statement};

/// Longest wait for a reader; there are always enough, so that this never waits for real time.
const READER_WAIT: Duration = Duration::from_secs(1);

/// Reads a register.
///
/// # Errors
///
/// What the node said.
pub fn register(node: &Node, register: u64) -> Result<i64, String> {
    let results = read(node, &workload::action(register, Action::Read(0)))?;
    let row = results.first().and_then(|rows| rows.first());
    row.map(|row| integer(row, 0))
        .ok_or_else(|| "no such register".to_owned())
}

/// One client's rows by sequence, all counters, and the sum over all accounts.
pub type View = (Vec<u64>, BTreeMap<u64, i64>, i64);

/// Reads what a client looks at, as one snapshot.
///
/// # Errors
///
/// What the node said.
pub fn view(node: &Node, client: u64) -> Result<View, String> {
    let results = read(
        node,
        &[
            statement("SELECT sequence FROM log WHERE client = ? ORDER BY rowid", &[client]),
            Statement::new("SELECT id, n FROM counter"),
            Statement::new("SELECT sum(balance) FROM account"),
        ],
    )?;
    let [rows, counters, sum] = <[_; 3]>::try_from(results).map_err(|_| "wrong number of results".to_owned())?;
    let rows = rows.iter().map(|row| unsigned(row, 0)).collect();
    Ok((rows, pairs(&counters), sum.first().map_or(0, |row| integer(row, 0))))
}

/// Reads everything that a node holds.
///
/// # Errors
///
/// What the node said.
pub fn holding(node: &Node, name: &str, hash: u64) -> Result<Holding, String> {
    let results = read(
        node,
        &[
            Statement::new("SELECT client, sequence, kind, a, b FROM log"),
            Statement::new("SELECT id, n FROM counter"),
            Statement::new("SELECT id, balance FROM account"),
            Statement::new("SELECT n FROM counted"),
            Statement::new("SELECT id, v FROM register"),
            Statement::new("SELECT id, items FROM list"),
        ],
    )?;
    let [rows, counters, accounts, counted, registers, lists] =
        <[_; 6]>::try_from(results).map_err(|_| "wrong number of results".to_owned())?;
    Ok(Holding {
        node: name.to_owned(),
        rows: rows.iter().map(|row| written(row)).collect(),
        counters: pairs(&counters),
        accounts: pairs(&accounts),
        registers: pairs(&registers),
        lists: lists.iter().map(|row| (unsigned(row, 0), items(row.get(1)))).collect(),
        counted: counted.first().map_or(0, |row| integer(row, 0)),
        hash,
    })
}

fn written(row: &[Value]) -> (WriteId, Effect) {
    let id = WriteId {
        client: unsigned(row, 0),
        sequence: unsigned(row, 1),
    };
    let (a, b) = (unsigned(row, 3), unsigned(row, 4));
    let effect = match row.get(2) {
        Some(Value::Text(kind)) if kind == "increment" => Effect::Increment { counter: a },
        Some(Value::Text(kind)) if kind == "move" => Effect::Move { from: a, to: b },
        Some(Value::Text(kind)) if kind == "failing" => Effect::Failing,
        _ => Effect::Row,
    };
    (id, effect)
}

fn pairs(rows: &[Vec<Value>]) -> BTreeMap<u64, i64> {
    rows.iter().map(|row| (unsigned(row, 0), integer(row, 1))).collect()
}

/// What is no list reads as values that nobody appended.
pub fn items(value: Option<&Value>) -> Vec<i64> {
    match value {
        Some(Value::Text(text)) => workload::items(text).unwrap_or_else(|| vec![i64::MIN]),
        Some(Value::Integer(_) | Value::Real(_) | Value::Blob(_)) | None => vec![i64::MIN],
    }
}

/// Fills what a transaction on lists reads, outside of any write: all its steps read.
///
/// # Errors
///
/// What the node said.
pub fn lists(node: &Node, steps: &[Step]) -> Result<Vec<Step>, String> {
    let results = read(node, &workload::steps(steps))?;
    let seen = results
        .iter()
        .map(|rows| items(rows.first().and_then(|row| row.first())));
    let filled = steps.iter().zip(seen).map(|(step, seen)| match step {
        Step::Read { list, .. } => Step::Read {
            list: *list,
            seen: Some(seen),
        },
        Step::Append { .. } => step.clone(),
    });
    Ok(filled.collect())
}

fn integer(row: &[Value], column: usize) -> i64 {
    match row.get(column) {
        Some(Value::Integer(value)) => *value,
        _ => i64::MIN,
    }
}

fn unsigned(row: &[Value], column: usize) -> u64 {
    u64::try_from(integer(row, column)).unwrap_or(u64::MAX)
}

/// Runs queries in one snapshot of what `node` holds now.
fn read(node: &Node, statements: &[Statement]) -> Result<Vec<Vec<Vec<Value>>>, String> {
    let readers = node.readers();
    let mut lease = readers.check_out(READER_WAIT).map_err(|error| error.to_string())?;
    let mut rows = Rows::default();
    let options = sqlite::QueryOptions {
        transaction: true,
        ..sqlite::QueryOptions::default()
    };
    lease
        .query(statements, &options, &mut rows, &sqlite::Cancel::new())
        .map_err(|error| error.to_string())?;
    match rows.failure {
        None => Ok(rows.results),
        Some(failure) => Err(failure),
    }
}

/// Gathers rows.
#[derive(Default)]
struct Rows {
    results: Vec<Vec<Vec<Value>>>,
    failure: Option<String>,
}

impl RowSink for Rows {
    fn columns(&mut self, _columns: &Columns) -> ControlFlow<()> {
        self.results.push(Vec::new());
        ControlFlow::Continue(())
    }

    fn row(&mut self, cells: &[CellRef<'_>]) -> ControlFlow<()> {
        let value = |cell: &CellRef<'_>| match cell {
            CellRef::Null => Value::Text("NULL".to_owned()),
            CellRef::Integer(value) => Value::Integer(*value),
            CellRef::Real(value) => Value::Real(*value),
            CellRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
            CellRef::Blob(bytes) => Value::Blob(bytes.to_vec().into()),
        };
        if let Some(result) = self.results.last_mut() {
            result.push(cells.iter().map(value).collect());
        }
        ControlFlow::Continue(())
    }

    fn end(&mut self, end: End, _elapsed: Duration) -> ControlFlow<()> {
        if let End::Failed(text) = end {
            self.failure = Some(text);
        }
        ControlFlow::Continue(())
    }
}

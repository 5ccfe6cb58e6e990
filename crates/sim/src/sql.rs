//! The workload's schema and statements, and reading rows back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::{Parameter, Statement, Value};
use store::Node;

use crate::checker::{BALANCE, INITIAL};
use crate::exotic;
use crate::history::{Effect, Holding, WriteId};
use crate::linearizability::Action;

/// Counters, numbered from 1.
pub const COUNTERS: u64 = 3;

/// Accounts, numbered from 1.
pub const ACCOUNTS: u64 = 4;

/// Registers, numbered from 1.
pub const REGISTERS: u64 = 4;

/// Longest wait for a reader; there are always enough, so that this never waits for real time.
const READER_WAIT: Duration = Duration::from_secs(1);

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS log(client INTEGER NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL, a INTEGER,
  b INTEGER, chance INTEGER DEFAULT (random()), at TEXT DEFAULT CURRENT_TIMESTAMP, noise BLOB DEFAULT (randomblob(7)));
CREATE INDEX IF NOT EXISTS log_by_client ON log(client, sequence);
CREATE TABLE IF NOT EXISTS counter(id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS register(id INTEGER PRIMARY KEY, v INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counted(id INTEGER PRIMARY KEY CHECK(id = 1), n INTEGER NOT NULL, last REAL);
CREATE TABLE IF NOT EXISTS bulk(id INTEGER PRIMARY KEY, data BLOB);
CREATE TRIGGER IF NOT EXISTS log_counted AFTER INSERT ON log BEGIN
  UPDATE counted SET n = n + 1, last = julianday('now') + random() % 1000;
END";

/// What forms the tables; harmless when they are there.
pub fn schema() -> Vec<Statement> {
    let mut statements = vec![Statement::new(SCHEMA), exotic::tables()];
    statements.push(Statement::new("INSERT OR IGNORE INTO counted VALUES(1, 0, 0.0)"));
    for counter in 1..=COUNTERS {
        statements.push(statement("INSERT OR IGNORE INTO counter VALUES(?, 0)", &[counter]));
    }
    for register in 1..=REGISTERS {
        statements.push(statement(
            &format!("INSERT OR IGNORE INTO register VALUES(?, {INITIAL})"),
            &[register],
        ));
    }
    for account in 1..=ACCOUNTS {
        statements.push(statement(
            &format!("INSERT OR IGNORE INTO account VALUES(?, {BALANCE})"),
            &[account],
        ));
    }
    statements
}

/// The statements of a write.
pub fn statements(id: WriteId, effect: Effect) -> Vec<Statement> {
    let WriteId { client, sequence } = id;
    let row = |kind: &str, a: u64, b: u64| {
        statement(
            &format!("INSERT INTO log(client, sequence, kind, a, b) VALUES(?, ?, '{kind}', ?, ?)"),
            &[client, sequence, a, b],
        )
    };
    match effect {
        Effect::Row => vec![row("row", 0, 0)],
        Effect::Increment { counter } => vec![
            row("increment", counter, 0),
            statement("UPDATE counter SET n = n + 1 WHERE id = ? RETURNING n", &[counter]),
        ],
        Effect::Move { from, to } => vec![
            statement("UPDATE account SET balance = balance - 1 WHERE id = ?", &[from]),
            row("move", from, to),
            statement("UPDATE account SET balance = balance + 1 WHERE id = ?", &[to]),
        ],
        Effect::Failing => vec![
            row("failing", 0, 0),
            statement("UPDATE account SET balance = balance - 1 WHERE id = ?", &[1]),
            Statement::new("INSERT INTO counted VALUES(2, 0, NULL)"),
        ],
    }
}

/// What an action on a register is in SQL; it answers a row if it took effect.
pub fn action(register: u64, action: Action) -> Vec<Statement> {
    let values = |sql: &str, values: &[i64]| {
        let parameter = |value: &i64| Parameter::positional(Value::Integer(*value));
        vec![Statement {
            sql: sql.to_owned(),
            parameters: values.iter().map(parameter).collect(),
        }]
    };
    let register = register.cast_signed();
    match action {
        Action::Read(_) => values("SELECT v FROM register WHERE id = ?", &[register]),
        Action::Write(value) => values("UPDATE register SET v = ? WHERE id = ? RETURNING v", &[value, register]),
        Action::Swap { from, to, .. } => values(
            "UPDATE register SET v = ? WHERE id = ? AND v = ? RETURNING v",
            &[to, register, from],
        ),
    }
}

/// Reads a register.
///
/// # Errors
///
/// What the node said.
pub fn register(node: &Node, register: u64) -> Result<i64, String> {
    let results = read(node, &action(register, Action::Read(0)))?;
    let row = results.first().and_then(|rows| rows.first());
    row.map(|row| integer(row, 0))
        .ok_or_else(|| "no such register".to_owned())
}

/// Writes that nobody counts: they make the database large, and differ between replicas that draw for themselves.
pub fn bulk(bytes: u64, is_trimming: bool) -> Vec<Statement> {
    let mut statements = vec![statement("INSERT INTO bulk(data) VALUES(randomblob(?))", &[bytes])];
    if is_trimming {
        let trim = "DELETE FROM bulk WHERE id IN (SELECT id FROM bulk ORDER BY random() LIMIT 2)";
        statements.push(Statement::new(trim));
    }
    statements
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
        ],
    )?;
    let [rows, counters, accounts, counted, registers] =
        <[_; 5]>::try_from(results).map_err(|_| "wrong number of results".to_owned())?;
    Ok(Holding {
        node: name.to_owned(),
        rows: rows.iter().map(|row| written(row)).collect(),
        counters: pairs(&counters),
        accounts: pairs(&accounts),
        registers: pairs(&registers),
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

fn integer(row: &[Value], column: usize) -> i64 {
    match row.get(column) {
        Some(Value::Integer(value)) => *value,
        _ => i64::MIN,
    }
}

fn unsigned(row: &[Value], column: usize) -> u64 {
    u64::try_from(integer(row, column)).unwrap_or(u64::MAX)
}

fn statement(sql: &str, numbers: &[u64]) -> Statement {
    let parameter = |number: &u64| Parameter::positional(Value::Integer(i64::try_from(*number).unwrap_or(i64::MAX)));
    Statement {
        sql: sql.to_owned(),
        parameters: numbers.iter().map(parameter).collect(),
    }
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

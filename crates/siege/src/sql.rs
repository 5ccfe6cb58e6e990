//! Statements as JSON, and what comes back.

use std::collections::BTreeMap;

use checkers::history::{Effect, WriteId};
use checkers::workload;
use command::statement::{Statement, Value as SqlValue};
use serde_json::{Value, json};

/// The rows of one result.
pub type Rows = Vec<Vec<Value>>;

/// A request's body.
pub fn body(statements: &[Statement]) -> String {
    let parameter = |value: &Option<SqlValue>| match value {
        None => Value::Null,
        Some(SqlValue::Integer(value)) => json!(value),
        Some(SqlValue::Real(value)) => json!(value),
        Some(SqlValue::Text(text)) => json!(text),
        Some(SqlValue::Blob(bytes)) => json!(bytes.to_vec()),
    };
    let statement = |statement: &Statement| {
        let values = statement.parameters.iter().map(|it| parameter(&it.value));
        Value::Array(std::iter::once(json!(statement.sql)).chain(values).collect())
    };
    Value::Array(statements.iter().map(statement).collect()).to_string()
}

/// An answer's envelope.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Envelope {
    /// Each statement's result.
    pub results: Vec<Value>,
    /// Why the request failed as a whole.
    pub error: Option<String>,
    /// What became of it then.
    pub code: Option<String>,
}

impl Envelope {
    /// Reads one; `None` when it is none.
    pub fn parse(body: &[u8]) -> Option<Envelope> {
        let mut tree: Value = serde_json::from_slice(body).ok()?;
        let Value::Array(results) = tree.get_mut("results")?.take() else {
            return None;
        };
        let text = |name: &str| tree.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Envelope {
            results,
            error: text("error"),
            code: text("code"),
        })
    }

    /// What went wrong with a statement, if anything did.
    pub fn problem(&self) -> Option<String> {
        let problems = self.results.iter().filter_map(|result| result.get("error"));
        problems.map(|error| error.as_str().unwrap_or("?").to_owned()).next()
    }

    /// The rows of each result.
    pub fn rows(&self) -> Vec<Rows> {
        self.results.iter().map(rows).collect()
    }
}

/// The rows of a result; none where it has none.
pub fn rows(result: &Value) -> Rows {
    let rows = result.get("values").and_then(Value::as_array).into_iter().flatten();
    rows.map(|row| row.as_array().cloned().unwrap_or_default()).collect()
}

/// A whole number; the least where there is none.
pub fn integer(row: &[Value], column: usize) -> i64 {
    row.get(column).and_then(Value::as_i64).unwrap_or(i64::MIN)
}

/// A number that is not negative.
pub fn unsigned(row: &[Value], column: usize) -> u64 {
    u64::try_from(integer(row, column)).unwrap_or(u64::MAX)
}

/// Numbers by their id.
pub fn pairs(rows: &[Vec<Value>]) -> BTreeMap<u64, i64> {
    rows.iter().map(|row| (unsigned(row, 0), integer(row, 1))).collect()
}

/// The values in a list's text; what is no list reads as a value that nobody appended.
pub fn items(value: Option<&Value>) -> Vec<i64> {
    let text = value.and_then(Value::as_str);
    text.and_then(workload::items).unwrap_or_else(|| vec![i64::MIN])
}

/// A row of `log`.
pub fn written(row: &[Value]) -> (WriteId, Effect) {
    let id = WriteId {
        client: unsigned(row, 0),
        sequence: unsigned(row, 1),
    };
    let (a, b) = (unsigned(row, 3), unsigned(row, 4));
    let effect = match row.get(2).and_then(Value::as_str) {
        Some("increment") => Effect::Increment { counter: a },
        Some("move") => Effect::Move { from: a, to: b },
        Some("failing") => Effect::Failing,
        _ => Effect::Row,
    };
    (id, effect)
}

#[cfg(test)]
mod tests;

//! Parameters: from JSON through real SQLite, which must show each value where the rules put it; and back to JSON.
//!
//! ```text
//!  first byte: which text of [`TEXTS`]      rest: the items behind it, as in ["text", ITEMS]
//! ```

use std::cell::OnceCell;
use std::ops::ControlFlow;

use command::reply::Cell;
use command::rows::CellRef;
use command::rows::{Columns, End, RowSink};
use command::statement::{Parameter, Statement, Value};
use quorlited::forwarded::Style;
use quorlited::http::body;
use quorlited::http::results::{Form, Results, Tail, Whole};
use rusqlite::Connection;
use sqlite::bind::{Bindings, Got};
use sqlite::{Session, StatementError, Step};

use crate::body::is_same_value;
use crate::{Meter, bounded};

/// A text and, for each of its statements, the parameters that it shows: their names, or none.
struct Text {
    sql: &'static str,
    statements: &'static [&'static [&'static str]],
}

const TEXTS: [Text; 7] = [
    Text {
        sql: "SELECT ?",
        statements: &[&[""]],
    },
    Text {
        sql: "SELECT ?, ?, ?",
        statements: &[&["", "", ""]],
    },
    Text {
        sql: "SELECT :a",
        statements: &[&[":a"]],
    },
    Text {
        sql: "SELECT :a, @b, $c",
        statements: &[&[":a", "@b", "$c"]],
    },
    Text {
        sql: "SELECT :a, ?, @a, $é",
        statements: &[&[":a", "", "@a", "$é"]],
    },
    Text {
        sql: "SELECT ?; SELECT :a, ?; SELECT $b",
        statements: &[&[""], &[":a", ""], &["$b"]],
    },
    Text {
        sql: "SELECT 1; SELECT @a",
        statements: &[&[], &["@a"]],
    },
];

/// Statements that the session keeps prepared.
const KEPT_MAX: usize = 16;

thread_local! {
    static SESSION: OnceCell<Session> = const { OnceCell::new() };
}

/// Reads `data` as the items behind a text, and binds them.
pub fn run(data: &[u8], meter: &dyn Meter) {
    let Some((which, items)) = data.split_first() else {
        return;
    };
    let text = &TEXTS[usize::from(*which) % TEXTS.len()];
    let json = [format!("[[\"{}\",", text.sql).as_bytes(), items, b"]]"].concat();
    let read = bounded(meter, json.len(), || body::statements(&json));
    let Ok([statement]) = read.as_deref() else {
        return;
    };
    assert_eq!(statement.sql, text.sql);
    for got in [Got::Left, Got::Supplied] {
        let shown = SESSION.with(|session| {
            let session = session.get_or_init(|| match Connection::open_in_memory() {
                Ok(connection) => Session::new(connection, KEPT_MAX),
                Err(error) => panic!("open a database in memory: {error}"),
            });
            execute(session, statement, got)
        });
        let expected = expect(text, &statement.parameters, got);
        match (&shown, &expected) {
            (Ok(shown), Ok(expected)) => {
                assert_eq!(shown, expected, "{statement:?}");
                shown.iter().for_each(|row| survives(row));
            }
            (Err(shown), Err(expected)) => assert_eq!(shown.to_string(), *expected, "{statement:?}"),
            _ => panic!("{statement:?}: {shown:?} where {expected:?} was to be shown"),
        }
    }
}

/// Runs every statement of the text; the row of each.
fn execute(session: &Session, statement: &Statement, got: Got) -> Result<Vec<Vec<Cell>>, StatementError> {
    let mut bindings = Bindings::new(&statement.parameters, got)?;
    let mut rows = Vec::new();
    let mut rest = statement.sql.as_str();
    while let (Some(mut prepared), tail) = session.prepare(rest)? {
        let mut execution = prepared.begin();
        bindings.bind(&mut execution)?;
        assert_eq!(execution.step()?, Step::Row);
        rows.push(execution.row()?.iter().map(owned).collect());
        rest = tail;
    }
    Ok(rows)
}

fn owned(cell: &CellRef<'_>) -> Cell {
    let value = match *cell {
        CellRef::Null => None,
        CellRef::Integer(value) => Some(Value::Integer(value)),
        CellRef::Real(value) => Some(Value::Real(value)),
        CellRef::Text(text) => Some(Value::Text(String::from_utf8_lossy(text).into_owned())),
        CellRef::Blob(bytes) => Some(Value::Blob(bytes.to_vec().into())),
    };
    Cell { value }
}

/// The rows by the rules of the specification (§4.4), or the text of the error.
fn expect(text: &Text, values: &[Parameter], got: Got) -> Result<Vec<Vec<Cell>>, String> {
    let begins_badly = |value: &&Parameter| !value.name.is_empty() && !value.name.starts_with(char::is_alphabetic);
    if let Some(bad) = values.iter().find(begins_badly) {
        return Err(format!("name {:?} does not begin with a letter", bad.name));
    }
    let mut rows = Vec::new();
    let mut taken = 0;
    for parameters in text.statements {
        let (wanted, left) = (parameters.len(), values.len() - taken);
        if left < wanted {
            let got = if got == Got::Left { left } else { values.len() };
            return Err(format!("not enough args to execute query: want {wanted} got {got}"));
        }
        rows.push(row(parameters, values, taken));
        taken += wanted;
    }
    Ok(rows)
}

/// Each parameter's value is the last that was offered to it: those of the window first, then the named ones around it.
fn row(parameters: &[&str], values: &[Parameter], taken: usize) -> Vec<Cell> {
    if parameters.is_empty() {
        return vec![Cell {
            value: Some(Value::Integer(1)),
        }];
    }
    let window = taken..taken + parameters.len();
    let is_inside = |(at, _): &(usize, &Parameter)| window.contains(at);
    let numbered = || values.iter().enumerate();
    let offered: Vec<(usize, &Parameter)> = numbered()
        .filter(is_inside)
        .chain(numbered().filter(|value| !is_inside(value) && !value.1.name.is_empty()))
        .collect();
    let shown = parameters.iter().enumerate().map(|(place, parameter)| {
        let suits = |(at, value): &&(usize, &Parameter)| {
            if value.name.is_empty() {
                *at == taken + place
            } else {
                parameter.strip_prefix([':', '@', '$']) == Some(&value.name)
            }
        };
        let value = offered
            .iter()
            .rev()
            .find(suits)
            .and_then(|(_, value)| value.value.clone());
        Cell { value }
    });
    shown.collect()
}

/// A row that is answered as JSON, with BLOBs as arrays, can be sent back as parameters.
fn survives(row: &[Cell]) {
    let style = Style {
        blob_array: true,
        ..Style::default()
    };
    let mut results = Results::new(style, Form::Query, Whole);
    let columns = Columns {
        names: (0..row.len()).map(|at| at.to_string()).collect(),
        // Without a declared type BLOBs are shown as text.
        types: vec!["blob".to_owned(); row.len()],
        tables: Vec::new(),
    };
    let cells: Vec<CellRef<'_>> = row.iter().map(CellRef::from).collect();
    let mut went = results.columns(&columns);
    if went.is_continue() {
        went = results.row(&cells);
    }
    if went.is_continue() {
        went = results.end(End::Complete, std::time::Duration::ZERO);
    }
    assert_eq!(went, ControlFlow::Continue(()));
    let Ok((json, _)) = results.finish(&Tail::default()) else {
        panic!("{row:?} has no JSON");
    };
    let text = String::from_utf8_lossy(&json);
    let values = text
        .split_once("\"values\":[[")
        .and_then(|(_, rest)| rest.strip_suffix("]]}]}"));
    let Some(values) = values else {
        panic!("{row:?} is answered as {text}");
    };
    let again = body::statements(format!("[[\"\",{values}]]").as_bytes());
    let Ok([again]) = again.as_deref() else {
        panic!("{text} cannot be sent back: {again:?}");
    };
    assert_eq!(again.parameters.len(), row.len(), "{text}");
    for (read, written) in again.parameters.iter().zip(row) {
        assert!(
            is_same_value(read.value.as_ref(), written.value.as_ref()),
            "{written:?} came back as {read:?}: {text}"
        );
    }
}

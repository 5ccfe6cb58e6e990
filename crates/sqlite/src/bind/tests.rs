//! Binding rules, through real SQLite.

use bytes::Bytes;
use command::reply::Cell;
use command::rows::CellRef;
use command::statement::{Parameter, Value};
use proptest::prelude::*;
use rusqlite::Connection;

use super::{Bindings, Got};
use crate::ffi::statement::{Session, StatementError, Step};

fn session() -> Session {
    Session::new(Connection::open_in_memory().unwrap(), 8)
}

/// Runs every statement of `sql` and returns the last row of each, as text.
fn run(session: &Session, sql: &str, values: &[Parameter], got: Got) -> Result<Vec<String>, StatementError> {
    let mut bindings = Bindings::new(values, got)?;
    let mut rows = Vec::new();
    let mut rest = sql;
    while let (Some(mut statement), tail) = session.prepare(rest)? {
        let mut execution = statement.begin();
        bindings.bind(&mut execution)?;
        assert_eq!(execution.step()?, Step::Row);
        let cells: Vec<String> = execution.row()?.iter().map(|cell| show(*cell)).collect();
        rows.push(cells.join(" "));
        rest = tail;
    }
    Ok(rows)
}

fn show(cell: CellRef<'_>) -> String {
    match cell {
        CellRef::Null => "NULL".to_owned(),
        CellRef::Integer(value) => value.to_string(),
        CellRef::Real(value) => format!("{value:?}"),
        CellRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
        CellRef::Blob(bytes) => format!("x{bytes:02x?}"),
    }
}

fn read(sql: &str, values: &[Parameter]) -> String {
    match run(&session(), sql, values, Got::Left) {
        Ok(rows) => rows.join(" | "),
        Err(error) => error.message,
    }
}

fn int(value: i64) -> Parameter {
    Parameter::positional(Value::Integer(value))
}

fn named(name: &str, value: i64) -> Parameter {
    Parameter::named(name, Value::Integer(value))
}

#[test]
fn positional_values_bind_in_order_even_to_named_parameters() {
    assert_eq!(read("SELECT ?, :a, ?", &[int(1), int(2), int(3)]), "1 2 3");
    assert_eq!(read("SELECT ?2, ?1", &[int(1), int(2)]), "2 1");
    assert_eq!(read("SELECT ?3", &[int(1), int(2), int(3)]), "3");
}

#[test]
fn a_name_binds_to_each_of_its_spellings() {
    let values = [named("n", 7), named("m", 8), named("k", 9)];
    assert_eq!(read("SELECT :n, @n, $n", &values), "7 7 7");
    assert_eq!(read("SELECT :n, :n", &[named("n", 7)]), "7 7");
    assert_eq!(read("SELECT :größe", &[named("größe", 7)]), "7");
}

#[test]
fn positional_and_named_values_mix() {
    assert_eq!(read("SELECT ?, :b", &[int(1), named("b", 2)]), "1 2");
    assert_eq!(read("SELECT ?, :a", &[named("a", 1), int(5)]), "NULL 5");
    assert_eq!(read("SELECT :a, :b", &[named("b", 2), named("a", 1)]), "1 2");
}

#[test]
fn a_name_with_its_prefix_is_refused() {
    assert_eq!(
        read("SELECT :n", &[named(":n", 1)]),
        r#"name ":n" does not begin with a letter"#
    );
    assert_eq!(
        read("SELECT :n", &[named("1n", 1)]),
        r#"name "1n" does not begin with a letter"#
    );
}

#[test]
fn too_few_values_are_counted_and_surplus_is_ignored() {
    assert_eq!(
        read("SELECT ?, ?", &[int(1)]),
        "not enough args to execute query: want 2 got 1"
    );
    assert_eq!(
        read("SELECT :a, :a", &[]),
        "not enough args to execute query: want 1 got 0"
    );
    assert_eq!(read("SELECT ?", &[int(1), int(2)]), "1");
    assert_eq!(read("SELECT 5", &[int(1), named("x", 2)]), "5");
}

#[test]
fn a_missing_name_is_null() {
    assert_eq!(read("SELECT :a, :b", &[named("a", 1), named("c", 2)]), "1 NULL");
}

#[test]
fn statements_of_one_text_consume_values_from_left_to_right() {
    assert_eq!(read("SELECT ?; SELECT ?, ?", &[int(1), int(2), int(3)]), "1 | 2 3");
    assert_eq!(read("SELECT ?; SELECT 9; SELECT ?", &[int(1), int(2)]), "1 | 9 | 2");
}

#[test]
fn names_outside_the_window_are_offered_to_every_statement() {
    assert_eq!(read("SELECT :a; SELECT :a", &[named("a", 1), named("b", 2)]), "1 | 1");
    assert_eq!(read("SELECT :b; SELECT :a", &[named("a", 1), named("b", 2)]), "2 | 1");
}

#[test]
fn a_shortage_in_a_later_statement_counts_what_is_left_on_reads_and_all_on_writes() {
    let short = [named("a", 1)];
    let text = "SELECT :a; SELECT :a";
    let message = |got| run(&session(), text, &short, got).unwrap_err().message;
    assert_eq!(message(Got::Left), "not enough args to execute query: want 1 got 0");
    assert_eq!(message(Got::Supplied), "not enough args to execute query: want 1 got 1");
}

#[test]
fn values_of_an_earlier_run_are_gone() {
    let session = session();
    assert_eq!(run(&session, "SELECT :a", &[named("a", 1)], Got::Left).unwrap(), ["1"]);
    assert_eq!(
        run(&session, "SELECT :a", &[named("b", 1)], Got::Left).unwrap(),
        ["NULL"]
    );
}

#[test]
fn values_of_a_leaked_run_are_never_read() {
    let session = session();
    let (statement, _) = session.prepare("SELECT :a").unwrap();
    let mut statement = statement.unwrap();
    let text = "gone".to_owned();
    let mut execution = statement.begin();
    execution.bind(1, CellRef::Text(text.as_bytes())).unwrap();
    std::mem::forget(execution);
    drop(text);
    let mut execution = statement.begin();
    assert_eq!(execution.step().unwrap(), Step::Row);
    assert_eq!(execution.row().unwrap(), [CellRef::Null]);
}

#[test]
fn a_text_too_big_for_sqlite_is_its_error() {
    let session = session();
    session
        .connection()
        .set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH, 1000)
        .unwrap();
    let value = Parameter::positional(Value::Text("x".repeat(1001)));
    let error = run(&session, "SELECT ?", &[value], Got::Left).unwrap_err();
    assert_eq!(error.message, "string or blob too big");
    assert_eq!(error.primary(), rusqlite::ffi::SQLITE_TOOBIG);
}

#[test]
fn the_keep_is_bounded_and_a_kept_statement_follows_the_schema() {
    let session = session();
    for number in 0..100 {
        assert_eq!(
            run(&session, &format!("SELECT {number}"), &[], Got::Left).unwrap(),
            [number.to_string()]
        );
    }
    session
        .connection()
        .execute_batch("CREATE TABLE t(a INT); INSERT INTO t VALUES(1)")
        .unwrap();
    let names = |expected: &[&str]| {
        let (statement, tail) = session.prepare("SELECT * FROM t").unwrap();
        assert_eq!(tail, "");
        let mut statement = statement.unwrap();
        let mut execution = statement.begin();
        execution.step().unwrap();
        assert_eq!(execution.columns().names, expected);
        assert_eq!(execution.row().unwrap().len(), expected.len());
    };
    names(&["a"]);
    session
        .connection()
        .execute_batch("ALTER TABLE t ADD COLUMN b")
        .unwrap();
    names(&["a", "b"]);
    session
        .connection()
        .execute_batch("ALTER TABLE t RENAME COLUMN b TO c")
        .unwrap();
    names(&["a", "c"]);
}

fn any_value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        any::<i64>().prop_map(|value| Some(Value::Integer(value))),
        any::<f64>()
            .prop_filter("NaN is stored as NULL", |value| !value.is_nan())
            .prop_map(|value| Some(Value::Real(value))),
        ".*".prop_map(|text| Some(Value::Text(text))),
        any::<Vec<u8>>().prop_map(|bytes| Some(Value::Blob(Bytes::from(bytes)))),
    ]
}

proptest! {
    #[test]
    fn every_value_comes_back_bit_for_bit(values in proptest::collection::vec(any_value(), 1..20)) {
        let session = session();
        let marks = vec!["?"; values.len()].join(",");
        let parameters: Vec<Parameter> = values.iter().cloned().map(Parameter::positional).collect();
        let sql = format!("SELECT {marks}");
        let (statement, _) = session.prepare(&sql).unwrap();
        let mut statement = statement.unwrap();
        let mut execution = statement.begin();
        Bindings::new(&parameters, Got::Left).unwrap().bind(&mut execution).unwrap();
        prop_assert_eq!(execution.step().unwrap(), Step::Row);
        let cells: Vec<Cell> = values.into_iter().map(|value| Cell { value }).collect();
        let expected: Vec<CellRef<'_>> = cells.iter().map(CellRef::from).collect();
        prop_assert_eq!(execution.row().unwrap(), expected.as_slice());
    }
}

//! What runs at once, what does not, and what a reader learns.

use std::ops::ControlFlow;

use command::statement::{Parameter, Statement, Value};

use super::super::tests::{Bench, Record, run};
use super::{AtOnce, QueryOptions, Reader};

fn text(sql: &str) -> Vec<Statement> {
    vec![Statement::new(sql)]
}

fn with(sql: &str, value: i64) -> Vec<Statement> {
    let mut statement = Statement::new(sql);
    statement
        .parameters
        .push(Parameter::positional(Some(Value::Integer(value))));
    vec![statement]
}

/// The lines of a query that ran at once.
fn try_it(reader: &mut Reader, statements: &[Statement], options: &QueryOptions) -> Option<Vec<String>> {
    let mut sink = Record {
        lines: Vec::new(),
        on_row: || ControlFlow::Continue(()),
    };
    if !reader.knowledge.all_brief(statements, options) {
        return None;
    }
    let outcome = reader.query_at_once(statements, options, &mut sink).unwrap();
    assert!(reader.connection().is_autocommit());
    (outcome == AtOnce::Done).then_some(sink.lines)
}

fn at_once(reader: &mut Reader, statements: &[Statement]) -> Option<Vec<String>> {
    try_it(reader, statements, &QueryOptions::default())
}

fn elsewhere(reader: &mut Reader, statements: &[Statement]) -> Vec<String> {
    run(reader, statements, &QueryOptions::default())
}

/// Runs a query as often as it takes to know it.
fn teach(reader: &mut Reader, statements: &[Statement]) -> Vec<String> {
    elsewhere(reader, statements);
    elsewhere(reader, statements)
}

#[test]
fn a_text_runs_at_once_from_its_third_time_on() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let query = with("SELECT nick FROM pet WHERE id=?", 2);
    for _ in 0..2 {
        assert_eq!(at_once(&mut reader, &query), None);
        elsewhere(&mut reader, &query);
    }
    let lines = ["nick: varchar(36)", "Rex", "."].map(str::to_owned);
    assert_eq!(at_once(&mut reader, &query).unwrap(), lines);
}

#[test]
fn brief_texts_of_every_kind_answer_as_they_would_elsewhere() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    for sql in [
        "SELECT 1",
        "SELECT upper(nick), coalesce(weight, 0) FROM pet ORDER BY nick DESC LIMIT 5",
        "SELECT sum(weight), max(id) FROM pet GROUP BY nick",
        "WITH p AS (SELECT id FROM pet) SELECT * FROM p JOIN pet USING(id)",
        "SELECT json_extract('{\"a\":7}', '$.a')",
        "SELECT id FROM pet WHERE id IN (SELECT id+1 FROM pet)",
    ] {
        let expected = teach(&mut reader, &text(sql));
        assert_eq!(at_once(&mut reader, &text(sql)), Some(expected), "{sql}");
    }
}

#[test]
fn what_may_take_for_ever_in_one_step_never_runs_at_once() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    for sql in [
        "SELECT count(*) FROM pet",
        "SELECT nick FROM pet WHERE nick LIKE 'M%'",
        "SELECT value FROM json_each('[1]')",
        "SELECT randomblob(5) IS NULL",
        "SELECT printf('%d', 1)",
        "SELECT name FROM pragma_table_info('pet')",
        "PRAGMA table_info(pet)",
        "EXPLAIN SELECT 1",
        "SELECT 1; SELECT 2",
        "DELETE FROM pet",
        "SELECT nothing",
        "",
    ] {
        for _ in 0..4 {
            if sql.is_empty() {
                continue;
            }
            assert_eq!(at_once(&mut reader, &text(sql)), None, "{sql}");
            elsewhere(&mut reader, &text(sql));
        }
    }
}

#[test]
fn a_query_that_uses_up_its_quantum_is_broken_off_until_it_is_short_again() {
    let bench = Bench::new();
    bench
        .writer
        .execute_batch("CREATE TABLE n(i INTEGER PRIMARY KEY); WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<20000) INSERT INTO n SELECT i FROM c")
        .unwrap();
    let mut reader = bench.reader();
    let query = |from| with("SELECT max(+i) FROM n WHERE i>?", from);
    let short = teach(&mut reader, &query(19_990));
    assert_eq!(at_once(&mut reader, &query(19_990)), Some(short.clone()));

    assert_eq!(at_once(&mut reader, &query(0)), None);
    assert_eq!(at_once(&mut reader, &query(19_990)), None, "it is known to be long");
    assert_eq!(elsewhere(&mut reader, &query(0)), short);
    assert_eq!(at_once(&mut reader, &query(19_990)), None);
    assert_eq!(elsewhere(&mut reader, &query(19_990)), short);
    assert_eq!(at_once(&mut reader, &query(19_990)), Some(short));
}

#[test]
fn a_sink_without_room_sends_the_query_elsewhere() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let query = text("SELECT id FROM pet");
    teach(&mut reader, &query);
    let mut sink = Record {
        lines: Vec::new(),
        on_row: || ControlFlow::Break(()),
    };
    let outcome = reader.query_at_once(&query, &QueryOptions::default(), &mut sink);
    assert_eq!(outcome.unwrap(), AtOnce::Declined);
    assert_eq!(at_once(&mut reader, &query), None);
}

#[test]
fn several_statements_run_at_once_without_a_transaction_only() {
    let bench = Bench::new();
    let mut reader = bench.reader();
    let both = [text("SELECT 1"), text("SELECT 2")].concat();
    teach(&mut reader, &both);
    assert!(at_once(&mut reader, &both).is_some());
    let options = QueryOptions {
        transaction: true,
        ..QueryOptions::default()
    };
    assert_eq!(try_it(&mut reader, &both, &options), None);
    assert!(try_it(&mut reader, &both[..1], &options).is_some());
}

#[test]
fn a_new_schema_makes_a_text_unknown_again() {
    let bench = Bench::new();
    bench.writer.execute_batch("CREATE VIEW v AS SELECT 7 AS n").unwrap();
    let mut reader = bench.reader();
    let query = text("SELECT n FROM v");
    teach(&mut reader, &query);
    assert!(at_once(&mut reader, &query).is_some());
    bench
        .writer
        .execute_batch("DROP VIEW v; CREATE VIEW v AS SELECT count(*) AS n FROM pet")
        .unwrap();
    // The first run finds out.
    let lines = at_once(&mut reader, &query).unwrap();
    assert_eq!(lines[1], "2");
    assert_eq!(at_once(&mut reader, &query), None);
    teach(&mut reader, &query);
    assert_eq!(at_once(&mut reader, &query), None);
}

#[test]
fn a_lock_is_not_waited_for() {
    let bench = Bench::new();
    // Without a WAL a writer locks readers out.
    bench.writer.execute_batch("PRAGMA journal_mode=DELETE").unwrap();
    let mut reader = bench.reader();
    let query = text("SELECT id FROM pet");
    teach(&mut reader, &query);
    assert!(at_once(&mut reader, &query).is_some());
    bench.writer.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_eq!(at_once(&mut reader, &query), None);
}

//! Answers, byte for byte: every example of the specification, and what streaming adds.

use std::ops::ControlFlow;
use std::time::Duration;

use command::reply::{Cell, Changes, Outcome, OutcomeKind, Reply, Row, Rows};
use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Value;

use super::{Form, Outlet, Results, Tail, Whole};
use crate::forwarded::Style;

use CellRef::{Blob, Integer, Null, Real, Text};

const PLAIN: Style = Style {
    pretty: false,
    timings: false,
    associative: false,
    blob_array: false,
    qualify_columns: false,
    raft_index: false,
};

const ASSOCIATIVE: Style = Style {
    associative: true,
    ..PLAIN
};

fn columns(named: &[(&str, &str)]) -> Columns {
    Columns {
        names: named.iter().map(|(name, _)| (*name).to_owned()).collect(),
        types: named.iter().map(|(_, kind)| (*kind).to_owned()).collect(),
        tables: Vec::new(),
    }
}

fn show(sink: &mut impl RowSink, named: &[(&str, &str)], rows: &[&[CellRef<'_>]]) {
    assert!(sink.columns(&columns(named)).is_continue());
    for row in rows {
        if sink.row(row).is_break() {
            return;
        }
    }
    assert!(sink.end(End::Complete, Duration::ZERO).is_continue());
}

fn text(results: Results<Whole>, tail: &Tail) -> String {
    String::from_utf8(results.finish(tail).ok().unwrap().0).unwrap()
}

fn one(style: Style, named: &[(&str, &str)], rows: &[&[CellRef<'_>]]) -> String {
    let mut results = Results::new(style, Form::Query, Whole);
    show(&mut results, named, rows);
    text(results, &Tail::default())
}

/// The only cell of the only row.
fn value(style: Style, declared: &str, cell: CellRef<'_>) -> String {
    let answer = one(style, &[("c", declared)], &[&[cell]]);
    let (_, rest) = answer.split_once(r#""values":[["#).unwrap();
    rest.strip_suffix("]]}]}").unwrap().to_owned()
}

const PET: &[(&str, &str)] = &[("id", "integer"), ("nick", "text"), ("weight", "real"), ("pic", "blob")];

#[test]
fn a_query_result() {
    let answer = one(
        PLAIN,
        PET,
        &[
            &[Integer(1), Text(b"Momo"), Real(4.25), Null],
            &[Integer(2), Text(b"Rex"), Null, Blob(b"\x89PNG")],
        ],
    );
    assert_eq!(
        answer,
        r#"{"results":[{"columns":["id","nick","weight","pic"],"types":["integer","text","real","blob"],"values":[[1,"Momo",4.25,null],[2,"Rex",null,"iVBORw=="]]}]}"#
    );
}

#[test]
fn no_rows_no_values() {
    assert_eq!(
        one(PLAIN, &PET[..2], &[]),
        r#"{"results":[{"columns":["id","nick"],"types":["integer","text"]}]}"#
    );
    assert_eq!(
        one(ASSOCIATIVE, &PET[..2], &[]),
        r#"{"results":[{"types":{"id":"integer","nick":"text"},"rows":[]}]}"#
    );
    assert_eq!(one(PLAIN, &[], &[]), r#"{"results":[{}]}"#);
    assert_eq!(one(ASSOCIATIVE, &[], &[]), r#"{"results":[{"rows":[]}]}"#);
}

#[test]
fn nothing_to_answer() {
    assert_eq!(
        text(Results::new(PLAIN, Form::Query, Whole), &Tail::default()),
        r#"{"results":[]}"#
    );
}

#[test]
fn associative_keys_are_sorted_and_the_last_of_a_name_wins() {
    assert_eq!(
        one(
            ASSOCIATIVE,
            &[("nick", "text"), ("id", "integer")],
            &[&[Text(b"Momo"), Integer(1)], &[Text(b"Rex"), Integer(2)]]
        ),
        r#"{"results":[{"types":{"id":"integer","nick":"text"},"rows":[{"id":1,"nick":"Momo"},{"id":2,"nick":"Rex"}]}]}"#
    );
    assert_eq!(
        one(
            ASSOCIATIVE,
            &[("id", "integer"), ("<", ""), ("B", ""), ("id", "real")],
            &[&[Integer(1), Null, Null, Real(2.5)]]
        ),
        r#"{"results":[{"types":{"\u003c":"","B":"","id":"real"},"rows":[{"\u003c":null,"B":null,"id":2.5}]}]}"#
    );
}

#[test]
fn duplicate_names_are_kept_in_arrays() {
    assert_eq!(
        one(PLAIN, &[("id", "integer"), ("id", "text")], &[&[Integer(1), Null]]),
        r#"{"results":[{"columns":["id","id"],"types":["integer","text"],"values":[[1,null]]}]}"#
    );
}

#[test]
fn types_of_expressions_come_from_the_first_row() {
    let answer = one(
        PLAIN,
        &[("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", ""), ("f", "foo")],
        &[
            &[Integer(1), Real(1.5), Text(b"x"), Null, Blob(b"AB"), Null],
            &[Text(b"y"), Null, Null, Integer(1), Null, Null],
        ],
    );
    assert!(
        answer.contains(r#""types":["integer","real","text","","text","foo"]"#),
        "{answer}"
    );
    assert!(one(PLAIN, &[("1", "")], &[]).contains(r#""types":[""]"#));
}

#[test]
fn columns_are_qualified_by_their_table() {
    let mut results = Results::new(PLAIN, Form::Query, Whole);
    let mut qualified = columns(&[("nm", "text"), ("1", "")]);
    qualified.tables = vec!["own".to_owned(), String::new()];
    assert!(results.columns(&qualified).is_continue());
    assert!(results.end(End::Complete, Duration::ZERO).is_continue());
    assert!(text(results, &Tail::default()).contains(r#""columns":["own.nm","1"]"#));
}

#[test]
fn values_map_by_declared_type() {
    let bytes = Style {
        blob_array: true,
        ..PLAIN
    };
    for (style, declared, cell, json) in [
        (PLAIN, "integer", Integer(i64::MIN), "-9223372036854775808"),
        (PLAIN, "boolean", Integer(2), "true"),
        (PLAIN, "boolean", Integer(0), "false"),
        (PLAIN, "boolean", Integer(-1), "false"),
        (PLAIN, "bool", Integer(1), "1"),
        (PLAIN, "tinyint(1)", Integer(1), "1"),
        (PLAIN, "boolean", Real(1.0), "1"),
        (PLAIN, "boolean", Text(b"yes"), "\"yes\""),
        (PLAIN, "date", Integer(1_900_000_000), "\"2030-03-17T17:46:40Z\""),
        (PLAIN, "datetime", Integer(1_900_000_000), "\"2030-03-17T17:46:40Z\""),
        (PLAIN, "timestamp", Integer(1_900_000_000), "\"2030-03-17T17:46:40Z\""),
        (PLAIN, "datetime(6)", Integer(1), "1"),
        (PLAIN, "timestamp with time zone", Text(b"2031-05-06"), "\"2031-05-06\""),
        (PLAIN, "date", Text(b"2031-05-06"), "\"2031-05-06T00:00:00Z\""),
        (PLAIN, "date", Text(b"next tuesday"), "\"0001-01-01T00:00:00Z\""),
        (PLAIN, "date", Real(1.5), "1.5"),
        (PLAIN, "date", Null, "null"),
        (PLAIN, "blob", Text(b"t"), "\"t\""),
        (PLAIN, "", Blob(b"SQL"), "\"SQL\""),
        (PLAIN, "text", Blob(b"a\xff"), r#""a\ufffd""#),
        (PLAIN, "json", Blob(b"[]"), "\"[]\""),
        (PLAIN, "varchar(36)", Blob(b"v"), "\"v\""),
        (PLAIN, "varying character(9)", Blob(b"v"), "\"v\""),
        (PLAIN, "nchar(9)", Blob(b"v"), "\"v\""),
        (PLAIN, "native character(9)", Blob(b"v"), "\"v\""),
        (PLAIN, "nvarchar(9)", Blob(b"v"), "\"v\""),
        (PLAIN, "clob", Blob(b"v"), "\"v\""),
        (PLAIN, "character(9)", Blob(b"v"), "\"dg==\""),
        (PLAIN, "char(9)", Blob(b"v"), "\"dg==\""),
        (PLAIN, "jsonb", Blob(b"v"), "\"dg==\""),
        (PLAIN, "blob", Blob(b""), "\"\""),
        (bytes, "blob", Blob(b"\x00\xff"), "[0,255]"),
        (bytes, "blob", Blob(b""), "[]"),
        (bytes, "text", Blob(b"v"), "\"v\""),
        (bytes, "date", Blob(b"v"), "[118]"),
        (PLAIN, "real", Real(3.0), "3"),
        (PLAIN, "real", Real(1e21), "1e+21"),
        (PLAIN, "real", Real(-0.0), "-0"),
    ] {
        assert_eq!(value(style, declared, cell), json, "{declared} {cell:?}");
    }
}

#[test]
fn statements_that_fail() {
    let lone = |style, form| {
        let mut results = Results::new(style, form, Whole);
        assert!(
            results
                .end(End::Failed("no such table: pets".to_owned()), Duration::ZERO)
                .is_continue()
        );
        text(results, &Tail::default())
    };
    assert_eq!(
        lone(PLAIN, Form::Query),
        r#"{"results":[{"error":"no such table: pets"}]}"#
    );
    assert_eq!(
        lone(ASSOCIATIVE, Form::Query),
        r#"{"results":[{"rows":[],"error":"no such table: pets"}]}"#
    );
    assert_eq!(
        lone(ASSOCIATIVE, Form::Mixed),
        r#"{"results":[{"error":"no such table: pets"}]}"#
    );
}

#[test]
fn a_failure_while_nothing_has_left_is_an_error_alone() {
    for (style, expected) in [
        (
            PLAIN,
            r#"{"results":[{"columns":["a"],"types":["integer"],"values":[[1]]},{"error":"broke"}]}"#,
        ),
        (
            ASSOCIATIVE,
            r#"{"results":[{"types":{"a":"integer"},"rows":[{"a":1}]},{"rows":[],"error":"broke"}]}"#,
        ),
    ] {
        let mut results = Results::new(style, Form::Query, Whole);
        show(&mut results, &[("a", "")], &[&[Integer(1)]]);
        assert!(results.columns(&columns(&[("b", "")])).is_continue());
        assert!(results.row(&[Integer(2)]).is_continue());
        assert!(
            results
                .end(End::Failed("broke".to_owned()), Duration::ZERO)
                .is_continue()
        );
        assert_eq!(text(results, &Tail::default()), expected);
    }
}

#[test]
fn a_moment_outside_the_calendar_fails_its_statement_only() {
    let mut results = Results::new(ASSOCIATIVE, Form::Query, Whole);
    let rows: &[&[CellRef<'_>]] = &[&[Integer(1)], &[Integer(1_000_000_000_000)], &[Integer(2)]];
    show(&mut results, &[("at", "date")], rows);
    show(&mut results, &[("a", "")], &[&[Integer(1)]]);
    assert_eq!(
        text(results, &Tail::default()),
        r#"{"results":[{"rows":[],"error":"Time.MarshalText: year outside of range [0,9999]"},{"types":{"a":"integer"},"rows":[{"a":1}]}]}"#
    );
}

#[test]
fn infinity_fails_the_answer() {
    for (value, message) in [
        (f64::INFINITY, "json: unsupported value: +Inf"),
        (f64::NEG_INFINITY, "json: unsupported value: -Inf"),
    ] {
        let mut results = Results::new(PLAIN, Form::Query, Whole);
        assert!(results.columns(&columns(&[("9e999", "")])).is_continue());
        assert!(results.row(&[Real(value)]).is_break());
        let (failed, _) = results.finish(&Tail::default()).map(drop).unwrap_err();
        assert_eq!(failed.to_string(), message);
    }
}

fn outcome(kind: OutcomeKind) -> Outcome {
    Outcome::new(kind)
}

fn changes(last_insert_id: i64, rows_affected: i64) -> Outcome {
    outcome(OutcomeKind::Changes(Changes {
        last_insert_id,
        rows_affected,
    }))
}

fn reply(style: Style, outcomes: Vec<Outcome>, tail: &Tail) -> String {
    let mut results = Results::new(style, Form::Mixed, Whole);
    results.reply(&Reply {
        outcomes,
        error: None,
        index: 0,
    });
    text(results, tail)
}

#[test]
fn write_results_omit_zeros() {
    let outcomes = vec![
        changes(0, 0),
        changes(1, 1),
        changes(1, 0),
        changes(0, 3),
        changes(-5, 1),
        outcome(OutcomeKind::Error("UNIQUE constraint failed: pet.id".to_owned())),
    ];
    assert_eq!(
        reply(PLAIN, outcomes, &Tail::default()),
        r#"{"results":[{},{"last_insert_id":1,"rows_affected":1},{"last_insert_id":1},{"rows_affected":3},{"last_insert_id":-5,"rows_affected":1},{"error":"UNIQUE constraint failed: pet.id"}]}"#
    );
}

#[test]
fn a_mixed_request_associatively() {
    let rows = Rows {
        names: vec!["nick".to_owned()],
        types: vec!["text".to_owned()],
        rows: vec![Row {
            cells: vec![Cell {
                value: Some(Value::Text("Kiki".to_owned())),
            }],
        }],
        error: None,
    };
    let outcomes = vec![
        changes(3, 1),
        outcome(OutcomeKind::Rows(rows)),
        outcome(OutcomeKind::Error("no such table: nowhere".to_owned())),
    ];
    assert_eq!(
        reply(ASSOCIATIVE, outcomes, &Tail::default()),
        r#"{"results":[{"last_insert_id":3,"rows_affected":1,"rows":null},{"types":{"nick":"text"},"rows":[{"nick":"Kiki"}]},{"error":"no such table: nowhere"}]}"#
    );
}

#[test]
fn rows_that_failed_in_apply_are_an_error_alone() {
    let rows = Rows {
        names: vec!["a".to_owned()],
        types: vec![String::new()],
        rows: vec![Row {
            cells: vec![Cell { value: None }],
        }],
        error: Some("integer overflow".to_owned()),
    };
    assert_eq!(
        reply(ASSOCIATIVE, vec![outcome(OutcomeKind::Rows(rows))], &Tail::default()),
        r#"{"results":[{"rows":[],"error":"integer overflow"}]}"#
    );
}

#[test]
fn timings_and_index() {
    let style = Style {
        timings: true,
        raft_index: true,
        ..PLAIN
    };
    let timed = Outcome {
        elapsed_ns: 310_000,
        ..changes(7, 1)
    };
    let tail = Tail {
        elapsed: Duration::from_micros(4200),
        index: 81,
        ..Tail::default()
    };
    assert_eq!(
        reply(style, vec![timed.clone()], &tail),
        r#"{"results":[{"last_insert_id":7,"rows_affected":1,"time":0.00031}],"time":0.0042,"raft_index":81}"#
    );
    assert_eq!(
        reply(style, vec![changes(7, 1)], &Tail::default()),
        r#"{"results":[{"last_insert_id":7,"rows_affected":1}]}"#
    );
    let associative = Style {
        associative: true,
        ..style
    };
    assert_eq!(
        reply(associative, vec![timed], &Tail::default()),
        r#"{"results":[{"last_insert_id":7,"rows_affected":1,"time":0.00031,"rows":null}]}"#
    );
}

#[test]
fn a_failed_request() {
    let tail = Tail {
        error: Some("stale read".to_owned()),
        ..Tail::default()
    };
    assert_eq!(
        reply(PLAIN, Vec::new(), &tail),
        r#"{"results":[],"error":"stale read"}"#
    );
    let tail = Tail {
        error: Some("leadership lost while committing log".to_owned()),
        code: Some("outcome_unknown".into()),
        ..Tail::default()
    };
    assert_eq!(
        reply(PLAIN, Vec::new(), &tail),
        r#"{"results":[],"error":"leadership lost while committing log","code":"outcome_unknown"}"#
    );
}

#[test]
fn pretty_answers() {
    let pretty = Style { pretty: true, ..PLAIN };
    assert_eq!(
        one(pretty, &[("id", "integer")], &[&[Integer(1)], &[Null]]),
        r#"{
    "results": [
        {
            "columns": [
                "id"
            ],
            "types": [
                "integer"
            ],
            "values": [
                [
                    1
                ],
                [
                    null
                ]
            ]
        }
    ]
}"#
    );
    assert_eq!(reply(pretty, Vec::new(), &Tail::default()), "{\n    \"results\": []\n}");
}

/// Lets every row leave at once, until it has had enough.
struct Eager {
    chunks: Vec<Vec<u8>>,
    chunks_max: usize,
}

impl Outlet for Eager {
    fn is_due(&self, length: usize) -> bool {
        length > 0
    }

    fn put(&mut self, chunk: Vec<u8>) -> ControlFlow<()> {
        self.chunks.push(chunk);
        if self.chunks.len() >= self.chunks_max {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

fn eager(style: Style) -> Results<Eager> {
    let outlet = Eager {
        chunks: Vec::new(),
        chunks_max: usize::MAX,
    };
    Results::new(style, Form::Query, outlet)
}

fn whole(results: Results<Eager>) -> String {
    let (rest, outlet) = results.finish(&Tail::default()).ok().unwrap();
    let mut all = outlet.chunks.concat();
    all.extend(rest);
    String::from_utf8(all).unwrap()
}

#[test]
fn chunks_add_up() {
    let mut results = eager(PLAIN);
    show(&mut results, &[("a", "")], &[&[Integer(1)], &[Integer(2)]]);
    show(&mut results, &[("b", "")], &[]);
    assert_eq!(
        whole(results),
        r#"{"results":[{"columns":["a"],"types":["integer"],"values":[[1],[2]]},{"columns":["b"],"types":[""]}]}"#
    );
}

#[test]
fn a_failure_after_rows_have_left_closes_their_arrays() {
    for (style, expected) in [
        (
            PLAIN,
            r#"{"results":[{"columns":["a"],"types":["integer"],"values":[[1]],"error":"broke"}]}"#,
        ),
        (
            ASSOCIATIVE,
            r#"{"results":[{"types":{"a":"integer"},"rows":[{"a":1}],"error":"broke"}]}"#,
        ),
    ] {
        let mut results = eager(style);
        assert!(results.columns(&columns(&[("a", "")])).is_continue());
        assert!(results.row(&[Integer(1)]).is_continue());
        assert!(
            results
                .end(End::Failed("broke".to_owned()), Duration::ZERO)
                .is_continue()
        );
        assert_eq!(whole(results), expected);
    }
}

#[test]
fn infinity_after_rows_have_left_closes_the_element() {
    let mut results = eager(PLAIN);
    assert!(results.columns(&columns(&[("a", "")])).is_continue());
    assert!(results.row(&[Integer(1)]).is_continue());
    assert!(results.row(&[Real(f64::INFINITY)]).is_break());
    assert_eq!(
        whole(results),
        r#"{"results":[{"columns":["a"],"types":["integer"],"values":[[1]],"error":"json: unsupported value: +Inf"}]}"#
    );
}

#[test]
fn an_outlet_that_has_gone_breaks_the_query() {
    let mut results = Results::new(
        PLAIN,
        Form::Query,
        Eager {
            chunks: Vec::new(),
            chunks_max: 1,
        },
    );
    assert!(results.columns(&columns(&[("a", "")])).is_continue());
    assert!(results.row(&[Integer(1)]).is_break());
    assert!(results.is_abandoned());
}

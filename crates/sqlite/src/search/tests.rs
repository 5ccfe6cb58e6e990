//! The writer's functions against SQLite's own: the same answers, types and errors.

use std::sync::Arc;

use proptest::prelude::*;
use rusqlite::limits::Limit;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::context::Context;
use crate::ffi::functions;
use crate::open::Options;

/// Short, so that results come near it.
const LENGTH_MAX: i32 = 40;

/// A connection with our functions, and one with SQLite's.
fn both() -> (Connection, Connection) {
    let open = || Connection::open_in_memory().unwrap();
    let (ours, theirs) = (open(), open());
    functions::install(&ours, &Arc::new(Context::new(&Options::default()))).unwrap();
    (ours, theirs)
}

fn ask(connection: &Connection, sql: &str, values: &[Value]) -> Result<(String, Value), String> {
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut statement = connection.prepare(sql).unwrap();
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LENGTH_MAX).unwrap();
    let asked = statement.query_row(params_from_iter(values), row);
    asked.map_err(|error| error.to_string())
}

/// Bytes of few kinds: parts repeat, characters are whole or broken, NUL is among them.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop::sample::select(vec![
        &b"a"[..],
        b"b",
        b"ab",
        b"aab",
        b"A",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\x80",
        b"\xbf",
        b"\xff",
        b"\0",
        b"1",
        b"\xc0",
        b"\xf8\x88",
        b"\xef\xbf\xbe",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// A value, and how SQL casts it: a text of any bytes comes as a BLOB.
fn value() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        1 => Just(("?", Value::Null)),
        1 => (-200_i64..200).prop_map(|number| ("?", Value::Integer(number))),
        1 => (-9_i32..9).prop_map(|number| ("?", Value::Real(f64::from(number) / 4.0))),
        1 => (0_i64..12).prop_map(|length| ("zeroblob(?)", Value::Integer(length))),
        6 => bytes().prop_map(|bytes| ("CAST(? AS TEXT)", Value::Blob(bytes))),
        3 => bytes().prop_map(|bytes| ("?", Value::Blob(bytes))),
    ]
}

/// The bytes of the answer, since a text may be no UTF-8; and the arguments again, which reading must not change.
fn check(name: &str, arguments: &[(&'static str, Value)]) {
    let (ours, theirs) = both();
    let columns: Vec<String> = (1..=arguments.len()).map(|number| format!("a{number}")).collect();
    let casts: Vec<String> = arguments
        .iter()
        .zip(&columns)
        .map(|((cast, _), column)| format!("{cast} AS {column}"))
        .collect();
    let types: Vec<String> = columns.iter().map(|column| format!("typeof({column})")).collect();
    let sql = format!(
        "WITH v AS MATERIALIZED (SELECT {}) SELECT typeof(r)||{}, CAST(r AS BLOB) \
         FROM (SELECT {name}({}) AS r, * FROM v LIMIT 1)",
        casts.join(","),
        types.join("||"),
        columns.join(",")
    );
    let values: Vec<Value> = arguments.iter().map(|(_, value)| value.clone()).collect();
    let (ours, theirs) = (ask(&ours, &sql, &values), ask(&theirs, &sql, &values));
    assert_eq!(ours, theirs, "{name} of {arguments:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn instr_is_sqlites(value in value(), pattern in value()) {
        check("instr", &[value, pattern]);
    }

    #[test]
    fn replace_is_sqlites(value in value(), pattern in value(), by in value()) {
        check("replace", &[value, pattern, by]);
    }

    #[test]
    fn trims_are_sqlites(value in value(), set in value()) {
        for name in ["trim", "ltrim", "rtrim"] {
            check(name, &[value.clone(), set.clone()]);
        }
    }

    #[test]
    fn unhex_is_sqlites(value in value(), pass in value()) {
        check("unhex", &[value, pass]);
    }

    #[test]
    fn hex_upper_and_lower_are_sqlites(value in value()) {
        for name in ["hex", "upper", "lower"] {
            check(name, std::slice::from_ref(&value));
        }
    }
}

#[test]
fn a_search_that_is_quadratic_in_sqlite_is_not_here() {
    let value = vec![b'a'; 8 << 20];
    let mut pattern = vec![b'a'; 4 << 20];
    pattern.push(b'b');
    // Four million times four million comparisons otherwise: hours.
    assert_eq!(super::place_in_text(&value, &pattern), 0);
    assert_eq!(super::replaced_length(&value, &pattern, b""), value.len());
}

#[test]
fn trimming_by_many_characters_stops_when_its_work_is_used_up() {
    let (value, mut set) = (vec![b'a'; 1 << 20], vec![b'b'; 80_000]);
    set.push(b'a');
    let mut left = 10_000_000_usize;
    let mut counts = |compared: usize| {
        left = left.saturating_sub(compared);
        left > 0
    };
    // Eighty thousand million comparisons otherwise: minutes.
    let stopped = super::trimmed(&value, &super::characters(&set), super::End::First, &mut counts);
    assert!(stopped.is_err());
}

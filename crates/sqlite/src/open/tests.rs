//! What SQLite was built with, and what every connection computes.

use rusqlite::Connection;

use super::{Options, open_reader, open_writer};

/// `[env]` does not reach every way of building, and a build without these computes other results.
#[test]
fn sqlite_is_built_as_the_design_asks() {
    let connection = Connection::open_in_memory().unwrap();
    let mut statement = connection.prepare("PRAGMA compile_options").unwrap();
    let options: Vec<String> = statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for expected in [
        "DEFAULT_MEMSTATUS=0",
        "DEFAULT_WAL_SYNCHRONOUS=1",
        "ENABLE_COLUMN_METADATA",
        "DISABLE_DIRSYNC",
        "ENABLE_DBPAGE_VTAB",
        "ENABLE_DBSTAT_VTAB",
        "ENABLE_FTS3",
        "ENABLE_FTS3_PARENTHESIS",
        "ENABLE_FTS5",
        "ENABLE_GEOPOLY",
        "ENABLE_MATH_FUNCTIONS",
        "ENABLE_PREUPDATE_HOOK",
        "ENABLE_RTREE",
        "ENABLE_SESSION",
        "THREADSAFE=2",
    ] {
        assert!(
            options.iter().any(|option| option == expected),
            "{expected}: {options:?}"
        );
    }
    for unexpected in ["ENABLE_API_ARMOR", "OMIT_LOCALTIME", "UNTESTABLE"] {
        assert!(!options.iter().any(|option| option == unexpected), "{unexpected}");
    }
    let foreign_keys = connection.pragma_query_value(None, "foreign_keys", |row| row.get::<_, bool>(0));
    assert!(
        !foreign_keys.unwrap(),
        "foreign keys are off unless a node is told otherwise"
    );
    assert!(
        rusqlite::version_number() >= 3_051_003,
        "older versions corrupt the WAL at a reset"
    );
}

#[test]
fn readers_and_the_writer_are_set_up_alike() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sqlite");
    let options = Options {
        foreign_keys: true,
        ..Options::default()
    };
    let writer = open_writer(&path, &options).unwrap();
    let reader = open_reader(&path, &options).unwrap();
    let ask = |connection: &Connection, pragma: &str| -> String {
        let answer = connection.pragma_query_value(None, pragma, |row| row.get::<_, rusqlite::types::Value>(0));
        format!("{:?}", answer.unwrap())
    };
    for connection in [&writer, &reader] {
        assert_eq!(ask(connection, "journal_mode"), "Text(\"wal\")");
        assert_eq!(ask(connection, "synchronous"), "Integer(1)");
        assert_eq!(ask(connection, "foreign_keys"), "Integer(1)");
        assert_eq!(ask(connection, "cache_size"), "Integer(-2048)");
    }
    assert_eq!(ask(&writer, "wal_autocheckpoint"), "Integer(0)");
    assert_eq!(ask(&reader, "query_only"), "Integer(1)");
}

/// The bundled functions against SQLite's own, which call the C library: the same types and NULLs, and values that
/// differ by rounding at most.
#[test]
fn mathematics_follows_sqlite_in_everything_but_the_last_digit() {
    let dir = tempfile::tempdir().unwrap();
    let ours = open_writer(&dir.path().join("db.sqlite"), &Options::default()).unwrap();
    let plain = Connection::open_in_memory().unwrap();
    let values = [
        "NULL", "0", "1", "-1", "2", "0.5", "-0.5", "1e300", "-1e-300", "10", "'4'", "'4.5'", "'x'", "x'34'", "9e999",
        "-9e999", "7.25", "1000003",
    ];
    let unary = [
        "acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "ln", "log", "log10", "log2", "sin",
        "sinh", "sqrt", "tan", "tanh", "ceil", "floor", "trunc", "radians", "degrees",
    ];
    let mut calls: Vec<String> = Vec::new();
    for value in values {
        calls.extend(unary.iter().map(|name| format!("{name}({value})")));
        for other in values {
            calls.extend(["atan2", "log", "pow", "power", "mod"].map(|name| format!("{name}({value}, {other})")));
        }
    }
    for call in calls {
        let sql = format!("SELECT {call}");
        let ask = |connection: &Connection| {
            connection
                .query_row(&sql, [], |row| row.get::<_, Option<f64>>(0))
                .unwrap()
        };
        let close = match (ask(&ours), ask(&plain)) {
            (None, None) => true,
            (Some(one), Some(other)) => one == other || ((one - other) / other).abs() < 1e-14,
            (Some(_), None) | (None, Some(_)) => false,
        };
        assert!(close, "{call}: {:?}, SQLite {:?}", ask(&ours), ask(&plain));
    }
}

//! Classes of statements, as SQLite and their heads give them.

use rusqlite::Connection;

use super::{Class, classify};
use crate::ffi::statement::Session;
use crate::guard::{Guard, Refusal};

fn class(sql: &str) -> Class {
    let mut connection = Connection::open_in_memory().unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t(a UNIQUE); CREATE VIRTUAL TABLE f USING fts5(a); CREATE VIRTUAL TABLE r USING rtree(i,a,b);
             PRAGMA query_only=ON",
        )
        .unwrap();
    let guard = Guard::install(&mut connection).unwrap();
    let session = Session::new(connection, 8);
    let first = classify(&session, &guard, sql);
    assert_eq!(classify(&session, &guard, sql), first, "{sql}, when it is kept");
    first
}

#[test]
fn reads_are_reads() {
    for sql in [
        "SELECT * FROM t",
        "  -- note\n/* another */ select 1",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "VALUES(1)",
        "EXPLAIN INSERT INTO t VALUES(1)",
        "EXPLAIN QUERY PLAN DELETE FROM t",
        "PRAGMA journal_mode",
        "PRAGMA main.journal_mode;",
        "PRAGMA table_info(t)",
        "PRAGMA foreign_keys=ON",
        "PRAGMA synchronous",
        "PRAGMA integrity_check",
        "SELECT * FROM pragma_table_info('t')",
        "SELECT * FROM f WHERE f MATCH 'x'",
        "SELECT * FROM r",
        "PRAGMA cache_size=100",
        "PRAGMA user_version",
        "PRAGMA schema_version",
        "SELECT 1; SELECT 2; -- note",
        ";;SELECT 1",
    ] {
        assert_eq!(class(sql), Class::Read, "{sql}");
    }
}

#[test]
fn writes_are_writes() {
    for sql in [
        "INSERT INTO t VALUES(1)",
        "INSERT INTO t VALUES(1) RETURNING a",
        "WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x",
        "CREATE TABLE IF NOT EXISTS t(a)",
        "CREATE TEMP TABLE u(a)",
        "DROP TABLE t",
        "VACUUM",
        "vacuum into 'x'",
        "INSERT INTO f VALUES('x')",
        "INSERT INTO f(f) VALUES('optimize')",
        "INSERT INTO r VALUES(1,2,3)",
        "PRAGMA journal_mode=DELETE",
        "PRAGMA hard_heap_limit=1",
        "EXPLAIN PRAGMA hard_heap_limit=1",
        "PRAGMA user_version=3",
        "PRAGMA application_id(3)",
        "PRAGMA optimize",
        "PRAGMA \"optimize\"(0x10002)",
        "PRAGMA main . [incremental_vacuum] ",
        "PRAGMA schema_version=7",
        "SELECT 1; DELETE FROM t",
        "DELETE FROM t; SELECT 1",
        "ANALYZE",
        "REINDEX",
    ] {
        assert_eq!(class(sql), Class::Write, "{sql}");
    }
}

#[test]
fn transactions_and_attach_are_refused_wherever_they_stand() {
    for sql in [
        "BEGIN",
        "begin immediate",
        "explain begin",
        "COMMIT",
        "END",
        "ROLLBACK TO x",
        "SAVEPOINT x",
        "RELEASE x",
        "SELECT 1; COMMIT",
        "/* x */ ; -- y\n BEGIN",
        "\u{feff}BEGIN",
    ] {
        assert_eq!(class(sql), Class::Refused(Refusal::Transaction), "{sql}");
    }
    assert_eq!(class("ATTACH 'x' || 1 AS y"), Class::Refused(Refusal::Attach));
    assert_eq!(class("ATTACH 'x' AS y"), Class::Refused(Refusal::Attach));
    assert_eq!(class("detach y"), Class::Refused(Refusal::Attach));
}

#[test]
fn what_cannot_be_prepared_is_told_apart_from_nothing() {
    for (sql, text) in [
        ("SELEC 1", r#"near "SELEC": syntax error"#),
        ("SELECT * FROM missing", "no such table: missing"),
        ("SELECT 1; SELECT * FROM missing", "no such table: missing"),
    ] {
        let Class::Unprepared(error) = class(sql) else {
            panic!("{sql} was prepared");
        };
        assert_eq!(error.message, text);
    }
    assert_eq!(class("CREATE TABLE missing(a); SELECT * FROM missing"), Class::Write);
    for sql in ["", "  ", ";", "-- note", "/* note", " ;; /* x */ ;"] {
        assert_eq!(class(sql), Class::Empty, "{sql:?}");
    }
}

#[test]
fn text_after_nul_is_not_looked_at_for_ever() {
    assert_eq!(class("SELECT 1\0; SELECT 2"), Class::Read);
    assert_eq!(class("\0SELECT 1"), Class::Empty);
}

//! The forms of replies: counters, rows, errors, atomicity (spec §5, §6, §7).

use command::request::Kind;
use command::statement::{Parameter, Statement, Value};

use super::{Fixture, look, show, write};
use crate::open::Options;

#[test]
fn counters_go_stale_as_the_spec_has_them() {
    let mut it = Fixture::new();
    assert_eq!(it.execute("CREATE TABLE pet(id INTEGER PRIMARY KEY, nick TEXT)"), "0/0");
    assert_eq!(it.execute("INSERT INTO pet(nick) VALUES('a')"), "1/1");
    assert_eq!(it.execute("CREATE TABLE other(x)"), "1/1");
    assert_eq!(it.execute("DROP TABLE other"), "1/1");
    let mut it = it.reopen();
    assert_eq!(it.execute("UPDATE pet SET nick='b'"), "1/1");
    assert_eq!(it.execute("DELETE FROM pet WHERE id=99"), "1/0");
    assert_eq!(it.execute("SELECT * FROM pet"), "1/0");
    assert_eq!(it.execute("-- nothing"), "0/0");
    assert_eq!(it.execute(";"), "0/0");
}

#[test]
fn the_counters_as_functions_survive_a_restart() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    it.execute("INSERT INTO t VALUES(1),(2),(3)");
    let mut it = it.reopen();
    assert_eq!(
        it.request("SELECT changes(), total_changes(), last_insert_rowid()"),
        "[changes(),total_changes(),last_insert_rowid(): 3,3,3]"
    );
    assert_eq!(it.execute("INSERT INTO t SELECT changes()"), "4/1");
    assert_eq!(it.request("SELECT max(rowid), a FROM t"), "[max(rowid),a: 4,3]");
    assert_eq!(
        it.request("SELECT changes(), total_changes()"),
        "[changes(),total_changes(): 1,4]"
    );
}

#[test]
fn returning_answers_rows_and_select_does_not_on_execute() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a INTEGER, b TEXT)");
    assert_eq!(it.execute("INSERT INTO t VALUES(1,'x') RETURNING a, b"), "[a,b: 1,x]");
    assert_eq!(it.execute("INSERT INTO t VALUES(2,'y')\nRETURNING\n*"), "[a,b: 2,y]");
    assert_eq!(it.execute("SELECT 'returning '"), "2/1");
    assert_eq!(it.execute("EXPLAIN INSERT INTO t VALUES(1,2)"), "2/1");
    assert_eq!(it.execute("DELETE FROM t WHERE a=7 RETURNING a"), "[a: ]");
}

#[test]
fn requests_answer_rows_for_reads() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a INTEGER)");
    let reply = it.apply(&write(
        Kind::Request,
        true,
        &[
            "INSERT INTO t VALUES(5)",
            "SELECT a FROM t",
            "PRAGMA table_info(t)",
            "PRAGMA user_version=3",
        ],
    ));
    assert_eq!(
        show(&reply),
        "1/1 | [a: 5] | [cid,name,type,notnull,dflt_value,pk: 0,a,INTEGER,0,NULL,0] | 1/1"
    );
    assert_eq!(it.request("SELECT abs(-9223372036854775808)"), "!integer overflow");
    assert_eq!(
        it.request("SELECT abs(a) FROM (SELECT 1 AS a UNION ALL SELECT -9223372036854775808)"),
        "[abs(a): 1 !integer overflow]"
    );
    assert_eq!(it.request("SELEC 1"), "!near \"SELEC\": syntax error");
}

#[test]
fn an_atomic_request_undoes_everything_and_stops_at_the_first_error() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a PRIMARY KEY)");
    let reply = it.atomic(&[
        "INSERT INTO t VALUES(1)",
        "INSERT INTO t VALUES(1)",
        "INSERT INTO t VALUES(2)",
    ]);
    assert_eq!(reply, "1/1 | !UNIQUE constraint failed: t.a");
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 0]");
    let reply = it.atomic(&[
        "CREATE TABLE u(x)",
        "INSERT INTO u VALUES(1)",
        "INSERT INTO nowhere VALUES(1)",
    ]);
    assert!(reply.ends_with("!no such table: nowhere"), "{reply}");
    assert_eq!(it.request("SELECT * FROM u"), "!no such table: u");
}

#[test]
fn without_atomic_each_text_stands_for_itself() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a PRIMARY KEY)");
    let reply = it.apply(&write(
        Kind::Execute,
        false,
        &[
            "INSERT INTO t VALUES(1)",
            "",
            "INSERT INTO t VALUES(1)",
            "INSERT INTO t VALUES(2)",
        ],
    ));
    assert_eq!(show(&reply), "1/1 | !UNIQUE constraint failed: t.a | 2/1");
}

#[test]
fn several_statements_in_one_text_are_one_unit_with_one_element() {
    let mut it = Fixture::new();
    assert_eq!(
        it.execute("CREATE TABLE t(a PRIMARY KEY); INSERT INTO t VALUES(1); INSERT INTO t VALUES(2);\n"),
        "2/1"
    );
    assert_eq!(
        it.execute("INSERT INTO t VALUES(3); INSERT INTO t VALUES(3); INSERT INTO t VALUES(4)"),
        "!UNIQUE constraint failed: t.a"
    );
    assert_eq!(it.request("SELECT group_concat(a) FROM t"), "[group_concat(a): 1,2]");
    assert_eq!(it.execute("INSERT INTO t VALUES(5); -- done"), "0/0");
    assert_eq!(it.request("SELECT group_concat(a) FROM t"), "[group_concat(a): 1,2,5]");
}

#[test]
fn values_go_to_the_statements_of_a_text_in_turn() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    let mut request = write(
        Kind::Execute,
        false,
        &["INSERT INTO t VALUES(?); INSERT INTO t VALUES(?)"],
    );
    request.statements[0].parameters = vec![
        Parameter::positional(Value::Integer(1)),
        Parameter::positional(Value::Text("two".into())),
    ];
    assert_eq!(show(&it.apply(&request)), "2/1");
    assert_eq!(it.request("SELECT group_concat(a) FROM t"), "[group_concat(a): 1,two]");
    request.statements[0].parameters.pop();
    assert_eq!(
        show(&it.apply(&request)),
        "!not enough args to execute query: want 1 got 1"
    );
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 2]");
}

#[test]
fn a_rolled_back_transaction_undoes_its_own_text_only() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a PRIMARY KEY)");
    it.execute("CREATE TRIGGER no BEFORE INSERT ON t WHEN new.a<0 BEGIN SELECT RAISE(ROLLBACK, 'no'); END");
    let reply = it.apply(&write(
        Kind::Execute,
        false,
        &[
            "INSERT INTO t VALUES(1)",
            "INSERT INTO t VALUES(-1)",
            "INSERT INTO t VALUES(abs(random()))",
            "INSERT OR ROLLBACK INTO t VALUES(1)",
            "INSERT INTO t VALUES(4)",
        ],
    ));
    assert_eq!(show(&reply), "1/1 | !no | 2/1 | !UNIQUE constraint failed: t.a | 3/1");
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 3]");
    let reply = it.atomic(&[
        "INSERT INTO t VALUES(8)",
        "INSERT INTO t VALUES(-1)",
        "INSERT INTO t VALUES(9)",
    ]);
    assert_eq!(reply, "4/1 | !no");
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 3]");
}

#[test]
fn deferred_foreign_keys_are_checked_at_the_end_of_each_unit() {
    let mut it = Fixture::with(Options {
        foreign_keys: true,
        ..Options::default()
    });
    it.execute("CREATE TABLE p(id INTEGER PRIMARY KEY)");
    it.execute("CREATE TABLE c(p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)");
    assert_eq!(it.execute("INSERT INTO c VALUES(1)"), "!FOREIGN KEY constraint failed");
    assert_eq!(
        it.atomic(&["INSERT INTO c VALUES(1)", "INSERT INTO p VALUES(1)"]),
        "1/1 | 1/1"
    );
    assert_eq!(
        it.atomic(&["INSERT INTO c VALUES(2)", "INSERT INTO c VALUES(1)"]),
        "!!FOREIGN KEY constraint failed"
    );
    assert_eq!(
        it.atomic(&["PRAGMA defer_foreign_keys=ON", "SELECT 1", "INSERT INTO c VALUES(3)"]),
        "!!FOREIGN KEY constraint failed"
    );
    assert_eq!(it.request("SELECT count(*) FROM c"), "[count(*): 1]");
}

#[test]
fn vacuum_works_alone_and_keeps_our_tables() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    it.execute("INSERT INTO t VALUES(1)");
    assert_eq!(it.execute(" -- tidy\n VACUUM"), "1/1");
    assert_eq!(
        it.execute("VACUUM; SELECT 1"),
        "!cannot VACUUM from within a transaction"
    );
    assert!(it.execute("VACUUM INTO '/tmp/never'").starts_with("!ATTACH"));
    assert_eq!(it.execute("INSERT INTO t VALUES(2)"), "2/1");
    assert_eq!(look(&it.path(), "PRAGMA integrity_check"), "Text(\"ok\")");
    let it = it.reopen();
    assert_eq!(it.writer.state().last_rowid, 2);
}

#[test]
fn time_random_and_mathematics_come_from_the_entry() {
    let table = "CREATE TABLE t(a DEFAULT CURRENT_TIMESTAMP, r DEFAULT (random()), b DEFAULT (randomblob(4)))";
    let mut it = Fixture::new();
    it.execute(table);
    let mut other = Fixture::new();
    other.execute(table);
    let sql = "INSERT INTO t DEFAULT VALUES RETURNING a, r, hex(b), datetime('now'), date('now','localtime'), exp(1.5)";
    let first = it.execute(sql);
    assert_eq!(first, other.execute(sql));
    assert!(first.contains("2023-11-14 22:13:20"), "{first}");
    let mut later = write(
        Kind::Request,
        false,
        &["SELECT unixepoch('now'), typeof(randomblob(0)), length(randomblob(-4))"],
    );
    later.clock_us = 5;
    assert_eq!(
        show(&it.apply(&later)),
        "[unixepoch('now'),typeof(randomblob(0)),length(randomblob(-4)): 1700000000,blob,1]",
        "the entry clock never runs backwards"
    );
}

#[test]
fn a_statement_from_the_keep_answers_as_when_it_was_new() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    for n in 1..4 {
        let mut insert = write(Kind::Execute, false, &["INSERT INTO t VALUES(?) RETURNING a"]);
        insert.statements[0] = Statement {
            sql: insert.statements[0].sql.clone(),
            parameters: vec![Parameter::positional(Value::Integer(n))],
        };
        assert_eq!(show(&it.apply(&insert)), format!("[a: {n}]"));
    }
    it.execute("ALTER TABLE t RENAME COLUMN a TO b");
    assert!(
        it.execute("INSERT INTO t VALUES(?) RETURNING a")
            .starts_with("!no such column")
    );
}

#[test]
fn every_module_that_is_built_in_can_be_written() {
    let mut it = Fixture::new();
    for (module, row) in [
        ("fts3(a)", "('x')"),
        ("fts4(a)", "('x')"),
        ("fts5(a)", "('x')"),
        ("rtree(id, a, b)", "(1, 2, 3)"),
        ("geopoly(a)", "('[[0,0],[1,0],[0,1],[0,0]]', 1)"),
    ] {
        let created = it.execute(&format!("CREATE VIRTUAL TABLE v USING {module}"));
        assert!(!created.starts_with('!'), "{module}: {created}");
        let inserted = it.execute(&format!("INSERT INTO v VALUES{row}"));
        assert!(inserted.ends_with("/1"), "{module}: {inserted}");
        it.execute("DROP TABLE v");
    }
    let refused = it.execute("CREATE TABLE t AS SELECT * FROM pragma_page_size");
    assert!(refused.starts_with('!'), "{refused}");
}

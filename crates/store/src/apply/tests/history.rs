//! What a connection has seen before must not show: each case applies the same entries on a connection that lived
//! through all of them and on one that was opened in between.

use command::request::{Kind, Write};
use command::statement::{Parameter, Value};
use sqlite::{Limits, Options};

use super::{Fixture, entry, execute, request, timeless};

/// Applies `before`, then `then`, with a restart between them or not; what `then` answers, and the effect.
fn answers(options: &Options, before: &[Write], then: &[Write], restart: bool) -> String {
    let mut it = Fixture::with(options.clone());
    for write in before {
        it.write(write.clone());
    }
    if restart {
        it.reopen();
    }
    let replies: Vec<_> = then.iter().map(|write| timeless(it.write(write.clone()))).collect();
    let effect = it.applier().applied().effect;
    format!("{replies:?} {effect}")
}

fn assert_same(options: &Options, before: &[Write], then: &[Write]) {
    let through = answers(options, before, then, false);
    assert_eq!(through, answers(options, before, then, true));
}

fn counting(limit: i64, steps_max: u64) -> Write {
    let sql = "WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT ?) SELECT max(x) FROM s";
    let mut write = request(Kind::Request, &[sql]);
    write.statements[0].parameters = vec![Parameter::positional(Value::Integer(limit))];
    write.steps_max = steps_max;
    write
}

#[test]
fn a_budget_does_not_depend_on_the_statements_past() {
    let options = Options::default();
    let mut both = [false, false];
    for limit in (200..1600).step_by(100) {
        let past: Vec<Write> = (0..5).map(|n| counting(150 + n * 37, 0)).collect();
        let now = [counting(limit, 8192)];
        assert_same(&options, &past, &now);
        let stopped = answers(&options, &past, &now, false).contains("execute timeout");
        both[usize::from(stopped)] = true;
    }
    assert_eq!(both, [true, true], "the limits lie on both sides of the budget");
}

#[test]
fn statistics_written_by_hand_count_at_once() {
    let before = [
        execute(&["CREATE TABLE t(a, b)"]),
        execute(&["CREATE INDEX ta ON t(a)"]),
        execute(&["CREATE INDEX tb ON t(b)"]),
        execute(&["INSERT INTO t SELECT value%7, value FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14]')"]),
        execute(&["ANALYZE"]),
        execute(&["DELETE FROM sqlite_stat4"]),
        execute(&["UPDATE sqlite_stat1 SET stat = CASE idx WHEN 'ta' THEN '1000000 1' ELSE '1000000 500000' END"]),
    ];
    let then = [request(
        Kind::Request,
        &["EXPLAIN QUERY PLAN SELECT * FROM t WHERE a=3 AND b=4"],
    )];
    assert_same(&Options::default(), &before, &then);
    let undone = [
        before[..6].to_vec(),
        vec![execute(&[
            "UPDATE sqlite_stat1 SET stat = CASE idx WHEN 'ta' THEN '1000000 1' ELSE '1000000 500000' END",
            "INSERT INTO nowhere VALUES(1)",
        ])],
    ];
    assert_same(&Options::default(), &undone.concat(), &then);
}

#[test]
fn deferring_foreign_keys_ends_with_its_request() {
    let options = Options {
        foreign_keys: true,
        ..Options::default()
    };
    let before = [
        execute(&["CREATE TABLE p(id INTEGER PRIMARY KEY)"]),
        execute(&["CREATE TABLE c(p REFERENCES p(id))"]),
    ];
    let child_first = &["INSERT INTO c VALUES(1); INSERT INTO p VALUES(1)"];
    let mut it = Fixture::with(options);
    for write in before {
        it.write(write);
    }
    let index = it.next_index();
    let mut each = execute(&["PRAGMA defer_foreign_keys=ON", child_first[0]]);
    each.atomic = false;
    let batch = [
        entry(index, execute(&["PRAGMA defer_foreign_keys=ON"])),
        entry(index + 1, execute(child_first)),
        entry(index + 2, each),
        entry(
            index + 3,
            execute(&[
                "PRAGMA defer_foreign_keys=ON",
                "INSERT INTO c VALUES(1)",
                "INSERT INTO p VALUES(1)",
            ]),
        ),
    ];
    let replies = it.applier().apply(&batch).unwrap();
    let errors: Vec<_> = replies.iter().map(super::error_of).collect();
    let violated = Some("FOREIGN KEY constraint failed");
    assert_eq!(errors, [None, violated, violated, None]);
}

#[test]
fn a_budget_that_ends_one_entry_leaves_its_neighbours_alone() {
    let options = Options {
        limits: Limits {
            steps_max: 50_000,
            ..Limits::default()
        },
        ..Options::default()
    };
    let endless = "INSERT INTO t WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s) SELECT x FROM s";
    let mut it = Fixture::with(options);
    let batch = [
        entry(1, execute(&["CREATE TABLE t(a)"])),
        entry(2, execute(&["INSERT INTO t VALUES(1)"])),
        entry(3, execute(&[endless])),
        entry(4, execute(&["INSERT INTO t VALUES(2)"])),
        entry(5, execute(&["INSERT INTO t VALUES(3)", endless])),
    ];
    let replies = it.applier().apply(&batch).unwrap();
    let stopped = Some("statement stopped: it took more virtual-machine steps than a write may");
    let errors: Vec<_> = replies.iter().map(super::error_of).collect();
    assert_eq!(errors, [None, None, stopped, None, stopped]);
    assert_eq!(it.ask("SELECT group_concat(a) FROM t"), "1,2");
}

#[test]
fn whether_values_are_long_does_not_depend_on_the_statements_past() {
    let options = Options {
        limits: Limits {
            short_length_max: 100,
            long_steps_max: 10_000,
            ..Limits::default()
        },
        ..Options::default()
    };
    let copy = |length: i64, rows: i64| {
        let sql = "INSERT INTO t WITH RECURSIVE s(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM s LIMIT ?) \
                   SELECT hex(zeroblob(?)) FROM s";
        let mut write = execute(&[sql]);
        write.statements[0].parameters = [rows, length]
            .map(|number| Parameter::positional(Value::Integer(number)))
            .into();
        write
    };
    let table = execute(&["CREATE TABLE t(a)"]);
    let past = [table, copy(10, 10), copy(1000, 10), copy(10, 2000)];
    for (length, rows, stopped) in [(10, 2000, false), (1000, 100, false), (1000, 2000, true)] {
        let now = [copy(length, rows), copy(10, 1)];
        assert_same(&options, &past, &now);
        let answered = answers(&options, &past, &now, false);
        assert_eq!(
            answered.contains("virtual-machine steps"),
            stopped,
            "{length} {rows} {answered}"
        );
    }
}

/// Tables that came and went: SQLite keeps their names in an order that depends on how many there have been.
fn many_tables() -> Vec<Write> {
    let created = (0..60).map(|n| format!("CREATE TABLE t{n}(a UNIQUE, b REFERENCES nobody(a))"));
    let filled = (0..60).map(|n| format!("INSERT INTO t{n} VALUES(1, 2)"));
    let dropped = (0..60).filter(|n| n % 4 != 0).map(|n| format!("DROP TABLE t{n}"));
    let texts = created.chain(filled).chain(dropped);
    let mut before: Vec<Write> = texts.map(|sql| execute(&[&sql])).collect();
    before.push(execute(&["CREATE TABLE seen(name)"]));
    before
}

#[test]
fn the_order_of_tables_does_not_show() {
    for then in [
        "ANALYZE",
        "INSERT INTO seen SELECT name FROM pragma_table_list",
        "INSERT INTO seen SELECT \"table\" FROM pragma_foreign_key_check",
    ] {
        let then = [
            execute(&[then]),
            request(Kind::Request, &["SELECT rowid, name FROM seen ORDER BY rowid"]),
            execute(&["CREATE TABLE IF NOT EXISTS sqlite_stat1(tbl, idx, stat)"]),
            request(Kind::Request, &["SELECT rowid, tbl FROM sqlite_stat1 ORDER BY rowid"]),
        ];
        assert_same(&Options::default(), &many_tables(), &then);
    }
}

#[test]
fn modules_that_were_used_before_do_not_show() {
    let before = [
        execute(&["CREATE TABLE seen(name)"]),
        request(Kind::Request, &["SELECT count(*) FROM pragma_table_info('seen')"]),
    ];
    let then = [
        execute(&["INSERT INTO seen SELECT name FROM pragma_module_list ORDER BY name"]),
        request(Kind::Request, &["SELECT name FROM seen"]),
    ];
    assert_same(&Options::default(), &before, &then);
}

#[test]
fn a_statement_that_fails_by_its_foreign_key_is_not_counted() {
    let options = Options {
        foreign_keys: true,
        ..Options::default()
    };
    let mut it = Fixture::with(options);
    it.execute("CREATE TABLE p(id INTEGER PRIMARY KEY)");
    it.execute("CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p(id) DEFERRABLE INITIALLY DEFERRED)");
    it.execute("INSERT INTO p VALUES(1), (2)");
    let failed = it.execute("INSERT INTO c(p) VALUES(7), (8), (9)");
    assert_eq!(super::error_of(&failed), Some("FOREIGN KEY constraint failed"));
    assert_eq!(it.ask("SELECT changes() || ' ' || total_changes()"), "0 2");
    // What commits by itself fails by what its commit finds out.
    let failed = it.execute("INSERT OR FAIL INTO c(id, p) VALUES(1, 7), (1, 8)");
    assert_eq!(super::error_of(&failed), Some("FOREIGN KEY constraint failed"));
    assert_eq!(it.ask("SELECT count(*) FROM c"), "Integer(0)");
    assert_eq!(it.ask("SELECT changes() || ' ' || total_changes()"), "0 2");
}

//! Texts that are loaded: the shell's dumps, ours, and those that somebody wrote.

use std::fmt::Write as _;

use command::reply::{OutcomeKind, Reply};
use command::request::{Kind, Write};
use command::statement::Statement;
use rusqlite::Connection;

use super::ScriptEnd;
use crate::entry::{Care, Conclusion, Resume};
use crate::meta::State;
use crate::open::{self, Limits, Options};
use crate::writer::Writer;

struct Bench {
    writer: Writer,
    dir: tempfile::TempDir,
    options: Options,
}

impl Bench {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::open(&dir.path().join("db.sqlite"), &options).unwrap();
        Self { writer, dir, options }
    }

    /// Loads a text in a transaction of its own, as the apply core does.
    fn load(&mut self, text: &str) -> String {
        self.writer.begin().unwrap();
        let ran = match self.writer.run_script(&mut text.as_bytes(), 1_000_000, 7).unwrap() {
            ScriptEnd::Done(ran) => ran,
            ScriptEnd::RolledBack(ran) => {
                self.writer.rollback().unwrap();
                self.writer.begin().unwrap();
                ran
            }
        };
        self.writer.state_mut().effect = ran.effect;
        self.writer.commit().unwrap().unwrap();
        show(&ran.reply)
    }

    /// Runs a write as any other.
    fn execute(&mut self, sql: &str) -> String {
        let write = Write {
            statements: vec![Statement::new(sql)],
            kind: Kind::Execute.into(),
            ..Write::default()
        };
        self.writer.begin().unwrap();
        let Conclusion::Done(ran) = self.writer.run(&write, Care::Careful, Resume::default()).unwrap() else {
            panic!("a careful run is done");
        };
        self.writer.commit().unwrap().unwrap();
        show(&ran.reply)
    }

    /// What another connection answers.
    fn query(&self, sql: &str) -> String {
        let reader = open::open_reader(&self.dir.path().join("db.sqlite"), &self.options).unwrap();
        let mut statement = reader.prepare(sql).unwrap();
        let mut rows = statement.query([]).unwrap();
        let mut text = String::new();
        while let Some(row) = rows.next().unwrap() {
            let value: rusqlite::types::Value = row.get(0).unwrap();
            match value {
                rusqlite::types::Value::Text(cell) => text.push_str(&cell),
                rusqlite::types::Value::Integer(cell) => write!(text, "{cell}").unwrap(),
                other => write!(text, "{other:?}").unwrap(),
            }
            text.push(' ');
        }
        text.trim_end().to_owned()
    }

    fn tables(&self) -> String {
        self.query("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
    }
}

fn show(reply: &Reply) -> String {
    assert_eq!(reply.error, None);
    match reply.outcomes.as_slice() {
        [] => "nothing".to_owned(),
        [outcome] => match outcome.kind.as_ref().unwrap() {
            OutcomeKind::Changes(changes) => format!("{}/{}", changes.last_insert_id, changes.rows_affected),
            OutcomeKind::Error(message) => message.clone(),
            OutcomeKind::Rows(_) => "rows".to_owned(),
        },
        several => panic!("{several:?}"),
    }
}

/// As SQLite's shell prints a database with tables of each kind.
const SHELL_DUMP: &str = "PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE child(id INTEGER PRIMARY KEY AUTOINCREMENT, p REFERENCES parent(id), t TEXT DEFAULT 'a;b');
INSERT INTO child VALUES(1,7,'it''s; here');
INSERT INTO child VALUES(2,8,'no parent');
CREATE TABLE parent(id INTEGER PRIMARY KEY);
INSERT INTO parent VALUES(7);
PRAGMA writable_schema=ON;
INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table','notes','notes',0,'CREATE VIRTUAL TABLE notes USING fts5(body)');
CREATE TABLE IF NOT EXISTS 'notes_data'(id INTEGER PRIMARY KEY, block BLOB);
INSERT INTO notes_data VALUES(1,X'');
INSERT INTO notes_data VALUES(10,X'00000000000000');
CREATE TABLE IF NOT EXISTS 'notes_idx'(segid, term, pgno, PRIMARY KEY(segid, term)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS 'notes_content'(id INTEGER PRIMARY KEY, c0);
CREATE TABLE IF NOT EXISTS 'notes_docsize'(id INTEGER PRIMARY KEY, sz BLOB);
CREATE TABLE IF NOT EXISTS 'notes_config'(k PRIMARY KEY, v) WITHOUT ROWID;
INSERT INTO notes_config VALUES('version',4);
ANALYZE sqlite_schema;
INSERT INTO sqlite_stat1 VALUES('child',NULL,'2');
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('child',40);
CREATE TRIGGER log AFTER INSERT ON parent BEGIN INSERT INTO notes VALUES('parent ' || new.id); SELECT CASE WHEN 1 THEN 2 END; END;
CREATE VIEW v AS SELECT * FROM child;
PRAGMA writable_schema=OFF;
COMMIT;
";

#[test]
fn a_dump_of_the_shell_is_loaded_whole() {
    for foreign_keys in [false, true] {
        let mut bench = Bench::with(Options {
            foreign_keys,
            ..Options::default()
        });
        // The last INSERT was into a trigger-less table: what COMMIT answers are the counters that it left.
        assert_eq!(bench.load(SHELL_DUMP), "1/1");
        assert_eq!(bench.query("SELECT t FROM v ORDER BY id"), "it's; here no parent");
        assert_eq!(bench.execute("INSERT INTO parent VALUES(9)"), "9/1");
        assert_eq!(bench.query("SELECT body FROM notes('parent')"), "parent 9");
        assert_eq!(bench.execute("INSERT INTO child(p) VALUES(9)"), "41/1");
        assert_eq!(bench.query("PRAGMA integrity_check"), "ok");
        let orphan = bench.execute("INSERT INTO child(p) VALUES(1000)");
        let expected = if foreign_keys {
            "FOREIGN KEY constraint failed"
        } else {
            "42/1"
        };
        assert_eq!(orphan, expected, "foreign_keys=OFF does not stay in force");
    }
}

#[test]
fn a_loaded_virtual_table_is_known_to_the_next_connection_and_the_next_write() {
    let mut bench = Bench::new();
    bench.load(SHELL_DUMP);
    assert_eq!(bench.execute("INSERT INTO notes VALUES('a dog')"), "1/1");
    drop(bench.writer);
    bench.writer = Writer::open(&bench.dir.path().join("db.sqlite"), &bench.options).unwrap();
    assert_eq!(bench.execute("INSERT INTO notes VALUES('a cat')"), "2/1");
    assert_eq!(bench.query("SELECT body FROM notes('cat OR dog')"), "a dog a cat");
}

#[test]
fn the_shells_own_reading_of_the_dump_is_ours() {
    let plain = tempfile::tempdir().unwrap();
    let path = plain.path().join("plain.sqlite");
    Connection::open(&path).unwrap().execute_batch(SHELL_DUMP).unwrap();
    let plain = Connection::open(&path).unwrap();
    let mut bench = Bench::new();
    bench.load(SHELL_DUMP);
    for sql in [
        "SELECT group_concat(sql, ';') FROM (SELECT sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'sqlite_%' ORDER BY name)",
        "SELECT group_concat(id || p || t) FROM child",
        "SELECT group_concat(id || hex(block)) FROM notes_data",
        "SELECT group_concat(tbl || stat) FROM sqlite_stat1",
        "SELECT seq || '' FROM sqlite_sequence",
    ] {
        let expected: String = plain.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(bench.query(sql), expected, "{sql}");
    }
}

#[test]
fn the_answer_is_that_of_the_last_statement() {
    let mut bench = Bench::new();
    assert_eq!(bench.load("CREATE TABLE t(a); INSERT INTO t VALUES(1), (2)"), "2/2");
    assert_eq!(bench.load("INSERT INTO t VALUES(3); -- done"), "0/0");
    assert_eq!(bench.load("SELECT 1; UPDATE t SET a=a+1;\n"), "3/3");
    assert_eq!(bench.load(" ;; \n"), "nothing");
}

#[test]
fn a_failure_undoes_all_of_the_text() {
    let mut bench = Bench::new();
    bench.load("CREATE TABLE t(a PRIMARY KEY)");
    let failed = bench.load("BEGIN; INSERT INTO t VALUES(1); COMMIT; CREATE TABLE u(b); INSERT INTO t VALUES(1);");
    assert_eq!(failed, "UNIQUE constraint failed: t.a");
    assert_eq!(
        (bench.tables(), bench.query("SELECT count(*) FROM t")),
        ("t".to_owned(), "0".to_owned())
    );
    assert_eq!(
        bench.load("CREATE TABLE u(b); nonsense; CREATE TABLE v(b)"),
        "near \"nonsense\": syntax error"
    );
    assert_eq!(bench.tables(), "t");
    assert_eq!(
        bench.load("CREATE TABLE u(b); INSERT INTO u VALUES(1)"),
        "1/1",
        "the writer goes on"
    );
}

#[test]
fn a_text_that_ends_inside_a_transaction_was_cut_off() {
    let mut bench = Bench::new();
    let cut = &SHELL_DUMP[..SHELL_DUMP.len() - "COMMIT;\n".len()];
    assert_eq!(bench.load(cut), super::CUT_OFF);
    assert_eq!(bench.tables(), "");
    let middle = &SHELL_DUMP[..SHELL_DUMP.len() / 2];
    assert_ne!(bench.load(middle), "0/0");
    assert_eq!(bench.tables(), "");
}

#[test]
fn transactions_are_taken_at_their_word_within_the_text() {
    let mut bench = Bench::new();
    let text =
        "BEGIN; CREATE TABLE a(x); COMMIT; BEGIN; CREATE TABLE b(x); ROLLBACK; BEGIN EXCLUSIVE; CREATE TABLE c(x); END";
    assert_eq!(bench.load(text), "0/0");
    assert_eq!(bench.tables(), "a c");
    assert_eq!(bench.load("BEGIN; BEGIN"), super::NESTED);
    assert_eq!(bench.load("COMMIT"), super::NOTHING_TO_COMMIT);
    assert_eq!(bench.load("ROLLBACK"), super::NOTHING_TO_ROLL_BACK);
    assert!(bench.load("SAVEPOINT x").starts_with("explicit transactions"));
}

#[test]
fn a_statement_that_rolls_back_everything_fails_the_text() {
    let mut bench = Bench::new();
    bench.load("CREATE TABLE t(a PRIMARY KEY); INSERT INTO t VALUES(1)");
    assert_eq!(
        bench.load("CREATE TABLE u(b); INSERT OR ROLLBACK INTO t VALUES(1)"),
        "UNIQUE constraint failed: t.a"
    );
    assert_eq!(bench.tables(), "t");
    assert_eq!(bench.load("INSERT INTO t VALUES(2)"), "2/1");
}

#[test]
fn nothing_but_virtual_tables_gets_into_the_schema() {
    let mut bench = Bench::new();
    bench.load("CREATE TABLE t(a)");
    let row = |values: &str| {
        format!(
            "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES({values});"
        )
    };
    for (values, refusal) in [
        ("'table','x','x',2,'CREATE TABLE x(a)'", super::SCHEMA_ROW),
        ("'table','x','x',0,'CREATE TABLE x(a)'", super::SCHEMA_ROW),
        (
            "'trigger','x','t',0,'CREATE TRIGGER x AFTER INSERT ON sqlite_quorlite BEGIN SELECT 1; END'",
            super::SCHEMA_ROW,
        ),
        (
            "'table','x','y',0,'CREATE VIRTUAL TABLE x USING fts5(a)'",
            super::SCHEMA_ROW,
        ),
        (
            "'table','sqlite_x','sqlite_x',0,'CREATE VIRTUAL TABLE sqlite_x USING fts5(a)'",
            super::SCHEMA_ROW,
        ),
        (
            "'table','x','x',0,'CREATE VIRTUAL TABLE x USING fts5(a); DROP TABLE t'",
            super::SCHEMA_ROW,
        ),
        (
            "'table','x','x',0,'CREATE VIRTUAL TABLE x USING sqlite_dbpage'",
            "cannot be used in a replicated schema",
        ),
        (
            "'table','x','x',0,'CREATE VIRTUAL TABLE y USING fts5(a)'",
            "malformed database schema",
        ),
        (
            "'table','t','t',0,'CREATE VIRTUAL TABLE t USING fts5(a)'",
            "table t already exists",
        ),
    ] {
        let answer = bench.load(&row(values));
        assert!(answer.contains(refusal), "{values}: {answer}");
        assert_eq!(bench.tables(), "t", "{values}");
        assert_eq!(bench.execute("DELETE FROM t"), "0/0", "{values}: the writer goes on");
    }
    let closed = "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table','x','x',0,'')";
    assert_eq!(bench.load(closed), super::SCHEMA_CLOSED);
    let other = bench.load("PRAGMA writable_schema=ON; DELETE FROM sqlite_schema; ");
    assert_eq!(other, "table sqlite_master may not be modified");
    assert_eq!(
        bench.load("DELETE FROM sqlite_quorlite"),
        "table sqlite_quorlite is Quorlite's own: writes cannot use it"
    );
}

#[test]
fn foreign_keys_hold_at_the_end_unless_the_text_lets_them_go() {
    let mut bench = Bench::with(Options {
        foreign_keys: true,
        ..Options::default()
    });
    let tables =
        "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p DEFERRABLE INITIALLY DEFERRED);";
    assert_eq!(
        bench.load(&format!("{tables} INSERT INTO c VALUES(1)")),
        "FOREIGN KEY constraint failed"
    );
    assert_eq!(
        bench.load(&format!("{tables} INSERT INTO c VALUES(1); INSERT INTO p VALUES(1)")),
        "1/1"
    );
    assert_eq!(bench.load("PRAGMA foreign_keys=0; INSERT INTO c VALUES(2)"), "2/1");
    assert_eq!(bench.load("INSERT INTO c VALUES(3)"), "FOREIGN KEY constraint failed");
    assert_eq!(
        bench.load("PRAGMA foreign_keys=0; PRAGMA foreign_keys=1; INSERT INTO c VALUES(3)"),
        "FOREIGN KEY constraint failed"
    );
    assert_eq!(
        bench.load("CREATE TABLE bad(x REFERENCES sqlite_quorlite(id))"),
        super::super::unit::OWN_REFERENCE
    );
}

#[test]
fn what_a_dump_sets_for_itself_is_passed_over() {
    let mut bench = Bench::new();
    let text = "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY; PRAGMA user_version=9; CREATE TABLE t(a)";
    assert_eq!(bench.load(text), "0/0");
    assert_eq!(bench.query("PRAGMA user_version"), "9");
    assert_eq!(bench.query("PRAGMA journal_mode"), "wal");
}

#[test]
fn budgets_are_a_statements_own_and_each_draws_its_own_random_numbers() {
    let mut bench = Bench::with(Options {
        limits: Limits {
            steps_max: 100_000,
            ..Limits::default()
        },
        ..Options::default()
    });
    let mut text = "CREATE TABLE t(a);".to_owned();
    for _ in 0..20 {
        text.push_str(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 2000) INSERT INTO t SELECT random() FROM n;",
        );
    }
    assert_eq!(bench.load(&text), "40000/2000");
    assert_eq!(bench.query("SELECT count(DISTINCT a) FROM t"), "40000");
    let long =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 1000000) INSERT INTO t SELECT i FROM n;";
    assert!(bench.load(long).starts_with("statement stopped"));
}

#[test]
fn replicas_agree_on_what_a_text_does() {
    let texts = [
        SHELL_DUMP,
        "INSERT INTO child(t) VALUES(random() || datetime('now'));",
        "INSERT INTO nobody VALUES(1)",
    ];
    let state_after = || -> (State, String) {
        let mut bench = Bench::new();
        for text in texts {
            bench.load(text);
        }
        (
            bench.writer.committed().clone(),
            bench.query("SELECT group_concat(t) FROM child"),
        )
    };
    assert_eq!(state_after(), state_after());
}

#[test]
fn text_that_is_no_utf_8_is_refused() {
    let mut bench = Bench::new();
    bench.writer.begin().unwrap();
    let text = b"CREATE TABLE t(a); \x1f\x8b\x08\xff";
    let ScriptEnd::Done(ran) = bench.writer.run_script(&mut text.as_slice(), 0, 0).unwrap() else {
        panic!("the transaction stands");
    };
    assert_eq!(show(&ran.reply), "string field contains invalid UTF-8");
}

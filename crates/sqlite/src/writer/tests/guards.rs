//! What is refused, and what runs out.

use command::request::Kind;
use command::statement::{Parameter, Value};

use super::{Fixture, show, write};
use crate::error::Error;
use crate::open::{Limits, Options};
use crate::writer::Writer;

#[test]
fn our_tables_are_out_of_reach() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    for sql in [
        "UPDATE sqlite_quorlite SET idx=7",
        "DELETE FROM sqlite_quorlite_keys",
        "INSERT INTO SQLITE_QUORLITE_KEYS VALUES(1,2,3,4)",
        "INSERT INTO t SELECT idx FROM sqlite_quorlite",
        "CREATE VIEW v AS SELECT 1; INSERT INTO t SELECT count(*) FROM main.sqlite_quorlite",
        "DROP TABLE sqlite_quorlite",
        "ALTER TABLE sqlite_quorlite RENAME TO x",
        "CREATE INDEX i ON sqlite_quorlite(idx)",
        "CREATE TRIGGER g AFTER UPDATE ON sqlite_quorlite BEGIN SELECT 1; END",
        "CREATE TABLE sqlite_quorlite_2(a)",
        "PRAGMA writable_schema=ON",
        "DELETE FROM sqlite_schema WHERE name='sqlite_quorlite'",
        // Our own texts, kept prepared from our own use.
        "SELECT count(*) FROM sqlite_quorlite_keys",
        "BEGIN IMMEDIATE",
    ] {
        it.writer.count_keys().unwrap();
        assert!(it.execute(sql).starts_with('!'), "{sql}");
    }
    assert_eq!(it.execute("INSERT INTO t VALUES(1)"), "1/1");
}

#[test]
fn a_foreign_key_to_our_table_is_refused() {
    for foreign_keys in [false, true] {
        let mut it = Fixture::with(Options {
            foreign_keys,
            ..Options::default()
        });
        let refused = "!foreign key refers to sqlite_quorlite, which is Quorlite's own table";
        assert_eq!(it.execute("CREATE TABLE x(a REFERENCES sqlite_quorlite)"), refused);
        assert_eq!(
            it.execute("CREATE TABLE x(a, FOREIGN KEY(a) REFERENCES \"SQLITE_Quorlite\"(idx))"),
            refused
        );
        it.execute("CREATE TABLE y(a)");
        assert_eq!(
            it.execute("ALTER TABLE y ADD COLUMN b REFERENCES sqlite_quorlite_keys(idx)"),
            refused
        );
        assert_eq!(
            it.request("SELECT count(*) FROM sqlite_schema WHERE name='x'"),
            "[count(*): 0]"
        );
        assert_eq!(it.execute("INSERT INTO y VALUES(1)"), "1/1");
    }
}

#[test]
fn what_depends_on_a_connection_or_leaves_the_database_is_refused() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    let transactions = "!explicit transactions are not supported: send the statements as one request";
    for sql in [
        "BEGIN",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s",
        "RELEASE s",
        "BEGIN EXCLUSIVE",
    ] {
        assert_eq!(it.execute(sql), transactions, "{sql}");
    }
    for sql in [
        "ATTACH '/tmp/x' AS x",
        "ATTACH '' AS x",
        "DETACH main",
        "ATTACH 'a'||'b' AS x",
    ] {
        assert!(it.execute(sql).starts_with("!ATTACH"), "{sql}");
    }
    for sql in [
        "CREATE TEMP TABLE x(a)",
        "CREATE TABLE temp.x(a)",
        "CREATE TEMP VIEW v AS SELECT 1",
    ] {
        let reply = it.execute(sql);
        assert!(reply.starts_with("!TEMP objects"), "{sql}: {reply}");
    }
    for sql in ["SELECT load_extension('x')", "SELECT fts3_tokenizer('x')"] {
        assert!(it.execute(sql).starts_with("!not authorized"), "{sql}");
    }
    for sql in [
        "PRAGMA journal_mode=DELETE",
        "PRAGMA main.wal_checkpoint(TRUNCATE)",
        "PRAGMA synchronous(0)",
    ] {
        assert_eq!(it.execute(sql), "!disallowed pragma", "{sql}");
    }
    assert!(it.execute("INSERT INTO t SELECT count(*) FROM dbstat").starts_with('!'));
    assert!(
        it.execute("INSERT INTO t SELECT page_count FROM pragma_page_count")
            .starts_with('!')
    );
    assert_eq!(
        it.execute("INSERT INTO t SELECT name FROM pragma_table_info('t')"),
        "1/1"
    );
    assert!(
        it.execute("PRAGMA foreign_keys=ON")
            .starts_with("!this pragma is fixed")
    );
    assert_eq!(it.execute("PRAGMA foreign_keys=OFF"), "1/1");
}

#[test]
fn the_last_rowid_is_refused() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
    it.execute("INSERT INTO t VALUES(1, 1)");
    let refused = "!rowid 9223372036854775807 is refused: after it SQLite picks rowids at random";
    assert_eq!(it.execute("INSERT INTO t VALUES(9223372036854775807, 2)"), refused);
    assert_eq!(it.execute("UPDATE t SET a=9223372036854775807"), refused);
    assert_eq!(it.request("SELECT a FROM t"), "[a: 1]");
}

#[test]
fn a_statement_without_end_is_stopped() {
    let endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)";
    let mut it = Fixture::limited(Limits {
        steps_max: 1_000_000,
        ..Limits::default()
    });
    it.execute("CREATE TABLE t(a)");
    let stopped = "statement stopped: it took more virtual-machine steps than a write may";
    assert_eq!(
        it.execute(&format!("INSERT INTO t {endless} SELECT x FROM c")),
        format!("!{stopped}")
    );
    assert_eq!(
        it.request(&format!("{endless} SELECT count(*) FROM c")),
        format!("!{stopped}")
    );
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 0]");
    let mut timed = write(
        Kind::Execute,
        false,
        &[&format!("INSERT INTO t {endless} SELECT x FROM c")],
    );
    timed.steps_max = 50_000;
    assert_eq!(show(&it.apply(&timed)), "!execute timeout");
    assert_eq!(it.execute("INSERT INTO t VALUES(1)"), "1/1");
}

const MANY: &str = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)";
const STEPS: &str = "!statement stopped: it took more virtual-machine steps than a write may";

/// Where values over 1,000 bytes are long.
fn with_little_for_long_values() -> Fixture {
    Fixture::limited(Limits {
        short_length_max: 1_000,
        length_max: 100_000,
        steps_max: 1_000_000,
        long_steps_max: 30_000,
        ..Limits::default()
    })
}

#[test]
fn an_entry_that_meets_long_values_has_fewer_steps() {
    let mut it = with_little_for_long_values();
    it.execute("CREATE TABLE t(a)");
    let short = format!("INSERT INTO t {MANY} SELECT x FROM c LIMIT 5000");
    let first = format!("INSERT INTO t {MANY} SELECT zeroblob(1 + 5000 * (x=1)) FROM c LIMIT 5000");
    let last = format!("INSERT INTO t {MANY} SELECT zeroblob(1 + 5000 * (x=4999)) FROM c LIMIT 5000");
    let literal = format!("INSERT INTO t {MANY} SELECT '{}' FROM c LIMIT 5000", "x".repeat(2_000));
    assert_eq!(it.execute(&short), "5000/5000");
    for long in [first, last, literal] {
        assert_eq!(it.execute(&long), STEPS);
    }
    let mut brought = write(
        Kind::Execute,
        false,
        &[&format!("INSERT INTO t {MANY} SELECT ?1 FROM c LIMIT 5000")],
    );
    brought.statements[0].parameters = vec![Parameter::positional(Value::Text("x".repeat(2_000)))];
    assert_eq!(show(&it.apply(&brought)), STEPS);
    // It is the whole entry that is short or long.
    let both = [short.as_str(), "INSERT INTO t VALUES(zeroblob(2000))"];
    assert_eq!(it.atomic(&both), STEPS);
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 5000]");
}

#[test]
fn an_entry_that_meets_long_values_takes_effect_once() {
    let mut it = with_little_for_long_values();
    it.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b, n)");
    it.execute("CREATE VIRTUAL TABLE f USING fts5(a)");
    let three = "INSERT INTO t(b, n) VALUES(1, random()),(zeroblob(50000), random()),(3, random())";
    assert_eq!(it.execute(three), "3/3");
    assert_eq!(
        it.atomic(&[three, "INSERT INTO f VALUES(hex(zeroblob(2000)))"]),
        "6/3 | 1/1"
    );
    assert_eq!(it.execute("UPDATE t SET n=n || 'x'"), "1/6");
    assert_eq!(it.request("SELECT count(DISTINCT n) FROM t"), "[count(DISTINCT n): 3]");
    assert_eq!(
        it.request("SELECT max(length(hex(b))) FROM t"),
        "!string or blob too big"
    );
    assert_eq!(it.request("SELECT max(length(b)) FROM t"), "[max(length(b)): 50000]");
    assert_eq!(
        it.execute(&format!("CREATE VIEW v AS SELECT '{}'", "x".repeat(2_000))),
        "1/6"
    );
    assert_eq!(it.execute("ALTER TABLE t RENAME n TO m"), "1/6");
    assert_eq!(
        it.execute("INSERT INTO t VALUES(7, zeroblob(100001), 1)"),
        "!string or blob too big"
    );
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 6]");
}

#[test]
fn what_functions_work_on_counts_as_steps() {
    let mut it = with_little_for_long_values();
    it.execute("CREATE TABLE t(a)");
    it.execute(&format!("INSERT INTO t {MANY} SELECT x FROM c LIMIT 100"));
    for work in [
        "randomblob(300)",
        "hex(zeroblob(r))",
        "upper(zeroblob(r))",
        "instr(zeroblob(r), x'01')",
    ] {
        let pairs = "SELECT (a.a - 1) % 400 + 1 AS r FROM t a, t b";
        // 10,000 rows take a tenth of the steps by themselves; in sixteen columns the bytes take more than all.
        let sql = format!("SELECT sum(length({work})) >= 0 FROM ({pairs})");
        assert!(it.request(&sql).ends_with(": 1]"), "{work}: {}", it.request(&sql));
        let sixteen: Vec<String> = (0..16).map(|add| format!("sum(length({work}) + {add})")).collect();
        let sql = format!("SELECT {} FROM ({pairs})", sixteen.join(", "));
        assert_eq!(it.request(&sql), STEPS, "{work}");
    }
    let hostile = "INSERT INTO t SELECT group_concat(hex(randomblob(10000))) FROM t a, t b, t c";
    assert_eq!(it.execute(hostile), STEPS);
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 100]");
}

#[test]
fn patterns_are_shorter_where_values_may_be_long() {
    let mut it = with_little_for_long_values();
    it.execute("CREATE TABLE t(a)");
    it.execute("INSERT INTO t VALUES('x')");
    let like = format!("SELECT count(*) FROM t WHERE a LIKE '{}%'", "x".repeat(300));
    assert_eq!(it.request(&like), "[count(*): 0]");
    it.execute("INSERT INTO t VALUES(hex(zeroblob(2000)))");
    assert_eq!(it.request(&like), "!LIKE or GLOB pattern too complex");
    assert_eq!(
        it.request("SELECT count(*) FROM t WHERE a LIKE '000%'"),
        "[count(*): 1]"
    );
}

#[test]
fn a_statement_that_stores_too_much_is_stopped() {
    let mut it = Fixture::limited(Limits {
        stored_bytes_max: 1 << 20,
        length_max: 1 << 20,
        ..Limits::default()
    });
    it.execute("CREATE TABLE t(a)");
    let stopped = "!statement stopped: it stored more bytes than a write may";
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)";
    assert_eq!(
        it.execute(&format!("INSERT INTO t {many} SELECT zeroblob(100000) FROM c")),
        stopped
    );
    assert_eq!(
        it.execute("INSERT INTO t VALUES(zeroblob(300000)),(zeroblob(300000)),(1)"),
        "3/3"
    );
    assert_eq!(it.execute("UPDATE t SET a=zeroblob(900000)"), stopped);
    assert_eq!(it.request("SELECT sum(length(a)) FROM t"), "[sum(length(a)): 600001]");
    assert_eq!(
        it.execute("INSERT INTO t VALUES(zeroblob(2000000))"),
        "!string or blob too big"
    );
}

#[test]
fn a_statement_that_fills_the_disk_is_stopped() {
    let mut it = Fixture::limited(Limits {
        written_bytes_max: 8 << 20,
        ..Limits::default()
    });
    let stopped = "!statement stopped: it wrote more bytes to disk than a write may";
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c)";
    let copy = format!("CREATE TABLE t AS {many} SELECT zeroblob(100000) FROM c");
    assert_eq!(it.execute(&copy), stopped);
    let sort = format!("{many} SELECT max(length(z)) FROM (SELECT x || zeroblob(100000) AS z FROM c ORDER BY z)");
    assert_eq!(it.request(&sort), stopped);
    assert!(it.writer.wal_bytes() < 32 << 20);
    assert_eq!(
        it.request("SELECT count(*) FROM sqlite_schema WHERE name='t'"),
        "[count(*): 0]"
    );
    assert_eq!(it.execute("CREATE TABLE t(a)"), "0/0");
}

#[test]
fn ranks_are_read_but_not_stored() {
    let mut it = Fixture::new();
    it.execute("CREATE VIRTUAL TABLE f USING fts5(a)");
    it.execute("CREATE TABLE t(a, b)");
    it.execute("INSERT INTO f VALUES('x y'),('x')");
    for sql in [
        "INSERT INTO t SELECT rank, 1 FROM f WHERE f MATCH 'x'",
        "INSERT INTO t SELECT a, 1 FROM f WHERE f MATCH 'x' ORDER BY bm25(f) LIMIT 1",
        "CREATE TABLE u AS SELECT rank FROM f WHERE f MATCH 'x'",
    ] {
        assert!(it.execute(sql).starts_with("!a write cannot use FTS5 ranks"), "{sql}");
    }
    assert_eq!(
        it.request("SELECT a FROM f WHERE f MATCH 'x' ORDER BY rank"),
        "[a: x;x y]"
    );
    assert!(!it.execute("INSERT INTO f(f, rank) VALUES('merge', 4)").starts_with('!'));
}

#[test]
fn an_extension_that_cannot_be_loaded_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        extensions: vec![dir.path().join("nothing.so")],
        ..Options::default()
    };
    let Err(error) = Writer::open(&dir.path().join("db.sqlite"), &options) else {
        panic!("opened without its extension");
    };
    assert!(error.to_string().contains("nothing.so: load extension"), "{error}");
}

#[test]
fn a_reply_that_grows_too_large_fails_and_undoes() {
    let mut it = Fixture::limited(Limits {
        reply_bytes_max: 10_000,
        ..Limits::default()
    });
    it.execute("CREATE TABLE t(a)");
    let many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 1000)";
    let refused = "!the rows of this request are more than a reply may hold: read them by a query instead";
    assert_eq!(
        it.execute(&format!("INSERT INTO t {many} SELECT x FROM c RETURNING a")),
        refused
    );
    assert_eq!(it.request("SELECT count(*) FROM t"), "[count(*): 0]");
    assert_eq!(it.request(&format!("{many} SELECT x FROM c")), refused);
    assert_eq!(
        it.execute(&format!("INSERT INTO t {many} SELECT x FROM c")),
        "1000/1000"
    );
}

#[test]
fn a_statement_without_end_is_stopped_on_virtual_tables_too() {
    let mut it = Fixture::limited(Limits {
        steps_max: 100_000,
        ..Limits::default()
    });
    it.execute("CREATE VIRTUAL TABLE f USING fts5(a)");
    assert_eq!(it.execute("CREATE VIRTUAL TABLE r USING rtree(id, x0, x1)"), "1/0");
    it.execute("CREATE TABLE t(a)");
    it.execute("CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO f VALUES(new.a); END");
    let some = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 200) SELECT x FROM c";
    assert_eq!(it.execute(&format!("INSERT INTO f {some}")), "200/200");
    let endless = some.replace(" LIMIT 200", "");
    let stopped = "!statement stopped: it took more virtual-machine steps than a write may";
    for sql in [
        format!("INSERT INTO f {endless}"),
        format!("INSERT INTO t {endless}"),
        format!("INSERT INTO r SELECT x, 1, 2 FROM ({endless})"),
        "INSERT INTO t SELECT 1 FROM f a, f b, f c, f d".to_owned(),
        "DELETE FROM t WHERE 4 = (SELECT count(*) FROM json_each('[1,2]'), f a, f b, f c)".to_owned(),
    ] {
        it.execute("INSERT INTO t VALUES('x')");
        assert_eq!(it.execute(&sql), stopped, "{sql}");
    }
    assert_eq!(it.execute("INSERT INTO f VALUES('x')"), "206/1");
}

#[test]
fn a_wrong_fts_command_is_a_result() {
    let mut it = Fixture::new();
    it.execute("CREATE VIRTUAL TABLE f USING fts5(a, content='')");
    assert!(
        it.execute("INSERT INTO f(f, rank) VALUES('nonsense', 1)")
            .starts_with('!')
    );
    it.execute("CREATE VIRTUAL TABLE g USING fts4(a)");
    assert!(it.execute("INSERT INTO g(g) VALUES('nonsense')").starts_with('!'));
    assert_eq!(it.execute("INSERT INTO f(rowid, a) VALUES(1, 'x')"), "1/1");
}

#[test]
fn nonsense_in_the_statistics_does_not_stop_the_node() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a, b)");
    it.execute("CREATE INDEX i ON t(a)");
    it.execute("INSERT INTO t VALUES(1,1),(2,2)");
    it.execute("ANALYZE");
    it.execute("UPDATE sqlite_stat1 SET stat='x y z'");
    it.execute("UPDATE sqlite_stat4 SET sample=x'ffffffff'");
    it.request("SELECT * FROM t WHERE a=1");
    let mut it = it.reopen();
    it.request("SELECT * FROM t WHERE a=1");
    assert!(it.execute("INSERT INTO t VALUES(3,3)").ends_with("/1"));
}

#[test]
fn a_damaged_page_stops_the_node() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    it.execute("INSERT INTO t SELECT randomblob(1000) FROM json_each('[1,2,3,4,5,6,7,8,9]')");
    it.writer.finish_checkpoint().unwrap();
    let path = it.path();
    let Fixture { writer, dir, options } = it;
    drop(writer);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 4096 * 2;
    bytes[last..].fill(0xee);
    std::fs::write(&path, bytes).unwrap();
    for suffix in ["-wal", "-floor"] {
        std::fs::remove_file(dir.path().join(format!("db.sqlite{suffix}"))).unwrap();
    }
    let writer = Writer::open(&path, &options).unwrap();
    let mut it = Fixture { writer, dir, options };
    let result = it.try_apply(&write(Kind::Execute, false, &["UPDATE t SET a=1"]));
    assert!(matches!(result, Err(Error::Unsound { .. })), "{result:?}");
}

#[test]
fn a_foreign_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sqlite");
    let plain = rusqlite::Connection::open(&path).unwrap();
    plain.execute_batch("CREATE TABLE t(a)").unwrap();
    let Err(error) = Writer::open(&path, &Options::default()) else {
        panic!("opened a foreign database");
    };
    assert!(matches!(error, Error::Foreign { .. }), "{error}");
}

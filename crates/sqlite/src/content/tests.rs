//! The content hash: what it sees and what it does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use command::rows::CellRef;
use rusqlite::Connection;

use super::{Content, ContentHash, content_hash};
use crate::error::Error;
use crate::home::Home;
use crate::meta::{self, Position, State};
use crate::open::Options;
use crate::pin::PinBounds;
use crate::readers::{Readers, ReadersOptions};
use crate::watch::Cancel;

struct Bench {
    _dir: tempfile::TempDir,
    home: Home,
    writer: Connection,
}

impl Bench {
    fn new(setup: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let writer = Connection::open(home.current().database()).unwrap();
        writer
            .execute_batch(&format!("PRAGMA journal_mode=WAL;{setup}"))
            .unwrap();
        meta::create(&writer, &State::default()).unwrap();
        Self {
            _dir: dir,
            home,
            writer,
        }
    }

    fn run(&self, sql: &str) {
        self.writer.execute_batch(sql).unwrap();
    }

    fn applied(&self, index: u64) {
        self.run(&format!("UPDATE sqlite_quorlite SET term=1, idx={index}"));
    }

    fn pin(&self, cancel: &Cancel) -> Content {
        let bounds = PinBounds {
            age_max: Duration::from_secs(600),
            cancel: cancel.clone(),
        };
        Content::pin(self.home.current(), &Options::default(), Arc::new(Instant::now), bounds).unwrap()
    }

    fn hash(&self) -> u64 {
        self.pin(&Cancel::new()).hash(&mut |_| ()).unwrap().hash
    }
}

/// The hash of a database made by `setup`, which holds everything that a schema can.
fn hash_of(setup: &str) -> u64 {
    Bench::new(setup).hash()
}

const SCHEMA: &str = "
    CREATE TABLE t(id INTEGER PRIMARY KEY, a, b TEXT DEFAULT 'x');
    CREATE TABLE w(k TEXT, n INT, v, PRIMARY KEY(k DESC, n)) WITHOUT ROWID;
    CREATE INDEX w_v ON w(v, n);
    CREATE TABLE plain(a, g AS (a || '!') VIRTUAL, s AS (a || '?') STORED);
    CREATE TABLE shadowed(rowid, _rowid_);
    CREATE VIEW v AS SELECT a FROM t;
    CREATE TRIGGER r AFTER INSERT ON plain BEGIN UPDATE t SET a=a WHERE 0; END;
    CREATE VIRTUAL TABLE f USING fts5(x);
    CREATE TABLE seq(id INTEGER PRIMARY KEY AUTOINCREMENT, \"we\"\"ird name\");
";

const ROWS: [&str; 7] = [
    "INSERT INTO t(id,a) VALUES(1,'one'),(2,2),(5,5.5),(-9,x'00ff'),(10,NULL)",
    "INSERT INTO w VALUES('b',2,'z'),('b',1,'y'),('a',7,'x')",
    "INSERT INTO plain(rowid,a) VALUES(1,'p'),(2,'q')",
    "INSERT INTO shadowed(oid,rowid,_rowid_) VALUES(2,1,2),(1,5,6)",
    "INSERT INTO f(rowid,x) VALUES(1,'some words')",
    "INSERT INTO seq(id) VALUES(41)",
    "PRAGMA user_version=3",
];

fn plain_history() -> String {
    format!("{SCHEMA}{}", ROWS.join(";"))
}

#[test]
fn the_same_content_by_another_history_has_the_same_hash() {
    let expected = hash_of(&plain_history());
    let reversed: Vec<&str> = ROWS.iter().rev().copied().collect();
    assert_eq!(
        hash_of(&format!("{SCHEMA}{}", reversed.join(";"))),
        expected,
        "another order"
    );
    assert_eq!(
        hash_of(&format!("PRAGMA page_size=512;{}", plain_history())),
        expected,
        "another page size"
    );

    let bench = Bench::new(&plain_history());
    bench.run("INSERT INTO t(a) SELECT hex(zeroblob(500)) FROM w,w; DELETE FROM t WHERE id>10");
    assert_eq!(bench.hash(), expected, "rows that came and went");
    bench.run("DELETE FROM t WHERE id=2; INSERT INTO t(id,a) VALUES(2,2)");
    bench.run("UPDATE w SET v='q' WHERE k='a'; UPDATE w SET v='x' WHERE k='a'");
    assert_eq!(bench.hash(), expected, "rows that were written again");
    bench.run("VACUUM");
    assert_eq!(bench.hash(), expected, "vacuum");
    bench.run("PRAGMA wal_checkpoint(TRUNCATE); REINDEX");
    assert_eq!(bench.hash(), expected, "checkpoint");
    bench.run("UPDATE sqlite_quorlite SET term=1, idx=9, effect=9, membership=x'09'");
    bench.run("INSERT INTO sqlite_quorlite_keys VALUES(3,'k',1,NULL)");
    assert_eq!(bench.hash(), expected, "our own tables");
}

#[test]
fn any_single_difference_has_another_hash() {
    let base = hash_of(&plain_history());
    let differences = [
        "UPDATE t SET a='One' WHERE id=1",
        "UPDATE t SET a=2.0 WHERE id=2",
        "UPDATE t SET a='2' WHERE id=2",
        "UPDATE t SET a=x'32' WHERE id=2",
        "UPDATE t SET a=5 WHERE id=5",
        "UPDATE t SET a='' WHERE id=10",
        "UPDATE t SET a=x'' WHERE id=10",
        "UPDATE t SET id=3 WHERE id=2",
        "UPDATE plain SET rowid=7 WHERE rowid=2",
        "UPDATE shadowed SET oid=9 WHERE oid=2",
        "DELETE FROM w WHERE n=1",
        "UPDATE w SET v='yy' WHERE n=1",
        "INSERT INTO f(rowid,x) VALUES(2,'more')",
        "INSERT INTO f(f,rank) VALUES('automerge',3)",
        "UPDATE sqlite_sequence SET seq=42",
        "ANALYZE",
        "PRAGMA user_version=4",
        "PRAGMA application_id=4",
        "CREATE INDEX t_a ON t(a)",
        "CREATE TABLE extra(a)",
        "DROP VIEW v",
        "DROP VIEW v; CREATE VIEW v AS SELECT a  FROM t",
        "ALTER TABLE t RENAME COLUMN b TO c",
        "DROP TRIGGER r",
    ];
    let mut seen = vec![base];
    for sql in differences {
        let bench = Bench::new(&plain_history());
        bench.run(sql);
        let hash = bench.hash();
        assert!(!seen.contains(&hash), "{sql}");
        seen.push(hash);
    }
}

#[test]
fn neighbouring_values_do_not_run_together() {
    let hash = |rows: &str| hash_of(&format!("CREATE TABLE t(a, b); INSERT INTO t VALUES {rows}"));
    assert_ne!(hash("('ab','c')"), hash("('a','bc')"));
    assert_ne!(hash("('a','b')"), hash("('b','a')"));
    assert_ne!(hash("(NULL,'')"), hash("('',NULL)"));
    assert_ne!(hash("(1,NULL),(NULL,2)"), hash("(1,NULL),(2,NULL)"));
}

#[test]
fn a_table_without_rowid_is_read_in_the_order_of_its_key_whatever_index_there_is() {
    let bench = Bench::new(
        "CREATE TABLE w(n INT, k TEXT COLLATE NOCASE, v, PRIMARY KEY(k DESC, n)) WITHOUT ROWID;
         INSERT INTO w VALUES(2,'a',1),(1,'A',4),(3,'B',2),(1,'b',3);
         CREATE INDEX i ON w(v,n,k);
         ANALYZE",
    );
    let mut order = Vec::new();
    let content = bench.pin(&Cancel::new());
    for table in content.tables().unwrap().iter().filter(|table| table.name == "w") {
        content
            .rows(&table.select(), None, |cells| {
                let [_, _, CellRef::Integer(v)] = cells else {
                    panic!("{cells:?}")
                };
                order.push(*v);
            })
            .unwrap();
    }
    assert_eq!(order, [3, 2, 4, 1]);
}

#[test]
fn the_hash_is_of_the_pinned_index_whatever_is_written_meanwhile() {
    let bench = Bench::new(&plain_history());
    bench.applied(7);
    let expected = bench.hash();
    let pinned = bench.pin(&Cancel::new());
    bench.run("DELETE FROM t");
    bench.applied(8);
    assert_eq!(pinned.position(), Some(Position { term: 1, index: 7 }));
    let hash = pinned.hash(&mut |_| ()).unwrap();
    assert_eq!(
        hash,
        ContentHash {
            index: 7,
            hash: expected
        }
    );
    assert_ne!(bench.hash(), expected);
}

#[test]
fn the_content_of_a_pool_is_hashed_at_its_index() {
    let bench = Bench::new(&plain_history());
    let readers = Readers::new(
        bench.home.current().clone(),
        Options::default(),
        ReadersOptions::default(),
        Arc::new(Instant::now),
    );
    let hash = bench.hash();
    assert_eq!(content_hash(&readers).unwrap(), ContentHash { index: 0, hash });
    bench.applied(3);
    assert_eq!(content_hash(&readers).unwrap(), ContentHash { index: 3, hash });
}

#[test]
fn views_that_broke_and_modules_that_are_missing_do_not_stop_it() {
    let bench = Bench::new(
        "CREATE TABLE t(a); CREATE VIEW broken AS SELECT gone FROM t;
         PRAGMA writable_schema=ON;
         INSERT INTO sqlite_schema VALUES('table','z','z',0,'CREATE VIRTUAL TABLE z USING nosuch(x)');
         PRAGMA writable_schema=OFF",
    );
    let before = bench.hash();
    bench.run("INSERT INTO t VALUES(1)");
    assert_ne!(bench.hash(), before);
}

#[test]
fn hashing_tells_its_progress_and_can_be_cancelled() {
    let bench = Bench::new(
        "CREATE TABLE t(a);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n LIMIT 50000) INSERT INTO t SELECT i FROM n",
    );
    let mut told = Vec::new();
    bench.pin(&Cancel::new()).hash(&mut |rows| told.push(rows)).unwrap();
    assert!(told.len() > 40 && told.is_sorted());

    let cancel = Cancel::new();
    let result = bench.pin(&cancel).hash(&mut |_| cancel.cancel());
    assert!(matches!(result, Err(Error::Interrupted)));
}

#[test]
fn a_verification_sees_what_is_remembered_besides_the_content() {
    let bench = Bench::new(SCHEMA);
    let verify = || bench.pin(&Cancel::new()).verify().unwrap();
    let before = verify();
    assert!(before.is_sound);
    assert_eq!(before.content, bench.hash());
    bench.run("INSERT INTO sqlite_quorlite_keys VALUES(5, 'order-7', 1, x'00ff')");
    let with_key = verify();
    assert_eq!(with_key.content, before.content);
    assert_ne!(with_key.memory, before.memory);
    bench.run("UPDATE sqlite_quorlite_keys SET reply=x'01ff'");
    assert_ne!(verify().memory, with_key.memory);
    bench.run("DELETE FROM sqlite_quorlite_keys");
    assert_eq!(verify(), before);
}

#[test]
fn a_verification_finds_an_index_that_is_not_that_of_its_table() {
    let bench = Bench::new("CREATE TABLE t(id INTEGER PRIMARY KEY, a); CREATE INDEX i ON t(a)");
    bench.run("INSERT INTO t(a) VALUES('first'),('second'),('third')");
    let sound = bench.pin(&Cancel::new()).verify().unwrap();
    let defensive = rusqlite::config::DbConfig::SQLITE_DBCONFIG_DEFENSIVE;
    bench.writer.set_db_config(defensive, false).unwrap();
    // The index is hidden while the table changes.
    let hidden = "PRAGMA writable_schema=ON; DELETE FROM sqlite_schema WHERE name='i'; PRAGMA writable_schema=RESET";
    let root: i64 = bench
        .writer
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name='i'", [], |row| {
            row.get(0)
        })
        .unwrap();
    bench.run(hidden);
    bench.run("UPDATE t SET a='other' WHERE id=2");
    bench.run(&format!(
        "PRAGMA writable_schema=ON;
         INSERT INTO sqlite_schema VALUES('index','i','t',{root},'CREATE INDEX i ON t(a)');
         PRAGMA writable_schema=RESET"
    ));
    let verified = bench.pin(&Cancel::new()).verify().unwrap();
    assert!(sound.is_sound && !verified.is_sound);
}

//! Where statements end, whatever the pieces in which the text arrives.

use std::io::{self, Read};

use proptest::prelude::*;

use super::{Script, Special, Unreadable};

/// Gives out at most `piece` bytes at a time.
struct Pieces<'t> {
    text: &'t [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.piece.min(buffer.len()).min(self.text.len());
        buffer[..length].copy_from_slice(&self.text[..length]);
        self.text = &self.text[length..];
        Ok(length)
    }
}

fn statements(text: &[u8], piece: usize) -> Result<Vec<String>, Unreadable> {
    let mut source = Pieces { text, piece };
    let mut script = Script::new(&mut source, 1 << 20);
    let mut found = Vec::new();
    while let Some(statement) = script.next()? {
        found.push(statement.trim().to_owned());
    }
    Ok(found)
}

#[test]
fn statements_end_at_their_semicolons_alone() {
    let text = "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;;\n\
                INSERT INTO \"a;b\" VALUES('x;''y', [c;d], `e;f`); -- a comment; with one\n\
                /* and ; another */ SELECT 1;\n\
                CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; SELECT CASE WHEN 1 THEN 2 END; END;\n\
                CREATE TEMP TRIGGER u AFTER INSERT ON x BEGIN DELETE FROM x; END ;\n\
                SELECT 'unfinished";
    let expected = [
        "PRAGMA foreign_keys=OFF;",
        "BEGIN TRANSACTION;",
        "INSERT INTO \"a;b\" VALUES('x;''y', [c;d], `e;f`);",
        "-- a comment; with one\n/* and ; another */ SELECT 1;",
        "CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; SELECT CASE WHEN 1 THEN 2 END; END;",
        "CREATE TEMP TRIGGER u AFTER INSERT ON x BEGIN DELETE FROM x; END ;",
        "SELECT 'unfinished",
    ];
    assert_eq!(statements(text.as_bytes(), usize::MAX).unwrap(), expected);
}

#[test]
fn a_long_statement_is_found_whole() {
    let long = format!("INSERT INTO t VALUES('{}');", "ab;c''d".repeat(100_000));
    let text = format!("{long}{long}SELECT 1");
    assert_eq!(
        statements(text.as_bytes(), usize::MAX).unwrap(),
        [&*long, &*long, "SELECT 1"]
    );
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    assert!(matches!(statements(b"SELECT '\xff';", 3), Err(Unreadable::Encoding)));
    let long = format!("SELECT '{}'", "x".repeat(3 << 20));
    assert!(matches!(
        statements(long.as_bytes(), usize::MAX),
        Err(Unreadable::TooLong)
    ));
}

#[test]
fn a_comment_at_the_end_is_a_statement_and_blanks_are_none() {
    assert_eq!(statements(b"SELECT 1; -- done", 1).unwrap(), ["SELECT 1;", "-- done"]);
    assert_eq!(statements(b"SELECT 1; \n;\n ", 1).unwrap(), ["SELECT 1;"]);
    assert!(statements(b" ;\n;", 1).unwrap().is_empty());
}

#[test]
fn what_a_dump_may_say_is_recognised() {
    for (sql, special) in [
        ("BEGIN TRANSACTION;", Special::Begin),
        ("begin", Special::Begin),
        ("-- end of it\nCOMMIT;", Special::Commit),
        ("END;", Special::Commit),
        ("ROLLBACK;", Special::Rollback),
        ("ROLLBACK TRANSACTION;", Special::Rollback),
        ("PRAGMA foreign_keys=OFF;", Special::ForeignKeys(false)),
        ("pragma Foreign_Keys ( 1 )", Special::ForeignKeys(true)),
        ("PRAGMA writable_schema=ON;", Special::WritableSchema(true)),
        ("PRAGMA writable_schema=RESET", Special::WritableSchema(false)),
        ("PRAGMA journal_mode = 'wal'", Special::Local),
        (
            "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql)VALUES('table','f','f',0,'x');",
            Special::SchemaRow("VALUES('table','f','f',0,'x')"),
        ),
        (
            "insert into \"sqlite_master\" (type, name, tbl_name, rootpage, sql) values ('table')",
            Special::SchemaRow("values ('table')"),
        ),
    ] {
        assert_eq!(Special::of(sql), Some(special), "{sql}");
    }
    for sql in [
        "ROLLBACK TO x",
        "SAVEPOINT x",
        "PRAGMA foreign_keys",
        "PRAGMA user_version=3",
        "INSERT INTO t VALUES(1)",
        "INSERT INTO sqlite_schema VALUES(1)",
        "INSERT INTO sqlite_schema(type) VALUES(1)",
        "-- nothing",
        "",
    ] {
        assert_eq!(Special::of(sql), None, "{sql}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_show(text in "[a;'\"/*\\-\n \\[\\]é`]{0,40}(create|trigger|end|begin)?[ ;a]{0,8}", piece in 1_usize..6) {
        let whole = statements(text.as_bytes(), usize::MAX).unwrap();
        prop_assert_eq!(statements(text.as_bytes(), piece).unwrap(), whole);
    }
}

//! What is blocked, what evades nothing any more, and what is let through.

use super::is_blocked;

#[test]
fn blocked() {
    for sql in [
        "PRAGMA journal_mode = delete",
        "pragma journal_mode=wal",
        " \n PRAGMA main.journal_mode = off",
        "PRAGMA wal_autocheckpoint = 0",
        "PRAGMA wal_checkpoint",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "PRAGMA main.wal_checkpoint",
        "PRAGMA synchronous = OFF",
        "PRAGMA main.synchronous=1",
        "PRAGMA query_only=0",
        "PRAGMA journal_mode(delete)",
        "-- a comment\nPRAGMA journal_mode=off",
        "/* a */ ; -- b\n PRAGMA /* c */ journal_mode/**/=/**/off",
        "PRAGMA \"main\".journal_mode = off",
        "PRAGMA main . [journal_mode] = off",
        "PRAGMA `synchronous` = 1",
    ] {
        assert!(is_blocked(sql), "{sql}");
    }
}

#[test]
fn let_through() {
    for sql in [
        "",
        ";",
        "-- PRAGMA journal_mode=off",
        "/* PRAGMA journal_mode=off",
        "PRAGMA",
        "PRAGMA journal_mode",
        "PRAGMA main.journal_mode;",
        "PRAGMA synchronous",
        "PRAGMA query_only",
        "PRAGMA wal_autocheckpoint",
        "PRAGMA foreign_keys=ON",
        "PRAGMA table_info(\"journal_mode\")",
        "SELECT 'PRAGMA journal_mode=off'",
        "INSERT INTO pragma VALUES(1)",
        "PRAGMA \"unclosed",
        "PRAGMA [unclosed",
    ] {
        assert!(!is_blocked(sql), "{sql}");
    }
}

//! Entries that are no plain writes, and the order of all.

use std::sync::Arc;

use bytes::Bytes;
use command::entry::{Action, Command, Settings, Skip};
use sqlite::Interrupt;

use crate::skips::Skips;

use super::{Body, Entry, Fixture, Position, action, entry, error_of, execute};

fn settle(index: u64, settings: Settings) -> Entry {
    at(
        index,
        Body::Command(Arc::new(Command::new(Some(Action::Settings(settings))))),
    )
}

fn at(index: u64, body: Body) -> Entry {
    Entry {
        position: Position { term: 3, index },
        body,
    }
}

#[test]
fn memberships_and_settings_are_part_of_the_state() {
    let mut it = Fixture::new();
    let settings = Settings {
        foreign_keys: false,
        extensions: vec!["x".to_owned()],
        sqlite: "3.54.0".to_owned(),
    };
    let membership = Bytes::from_static(b"members");
    let replies = it.applier().apply(&[
        at(0, Body::Membership(membership.clone())),
        at(1, Body::Blank),
        settle(2, settings.clone()),
    ]);
    assert_eq!(
        replies.unwrap().iter().map(|reply| reply.index).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    it.reopen();
    let applied = it.applier().applied();
    assert_eq!(applied.position, Some(Position { term: 3, index: 2 }));
    assert_eq!(applied.membership, Some(membership));
    assert_eq!(applied.membership_at, Some(Position { term: 3, index: 0 }));
    assert_eq!(applied.settings, Some(settings.clone()));

    let newer = Settings {
        sqlite: "3.55.0".to_owned(),
        ..settings.clone()
    };
    let other = Settings {
        foreign_keys: true,
        ..newer.clone()
    };
    let replies = it
        .applier()
        .apply(&[settle(3, newer.clone()), settle(4, other)])
        .unwrap();
    assert_eq!(replies[0].error, None);
    assert_eq!(replies[1].error.as_ref().unwrap().code, "settings_fixed");
    assert_eq!(it.applier().applied().settings, Some(newer));
}

#[test]
fn a_skipped_entry_has_no_effect() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    it.applier()
        .apply(&[action(2, Action::Skip(Skip { index: 4 }))])
        .unwrap();
    it.reopen();
    it.applier().skips().announce(5);
    let insert = |index| entry(index, execute(&["INSERT INTO t VALUES(1)"]));
    let replies = it
        .applier()
        .apply(&[insert(3), insert(4), insert(5), insert(6)])
        .unwrap();
    let codes: Vec<_> = replies
        .iter()
        .map(|reply| reply.error.as_ref().map(|it| it.code.as_str()))
        .collect();
    assert_eq!(codes, [None, Some("skipped"), Some("skipped"), None]);
    assert_eq!(it.ask("SELECT group_concat(a) FROM t"), "1,1");
}

#[test]
fn what_was_run_cannot_be_skipped_any_more() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    let insert = |index| entry(index, execute(&["INSERT INTO t VALUES(1)"]));
    let skip = |index, of| action(index, Action::Skip(Skip { index: of }));
    it.applier().skips().announce(3);
    it.applier()
        .apply(&[insert(2), insert(3), insert(4), skip(5, 3)])
        .unwrap();
    it.reopen();
    it.applier().apply(&[skip(6, 3)]).unwrap();
    assert_eq!(it.ask("SELECT group_concat(a) FROM t"), "1,1");
    assert!(it.applier().skips().hold(7).is_none(), "applied");
    let error = it.applier().apply(&[skip(8, 4)]).unwrap_err();
    assert!(error.to_string().contains("skip entry 4"), "{error}");
}

#[test]
fn a_skip_that_comes_before_the_commit_undoes_the_entry() {
    let skips = Skips::default();
    skips.attach(7, Interrupt::default());
    skips.announce(9);
    assert!(skips.seal(8, |_| false));
    assert!(!skips.seal(10, |_| false), "9 was run");
    assert!(skips.seal(10, |index| index == 9), "9 was passed over");
    let skips = Arc::new(skips);
    let hold = skips.hold(12);
    assert!(skips.seal(11, |_| false));
    assert!(!skips.seal(12, |_| false), "held");
    drop(hold);
    assert!(skips.seal(12, |_| false), "let go");
}

#[test]
fn the_clock_never_runs_backwards() {
    let mut it = Fixture::new();
    let mut later = execute(&["CREATE TABLE t(a DEFAULT CURRENT_TIMESTAMP, b)"]);
    later.clock_us = 1_800_000_000_000_000;
    it.write(later);
    it.execute("INSERT INTO t(b) VALUES(1)");
    assert_eq!(it.ask("SELECT a FROM t"), "2027-01-15 08:00:00");
    assert_eq!(it.applier().applied().clock_us, 1_800_000_000_000_000);
}

#[test]
#[should_panic(expected = "does not follow")]
fn an_entry_is_never_applied_twice() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    let _ = it.applier().apply(&[at(1, Body::Blank)]);
}

#[test]
fn vacuum_in_a_batch_is_applied_in_its_place() {
    let mut it = Fixture::new();
    let batch = [
        entry(1, execute(&["CREATE TABLE t(a)"])),
        entry(2, execute(&["INSERT INTO t VALUES(1)"])),
        entry(3, execute(&["VACUUM"])),
        entry(4, execute(&["INSERT INTO t VALUES(2)"])),
        entry(5, execute(&["INSERT INTO t VALUES(3)", "VACUUM"])),
    ];
    let replies = it.applier().apply(&batch).unwrap();
    assert_eq!(error_of(&replies[2]), None);
    assert_eq!(error_of(&replies[4]), Some("cannot VACUUM from within a transaction"));
    assert_eq!(it.ask("SELECT group_concat(a) FROM t"), "1,2");
}

#[test]
fn columns_are_added_where_sqlite_looks_at_the_rows_first() {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE s(a INTEGER) STRICT");
    it.execute("INSERT INTO s VALUES(1)");
    for sql in [
        "ALTER TABLE s ADD COLUMN b INTEGER DEFAULT 5",
        "ALTER TABLE s ADD COLUMN c INTEGER CHECK(c IS NULL)",
        "ALTER TABLE s ADD COLUMN d TEXT NOT NULL AS ('x' || a)",
    ] {
        assert_eq!(super::error_of(&it.execute(sql)), None, "{sql}");
    }
    let refused = it.execute("ALTER TABLE s ADD COLUMN e INTEGER DEFAULT 5 CHECK(e > 5)");
    assert_eq!(super::error_of(&refused), Some("CHECK constraint failed"));
    for sql in [
        "SELECT * FROM pragma_quick_check",
        "INSERT INTO s(a) SELECT 1 FROM pragma_quick_check('s')",
    ] {
        let refused = it.execute(sql);
        let text = super::error_of(&refused).unwrap_or_default();
        assert!(text.contains("differs between nodes"), "{sql}: {text}");
    }
}

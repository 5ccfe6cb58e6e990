//! Retries: what is kept, for how long, and what is refused.

use command::reply::Reply;
use command::request::{ClientKey, ForwardKey, KeyOrigin, Kind, Write};

use super::{Fixture, entry, execute, keyed, request, timeless};

fn insert(value: u64) -> Write {
    execute(&[&format!("INSERT INTO t VALUES({value})")])
}

fn client(write: Write, key: &str, body_hash: u64) -> Write {
    let key = key.to_owned();
    keyed(write, KeyOrigin::Client(ClientKey { key, body_hash }))
}

fn forward(write: Write, boot: u64, sequence: u64, issued_at: u64) -> Write {
    let incarnation = 9;
    keyed(
        write,
        KeyOrigin::Forward(ForwardKey {
            incarnation,
            boot,
            sequence,
            issued_at,
        }),
    )
}

fn code(reply: &Reply) -> &str {
    reply.error.as_ref().map_or("", |failure| failure.code.as_str())
}

fn table() -> Fixture {
    let mut it = Fixture::new();
    it.execute("CREATE TABLE t(a)");
    it
}

#[test]
fn a_client_key_answers_its_first_reply_for_ever_after() {
    let mut it = table();
    let first = it.write(client(insert(1), "k", 5));
    assert_eq!(timeless(it.write(client(insert(1), "k", 5))), timeless(first.clone()));
    it.reopen();
    assert_eq!(timeless(it.write(client(insert(1), "k", 5))), timeless(first));
    assert_eq!(code(&it.write(client(insert(2), "k", 6))), "key_reused");
    assert_eq!(it.ask("SELECT count(*) FROM t"), "Integer(1)");
}

#[test]
fn a_retry_in_the_same_batch_is_answered_too() {
    let mut it = table();
    let batch = [
        entry(2, client(insert(1), "k", 5)),
        entry(3, client(insert(1), "k", 5)),
        // Makes the whole batch be undone and run entry by entry.
        entry(
            4,
            execute(&["CREATE TRIGGER r BEFORE INSERT ON t WHEN new.a=9 BEGIN SELECT RAISE(ROLLBACK,'r'); END"]),
        ),
        entry(5, insert(9)),
        entry(6, client(insert(1), "k", 5)),
        entry(7, forward(insert(2), 1, 1, 1)),
        entry(8, forward(insert(2), 1, 1, 1)),
    ];
    let replies = it.applier().apply(&batch).unwrap();
    assert_eq!(timeless(replies[0].clone()), timeless(replies[1].clone()));
    assert_eq!(timeless(replies[0].clone()), timeless(replies[4].clone()));
    assert_eq!(replies[5], replies[6]);
    assert_eq!(it.ask("SELECT group_concat(a) FROM t"), "1,2");
}

#[test]
fn failures_are_kept_as_well_and_large_replies_are_not() {
    let mut it = table();
    let wrong = || client(execute(&["INSERT INTO nowhere VALUES(1)"]), "w", 1);
    let first = it.write(wrong());
    it.execute("CREATE TABLE nowhere(a)");
    assert_eq!(timeless(it.write(wrong())), timeless(first));

    let large = || {
        let write = request(Kind::Request, &["INSERT INTO t VALUES(zeroblob(20000)) RETURNING a"]);
        client(write, "l", 1)
    };
    assert_eq!(code(&it.write(large())), "");
    assert_eq!(code(&it.write(large())), "reply_not_kept");
    assert_eq!(it.ask("SELECT count(*) FROM t"), "Integer(1)");
}

#[test]
fn a_forwarded_write_runs_once() {
    let mut it = table();
    let first = it.write(forward(insert(1), 1, 7, 1));
    assert_eq!(it.write(forward(insert(1), 1, 7, 1)), first);
    it.reopen();
    assert_eq!(code(&it.write(forward(insert(1), 1, 7, 1))), "reply_not_kept");
    // Sequences may arrive in any order, and a new boot counts from the start again.
    for (boot, sequence) in [(1, 3), (1, 8), (2, 7), (1, 4096), (1, 4099)] {
        assert_eq!(
            code(&it.write(forward(insert(2), boot, sequence, 1))),
            "",
            "{boot} {sequence}"
        );
    }
    assert_eq!(code(&it.write(forward(insert(2), 1, 3, 1))), "unknown");
    assert_eq!(code(&it.write(forward(insert(2), 1, 8, 1))), "");
    assert_eq!(it.ask("SELECT count(*) FROM t"), "Integer(6)");
}

#[test]
fn a_crowd_of_forwarding_nodes_is_told_to_try_again() {
    let mut it = table();
    for boot in 0..1024 {
        assert_eq!(code(&it.write(forward(insert(1), boot, 1, 1))), "");
    }
    assert_eq!(code(&it.write(forward(insert(2), 1024, 1, 1))), "not_appended");
    assert_eq!(it.ask("SELECT max(a) FROM t"), "Integer(1)");
}

#[test]
fn a_window_forgets_what_it_has_moved_past() {
    let mut it = table();
    it.write(forward(insert(1), 1, 10, 1));
    it.write(forward(insert(1), 1, 100_000, 1));
    assert_eq!(code(&it.write(forward(insert(1), 1, 10, 1))), "unknown");
    // The ring has a place for 99,999 that an older sequence had before.
    assert_eq!(code(&it.write(forward(insert(1), 1, 99_999, 1))), "");
    assert_eq!(code(&it.write(forward(insert(1), 1, 99_999, 1))), "");
    assert_eq!(it.ask("SELECT count(*) FROM t"), "Integer(3)");
}

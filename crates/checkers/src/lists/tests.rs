//! Histories of transactions on lists that are known to be good or bad.

use super::{Fate, Step, Transaction, check};
use crate::history::WriteId;

fn append(list: u64, value: i64) -> Step {
    Step::Append { list, value }
}

fn read(list: u64, seen: &[i64]) -> Step {
    Step::Read {
        list,
        seen: Some(seen.to_vec()),
    }
}

fn transaction(sequence: u64, begin: u64, end: u64, steps: Vec<Step>) -> Transaction {
    Transaction {
        id: WriteId { client: 1, sequence },
        steps,
        begin,
        end,
        fate: Fate::Done,
    }
}

fn with(fate: Fate, transaction: Transaction) -> Transaction {
    Transaction { fate, ..transaction }
}

fn found(transactions: &[Transaction]) -> String {
    check(transactions, true).join("\n")
}

#[test]
fn transactions_one_after_the_other_are_fine() {
    let history = [
        transaction(1, 1, 2, vec![append(1, 10), append(2, 11)]),
        transaction(2, 3, 4, vec![read(1, &[10]), append(1, 12), read(1, &[10, 12])]),
        transaction(3, 5, 6, vec![read(2, &[11]), read(1, &[10, 12])]),
    ];
    assert_eq!(found(&history), "");
}

#[test]
fn transactions_that_overlap_have_either_order() {
    for seen in [&[10, 11][..], &[11, 10]] {
        let history = [
            transaction(1, 1, 9, vec![append(1, 10)]),
            transaction(2, 2, 8, vec![append(1, 11)]),
            transaction(3, 10, 11, vec![read(1, seen)]),
        ];
        assert_eq!(found(&history), "");
    }
}

#[test]
fn an_unknown_transaction_may_have_happened_late_or_not_at_all() {
    let unknown = with(Fate::Unknown, transaction(1, 1, 2, vec![append(1, 10), append(2, 11)]));
    let before = transaction(2, 3, 4, vec![read(1, &[]), read(2, &[])]);
    let after = transaction(3, 5, 6, vec![read(1, &[10]), read(2, &[11])]);
    let never = transaction(4, 7, 8, vec![read(1, &[]), read(2, &[])]);
    assert_eq!(found(&[unknown.clone(), before.clone(), after]), "");
    assert_eq!(found(&[unknown, before, never]), "");
}

#[test]
fn half_of_an_unknown_transaction_is_found() {
    let unknown = with(Fate::Unknown, transaction(1, 1, 2, vec![append(1, 10), append(2, 11)]));
    let half = transaction(2, 3, 4, vec![read(1, &[10]), read(2, &[])]);
    let whole = transaction(3, 5, 6, vec![read(2, &[11])]);
    let found = found(&[unknown, half, whole]);
    assert!(found.contains("no order"), "{found}");
}

#[test]
fn a_read_between_two_appends_of_one_transaction_is_found() {
    let history = [
        transaction(1, 1, 9, vec![append(1, 10), append(1, 11)]),
        transaction(2, 2, 8, vec![read(1, &[10])]),
        transaction(3, 10, 12, vec![read(1, &[10, 11])]),
    ];
    assert!(found(&history).contains("no order"), "{}", found(&history));
}

#[test]
fn two_transactions_that_each_missed_the_other_are_found() {
    let history = [
        transaction(1, 1, 9, vec![read(2, &[]), append(1, 10)]),
        transaction(2, 2, 8, vec![read(1, &[]), append(2, 11)]),
        transaction(3, 10, 11, vec![read(1, &[10]), read(2, &[11])]),
    ];
    assert!(found(&history).contains("Rw"), "{}", found(&history));
}

#[test]
fn a_read_that_misses_what_was_acknowledged_before_it_is_found() {
    let history = [
        transaction(1, 1, 2, vec![append(1, 10)]),
        transaction(2, 3, 4, vec![read(1, &[])]),
        transaction(3, 5, 6, vec![read(1, &[10])]),
    ];
    assert!(found(&history).contains("Time"), "{}", found(&history));
}

#[test]
fn the_same_read_is_fine_while_the_append_runs() {
    let history = [
        transaction(1, 1, 5, vec![append(1, 10)]),
        transaction(2, 3, 4, vec![read(1, &[])]),
        transaction(3, 6, 7, vec![read(1, &[10])]),
    ];
    assert_eq!(found(&history), "");
}

#[test]
fn two_orders_of_one_list_are_found() {
    let history = [
        transaction(1, 1, 2, vec![append(1, 10)]),
        transaction(2, 1, 2, vec![append(1, 11)]),
        transaction(3, 3, 4, vec![read(1, &[10])]),
        transaction(4, 5, 6, vec![read(1, &[11, 10])]),
    ];
    assert!(found(&history).contains("no beginning"), "{}", found(&history));
}

#[test]
fn a_lost_append_is_found_only_where_the_end_was_read() {
    let history = [
        transaction(1, 1, 2, vec![append(1, 10)]),
        transaction(2, 1, 4, vec![read(1, &[])]),
    ];
    assert!(found(&history).contains("lost 10"), "{}", found(&history));
    assert_eq!(check(&history, false), Vec::<String>::new());
}

#[test]
fn a_value_twice_or_unsent_or_refused_is_found() {
    let sent = transaction(1, 1, 2, vec![append(1, 10)]);
    let twice = transaction(2, 3, 4, vec![read(1, &[10, 10])]);
    assert!(found(&[sent.clone(), twice]).contains("twice"));
    let unsent = transaction(2, 3, 4, vec![read(1, &[10, 99])]);
    assert!(found(&[sent.clone(), unsent]).contains("nobody appended"));
    let seen = transaction(2, 3, 4, vec![read(1, &[10])]);
    assert!(found(&[with(Fate::Refused, sent), seen]).contains("was refused"));
}

#[test]
fn a_transaction_that_does_not_see_itself_is_found() {
    let history = [transaction(1, 1, 2, vec![append(1, 10), read(1, &[])])];
    assert!(found(&history).contains("itself"), "{}", found(&history));
}

#[test]
fn a_history_of_thousands_is_judged() {
    let mut history = Vec::new();
    let mut seen = Vec::new();
    for number in 0..4000_u64 {
        let (list, value) = (1 + number / 100, number.cast_signed());
        if number % 100 == 0 {
            seen.clear();
        }
        seen.push(value);
        let steps = vec![append(list, value), read(list, &seen)];
        history.push(transaction(number + 1, number * 3, number * 3 + 4, steps));
    }
    assert_eq!(found(&history), "");
}

//! Histories that are known to be good or bad.

use std::collections::BTreeMap;

use super::check;
use crate::history::{Effect, Holding, Inner, Outcome, Read, Sample, Write, WriteId};

const DONE: Outcome = Outcome::Acknowledged { index: 5, value: None };

fn id(sequence: u64) -> WriteId {
    WriteId { client: 1, sequence }
}

fn write(sequence: u64, outcome: Outcome) -> Write {
    let begin = sequence * 10;
    Write {
        id: id(sequence),
        effect: Effect::Row,
        begin,
        end: begin + 5,
        outcome,
    }
}

fn increment(sequence: u64, value: i64) -> Write {
    let outcome = Outcome::Acknowledged {
        index: sequence,
        value: Some(value),
    };
    Write {
        effect: Effect::Increment { counter: 7 },
        ..write(sequence, outcome)
    }
}

fn history(writes: Vec<Write>) -> Inner {
    Inner {
        writes,
        ..Inner::default()
    }
}

fn holding(rows: Vec<(WriteId, Effect)>) -> Holding {
    let counted = i64::try_from(rows.len()).unwrap();
    Holding {
        node: "n1".to_owned(),
        rows,
        counted,
        ..Holding::default()
    }
}

fn read(begin: u64, rows: Vec<u64>, counters: &[(u64, i64)]) -> Read {
    Read {
        node: "n2".to_owned(),
        is_linearizable: true,
        client: 1,
        begin,
        end: begin + 5,
        rows,
        counters: counters.iter().copied().collect(),
        sum: 4000,
    }
}

fn found(history: &Inner, holdings: &[Holding]) -> String {
    check(history, holdings).join("\n")
}

#[test]
fn acknowledged_rows_once_and_unknown_ones_or_not_are_fine() {
    let writes = vec![
        write(1, DONE),
        write(2, Outcome::Unknown),
        write(3, Outcome::Unknown),
        write(4, Outcome::Refused),
    ];
    let holding = holding(vec![(id(1), Effect::Row), (id(2), Effect::Row)]);
    assert_eq!(found(&history(writes), &[holding]), "");
}

#[test]
fn a_lost_write_is_found() {
    let found = found(&history(vec![write(1, DONE)]), &[holding(vec![])]);
    assert_eq!(found, "n1 lost write 1-1, acknowledged at index 5");
}

#[test]
fn a_write_that_took_effect_twice_is_found() {
    let rows = vec![(id(1), Effect::Row), (id(1), Effect::Row)];
    assert_eq!(
        found(&history(vec![write(1, DONE)]), &[holding(rows)]),
        "n1 holds write 1-1 2 times"
    );
}

#[test]
fn a_refused_write_that_happened_is_found() {
    let found = found(
        &history(vec![write(1, Outcome::Refused)]),
        &[holding(vec![(id(1), Effect::Row)])],
    );
    assert_eq!(found, "n1 holds write 1-1 1 times, although it was refused");
}

#[test]
fn a_row_that_nobody_wrote_is_found() {
    let found = found(&history(vec![]), &[holding(vec![(id(9), Effect::Row)])]);
    assert_eq!(found, "n1 holds write 1-9, which nobody wrote");
}

#[test]
fn a_counter_that_lost_an_increment_is_found() {
    let effect = Effect::Increment { counter: 7 };
    let mut holding = holding(vec![(id(1), effect), (id(2), effect)]);
    holding.counters = BTreeMap::from([(7, 1)]);
    let found = found(&history(vec![increment(1, 1), increment(2, 2)]), &[holding]);
    assert_eq!(found, "n1 has counters {7: 1}, its rows say {7: 2}");
}

#[test]
fn half_a_move_is_found() {
    let effect = Effect::Move { from: 1, to: 2 };
    let mut holding = holding(vec![(id(1), effect)]);
    holding.accounts = BTreeMap::from([(1, 999), (2, 1000)]);
    let writes = vec![Write {
        effect,
        ..write(1, DONE)
    }];
    assert!(found(&history(writes), &[holding]).contains("its rows say {1: 999, 2: 1001}"));
}

#[test]
fn a_value_answered_twice_and_a_value_that_went_back_are_found() {
    assert!(found(&history(vec![increment(1, 4), increment(2, 4)]), &[]).contains("answered 4 twice"));
    assert!(found(&history(vec![increment(1, 5), increment(2, 4)]), &[]).contains("after a lower value"));
    assert_eq!(found(&history(vec![increment(1, 4), increment(2, 5)]), &[]), "");
}

#[test]
fn replicas_that_differ_are_found() {
    let sample = |node: &str, index, hash| Sample {
        node: node.to_owned(),
        index,
        hash,
    };
    let mut history = history(vec![]);
    history.samples = vec![sample("n1", 4, 1), sample("n2", 5, 2), sample("n2", 4, 1)];
    assert_eq!(found(&history, &[]), "");
    history.samples.push(sample("n3", 5, 3));
    assert!(found(&history, &[]).starts_with("n2 and n3 differ at index 5"));
    let other = Holding {
        hash: 1,
        ..holding(vec![])
    };
    assert!(found(&Inner::default(), &[holding(vec![]), other]).contains("differ in the end"));
}

#[test]
fn a_read_that_misses_an_acknowledged_write_is_found() {
    let mut history = history(vec![write(1, DONE), write(2, Outcome::Unknown)]);
    history.reads = vec![read(16, vec![1], &[]), read(26, vec![1, 2], &[])];
    assert_eq!(found(&history, &[]), "");
    history.reads = vec![read(16, vec![], &[])];
    assert_eq!(
        found(&history, &[]),
        "a read on n2 at 16 missed write 1-1, acknowledged before"
    );
}

#[test]
fn a_read_of_a_write_to_come_or_of_a_refused_one_is_found() {
    let mut history = history(vec![write(1, Outcome::Refused), write(9, DONE)]);
    history.reads = vec![read(16, vec![1, 9], &[])];
    let found = found(&history, &[]);
    assert!(found.contains("saw write 1-1, which cannot be") && found.contains("saw write 1-9, which cannot be"));
}

#[test]
fn a_stale_counter_is_found() {
    let mut history = history(vec![increment(1, 1), increment(2, 2)]);
    history.reads = vec![read(16, vec![1], &[(7, 1)]), read(26, vec![1, 2], &[(7, 2)])];
    assert_eq!(found(&history, &[]), "");
    history.reads = vec![read(26, vec![1, 2], &[(7, 1)])];
    assert!(found(&history, &[]).contains("saw counter 7 at 1, not in 2..=2"));
}

#[test]
fn a_read_that_goes_back_is_found() {
    let unknown = |sequence| Write {
        outcome: Outcome::Unknown,
        ..increment(sequence, 0)
    };
    let mut history = history(vec![unknown(1), unknown(2)]);
    history.reads = vec![read(40, vec![1, 2], &[(7, 2)]), read(50, vec![1, 2], &[(7, 1)])];
    assert!(found(&history, &[]).contains("at 1, a read before it at 2"));
}

#[test]
fn half_a_move_in_a_read_is_found() {
    let mut history = history(vec![]);
    history.reads = vec![Read {
        sum: 3999,
        ..read(10, vec![], &[])
    }];
    assert!(found(&history, &[]).contains("saw half a move"));
}

//! Histories of which it is known whether there is an order.

use super::{Action, Operation, Verdict, check};

fn operation(action: Action, begin: u64, end: u64) -> Operation {
    Operation {
        register: 1,
        action,
        begin,
        end: Some(end),
    }
}

fn read(value: i64, begin: u64, end: u64) -> Operation {
    operation(Action::Read(value), begin, end)
}

fn write(value: i64, begin: u64, end: u64) -> Operation {
    operation(Action::Write(value), begin, end)
}

fn swap(from: i64, to: i64, did: bool, begin: u64, end: u64) -> Operation {
    let did = Some(did);
    operation(Action::Swap { from, to, did }, begin, end)
}

/// The same operation, of which nobody knows what became of it.
fn lost(operation: Operation) -> Operation {
    let action = match operation.action {
        Action::Swap { from, to, .. } => Action::Swap { from, to, did: None },
        action @ (Action::Read(_) | Action::Write(_)) => action,
    };
    Operation {
        action,
        end: None,
        ..operation
    }
}

fn verdict(operations: &[Operation]) -> Verdict {
    let verdicts = check(operations, 0);
    assert_eq!(verdicts.len(), 1);
    verdicts[&1]
}

#[track_caller]
fn good(operations: &[Operation]) {
    assert_eq!(verdict(operations), Verdict::Linearizable);
}

#[track_caller]
fn bad(operations: &[Operation]) {
    assert_eq!(verdict(operations), Verdict::Violated);
}

#[test]
fn one_after_the_other() {
    good(&[read(0, 1, 2), write(5, 3, 4), read(5, 5, 6)]);
    bad(&[read(0, 1, 2), write(5, 3, 4), read(0, 5, 6)]);
    bad(&[read(5, 1, 2), write(5, 3, 4)]);
}

#[test]
fn what_overlaps_may_come_in_any_order() {
    good(&[write(5, 1, 10), read(0, 2, 3), read(5, 4, 5)]);
    good(&[write(5, 1, 10), write(6, 2, 9), read(5, 11, 12)]);
    good(&[write(5, 1, 10), write(6, 2, 9), read(6, 11, 12)]);
    bad(&[write(5, 1, 10), write(6, 2, 9), read(6, 11, 12), read(5, 13, 14)]);
}

#[test]
fn a_read_never_goes_back() {
    bad(&[write(5, 1, 10), read(5, 2, 3), read(0, 4, 5)]);
    bad(&[
        write(5, 1, 20),
        write(6, 2, 20),
        read(5, 3, 4),
        read(6, 5, 6),
        read(5, 7, 8),
    ]);
}

#[test]
fn a_write_of_unknown_outcome_may_come_late_or_never() {
    good(&[lost(write(5, 1, 2)), read(0, 3, 4), read(5, 5, 6)]);
    good(&[lost(write(5, 1, 2)), read(0, 3, 4), read(0, 5, 6)]);
    bad(&[lost(write(5, 1, 2)), read(5, 3, 4), read(0, 5, 6)]);
    bad(&[read(5, 1, 2), lost(write(5, 3, 4))]);
    bad(&[lost(write(5, 1, 2)), read(5, 3, 4), write(6, 5, 6), read(5, 7, 8)]);
}

#[test]
fn swaps_see_what_is_there() {
    good(&[swap(0, 1, true, 1, 2), swap(1, 2, true, 3, 4), read(2, 5, 6)]);
    good(&[swap(7, 1, false, 1, 2), read(0, 3, 4)]);
    bad(&[swap(0, 1, false, 1, 2), read(0, 3, 4)]);
    bad(&[swap(7, 1, true, 1, 2)]);
    // Of two that found the same, one alone can have done it.
    bad(&[swap(0, 1, true, 1, 10), swap(0, 2, true, 1, 10)]);
    good(&[swap(0, 1, true, 1, 10), swap(0, 2, false, 1, 10)]);
}

#[test]
fn a_swap_of_unknown_outcome_did_it_or_not() {
    good(&[lost(swap(0, 1, true, 1, 2)), read(1, 3, 4)]);
    good(&[lost(swap(0, 1, true, 1, 2)), read(0, 3, 4)]);
    bad(&[lost(swap(7, 1, true, 1, 2)), read(1, 3, 4)]);
    // It explains why another found something else.
    good(&[lost(swap(0, 1, true, 1, 2)), swap(0, 2, false, 3, 4)]);
}

#[test]
fn registers_are_told_apart() {
    let other = |operation: Operation| Operation {
        register: 2,
        ..operation
    };
    let verdicts = check(&[write(5, 1, 2), read(5, 3, 4), other(read(5, 3, 4))], 0);
    assert_eq!(verdicts[&1], Verdict::Linearizable);
    assert_eq!(verdicts[&2], Verdict::Violated);
}

#[test]
fn many_lost_writes_do_not_stop_the_search() {
    let mut operations: Vec<Operation> = (0..60).map(|at| lost(write(100 + at, 1, 2))).collect();
    let writes = (0..300_u64).map(|at| write(at.cast_signed() + 1000, 10 + at * 10, 18 + at * 10));
    let reads = (0..300_u64).map(|at| read(at.cast_signed() + 1000, 19 + at * 10, 20 + at * 10));
    operations.extend(writes.chain(reads));
    good(&operations);
    operations.push(read(130, 3050, 3060));
    good(&operations);
    operations.push(read(1299, 3070, 3080));
    assert_ne!(verdict(&operations), Verdict::Linearizable);
}

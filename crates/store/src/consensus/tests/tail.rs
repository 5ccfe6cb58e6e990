//! The tail gives back what was pushed, in order, and says so when it does not reach back.

use openraft::EntryPayload;
use sqlite::meta::Position;

use crate::consensus::tail::Tail;
use crate::consensus::types::{Entry, LogId, log_id};

fn entries(range: std::ops::Range<u64>) -> Vec<Entry> {
    range
        .map(|index| Entry {
            log_id: log_id(Position { term: 1, index }),
            payload: EntryPayload::Blank,
        })
        .collect()
}

fn at(term: u64, index: u64) -> LogId {
    log_id(Position { term, index })
}

fn indexes(tail: &Tail, start: u64, end: u64) -> Option<Vec<u64>> {
    Some(
        tail.read(start, end, usize::MAX)?
            .iter()
            .map(|entry| entry.log_id.index)
            .collect(),
    )
}

#[test]
fn it_reads_what_it_has_and_admits_what_it_has_not() {
    let tail = Tail::default();
    assert_eq!(indexes(&tail, 1, 5), None);
    tail.push(entries(5..10));
    assert_eq!(indexes(&tail, 5, 8), Some(vec![5, 6, 7]));
    assert_eq!(indexes(&tail, 8, 20), Some(vec![8, 9]));
    assert_eq!(indexes(&tail, 4, 8), None);
    assert_eq!(indexes(&tail, 10, 12), None);
}

#[test]
fn a_gap_truncation_and_purge_leave_it_contiguous() {
    let tail = Tail::default();
    tail.push(entries(1..10));
    tail.truncate_after(Some(6));
    assert_eq!(indexes(&tail, 6, 10), Some(vec![6]));
    tail.push(entries(7..9));
    tail.purge(&at(1, 3));
    assert_eq!(indexes(&tail, 3, 9), None);
    assert_eq!(indexes(&tail, 4, 9), Some(vec![4, 5, 6, 7, 8]));
    tail.push(entries(20..22));
    assert_eq!(indexes(&tail, 8, 9), None);
    assert_eq!(indexes(&tail, 20, 30), Some(vec![20, 21]));
    tail.truncate_after(None);
    assert_eq!(indexes(&tail, 20, 30), None);
}

#[test]
fn one_entry_is_read_however_small_the_limit() {
    let tail = Tail::default();
    tail.push(entries(1..4));
    assert_eq!(tail.read(1, 4, 1).map(|read| read.len()), Some(1));
}

#[test]
fn it_is_bounded() {
    let tail = Tail::default();
    tail.push(entries(1..20_000));
    assert_eq!(indexes(&tail, 1, 2), None);
    assert!(indexes(&tail, 19_000, 19_001).is_some());
}

#[test]
fn a_purge_that_contradicts_it_leaves_nothing() {
    let tail = Tail::default();
    tail.push(entries(1..10));
    tail.purge(&at(2, 5));
    assert_eq!(indexes(&tail, 6, 10), None);
}

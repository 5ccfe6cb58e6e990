//! Majorities, minorities, ties, read replicas, and those who did not answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judgement, judge};
use crate::divergence::marks::{Kind, Mark};
use crate::member::NodeId;

fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

/// Reports of one content hash at index 100, by node.
fn at_100(hashes: &[(u64, u64)]) -> BTreeMap<NodeId, Vec<Mark>> {
    let report = |(node, hash): &(u64, u64)| (NodeId(*node), vec![mark(Kind::Content, 100, *hash)]);
    hashes.iter().map(report).collect()
}

fn mark(kind: Kind, index: u64, hash: u64) -> Mark {
    Mark { kind, index, hash }
}

/// Who is in the minority.
fn minority(judgement: &Judgement) -> Vec<u64> {
    judgement.minority.keys().map(|node| node.0).collect()
}

#[test]
fn equal_marks_are_no_finding() {
    let judgement = judge(&nodes(&[1, 2, 3]), &at_100(&[(1, 7), (2, 7), (3, 7)]));
    assert_eq!(judgement, Judgement::default());
}

#[test]
fn one_of_three_is_in_the_minority() {
    let judgement = judge(&nodes(&[1, 2, 3]), &at_100(&[(1, 7), (2, 8), (3, 7)]));
    assert_eq!(minority(&judgement), [2]);
    assert_eq!(judgement.minority[&NodeId(2)], ((Kind::Content, 100), nodes(&[1, 3])));
    assert_eq!(judgement.split, None);
}

#[test]
fn two_that_differ_are_a_tie() {
    let judgement = judge(&nodes(&[1, 2]), &at_100(&[(1, 7), (2, 8)]));
    assert_eq!(minority(&judgement), []);
    assert_eq!(judgement.split, Some((Kind::Content, 100)));
}

#[test]
fn those_who_did_not_answer_count_against_a_majority() {
    let voters = nodes(&[1, 2, 3, 4, 5]);
    let judgement = judge(&voters, &at_100(&[(1, 7), (2, 7), (3, 8)]));
    assert_eq!(
        (minority(&judgement), judgement.split),
        (vec![], Some((Kind::Content, 100)))
    );
    let judgement = judge(&voters, &at_100(&[(1, 7), (2, 7), (3, 8), (4, 7)]));
    assert_eq!((minority(&judgement), judgement.split), (vec![3], None));
}

#[test]
fn two_of_five_that_differ_each_by_itself_are_both_in_the_minority() {
    let judgement = judge(
        &nodes(&[1, 2, 3, 4, 5]),
        &at_100(&[(1, 7), (2, 8), (3, 9), (4, 7), (5, 7)]),
    );
    assert_eq!(minority(&judgement), [2, 3]);
}

#[test]
fn a_read_replica_is_judged_and_does_not_judge() {
    let voters = nodes(&[1, 2, 3]);
    let judgement = judge(&voters, &at_100(&[(1, 7), (2, 7), (9, 8)]));
    assert_eq!(minority(&judgement), [9]);
    let judgement = judge(&voters, &at_100(&[(1, 7), (8, 7), (9, 7), (2, 8)]));
    assert_eq!(
        (minority(&judgement), judgement.split),
        (vec![], Some((Kind::Content, 100)))
    );
}

#[test]
fn marks_at_different_indexes_or_of_different_kinds_are_not_compared() {
    let reports = BTreeMap::from([
        (NodeId(1), vec![mark(Kind::Content, 100, 1), mark(Kind::Effect, 256, 5)]),
        (NodeId(2), vec![mark(Kind::Content, 101, 2), mark(Kind::Memory, 100, 3)]),
        (NodeId(3), vec![mark(Kind::Effect, 512, 6)]),
    ]);
    assert_eq!(judge(&nodes(&[1, 2, 3]), &reports), Judgement::default());
}

#[test]
fn the_first_place_is_told() {
    let reports: BTreeMap<NodeId, Vec<Mark>> = (1..=3)
        .map(|node| {
            let wrong = u64::from(node == 3);
            let marks = vec![
                mark(Kind::Effect, 256, 1),
                mark(Kind::Effect, 512, 2 + wrong),
                mark(Kind::Effect, 768, 4 + wrong),
            ];
            (NodeId(node), marks)
        })
        .collect();
    let judgement = judge(&nodes(&[1, 2, 3]), &reports);
    assert_eq!(judgement.minority[&NodeId(3)].0, (Kind::Effect, 512));
}

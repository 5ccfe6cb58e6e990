//! Room is taken and given back: by size, by number, and by whom.

use super::{Budget, COMMAND_BYTES_MAX, Room};
use crate::error::Error;

#[test]
fn a_proposal_that_is_too_large_is_told_from_one_that_comes_too_early() {
    let budget = Budget::new();
    assert!(matches!(
        budget.take(COMMAND_BYTES_MAX + 1),
        Err(Error::TooLarge { .. })
    ));
    let large = budget.take(COMMAND_BYTES_MAX).expect("an idle node takes the largest");
    assert!(matches!(budget.take(COMMAND_BYTES_MAX), Err(Error::Overloaded(_))));
    let small = budget.take(100).expect("others still have room");
    drop(large);
    let _large = budget.take(COMMAND_BYTES_MAX).expect("room was given back");
    drop(small);
}

#[test]
fn small_proposals_are_bounded_by_number() {
    let budget = Budget::new();
    let taken: Vec<Room> = std::iter::from_fn(|| budget.take(1).ok()).collect();
    assert!((10_000..20_000).contains(&taken.len()), "{}", taken.len());
    assert_eq!(budget.taken(), taken.len() as u64, "what was refused does not count");
}

#[test]
fn an_operator_has_room_when_writes_have_none() {
    let budget = Budget::new();
    let _writes: Vec<Room> = std::iter::from_fn(|| budget.take(1).ok()).collect();
    let reserved: Vec<Room> = std::iter::from_fn(|| budget.take_reserved().ok()).collect();
    assert!((1..1000).contains(&reserved.len()), "{}", reserved.len());
    drop(reserved);
    budget.take_reserved().expect("given back");
}

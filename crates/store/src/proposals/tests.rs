//! Room is taken and given back: by size, by number, and by whom.

use super::{Budget, COMMAND_BYTES_MAX, Room, Waiter};
use crate::error::Error;
use openraft::raft::responder::Responder;

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
}

#[test]
fn room_is_held_until_consensus_answers_not_until_the_client_goes() {
    let budget = Budget::new();
    let (waiter, receiver) = Waiter::<u32>::new(budget.take(COMMAND_BYTES_MAX).expect("room"));
    drop(receiver);
    assert!(budget.take(COMMAND_BYTES_MAX).is_err());
    waiter.on_complete(1);
    assert!(budget.take(COMMAND_BYTES_MAX).is_ok());
}

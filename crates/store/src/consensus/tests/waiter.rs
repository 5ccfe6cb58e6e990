//! Room for a proposal is given back by consensus.

use openraft::raft::responder::Responder;

use crate::consensus::waiter::Waiter;
use crate::proposals::{Budget, COMMAND_BYTES_MAX};

#[test]
fn room_is_held_until_consensus_answers_not_until_the_client_goes() {
    let budget = Budget::new();
    let (waiter, receiver) = Waiter::<u32>::new(budget.take(COMMAND_BYTES_MAX).expect("room"));
    drop(receiver);
    assert!(budget.take(COMMAND_BYTES_MAX).is_err());
    waiter.on_complete(1);
    assert!(budget.take(COMMAND_BYTES_MAX).is_ok());
}

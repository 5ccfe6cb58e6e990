//! The coordinator's machine: notes in, actions out.

use store::member::{NodeId, Peer};

use super::peer;
use crate::cluster::founding::gathering::{Action, Event, Gathering, NOTE_ROUNDS_MAX};

fn node(id: u64) -> Peer {
    peer(id, &format!("n{id}"), &format!("host{id}:4002"))
}

fn noted(me: u64, expect: usize, others: &[u64]) -> Gathering {
    let mut gathering = Gathering::new(node(me), expect);
    for other in others {
        gathering.on(Event::Noted(node(*other)));
    }
    gathering
}

fn round(gathering: &mut Gathering, attempt: u64) -> Vec<Action> {
    gathering.on(Event::Round { targets: 3, attempt })
}

fn promised(gathering: &mut Gathering, by: u64, attempt: u64) -> Vec<Action> {
    gathering.on(Event::Promised {
        by: NodeId(by),
        attempt,
    })
}

/// Whom the actions ask, and for which attempt.
fn asked(actions: &[Action]) -> Vec<(u64, u64)> {
    let asks = actions.iter().map(|action| match action {
        Action::Ask(peer, attempt) => (peer.id.0, attempt.round),
        Action::Initialize(attempt) => panic!("initializes {attempt:?}"),
    });
    asks.collect()
}

#[test]
fn too_few_wait() {
    let mut gathering = noted(1, 3, &[2]);
    assert_eq!(round(&mut gathering, 1), []);
    gathering.on(Event::Noted(node(3)));
    assert_eq!(asked(&round(&mut gathering, 1)), [(1, 1)]);
}

#[test]
fn only_the_smallest_asks() {
    assert_eq!(round(&mut noted(2, 3, &[1, 3]), 1), []);
    assert_eq!(round(&mut noted(3, 3, &[1, 2]), 1), []);
    assert_eq!(asked(&round(&mut noted(1, 3, &[3, 2]), 1)), [(1, 1)]);
}

#[test]
fn its_own_promise_comes_first_and_initializing_last() {
    let mut gathering = noted(1, 3, &[2, 3]);
    round(&mut gathering, 5);
    assert_eq!(asked(&promised(&mut gathering, 1, 5)), [(2, 5), (3, 5)]);
    assert_eq!(promised(&mut gathering, 3, 5), []);
    assert_eq!(promised(&mut gathering, 3, 5), []);
    let actions = promised(&mut gathering, 2, 5);
    let [Action::Initialize(attempt)] = &actions[..] else {
        panic!("{actions:?}");
    };
    let ids: Vec<u64> = attempt.voters.iter().map(|voter| voter.id).collect();
    assert_eq!((attempt.coordinator, attempt.round, ids), (1, 5, vec![1, 2, 3]));
}

#[test]
fn whoever_has_not_promised_is_asked_again_for_the_same_attempt() {
    let mut gathering = noted(1, 3, &[2, 3]);
    round(&mut gathering, 5);
    promised(&mut gathering, 1, 5);
    promised(&mut gathering, 2, 5);
    assert_eq!(asked(&round(&mut gathering, 6)), [(3, 5)]);
}

#[test]
fn a_wiped_node_replaces_its_former_self_in_a_new_attempt() {
    let mut gathering = noted(1, 3, &[2, 3]);
    round(&mut gathering, 5);
    promised(&mut gathering, 1, 5);
    gathering.on(Event::Noted(peer(30, "n3", "host3:4002")));
    assert_eq!(asked(&round(&mut gathering, 6)), [(1, 6)]);
    assert_eq!(promised(&mut gathering, 3, 5), []);
    assert_eq!(asked(&promised(&mut gathering, 1, 6)), [(2, 6), (30, 6)]);
}

#[test]
fn a_renamed_node_at_the_same_address_counts_once() {
    let mut gathering = noted(1, 3, &[2]);
    gathering.on(Event::Noted(peer(30, "other", "host2:4002")));
    assert_eq!(gathering.heard(), 2);
    assert_eq!(round(&mut gathering, 1), []);
}

#[test]
fn nobody_takes_this_nodes_own_name_or_address() {
    let mut gathering = noted(5, 2, &[]);
    gathering.on(Event::Noted(peer(1, "n5", "elsewhere:4002")));
    gathering.on(Event::Noted(peer(1, "other", "host5:4002")));
    assert_eq!(gathering.heard(), 1);
}

#[test]
fn a_node_that_fell_silent_is_forgotten() {
    let mut gathering = noted(1, 2, &[2]);
    for attempt in 0..NOTE_ROUNDS_MAX {
        assert!(!round(&mut gathering, attempt).is_empty());
    }
    assert_eq!(
        gathering.on(Event::Round {
            targets: 2,
            attempt: 99
        }),
        []
    );
    assert_eq!(gathering.heard(), 1);
}

#[test]
fn half_of_the_listed_addresses_is_not_enough() {
    let mut gathering = noted(1, 3, &[2, 3]);
    assert_eq!(gathering.on(Event::Round { targets: 6, attempt: 1 }), []);
    gathering.on(Event::Noted(node(4)));
    assert!(!gathering.on(Event::Round { targets: 6, attempt: 1 }).is_empty());
}

#[test]
fn an_attempt_that_was_given_up_is_not_resumed() {
    let mut gathering = noted(1, 3, &[2, 3]);
    round(&mut gathering, 5);
    promised(&mut gathering, 1, 5);
    gathering.on(Event::GivenUp);
    assert_eq!(promised(&mut gathering, 2, 5), []);
    assert_eq!(asked(&round(&mut gathering, 6)), [(1, 6)]);
}

//! The rules of promises: one by one, and all together in a small world that crashes and is wiped at random.

use std::collections::BTreeMap;

use proptest::prelude::*;
use store::member::NodeId;

use super::peer;
use crate::cluster::founding::pledge::{Pledge, Record, Verdict};
use crate::cluster::message::{Attempt, Release};

fn attempt(round: u64, ids: &[u64]) -> Attempt {
    let mut voters: Vec<_> = ids
        .iter()
        .map(|id| (&peer(*id, &format!("n{id}"), "h:1")).into())
        .collect();
    voters.sort();
    Attempt {
        coordinator: *ids.iter().min().unwrap(),
        round,
        voters,
    }
}

fn bound(me: u64, attempt: Attempt) -> Pledge {
    let mut pledge = Pledge::new(NodeId(me), Record::default());
    let Verdict::Grant(record) = pledge.ask(&attempt, false, None) else {
        panic!("a free node promises");
    };
    pledge.written(record);
    pledge
}

fn release(coordinator: u64, round: u64, rival: u64) -> Release {
    Release {
        coordinator,
        round,
        rival,
    }
}

fn refused(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Refuse(_))
}

#[test]
fn a_promise_is_repeated_but_not_given_twice() {
    let pledge = bound(2, attempt(1, &[1, 2, 3]));
    assert_eq!(pledge.ask(&attempt(1, &[1, 2, 3]), false, None), Verdict::Held);
    assert!(refused(&pledge.ask(&attempt(1, &[1, 2, 4]), false, None)));
    let rival = pledge.ask(&attempt(1, &[2, 3, 4]), false, None);
    assert_eq!(rival, Verdict::Consult(attempt(1, &[1, 2, 3])));
}

#[test]
fn a_later_round_of_the_same_coordinator_replaces_an_earlier_one() {
    let pledge = bound(2, attempt(4, &[1, 2, 3]));
    assert!(matches!(
        pledge.ask(&attempt(5, &[1, 2]), false, None),
        Verdict::Grant(_)
    ));
    assert!(refused(&pledge.ask(&attempt(3, &[1, 2]), false, None)));
}

#[test]
fn a_released_attempt_gives_way_to_no_other_than_the_one_asked_about() {
    let held = attempt(1, &[1, 2, 3]);
    let pledge = bound(3, held.clone());
    let rival = attempt(1, &[2, 3, 4]);
    assert!(matches!(pledge.ask(&rival, false, Some(&held)), Verdict::Grant(_)));
    let other = attempt(2, &[1, 2, 3]);
    assert_eq!(pledge.ask(&rival, false, Some(&other)), Verdict::Consult(held));
}

#[test]
fn a_member_of_a_cluster_and_a_joining_node_promise_nothing() {
    let pledge = Pledge::new(NodeId(2), Record::default());
    assert!(refused(&pledge.ask(&attempt(1, &[1, 2]), true, None)));
    let joining = Record {
        joining: true,
        ..Record::default()
    };
    let pledge = Pledge::new(NodeId(2), joining);
    assert!(refused(&pledge.ask(&attempt(1, &[1, 2]), false, None)));
}

#[test]
fn a_set_without_this_incarnation_or_with_a_wrong_coordinator_is_refused() {
    let pledge = Pledge::new(NodeId(2), Record::default());
    assert!(refused(&pledge.ask(&attempt(1, &[1, 3]), false, None)));
    let mut wrong = attempt(1, &[1, 2]);
    wrong.coordinator = 2;
    assert!(refused(&pledge.ask(&wrong, false, None)));
}

#[test]
fn a_coordinator_yields_to_a_smaller_one_until_it_begins() {
    let own = attempt(1, &[2, 3]);
    let mut pledge = bound(2, own.clone());
    assert!(!pledge.release(release(2, 1, 3), false).0);
    assert!(matches!(pledge.release(release(2, 1, 1), false), (true, Some(_))));
    assert!(matches!(pledge.release(release(2, 1, 0), false), (true, Some(_))));
    assert!(pledge.begin(&own));
    assert!(!pledge.release(release(2, 1, 1), false).0);
    assert!(refused(&pledge.ask(&attempt(1, &[1, 2]), false, None)));
    assert!(refused(&pledge.join(None)));
    pledge.failed();
    assert!(pledge.release(release(2, 1, 1), false).0);
}

#[test]
fn a_coordinator_that_gave_its_attempt_up_never_begins_it() {
    let own = attempt(1, &[2, 3]);
    let mut pledge = bound(2, own.clone());
    let (true, Some(record)) = pledge.release(release(2, 1, 1), false) else {
        panic!("yields");
    };
    pledge.written(record);
    assert!(!pledge.begin(&own));
    assert_eq!(pledge.release(release(2, 1, 3), false), (true, None));
    assert_eq!(pledge.round_next(), 2);
    assert!(refused(&pledge.ask(&own, false, None)), "a round is used once");
}

#[test]
fn a_round_that_is_not_on_record_is_not_released() {
    let pledge = Pledge::new(NodeId(2), Record::default());
    assert_eq!(pledge.release(release(2, 1, 1), false), (false, None));
}

#[test]
fn joining_waits_for_the_release_of_a_promise() {
    let held = attempt(1, &[1, 2]);
    let pledge = bound(2, held.clone());
    assert_eq!(pledge.join(None), Verdict::Consult(held.clone()));
    let Verdict::Grant(record) = pledge.join(Some(&held)) else {
        panic!("released");
    };
    assert!(record.joining && record.promise.is_none());
}

#[test]
fn after_a_failed_write_nothing_is_promised() {
    let mut pledge = Pledge::new(NodeId(2), Record::default());
    pledge.not_written();
    assert!(refused(&pledge.ask(&attempt(1, &[1, 2]), false, None)));
    assert!(refused(&pledge.join(None)));
}

/// Four data directories, each with an incarnation, its record on disk and what it runs.
struct World {
    nodes: Vec<Incarnation>,
    id_next: u64,
    formed: Vec<Attempt>,
}

struct Incarnation {
    id: u64,
    pledge: Pledge,
    /// The attempt that it coordinates; forgotten at a restart.
    running: Option<Attempt>,
    /// What it is about to form; forgotten likewise.
    begun: Option<Attempt>,
    /// The cluster that it is part of, as an index into [`World::formed`].
    member: Option<usize>,
}

#[derive(Clone, Debug)]
enum Step {
    /// A coordinator draws a set up and promises itself.
    Draw { node: usize, others: u8 },
    /// It asks one of the set, or (4) all.
    Ask { node: usize, of: usize },
    /// It begins to form the cluster, if all have promised by its knowledge.
    Begin { node: usize },
    /// It has formed it.
    Form { node: usize },
    /// Replication reaches another voter.
    Replicate { node: usize, to: usize },
    /// The process ends and starts again on its disk.
    Restart { node: usize },
    /// The data directory is emptied.
    Wipe { node: usize },
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            nodes: Vec::new(),
            id_next: 0,
            formed: Vec::new(),
        };
        for _ in 0..4 {
            let fresh = world.incarnation();
            world.nodes.push(fresh);
        }
        world
    }

    /// Ids come in no order of age, as random ones do.
    fn incarnation(&mut self) -> Incarnation {
        self.id_next += 1;
        let id = (self.id_next * 37) % 101;
        Incarnation {
            id,
            pledge: Pledge::new(NodeId(id), Record::default()),
            running: None,
            begun: None,
            member: None,
        }
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.nodes.iter().position(|node| node.id == id)
    }

    /// What `Founding::bind` and `Founding::consult` do, in one go.
    fn promise(&mut self, node: usize, attempt: &Attempt) -> bool {
        let mut released = None;
        for _ in 0..2 {
            let Incarnation { pledge, member, .. } = &mut self.nodes[node];
            match pledge.ask(attempt, member.is_some(), released.as_ref()) {
                Verdict::Held => return true,
                Verdict::Grant(record) => {
                    pledge.written(record);
                    return true;
                }
                Verdict::Refuse(_) => return false,
                Verdict::Consult(held) => {
                    if !self.is_dead(&held, attempt.coordinator) {
                        return false;
                    }
                    released = Some(held);
                }
            }
        }
        false
    }

    fn is_dead(&mut self, held: &Attempt, rival: u64) -> bool {
        let Some(coordinator) = self.at(held.coordinator) else {
            let here = held.voters.iter().filter_map(|voter| self.at(voter.id));
            return here.into_iter().all(|node| self.nodes[node].member.is_none());
        };
        let Incarnation { pledge, member, .. } = &mut self.nodes[coordinator];
        let (dead, record) = pledge.release(release(held.coordinator, held.round, rival), member.is_some());
        if let Some(record) = record {
            pledge.written(record);
        }
        dead
    }

    fn draw(&mut self, node: usize, others: u8, known: &mut BTreeMap<(u64, u64), Vec<u64>>) {
        let me = self.nodes[node].id;
        let chosen = self.nodes.iter().enumerate().filter(|(at, _)| others & (1 << at) != 0);
        let mut ids: Vec<u64> = chosen.map(|(_, other)| other.id).filter(|id| *id > me).collect();
        ids.push(me);
        let attempt = attempt(self.nodes[node].pledge.round_next(), &ids);
        if self.promise(node, &attempt) {
            known.insert((me, attempt.round), vec![me]);
            self.nodes[node].running = Some(attempt);
        }
    }

    fn step(&mut self, step: &Step, known: &mut BTreeMap<(u64, u64), Vec<u64>>) {
        match *step {
            Step::Draw { node, others } => self.draw(node, others, known),
            Step::Ask { node, of } => {
                let Some(attempt) = self.nodes[node].running.clone() else {
                    return;
                };
                let promised = known.entry((attempt.coordinator, attempt.round)).or_default();
                for voter in &attempt.voters {
                    let Some(at) = self.at(voter.id).filter(|at| of == 4 || *at == of) else {
                        continue;
                    };
                    if self.promise(at, &attempt) {
                        promised.push(voter.id);
                    }
                }
            }
            Step::Begin { node } => {
                let Some(attempt) = self.nodes[node].running.clone() else {
                    return;
                };
                let promised = known
                    .get(&(attempt.coordinator, attempt.round))
                    .cloned()
                    .unwrap_or_default();
                let all = attempt.voters.iter().all(|voter| promised.contains(&voter.id));
                let Incarnation {
                    pledge, member, begun, ..
                } = &mut self.nodes[node];
                if all && member.is_none() && pledge.begin(&attempt) {
                    *begun = Some(attempt);
                }
            }
            Step::Form { node } => {
                let Incarnation { member, begun, .. } = &mut self.nodes[node];
                if let Some(attempt) = begun.take()
                    && member.is_none()
                {
                    *member = Some(self.formed.len());
                    self.formed.push(attempt);
                }
            }
            Step::Replicate { node, to } => {
                let Some(cluster) = self.nodes[node].member else { return };
                let reached = self.nodes[to].id;
                let listed = self.formed[cluster].voters.iter().any(|voter| voter.id == reached);
                if listed && self.nodes[to].member.is_none() {
                    self.nodes[to].member = Some(cluster);
                }
            }
            Step::Restart { node } => {
                let Incarnation {
                    id,
                    pledge,
                    running,
                    begun,
                    ..
                } = &mut self.nodes[node];
                (*running, *begun) = (None, None);
                *pledge = Pledge::new(NodeId(*id), pledge.record().clone());
            }
            Step::Wipe { node } => self.nodes[node] = self.incarnation(),
        }
    }

    /// Clusters that still exist: somebody who runs knows of them.
    fn alive(&self) -> Vec<&Attempt> {
        let formed = self.formed.iter().enumerate();
        let lives = formed.filter(|(cluster, _)| self.nodes.iter().any(|node| node.member == Some(*cluster)));
        lives.map(|(_, attempt)| attempt).collect()
    }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        // Of the other three, one or two: larger sets share more and conflict less.
        5 => (0_usize..4, prop::sample::select(vec![1_u8, 2, 4, 8, 3, 5, 6, 9, 10, 12]))
            .prop_map(|(node, others)| Step::Draw { node, others }),
        8 => (0_usize..4, 0_usize..5).prop_map(|(node, of)| Step::Ask { node, of }),
        5 => (0_usize..4).prop_map(|node| Step::Begin { node }),
        5 => (0_usize..4).prop_map(|node| Step::Form { node }),
        1 => (0_usize..4, 0_usize..4).prop_map(|(node, to)| Step::Replicate { node, to }),
        1 => (0_usize..4).prop_map(|node| Step::Restart { node }),
        1 => (0_usize..4).prop_map(|node| Step::Wipe { node }),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn two_clusters_never_share_an_incarnation(steps in steps()) {
        let mut world = World::new();
        let mut known = BTreeMap::new();
        for step in &steps {
            world.step(step, &mut known);
            let alive = world.alive();
            for (at, one) in alive.iter().enumerate() {
                for other in &alive[at + 1..] {
                    let shared = one.voters.iter().find(|voter| {
                        other.voters.contains(voter) && world.at(voter.id).is_some()
                    });
                    prop_assert!(shared.is_none(), "{one:?} and {other:?}");
                }
            }
        }
    }
}

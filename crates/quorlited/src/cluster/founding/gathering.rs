//! Bringing a founding set together: notes in, actions out.
//!
//! A pure state machine; time is the count of rounds, and whoever drives it carries the actions out.
//!
//! ```text
//!  Noted ──► enough, and I am the smallest? ──► Ask(me) ──Promised──► Ask(others) ──all Promised──► Initialize
//!                        │ no                      ▲
//!                        └── wait                  └── the set changed, or the attempt was given up: a new round
//! ```
//!
//! Invariants:
//! * Only the smallest incarnation of a set asks, and only it initializes.
//! * The others are asked after this node's own promise is durable, so that a round is never used for two sets.
//! * A set has at least `expect` nodes and more than half of the listed addresses: two sets from one list share a node,
//!   and that one promises once.

use std::collections::{BTreeMap, BTreeSet};

use store::member::{NodeId, Peer};

use crate::cluster::message::{Attempt, PeerRecord};

/// A note that was not renewed for this many rounds, of one to two seconds each, is forgotten: that node has gone.
pub const NOTE_ROUNDS_MAX: u64 = 8;

/// The coordinator's side of a bootstrap.
#[derive(Debug)]
pub struct Gathering {
    me: Peer,
    expect: usize,
    rounds: u64,
    noted: BTreeMap<String, Note>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Note {
    peer: Peer,
    round: u64,
}

#[derive(Debug)]
struct Running {
    attempt: Attempt,
    promised: BTreeSet<u64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node announced itself.
    Noted(Peer),
    /// A round begins: so many addresses are listed, and an attempt that begins now has this number.
    Round {
        /// Listed addresses.
        targets: usize,
        /// The number.
        attempt: u64,
    },
    /// A voter has promised itself to the attempt with this number.
    Promised {
        /// The voter.
        by: NodeId,
        /// The number.
        attempt: u64,
    },
    /// The running attempt was given up, in favour of another node's.
    GivenUp,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask this node, which may be the asking one, to promise itself.
    Ask(Peer, Attempt),
    /// Everyone has promised: form the cluster.
    Initialize(Attempt),
}

impl Gathering {
    /// A gathering of `expect` nodes, of which `me` is the first.
    pub fn new(me: Peer, expect: usize) -> Self {
        let mut gathering = Self {
            me: me.clone(),
            expect,
            rounds: 0,
            noted: BTreeMap::new(),
            running: None,
        };
        gathering.note(me);
        gathering
    }

    /// Nodes heard of, this one included.
    pub fn heard(&self) -> usize {
        self.noted.len()
    }

    /// Is this one of the nodes heard of, with this identity and address?
    pub fn knows(&self, peer: &Peer) -> bool {
        self.noted.get(&peer.name).is_some_and(|note| note.peer == *peer)
    }

    /// Takes one event.
    pub fn on(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::Noted(peer) => {
                self.note(peer);
                Vec::new()
            }
            Event::Round { targets, attempt } => self.round(targets, attempt),
            Event::Promised { by, attempt } => self.promised(by, attempt),
            Event::GivenUp => {
                self.running = None;
                Vec::new()
            }
        }
    }

    /// A name and an address belong to one node: the one that spoke last.
    fn note(&mut self, peer: Peer) {
        if peer.id != self.me.id && (peer.name == self.me.name || peer.address == self.me.address) {
            return;
        }
        self.noted.retain(|_, note| note.peer.address != peer.address);
        let round = self.rounds;
        self.noted.insert(peer.name.clone(), Note { peer, round });
    }

    fn round(&mut self, targets: usize, number: u64) -> Vec<Action> {
        self.rounds += 1;
        let (me, rounds) = (self.me.id, self.rounds);
        self.noted
            .retain(|_, note| note.peer.id == me || rounds - note.round <= NOTE_ROUNDS_MAX);
        let voters = self.voters();
        let enough = voters.len() >= self.expect.max(targets / 2 + 1);
        let smallest = voters.first().is_some_and(|voter| voter.id == me.0);
        if !enough || !smallest {
            self.running = None;
            return Vec::new();
        }
        if self
            .running
            .as_ref()
            .is_none_or(|running| running.attempt.voters != voters)
        {
            let attempt = Attempt {
                coordinator: me.0,
                round: number,
                voters,
            };
            let promised = BTreeSet::new();
            self.running = Some(Running { attempt, promised });
        }
        self.next()
    }

    fn promised(&mut self, by: NodeId, number: u64) -> Vec<Action> {
        let Some(running) = &mut self.running else {
            return Vec::new();
        };
        if running.attempt.round != number || !running.promised.insert(by.0) {
            return Vec::new();
        }
        let missing = running
            .attempt
            .voters
            .iter()
            .filter(|voter| !running.promised.contains(&voter.id));
        if by == self.me.id || missing.count() == 0 {
            self.next()
        } else {
            Vec::new()
        }
    }

    fn next(&self) -> Vec<Action> {
        let Some(running) = &self.running else {
            return Vec::new();
        };
        if !running.promised.contains(&self.me.id.0) {
            return vec![Action::Ask(self.me.clone(), running.attempt.clone())];
        }
        let missing = running
            .attempt
            .voters
            .iter()
            .filter(|voter| !running.promised.contains(&voter.id));
        let asks: Vec<Action> = missing
            .map(|voter| Action::Ask(voter.into(), running.attempt.clone()))
            .collect();
        if asks.is_empty() {
            return vec![Action::Initialize(running.attempt.clone())];
        }
        asks
    }

    fn voters(&self) -> Vec<PeerRecord> {
        let mut voters: Vec<PeerRecord> = self.noted.values().map(|note| (&note.peer).into()).collect();
        voters.sort();
        voters
    }
}

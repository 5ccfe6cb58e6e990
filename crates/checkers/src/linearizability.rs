//! Is there one order of all operations on a register in which each takes effect between its begin and its end?
//!
//! Registers are independent, so each is searched alone. An operation whose outcome nobody knows may take effect at any
//! time after it began, or never.
//!
//! ```text
//!  done: {} ─► {a} ─► {a,c} ─► … every operation that was answered is done: there is an order
//!          └─► {b} ─► dead end: what must come next does not fit the value ─► back
//! ```
//!
//! Next may come whatever began before the first end of what is not done. A set of done operations that was reached
//! before with the same value is not searched again.
//!
//! Source: Wing and Gong, "Testing and verifying concurrent objects", 1993; Lowe, "Testing for linearizability", 2017.

use std::collections::{BTreeMap, HashSet};

use crate::history::Moment;

/// Steps of a search after which it is given up: about a second. A history of a thousand operations takes as many steps.
const STEPS_MAX: u64 = 200_000;

/// What an operation does to its register, and saw there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It saw this.
    Read(i64),
    /// It sets this.
    Write(i64),
    /// It sets `to` if `from` is there.
    Swap {
        /// What must be there.
        from: i64,
        /// What it sets.
        to: i64,
        /// Whether it did; `None` when nobody knows.
        did: Option<bool>,
    },
}

/// One operation of one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The register.
    pub register: u64,
    /// What it does.
    pub action: Action,
    /// When it was sent.
    pub begin: Moment,
    /// When it was answered; `None` when its outcome is unknown.
    pub end: Option<Moment>,
}

/// What a search came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Violated,
    /// It took too long.
    Undecided,
}

/// The verdict on each register of a history, which starts with `initial` everywhere.
pub fn check(operations: &[Operation], initial: i64) -> BTreeMap<u64, Verdict> {
    let mut by_register: BTreeMap<u64, Vec<Operation>> = BTreeMap::new();
    for operation in operations {
        by_register.entry(operation.register).or_default().push(*operation);
    }
    by_register
        .into_iter()
        .map(|(register, operations)| (register, Search::new(operations).run(initial)))
        .collect()
}

/// The value after `action`; `None` when it cannot happen where the value is `state`.
fn step(state: i64, action: Action) -> Option<i64> {
    match action {
        Action::Read(seen) => (seen == state).then_some(state),
        Action::Write(value) => Some(value),
        Action::Swap { from, to, did } => {
            let does = state == from;
            did.is_none_or(|did| did == does)
                .then_some(if does { to } else { state })
        }
    }
}

/// A search for an order of the operations on one register.
struct Search {
    /// By their begin.
    operations: Vec<Operation>,
    done: Done,
    /// Answered operations that are not done.
    left: usize,
    seen: HashSet<(Done, i64)>,
}

/// A set of operations, by place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Done(Box<[u64]>);

/// A point of the search: what may come next, the last of it first.
struct Point {
    state: i64,
    next: Vec<usize>,
    /// The operation that led here.
    via: Option<usize>,
}

impl Search {
    fn new(mut operations: Vec<Operation>) -> Search {
        operations.sort_by_key(|operation| operation.begin);
        Search {
            done: Done(vec![0; operations.len().div_ceil(64)].into()),
            left: operations.iter().filter(|operation| operation.end.is_some()).count(),
            seen: HashSet::new(),
            operations,
        }
    }

    fn run(mut self, initial: i64) -> Verdict {
        let mut path = vec![self.point(initial, None)];
        for _ in 0..STEPS_MAX {
            if self.left == 0 {
                return Verdict::Linearizable;
            }
            let Some(point) = path.last_mut() else {
                return Verdict::Violated;
            };
            let Some(place) = point.next.pop() else {
                let via = point.via;
                path.pop();
                if let Some(place) = via {
                    self.take_back(place);
                }
                continue;
            };
            let Some(state) = step(point.state, self.operations[place].action) else {
                continue;
            };
            self.take(place);
            if self.seen.insert((self.done.clone(), state)) {
                path.push(self.point(state, Some(place)));
            } else {
                self.take_back(place);
            }
        }
        Verdict::Undecided
    }

    /// What may come after `via`: whatever began before the first end of what is not done.
    ///
    /// Those without an answer are tried last: most of them never happened.
    fn point(&self, state: i64, via: Option<usize>) -> Point {
        let open = || {
            let all = self.operations.iter().enumerate();
            all.filter(|(place, _)| !self.done.has(*place))
        };
        let end = open().filter_map(|(_, operation)| operation.end).min();
        let began = open().take_while(|(_, operation)| end.is_some_and(|end| operation.begin < end));
        let (answered, unknown): (Vec<_>, Vec<_>) = began.partition(|(_, operation)| operation.end.is_some());
        let places = unknown.into_iter().chain(answered.into_iter().rev());
        Point {
            state,
            next: places.map(|(place, _)| place).collect(),
            via,
        }
    }

    fn take(&mut self, place: usize) {
        self.done.0[place / 64] |= 1 << (place % 64);
        self.left -= usize::from(self.operations[place].end.is_some());
    }

    fn take_back(&mut self, place: usize) {
        self.done.0[place / 64] &= !(1 << (place % 64));
        self.left += usize::from(self.operations[place].end.is_some());
    }
}

impl Done {
    fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests;

//! What a client does with registers: it sets them, swaps them, and looks at them through whatever node it likes.
//!
//! Each value is set once in a round, so that a value says which operation set it.

use checkers::history::{Effect, Outcome};
use checkers::linearizability::{Action, Operation};
use checkers::workload;

use super::{Attempt, Client, key, outcome};
use crate::sql::integer;

impl Client {
    /// One operation on one register.
    pub(super) fn register(&mut self) {
        let register = self.round.base().register(&mut self.chance);
        match self.chance.weighted(&[(3, 0), (3, 1), (4, 2)]) {
            0 => {
                let to = self.value();
                self.change(register, Action::Write(to));
            }
            1 => {
                let from = self.known.get(&register).copied().unwrap_or_default();
                let to = self.value();
                self.change(register, Action::Swap { from, to, did: None });
            }
            _ => self.look_at(register),
        }
    }

    /// A value that nobody else sets.
    pub(super) fn value(&mut self) -> i64 {
        let id = self.next_id();
        (id.client * 1_000_000 + id.sequence).cast_signed()
    }

    fn change(&mut self, register: u64, action: Action) {
        let id = checkers::history::WriteId {
            client: self.id,
            sequence: self.sequence,
        };
        let key = self.chance.one_in(3).then(|| key(id));
        let begin = self.round.siege.tick();
        let attempt = self.settle("/db/execute", &workload::action(register, action), key.as_deref());
        let end = self.round.siege.tick();
        let outcome = match attempt {
            Attempt::Done(done) => outcome(&done, Effect::Row),
            Attempt::Refused => Outcome::Refused,
            Attempt::Unknown => Outcome::Unknown,
        };
        self.count(outcome);
        let (action, end) = match outcome {
            // It is certain that nothing has happened.
            Outcome::Refused => return,
            Outcome::Unknown => (action, None),
            Outcome::Acknowledged { index, value } => {
                self.seen = self.seen.max(index);
                (answered(action, value.is_some()), Some(end))
            }
        };
        if let (
            Action::Write(value)
            | Action::Swap {
                to: value,
                did: Some(true),
                ..
            },
            Some(_),
        ) = (action, end)
        {
            self.known.insert(register, value);
        }
        self.note(Operation {
            register,
            action,
            begin,
            end,
        });
    }

    /// Reads a register, at a level that promises the latest value.
    fn look_at(&mut self, register: u64) {
        let begin = self.round.siege.tick();
        let Some((_, results)) = self.look(true, &workload::action(register, Action::Read(0))) else {
            return;
        };
        let end = self.round.siege.tick();
        let value = results
            .first()
            .and_then(|rows| rows.first())
            .map_or(i64::MIN, |row| integer(row, 0));
        self.known.insert(register, value);
        self.note(Operation {
            register,
            action: Action::Read(value),
            begin,
            end: Some(end),
        });
    }

    fn note(&self, operation: Operation) {
        let Operation {
            register,
            action,
            begin,
            end,
        } = operation;
        self.round.siege.counts.add("register operations");
        self.tell(&format!("register {register} {action:?} {begin}..{end:?}"));
        self.round.history.operation(operation);
    }
}

/// The action, with what its answer says of it.
fn answered(action: Action, took_effect: bool) -> Action {
    match action {
        Action::Swap { from, to, .. } => Action::Swap {
            from,
            to,
            did: Some(took_effect),
        },
        Action::Read(_) | Action::Write(_) => action,
    }
}

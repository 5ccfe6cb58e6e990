//! What a client does with registers: it sets them, swaps them, and looks at them through whatever node it likes.
//!
//! Each value is set once in a run, so that a value says which operation set it.

use super::{Client, key};
use crate::history::{Effect, Outcome, WriteId};
use crate::linearizability::{Action, Operation};
use crate::sql;
use crate::workload::{self, Base};
use store::read::Level;

impl Client {
    /// One operation on one register.
    pub(super) async fn register(&mut self) {
        let register = Base::default().register(&mut self.chance);
        match self.chance.weighted(&[(3, 0), (3, 1), (4, 2)]) {
            0 => {
                let to = self.value();
                self.change(register, Action::Write(to)).await;
            }
            1 => {
                let from = self.known.get(&register).copied().unwrap_or_default();
                let to = self.value();
                self.change(register, Action::Swap { from, to, did: None }).await;
            }
            _ => self.look(register).await,
        }
    }

    /// A value that nobody else sets.
    pub(super) fn value(&mut self) -> i64 {
        self.sequence += 1;
        (self.id * 1_000_000 + self.sequence).cast_signed()
    }

    async fn change(&mut self, register: u64, action: Action) {
        let id = WriteId {
            client: self.id,
            sequence: self.sequence,
        };
        let key = self.chance.one_in(3).then(|| key(id));
        let begin = self.world.trace.tick();
        let outcome = self
            .attempts(workload::action(register, action), key, Effect::Row)
            .await;
        let end = self.world.trace.tick();
        let (action, end) = match outcome {
            // It is certain that nothing has happened.
            Outcome::Refused => return,
            Outcome::Unknown => (action, None),
            // A damaged leader says nothing of what came of a swap.
            Outcome::Acknowledged { index, .. } if self.is_doubtful => {
                self.seen = self.seen.max(index);
                (action, None)
            }
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
    async fn look(&mut self, register: u64) {
        let level = if self.chance.one_in(4) {
            Level::Strong
        } else {
            Level::Linearizable
        };
        let machine = self.chance.index(self.world.machines.len());
        let begin = self.world.trace.tick();
        let Some(running) = self.confirmed(machine, level, 0).await else {
            return;
        };
        match sql::register(&running.node, register) {
            Ok(_) if self.may_lie(&running) => self.world.counts.add("doubtful answers"),
            Ok(value) => {
                self.known.insert(register, value);
                self.note(Operation {
                    register,
                    action: Action::Read(value),
                    begin,
                    end: Some(self.world.trace.tick()),
                });
            }
            Err(error) => self.read_failed(&running, error),
        }
    }

    fn note(&self, operation: Operation) {
        let Operation {
            register, action, end, ..
        } = operation;
        let told = if end.is_some() { "" } else { ": unknown" };
        self.world.counts.add("register operations");
        self.world.trace.line(
            &format!("c{}", self.id),
            format_args!("register {register} {action:?}{told}"),
        );
        self.world.history.operation(operation);
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

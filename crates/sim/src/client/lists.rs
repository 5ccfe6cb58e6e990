//! What a client does with lists: transactions of several steps in one request, and reads of several lists at once.

use command::reply::{OutcomeKind, Reply};
use command::request::Kind;
use store::read::Level;

use super::{Client, Settled, key, problem};
use crate::history::WriteId;
use crate::lists::{Fate, Step, Transaction};
use crate::sql;
use crate::workload::{self, Base};

impl Client {
    /// One transaction.
    pub(super) async fn transact(&mut self) {
        self.transactions += 1;
        let mut values = self.sequence;
        let mut value = || {
            values += 1;
            (self.id * 1_000_000 + values).cast_signed()
        };
        let steps = Base::default().transaction(&mut self.chance, self.transactions, &mut value);
        self.sequence = values + 1;
        if steps.iter().all(|step| matches!(step, Step::Read { .. })) {
            self.look_at_lists(steps).await;
        } else {
            self.change_lists(steps).await;
        }
    }

    async fn change_lists(&mut self, steps: Vec<Step>) {
        let id = self.last_id();
        let key = self.chance.one_in(3).then(|| key(id));
        let begin = self.world.trace.tick();
        let settled = self.settle(workload::steps(&steps), Kind::Request, key).await;
        let end = self.world.trace.tick();
        let (fate, steps) = match settled {
            Settled::Done { reply, is_certain } => match problem(&reply) {
                None => {
                    self.seen = self.seen.max(reply.index);
                    (Fate::Done, filled(steps, &reply))
                }
                Some(_) if is_certain => (Fate::Refused, steps),
                Some(_) => (Fate::Unknown, steps),
            },
            // In the log, but a damaged leader says nothing of what came of it.
            Settled::Doubtful(_) => (Fate::Unknown, steps),
            Settled::Refused => (Fate::Refused, steps),
            Settled::Unknown => (Fate::Unknown, steps),
        };
        self.note_transaction(Transaction {
            id,
            steps,
            begin,
            end,
            fate,
        });
    }

    /// Reads lists in one snapshot, at a level that promises the latest state.
    async fn look_at_lists(&mut self, steps: Vec<Step>) {
        let machine = self.chance.index(self.world.machines.len());
        let begin = self.world.trace.tick();
        let Some(running) = self.confirmed(machine, Level::Linearizable, 0).await else {
            return;
        };
        match sql::lists(&running.node, &steps) {
            Ok(_) if self.may_lie(&running) => self.world.counts.add("doubtful answers"),
            Ok(steps) => self.note_transaction(Transaction {
                id: self.last_id(),
                steps,
                begin,
                end: self.world.trace.tick(),
                fate: Fate::Done,
            }),
            Err(error) => self.read_failed(&running, error),
        }
    }

    fn last_id(&self) -> WriteId {
        WriteId {
            client: self.id,
            sequence: self.sequence,
        }
    }

    fn note_transaction(&self, transaction: Transaction) {
        let Transaction { id, steps, fate, .. } = &transaction;
        self.world.counts.add("transactions on lists");
        self.world.trace.line(
            &format!("c{}", self.id),
            format_args!("transaction {}-{} {steps:?}: {fate:?}", id.client, id.sequence),
        );
        self.world.history.transaction(transaction);
    }
}

/// The steps, with what the reply shows of the lists that they read.
fn filled(steps: Vec<Step>, reply: &Reply) -> Vec<Step> {
    let fill = |(step, outcome): (Step, Option<&command::reply::Outcome>)| match (
        step,
        outcome.and_then(|it| it.kind.as_ref()),
    ) {
        (Step::Read { list, .. }, Some(OutcomeKind::Rows(rows))) => {
            let cell = rows.rows.first().and_then(|row| row.cells.first());
            Step::Read {
                list,
                seen: Some(sql::items(cell.and_then(|cell| cell.value.as_ref()))),
            }
        }
        (step, _) => step,
    };
    let outcomes = reply.outcomes.iter().map(Some).chain(std::iter::repeat(None));
    steps.into_iter().zip(outcomes).map(fill).collect()
}

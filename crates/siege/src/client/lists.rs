//! What a client does with lists: transactions of several steps in one request, and reads of several lists at once.

use checkers::history::WriteId;
use checkers::lists::{Fate, Step, Transaction};
use checkers::workload;

use super::{Attempt, Client, key};
use crate::arguments::Weakness;
use crate::sql::{self, items};

impl Client {
    /// One transaction.
    pub(super) fn transact(&mut self) {
        self.transactions += 1;
        let (mut sequence, client) = (self.sequence, self.id);
        let mut value = || {
            sequence += 1;
            (client * 1_000_000 + sequence).cast_signed()
        };
        let base = self.round.base();
        let steps = base.transaction(&mut self.chance, self.transactions, &mut value);
        self.sequence = sequence;
        let id = self.next_id();
        let begin = self.round.siege.tick();
        let reads_only = steps.iter().all(|step| matches!(step, Step::Read { .. }));
        let (fate, steps) = if reads_only {
            let Some((_, results)) = self.look(true, &workload::steps(&steps)) else {
                return;
            };
            (Fate::Done, filled(steps, results))
        } else if self.round.siege.weakness == Some(Weakness::Batches) {
            self.change_apart(steps)
        } else {
            self.change_lists(id, steps)
        };
        let end = self.round.siege.tick();
        self.round.siege.counts.add("transactions on lists");
        self.tell(&format!(
            "transaction {}-{} {begin}..{end} {steps:?}: {fate:?}",
            id.client, id.sequence
        ));
        self.round.history.transaction(Transaction {
            id,
            steps,
            begin,
            end,
            fate,
        });
    }

    fn change_lists(&mut self, id: WriteId, steps: Vec<Step>) -> (Fate, Vec<Step>) {
        let key = self.chance.one_in(3).then(|| key(id));
        match self.settle("/db/request", &workload::steps(&steps), key.as_deref()) {
            Attempt::Done(done) if done.envelope.problem().is_none() => {
                self.seen = self.seen.max(done.index);
                (Fate::Done, filled(steps, done.envelope.rows()))
            }
            Attempt::Done(done) if done.is_certain => (Fate::Refused, steps),
            Attempt::Refused => (Fate::Refused, steps),
            Attempt::Done(_) | Attempt::Unknown => (Fate::Unknown, steps),
        }
    }

    /// A statement at a time, as if that were one transaction.
    fn change_apart(&mut self, steps: Vec<Step>) -> (Fate, Vec<Step>) {
        let mut results = Vec::new();
        for statement in workload::steps(&steps) {
            let attempt = self.settle("/db/request", &[statement], None);
            let Attempt::Done(done) = attempt else {
                return (Fate::Unknown, steps);
            };
            results.extend(done.envelope.rows());
        }
        (Fate::Done, filled(steps, results))
    }
}

/// The steps, with what the answer shows of the lists that they read.
fn filled(steps: Vec<Step>, results: Vec<sql::Rows>) -> Vec<Step> {
    let fill = |(step, rows): (Step, sql::Rows)| match step {
        Step::Read { list, .. } => Step::Read {
            list,
            seen: Some(items(rows.first().and_then(|row| row.first()))),
        },
        Step::Append { .. } => step,
    };
    steps.into_iter().zip(results).map(fill).collect()
}

//! The verdict over a history: no acknowledged write missing, none twice, no read that lies, no replica that differs.
//!
//! Black box: it sees what clients were told and what SQL shows, nothing of how it came about. It never asks a node.
//!
//! | check | invariant |
//! | --- | --- |
//! | an acknowledged write's row is on every node | D1 |
//! | no row twice; counters, accounts and the trigger's count agree with the rows | D2 |
//! | a refused write left nothing | D9 |
//! | content hashes at one index are equal | D3 |
//! | operations on a register have one order | D8 |
//! | transactions on lists have one order, in which each happens whole | D2, D8 |
//! | a read shows what was acknowledged before it began, and nothing that nobody sent | D8 |

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Effect, Holding, Inner, Moment, Outcome, Read, Write, WriteId};
use crate::linearizability::{self, Action, Operation, Verdict};
use crate::lists::{self, Fate, Step, Transaction};

/// What a register starts with.
pub const INITIAL: i64 = 0;

/// What one account starts with.
pub const BALANCE: i64 = 1_000;

/// The violations in a history, in words; `holdings` are the nodes after everything has settled.
pub fn check(history: &Inner, holdings: &[Holding]) -> Vec<String> {
    let writes: BTreeMap<WriteId, &Write> = history.writes.iter().map(|write| (write.id, write)).collect();
    let mut found = Vec::new();
    for holding in holdings {
        found.extend(rows(&writes, holding));
        found.extend(totals(holding));
    }
    found.extend(replicas(history, holdings));
    found.extend(increments(&history.writes));
    let expected = Expected::new(&history.writes);
    for read in &history.reads {
        found.extend(expected.check(read));
    }
    found.extend(backwards(&history.reads));
    found.extend(registers(history, holdings));
    found.extend(transactions(history, holdings));
    found
}

/// What must hold even of a database that was damaged and then taken for right: all nodes hold the same in the end.
pub fn check_equal(_: &Inner, holdings: &[Holding]) -> Vec<String> {
    replicas(&Inner::default(), holdings)
}

/// Every acknowledged row once, every unknown one at most once, no other.
fn rows(writes: &BTreeMap<WriteId, &Write>, holding: &Holding) -> Vec<String> {
    let node = &holding.node;
    let mut found = Vec::new();
    let mut counts: BTreeMap<WriteId, u64> = BTreeMap::new();
    for (id, effect) in &holding.rows {
        *counts.entry(*id).or_default() += 1;
        match writes.get(id) {
            None => found.push(format!("{node} holds {}, which nobody wrote", name(*id))),
            Some(write) if write.effect != *effect => {
                found.push(format!(
                    "{node} holds {} as {effect:?}, it was {:?}",
                    name(*id),
                    write.effect
                ));
            }
            Some(_) => {}
        }
    }
    for (id, write) in writes {
        let count = counts.get(id).copied().unwrap_or(0);
        match (write.outcome, count) {
            (Outcome::Acknowledged { index, .. }, 0) => {
                found.push(format!("{node} lost {}, acknowledged at index {index}", name(*id)));
            }
            (Outcome::Refused, 1..) => {
                found.push(format!(
                    "{node} holds {} {count} times, although it was refused",
                    name(*id)
                ));
            }
            (_, 2..) => found.push(format!("{node} holds {} {count} times", name(*id))),
            (_, _) => {}
        }
    }
    found
}

/// Counters, accounts and the trigger's count are what the rows say.
fn totals(holding: &Holding) -> Vec<String> {
    let node = &holding.node;
    let mut counters: BTreeMap<u64, i64> = holding.counters.keys().map(|counter| (*counter, 0)).collect();
    let mut accounts: BTreeMap<u64, i64> = holding.accounts.keys().map(|account| (*account, BALANCE)).collect();
    for (_, effect) in &holding.rows {
        match effect {
            Effect::Row | Effect::Failing => {}
            Effect::Increment { counter } => *counters.entry(*counter).or_default() += 1,
            Effect::Move { from, to } => {
                *accounts.entry(*from).or_default() -= 1;
                *accounts.entry(*to).or_default() += 1;
            }
        }
    }
    let mut found = Vec::new();
    if counters != holding.counters {
        found.push(format!(
            "{node} has counters {:?}, its rows say {counters:?}",
            holding.counters
        ));
    }
    if accounts != holding.accounts {
        found.push(format!(
            "{node} has accounts {:?}, its rows say {accounts:?}",
            holding.accounts
        ));
    }
    if usize::try_from(holding.counted) != Ok(holding.rows.len()) {
        found.push(format!(
            "{node} counted {} rows by trigger and holds {}",
            holding.counted,
            holding.rows.len()
        ));
    }
    found
}

/// Equal content wherever the same index was applied, and in the end.
fn replicas(history: &Inner, holdings: &[Holding]) -> Vec<String> {
    let mut found = Vec::new();
    let mut known: BTreeMap<u64, (&str, u64)> = BTreeMap::new();
    for sample in &history.samples {
        let (node, hash) = *known.entry(sample.index).or_insert((&sample.node, sample.hash));
        if hash != sample.hash {
            found.push(format!(
                "{node} and {} differ at index {}: {hash:016x}, {:016x}",
                sample.node, sample.index, sample.hash
            ));
        }
    }
    for pair in holdings.windows(2) {
        if let [one, other] = pair
            && one.hash != other.hash
        {
            found.push(format!(
                "{} and {} differ in the end: {:016x}, {:016x}",
                one.node, other.node, one.hash, other.hash
            ));
        }
    }
    found
}

/// No counter answered one value twice, or a lower one later.
fn increments(writes: &[Write]) -> Vec<String> {
    let mut by_counter: BTreeMap<u64, Vec<(i64, &Write)>> = BTreeMap::new();
    for write in writes {
        if let (Effect::Increment { counter }, Outcome::Acknowledged { value: Some(value), .. }) =
            (write.effect, write.outcome)
        {
            by_counter.entry(counter).or_default().push((value, write));
        }
    }
    let mut found = Vec::new();
    for (counter, mut answers) in by_counter {
        answers.sort_by_key(|(value, _)| *value);
        let mut latest_begin = 0;
        for pair in answers.windows(2) {
            let [(one, first), (other, second)] = pair else {
                continue;
            };
            if one == other {
                found.push(format!(
                    "counter {counter} answered {one} twice, to {} and to {}",
                    name(first.id),
                    name(second.id)
                ));
            }
            latest_begin = first.begin.max(latest_begin);
            if second.end < latest_begin {
                found.push(format!(
                    "counter {counter} answered {other} to {}, after a lower value to a later write",
                    name(second.id)
                ));
            }
        }
    }
    found
}

/// A write as reads see it, for lookups.
struct Expected<'w> {
    by_client: BTreeMap<u64, Vec<&'w Write>>,
    by_counter: BTreeMap<u64, Vec<&'w Write>>,
}

impl<'w> Expected<'w> {
    fn new(writes: &'w [Write]) -> Expected<'w> {
        let mut expected = Expected {
            by_client: BTreeMap::new(),
            by_counter: BTreeMap::new(),
        };
        for write in writes {
            expected.by_client.entry(write.id.client).or_default().push(write);
            if let Effect::Increment { counter } = write.effect {
                expected.by_counter.entry(counter).or_default().push(write);
            }
        }
        expected
    }

    /// What was acknowledged before the read began is there; what is there was sent before it ended.
    fn check(&self, read: &Read) -> Vec<String> {
        let mut found = self.rows(read);
        let Read { node, begin, .. } = read;
        for (counter, value) in read.counters.iter().filter(|_| read.is_linearizable) {
            let writes = self.by_counter.get(counter).map_or(&[][..], Vec::as_slice);
            let least = writes
                .iter()
                .filter(|write| is_done(write) && write.end < read.begin)
                .count();
            let most = writes
                .iter()
                .filter(|write| is_possible(write) && write.begin < read.end)
                .count();
            let range = i64::try_from(least).unwrap_or(i64::MAX)..=i64::try_from(most).unwrap_or(i64::MAX);
            if !range.contains(value) {
                found.push(format!(
                    "a read on {node} at {begin} saw counter {counter} at {value}, not in {range:?}"
                ));
            }
        }
        if read.sum % BALANCE != 0 {
            found.push(format!(
                "a read on {node} at {begin} saw half a move: all accounts hold {}",
                read.sum
            ));
        }
        found
    }

    fn rows(&self, read: &Read) -> Vec<String> {
        let Read {
            node, begin, client, ..
        } = read;
        let seen: BTreeSet<u64> = read.rows.iter().copied().collect();
        let mut found = Vec::new();
        if seen.len() != read.rows.len() {
            found.push(format!(
                "a read on {node} at {begin} saw a row of client {client} twice"
            ));
        }
        for write in self.by_client.get(client).into_iter().flatten() {
            let is_seen = seen.contains(&write.id.sequence);
            if !is_seen && is_done(write) && write.end < read.begin {
                found.push(format!(
                    "a read on {node} at {begin} missed {}, acknowledged before",
                    name(write.id)
                ));
            }
            if is_seen && !(is_possible(write) && write.begin < read.end) {
                found.push(format!(
                    "a read on {node} at {begin} saw {}, which cannot be",
                    name(write.id)
                ));
            }
        }
        found
    }
}

/// The operations on each register have one order, at whose end is what the nodes hold.
fn registers(history: &Inner, holdings: &[Holding]) -> Vec<String> {
    let mut operations = history.operations.clone();
    for holding in holdings {
        let last = |(register, value): (&u64, &i64)| Operation {
            register: *register,
            action: Action::Read(*value),
            begin: Moment::MAX - 1,
            end: Some(Moment::MAX),
        };
        operations.extend(holding.registers.iter().map(last));
    }
    let verdicts = linearizability::check(&operations, INITIAL).into_iter();
    let wrong = verdicts.filter(|(_, verdict)| *verdict != Verdict::Linearizable);
    wrong
        .map(|(register, verdict)| {
            let mut of_it: Vec<&Operation> = operations.iter().filter(|it| it.register == register).collect();
            of_it.sort_by_key(|operation| operation.begin);
            let told: Vec<String> = of_it
                .iter()
                .map(|it| format!("{}..{:?} {:?}", it.begin, it.end, it.action))
                .collect();
            let what = match verdict {
                Verdict::Linearizable => "one order",
                Verdict::Violated => "no order",
                Verdict::Undecided => "no order that was found in time",
            };
            format!("register {register} has {what}: {}", told.join("; "))
        })
        .collect()
}

/// The transactions on lists have one order, at whose end is what the nodes hold.
fn transactions(history: &Inner, holdings: &[Holding]) -> Vec<String> {
    let mut transactions = history.transactions.clone();
    let read = |(list, items): (&u64, &Vec<i64>)| Step::Read {
        list: *list,
        seen: Some(items.clone()),
    };
    transactions.extend(holdings.iter().zip(1..).map(|(holding, sequence)| Transaction {
        id: WriteId { client: 0, sequence },
        steps: holding.lists.iter().map(read).collect(),
        begin: Moment::MAX - 1,
        end: Moment::MAX,
        fate: Fate::Done,
    }));
    lists::check(&transactions, !holdings.is_empty())
}

/// No linearizable read shows less than one that ended before it began.
fn backwards(reads: &[Read]) -> Vec<String> {
    let mut found = Vec::new();
    let mut by_begin: Vec<&Read> = reads.iter().filter(|read| read.is_linearizable).collect();
    let mut by_end = by_begin.clone();
    by_begin.sort_by_key(|read| read.begin);
    by_end.sort_by_key(|read| read.end);
    let mut ended = by_end.into_iter().peekable();
    let mut highest: BTreeMap<u64, i64> = BTreeMap::new();
    for read in by_begin {
        while let Some(before) = ended.next_if(|before| before.end < read.begin) {
            for (counter, value) in &before.counters {
                let known = highest.entry(*counter).or_insert(*value);
                *known = (*known).max(*value);
            }
        }
        for (counter, value) in &read.counters {
            let known = highest.get(counter).copied().unwrap_or(0);
            if *value < known {
                let Read { node, begin, .. } = read;
                found.push(format!(
                    "a read on {node} at {begin} saw counter {counter} at {value}, a read before it at {known}"
                ));
            }
        }
    }
    found
}

fn is_done(write: &Write) -> bool {
    matches!(write.outcome, Outcome::Acknowledged { .. })
}

fn is_possible(write: &Write) -> bool {
    write.outcome != Outcome::Refused
}

fn name(id: WriteId) -> String {
    format!("write {}-{}", id.client, id.sequence)
}

#[cfg(test)]
mod tests;

//! The comparison: every entry in plain SQLite, every answer and every sight against it.

use std::collections::BTreeMap;

use command::reply::{OutcomeKind, Reply};
use command::request::Write;

use crate::counts::Counts;
use crate::oracle::contents::{self, Contents};
use crate::oracle::plain::{Plain, REFUSED, Ran, client_key};
use crate::oracle::record::{Answer, Record};
use crate::oracle::shrink;

/// A reply that was not kept with its key.
const NOT_KEPT: &str = "its reply was too large to keep";

/// Answers what differs; the first difference ends the search, since what follows rests on it.
pub fn check(record: &Record, foreign_keys: bool, counts: &Counts) -> Vec<String> {
    if let Some(contradiction) = record.contradictions.first() {
        return vec![contradiction.clone()];
    }
    let mut writes = Vec::new();
    match replay(record, foreign_keys, &mut writes, counts) {
        Ok(()) => Vec::new(),
        Err(difference) => vec![format!("{difference}\n{}", shrink::told(&writes, foreign_keys))],
    }
}

/// Applies everything to plain SQLite, and stops where that says something else. `writes` are those that took effect.
fn replay(record: &Record, foreign_keys: bool, writes: &mut Vec<Write>, counts: &Counts) -> Result<(), String> {
    let mut plain = Plain::new(foreign_keys)?;
    let mut answers: BTreeMap<u64, Vec<&Answer>> = BTreeMap::new();
    for answer in &record.answers {
        answers.entry(answer.reply.index).or_default().push(answer);
    }
    let last = record.entries.keys().next_back().copied().unwrap_or(0);
    for index in 1..=last {
        let entry = record.entries.get(&index);
        let entry = entry.ok_or_else(|| format!("entry {index} was never applied, but {last} was"))?;
        if let Some(write) = &entry.write {
            let ran = plain.run(write);
            if let Ran::Answered(reply) = ran {
                writes.push(write.clone());
                for answer in answers.get(&index).into_iter().flatten() {
                    counts.add("replies compared");
                    compare(index, write, answer, &reply)?;
                }
            }
        }
        for sight in record.sights.iter().filter(|sight| sight.index == index) {
            counts.add("contents compared");
            let right = Contents::of(&mut |sql| plain.ask(sql))?;
            if let Some(difference) = sight.contents.difference(&right) {
                return Err(format!(
                    "{} at entry {index} differs from plain SQLite: {difference}",
                    sight.node
                ));
            }
        }
    }
    Ok(())
}

fn compare(index: u64, write: &Write, answer: &Answer, right: &Reply) -> Result<(), String> {
    if write.statements != answer.draft.statements {
        return Err(format!(
            "entry {index} is {:?}, but was acknowledged for {:?}",
            write.statements, answer.draft.statements
        ));
    }
    let is_not_kept = |failure: &command::reply::Failure| failure.message.contains(NOT_KEPT);
    if client_key(write).is_some() && answer.reply.error.as_ref().is_some_and(is_not_kept) {
        return Ok(());
    }
    match difference(&answer.reply, right) {
        None => Ok(()),
        Some(difference) => Err(format!(
            "the answer to entry {index} differs from plain SQLite's: {difference}"
        )),
    }
}

/// In words, how a reply differs from what is `right`.
pub fn difference(reply: &Reply, right: &Reply) -> Option<String> {
    let error = |reply: &Reply| reply.error.as_ref().map(|failure| failure.message.clone());
    if error(reply) != error(right) {
        return Some(format!("error {:?} where SQLite has {:?}", error(reply), error(right)));
    }
    for place in 0..reply.outcomes.len().max(right.outcomes.len()) {
        let here = reply.outcomes.get(place).and_then(|outcome| outcome.kind.as_ref());
        let there = right.outcomes.get(place).and_then(|outcome| outcome.kind.as_ref());
        let is_same = match (here, there) {
            (Some(OutcomeKind::Error(_)), Some(OutcomeKind::Error(text))) if text == REFUSED => true,
            _ => here == there,
        };
        if !is_same {
            return Some(format!(
                "element {place} is {} where SQLite has {}",
                told(here),
                told(there)
            ));
        }
    }
    None
}

fn told(outcome: Option<&OutcomeKind>) -> String {
    match outcome {
        None => "missing".to_owned(),
        Some(OutcomeKind::Rows(rows)) => {
            let shown: Vec<String> = rows.rows.iter().map(contents::shown).collect();
            format!(
                "{:?} {:?} {} error {:?}",
                rows.names,
                rows.types,
                shown.join(" "),
                rows.error
            )
        }
        Some(other) => format!("{other:?}"),
    }
}

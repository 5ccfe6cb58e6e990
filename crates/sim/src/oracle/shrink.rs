//! A difference made small: entries are taken out as long as apply alone still differs from plain SQLite.
//!
//! What only a cluster shows (faults, restarts) does not come back here; then all entries are told.

use std::fmt::Write as _;
use std::sync::Arc;

use command::entry::{Action, Command};
use command::request::{Kind, Write};
use command::statement::Value;
use sqlite::{Options, Position};
use store::apply::{Applier, Body, Entry};

use crate::oracle::contents::Contents;
use crate::oracle::plain::{Plain, Ran};
use crate::oracle::verdict;

/// Runs of a list that may be spent.
const RUNS_MAX: usize = 400;

/// Entries in a transaction of apply's, in its two ways to be tried.
const BATCHES: [usize; 2] = [1, 64];

/// The entries as SQL text, as few as still show a difference.
pub fn told(writes: &[Write], foreign_keys: bool) -> String {
    for batch in BATCHES {
        let mut runs = 0;
        let Some(first) = differs(writes, foreign_keys, batch) else {
            continue;
        };
        let mut left = writes[..first.entries].to_vec();
        let mut size = left.len().div_ceil(2);
        while size > 0 && runs < RUNS_MAX {
            let mut start = 0;
            while start < left.len() && runs < RUNS_MAX {
                let mut fewer = left.clone();
                fewer.drain(start..(start + size).min(left.len()));
                runs += 1;
                match differs(&fewer, foreign_keys, batch) {
                    Some(found) => {
                        fewer.truncate(found.entries);
                        left = fewer;
                    }
                    None => start += size,
                }
            }
            size /= 2;
        }
        let difference = differs(&left, foreign_keys, batch).map_or(first.what, |found| found.what);
        return format!(
            "-- apply alone differs, in batches of {batch}: {difference}\n{}",
            script(&left, foreign_keys)
        );
    }
    format!("-- apply alone does not differ\n{}", script(writes, foreign_keys))
}

/// A difference, and after how many entries it showed.
pub struct Found {
    entries: usize,
    /// In words.
    pub what: String,
}

/// Runs `writes` through apply and through plain SQLite.
pub fn differs(writes: &[Write], foreign_keys: bool, batch: usize) -> Option<Found> {
    run(writes, foreign_keys, batch).unwrap_or_else(|problem| {
        Some(Found {
            entries: writes.len(),
            what: problem,
        })
    })
}

fn run(writes: &[Write], foreign_keys: bool, batch: usize) -> Result<Option<Found>, String> {
    let folder = crate::run::scratch().map_err(|error| error.to_string())?;
    let path = folder.path().join("db");
    let options = Options {
        foreign_keys,
        ..Options::default()
    };
    let mut applier = Applier::open(&path, &options).map_err(|error| error.to_string())?;
    let mut plain = Plain::new(foreign_keys)?;
    let mut done = 0;
    for writes in writes.chunks(batch) {
        let entries: Vec<Entry> = writes
            .iter()
            .zip(done + 1..)
            .map(|(write, index)| entry(index, write))
            .collect();
        let replies = applier.apply(&entries).map_err(|error| error.to_string())?;
        for (write, reply) in writes.iter().zip(replies) {
            done += 1;
            let Ran::Answered(right) = plain.run(write) else {
                continue;
            };
            if let Some(what) = verdict::difference(&reply, &right) {
                return Ok(Some(Found {
                    entries: usize::try_from(done).unwrap_or(usize::MAX),
                    what: format!("entry {done} of these: {what}"),
                }));
            }
        }
        let reader = sqlite::open::open_reader(&path, &options).map_err(|error| error.to_string())?;
        let contents = Contents::of(&mut |sql| crate::oracle::plain::ask(&reader, sql))?;
        let right = Contents::of(&mut |sql| plain.ask(sql))?;
        if let Some(what) = contents.difference(&right) {
            return Ok(Some(Found {
                entries: usize::try_from(done).unwrap_or(usize::MAX),
                what: format!("after entry {done} of these: {what}"),
            }));
        }
    }
    Ok(None)
}

fn entry(index: u64, write: &Write) -> Entry {
    Entry {
        position: Position { term: 1, index },
        body: Body::Command(Arc::new(Command::new(Some(Action::Write(write.clone()))))),
    }
}

/// Entries as a text that SQLite's shell takes; what the shell cannot know stands in remarks.
pub fn script(writes: &[Write], foreign_keys: bool) -> String {
    let mut text = format!("PRAGMA foreign_keys = {};\n", u8::from(foreign_keys));
    for (write, index) in writes.iter().zip(1..) {
        let is_atomic = write.atomic && write.statements.len() > 1;
        let kind = match write.kind() {
            Kind::Execute => "execute",
            Kind::Request => "request",
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "-- entry {index}: {kind}, atomic {is_atomic}, clock_us {}, seed {}",
            write.clock_us, write.seed
        );
        if is_atomic {
            text += "BEGIN;\n";
        }
        for statement in &write.statements {
            for parameter in &statement.parameters {
                let value = parameter.value.as_ref().map_or("NULL".to_owned(), literal);
                let _ = writeln!(text, "-- parameter {}: {value}", parameter.name);
            }
            let _ = writeln!(text, "{};", statement.sql);
        }
        if is_atomic {
            text += "COMMIT;\n";
        }
    }
    text
}

fn literal(value: &Value) -> String {
    match value {
        Value::Integer(value) => value.to_string(),
        Value::Real(value) => format!("{value:?}"),
        Value::Text(value) => format!("'{}'", value.replace('\'', "''")),
        Value::Blob(value) => format!(
            "x'{}'",
            value.iter().map(|byte| format!("{byte:02X}")).collect::<String>()
        ),
    }
}

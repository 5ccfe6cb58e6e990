//! What the oracle knows of a run: the entries that nodes applied, what clients were told, and what nodes held.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use command::entry::Action;
use command::reply::Reply;
use command::request::Write;
use store::apply::{Body, Entry};

use crate::chance::{Chance, lock};
use crate::counts::Counts;
use crate::oracle::Contents;
use crate::oracle::grammar::{Draft, Grammar};

/// The part of a world that is the oracle's.
pub struct Oracle {
    /// Makes requests.
    pub grammar: Mutex<Grammar>,
    record: Arc<Mutex<Record>>,
}

/// See the head of this file.
#[derive(Default)]
pub struct Record {
    /// By log index.
    pub entries: BTreeMap<u64, Fed>,
    /// In the order in which clients heard them.
    pub answers: Vec<Answer>,
    /// In the order in which they were seen.
    pub sights: Vec<Sight>,
    /// Two nodes applied different entries at one index.
    pub contradictions: Vec<String>,
    batches: u64,
    batches_of_several: u64,
}

/// An entry as the log gave it to apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Fed {
    /// Its term.
    pub term: u64,
    /// The write that it carries, if it carries one.
    pub write: Option<Write>,
}

/// What a client was told.
pub struct Answer {
    /// What it had sent.
    pub draft: Draft,
    /// The reply, with the index of its entry.
    pub reply: Reply,
}

/// What a node held.
pub struct Sight {
    /// The node.
    pub node: String,
    /// The last entry in it.
    pub index: u64,
    /// Everything.
    pub contents: Contents,
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new(chance: Chance, foreign_keys: bool) -> Oracle {
        Oracle {
            grammar: Mutex::new(Grammar::new(chance, foreign_keys)),
            record: Arc::default(),
        }
    }

    /// Hears from now on what the nodes of this thread apply.
    pub fn listen(&self) {
        let record = self.record.clone();
        store::feed::listen(move |batch| lock(&record).feed(batch));
    }

    /// A client was told something.
    pub fn answer(&self, draft: Draft, reply: Reply) {
        lock(&self.record).answers.push(Answer { draft, reply });
    }

    /// A node was seen.
    pub fn sight(&self, sight: Sight) {
        lock(&self.record).sights.push(sight);
    }

    /// Compares everything with plain SQLite; answers what differs, and counts.
    pub fn check(&self, foreign_keys: bool, counts: &Counts) -> Vec<String> {
        // A difference is searched for with an apply core of its own.
        store::feed::listen(|_| ());
        let record = lock(&self.record);
        counts.add_many("entries", record.entries.len() as u64);
        counts.add_many("batches", record.batches);
        counts.add_many("batches of several", record.batches_of_several);
        crate::oracle::verdict::check(&record, foreign_keys, counts)
    }
}

impl Record {
    fn feed(&mut self, batch: &[Entry]) {
        self.batches += 1;
        self.batches_of_several += u64::from(batch.len() > 1);
        for entry in batch {
            let fed = Fed {
                term: entry.position.term,
                write: write_of(&entry.body),
            };
            let index = entry.position.index;
            let known = self.entries.entry(index).or_insert_with(|| fed.clone());
            if *known != fed {
                self.contradictions
                    .push(format!("entry {index} was applied as {known:?} and as {fed:?}"));
            }
        }
    }
}

fn write_of(body: &Body) -> Option<Write> {
    match body {
        Body::Blank | Body::Membership(_) => None,
        Body::Command(command) => match &command.action {
            Some(Action::Write(write)) => Some(write.clone()),
            Some(Action::Skip(_) | Action::Settings(_) | Action::Chunk(_) | Action::Load(_) | Action::Verify(_))
            | None => None,
        },
    }
}

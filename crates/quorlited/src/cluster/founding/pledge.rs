//! The rules of promises: which set of founding voters this incarnation has bound itself to.
//!
//! No I/O: a rule is asked, and says what must be written before its answer may leave.
//!
//! ```text
//!            Grant                            Grant, once the old one is released
//!  free ─────────────► promised (attempt) ─────────────────────────────────────► promised (another)
//!   │ ▲                     │ coordinator: begin
//!   │ └── released          ▼
//!   └──► joining      initializing ──► member of a cluster: nothing is promised any more
//! ```
//!
//! Invariants:
//! * An attempt is initialized only by its coordinator, and only while the coordinator's own promise is that attempt.
//! * A promise gives way only when its attempt is dead: its coordinator went on to a later round or gave it up
//!   (both durably), or the coordinator's incarnation is gone and no voter of the attempt is part of a cluster.
//! * A node that may have joined a cluster promises nothing.
//!
//! So two sets that share an incarnation are never both initialized: that one would have promised both at once.

use store::member::NodeId;

use crate::cluster::message::{Attempt, Release};

/// What is kept in the promise file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Record {
    /// The last round that this node used as a coordinator.
    #[prost(uint64, tag = "1")]
    pub round: u64,
    /// The attempt that it has promised itself to.
    #[prost(message, optional, tag = "2")]
    pub promise: Option<Attempt>,
    /// It has asked a cluster to take it in, and has not been refused.
    #[prost(bool, tag = "3")]
    pub joining: bool,
}

/// The promises of one incarnation.
#[derive(Debug)]
pub struct Pledge {
    me: NodeId,
    record: Record,
    initializing: bool,
    unwritten: bool,
}

/// The answer of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, and it is on disk already.
    Held,
    /// Yes, once this is on disk.
    Grant(Record),
    /// Perhaps: ask first what became of this attempt, which is held.
    Consult(Attempt),
    /// No, and why.
    Refuse(String),
}

impl Pledge {
    /// The promises of incarnation `me`, as last written.
    pub fn new(me: NodeId, record: Record) -> Self {
        Self {
            me,
            record,
            initializing: false,
            unwritten: false,
        }
    }

    /// What is on disk.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// `record` is on disk.
    pub fn written(&mut self, record: Record) {
        self.record = record;
    }

    /// A record could not be written: what the disk holds now is unknown, and nothing is promised any more.
    pub fn not_written(&mut self) {
        self.unwritten = true;
    }

    /// The number of this node's next attempt as a coordinator.
    pub fn round_next(&self) -> u64 {
        self.record.round + 1
    }

    /// May this node promise itself to `attempt`? `released` is an attempt that is known to be dead.
    pub fn ask(&self, attempt: &Attempt, initialized: bool, released: Option<&Attempt>) -> Verdict {
        if self.unwritten {
            return refuse("cannot write its promise file");
        }
        if initialized {
            return refuse("already part of a cluster");
        }
        if self.record.joining {
            return refuse("joining a cluster");
        }
        if let Some(flaw) = self.flaw(attempt) {
            return Verdict::Refuse(flaw);
        }
        let Some(held) = &self.record.promise else {
            return self.grant(attempt);
        };
        if held == attempt {
            return Verdict::Held;
        }
        if held.coordinator == attempt.coordinator {
            return if attempt.round > held.round && !self.initializing {
                self.grant(attempt)
            } else {
                refuse("promised to a later attempt of the same node")
            };
        }
        if released == Some(held) {
            return self.grant(attempt);
        }
        if held.coordinator != self.me.0 {
            return Verdict::Consult(held.clone());
        }
        if self.yields_to(attempt.coordinator) {
            self.grant(attempt)
        } else {
            refuse("brings a set of its own together")
        }
    }

    /// Another node asks that an attempt be given up. Answers whether it is dead, and what must be written first.
    pub fn release(&self, release: Release, initialized: bool) -> (bool, Option<Record>) {
        if self.unwritten || initialized || self.initializing || release.coordinator != self.me.0 {
            return (false, None);
        }
        let current = |attempt: &Attempt| attempt.coordinator == self.me.0 && attempt.round == release.round;
        if !self.record.promise.as_ref().is_some_and(current) {
            // A round that was never used is one of a lost file, and nothing is known about it.
            return (release.round <= self.record.round, None);
        }
        if !self.yields_to(release.rival) {
            return (false, None);
        }
        let mut record = self.record.clone();
        record.promise = None;
        (true, Some(record))
    }

    /// May this node ask a cluster to take it in?
    pub fn join(&self, released: Option<&Attempt>) -> Verdict {
        self.withdraw(released, true)
    }

    /// May this node form a cluster of its own?
    pub fn free(&self, released: Option<&Attempt>) -> Verdict {
        self.withdraw(released, false)
    }

    /// Every voter has promised: from here on the attempt is not given up. False if it has been already.
    pub fn begin(&mut self, attempt: &Attempt) -> bool {
        let current = attempt.coordinator == self.me.0 && self.record.promise.as_ref() == Some(attempt);
        self.initializing |= current && !self.unwritten;
        current && self.initializing
    }

    /// Initializing failed, and nothing was initialized.
    pub fn failed(&mut self) {
        self.initializing = false;
    }

    fn withdraw(&self, released: Option<&Attempt>, joining: bool) -> Verdict {
        if self.unwritten {
            return refuse("cannot write its promise file");
        }
        match &self.record.promise {
            Some(_) if self.initializing => refuse("forms a cluster of its own"),
            Some(held) if released != Some(held) && held.coordinator != self.me.0 => Verdict::Consult(held.clone()),
            None if self.record.joining == joining => Verdict::Held,
            Some(_) | None => Verdict::Grant(Record {
                round: self.record.round,
                promise: None,
                joining,
            }),
        }
    }

    fn grant(&self, attempt: &Attempt) -> Verdict {
        let mut record = self.record.clone();
        record.promise = Some(attempt.clone());
        if attempt.coordinator == self.me.0 {
            record.round = record.round.max(attempt.round);
        }
        Verdict::Grant(record)
    }

    /// Of two coordinators the smaller incarnation goes on; 0, a cluster that exists, beats both.
    fn yields_to(&self, rival: u64) -> bool {
        !self.initializing && rival < self.me.0
    }

    fn flaw(&self, attempt: &Attempt) -> Option<String> {
        if attempt.voters.iter().map(|voter| voter.id).min() != Some(attempt.coordinator) {
            return Some("malformed set: its coordinator is not the smallest".to_owned());
        }
        let mine = attempt.voters.iter().any(|voter| voter.id == self.me.0);
        if !mine {
            return Some(format!("this is incarnation {}, which the set does not list", self.me));
        }
        let reused = attempt.coordinator == self.me.0
            && attempt.round <= self.record.round
            && self.record.promise.as_ref() != Some(attempt);
        reused.then(|| "a round is used once".to_owned())
    }
}

fn refuse(text: &str) -> Verdict {
    Verdict::Refuse(text.to_owned())
}

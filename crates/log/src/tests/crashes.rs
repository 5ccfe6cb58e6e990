//! Random work, random crashes: what was acknowledged is there, and nothing that was not appended.
//!
//! Each operation that was accepted makes one state of a model. After a restart or a loss of power the log must be in one
//! of these states, no earlier than the last acknowledged operation; and what a start has shown, no later crash may take
//! back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::{Rig, Told, at, chooser, record};
use crate::testing::MemDisk;
use crate::{Position, Step};

/// One step of a run.
#[derive(Debug, Clone)]
enum Work {
    Append {
        count: u64,
        length: usize,
        term: u64,
    },
    Vote(u8),
    /// Saves the committed position, this far behind the tail.
    Committed(u64),
    /// Truncates, this far behind the tail.
    Truncate(u64),
    /// Purges, this far behind the tail, or ahead of it.
    Purge(i64),
    Step,
    RunAll,
    FailWrites(u64),
    FailSyncs(u64),
    FailCreates(u64),
    /// The process dies.
    Restart,
    /// The process dies, and the next start fails after this many flushes.
    FailStart(u64),
    /// Power is lost.
    Crash(u64),
}

/// What the log says, all of it but the committed position.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    purged: Option<Position>,
    last: Option<Position>,
    vote: Option<u8>,
    /// Term and length by index.
    records: BTreeMap<u64, (u64, usize)>,
}

struct Run {
    rig: Rig,
    told: Told,
    /// States after each accepted operation; the first is durable.
    history: Vec<Model>,
    /// Every committed position that was saved, or `None`.
    committed: BTreeSet<Option<Position>>,
    term: u64,
}

impl Model {
    /// What `rig`'s log says; an error if a record does not hold what was appended.
    fn of(rig: &Rig) -> Result<Model, String> {
        let state = rig.log.state();
        let mut records = BTreeMap::new();
        for found in rig
            .log
            .read(0..u64::MAX, usize::MAX)
            .map_err(|error| error.to_string())?
        {
            let Position { term, index } = found.position;
            if found != record(term, index, found.bytes.len()) {
                return Err(format!("record {} is not what was appended", found.position));
            }
            records.insert(index, (term, found.bytes.len()));
        }
        Ok(Model {
            purged: state.purged,
            last: state.last,
            vote: state.vote.map(|vote| vote[0]),
            records,
        })
    }

    fn at(&self, index: u64) -> Option<Position> {
        let purged = self.purged.filter(|purged| purged.index == index);
        purged.or_else(|| self.records.get(&index).map(|(term, _)| at(*term, index)))
    }
}

impl Run {
    fn new(disk: MemDisk) -> Run {
        let rig = Rig::on(disk).expect("an empty disk opens");
        let history = vec![Model::default()];
        Run {
            rig,
            told: Told::default(),
            history,
            committed: BTreeSet::from([None]),
            term: 1,
        }
    }

    fn now(&self) -> &Model {
        self.history.last().expect("there is a first state")
    }

    fn then(&mut self, change: impl FnOnce(&mut Model)) {
        let mut next = self.now().clone();
        change(&mut next);
        self.history.push(next);
    }

    fn work(&mut self, work: &Work) -> Result<(), String> {
        match work {
            Work::Append { count, length, term } => self.append(*count, *length, *term),
            Work::Vote(vote) => {
                let done = self.told.done(self.history.len() as u64);
                if self.rig.log.save_vote(Bytes::from(vec![*vote; 30]), done).is_ok() {
                    self.then(|model| model.vote = Some(*vote));
                }
            }
            Work::Committed(back) => {
                let last = self.now().last.map_or(0, |last| last.index);
                let position = self.now().at(last.saturating_sub(*back));
                if position >= self.rig.log.state().committed {
                    self.rig.log.save_committed(position);
                    self.committed.insert(position);
                }
            }
            Work::Truncate(back) => self.truncate(*back),
            Work::Purge(ahead) => self.purge(*ahead),
            Work::Step => drop(self.rig.flusher.step()),
            Work::RunAll => self.rig.run(),
            Work::FailWrites(after) => self.rig.disk.fail_writes_after(*after),
            Work::FailSyncs(after) => self.rig.disk.fail_syncs_after(*after),
            Work::FailCreates(after) => self.rig.disk.fail_creates_after(*after),
            Work::Restart => {
                self.rig.disk.restart();
                self.reopen()?;
            }
            Work::FailStart(after) => {
                let disk = self.rig.disk.clone();
                disk.restart();
                disk.fail_syncs_after(*after);
                drop(Rig::on(disk.clone()));
                disk.restart();
                self.reopen()?;
            }
            Work::Crash(seed) => {
                self.rig.disk.crash(&mut chooser(*seed));
                self.reopen()?;
            }
        }
        self.check_readable()
    }

    fn append(&mut self, count: u64, length: usize, term: u64) {
        self.term += term;
        let next = self.now().last.map_or(0, |last| last.index + 1);
        for index in next..next + count {
            let done = self.told.done(self.history.len() as u64);
            let term = self.term;
            if self.rig.log.append(vec![record(term, index, length)], done).is_ok() {
                self.then(|model| {
                    model.records.insert(index, (term, length));
                    model.last = Some(at(term, index));
                });
            }
        }
    }

    fn truncate(&mut self, back: u64) {
        let state = self.rig.log.state();
        let Some(last) = self
            .now()
            .last
            .and_then(|last| self.now().at(last.index.saturating_sub(back)))
        else {
            return;
        };
        if Some(last) < state.committed || state.failure.is_some() {
            return;
        }
        self.rig
            .log
            .truncate_after(Some(last), self.told.done(self.history.len() as u64));
        self.then(|model| {
            model.records.retain(|index, _| *index <= last.index);
            model.last = Some(last);
        });
    }

    fn purge(&mut self, ahead: i64) {
        let Some(last) = self.now().last else { return };
        if self.rig.log.state().failure.is_some() {
            return;
        }
        let index = last.index.saturating_add_signed(ahead);
        let through = if ahead > 0 {
            Some(at(self.term, index))
        } else {
            self.now().at(index)
        };
        let Some(through) = through.filter(|through| Some(*through) > self.now().purged) else {
            return;
        };
        self.rig.log.purge(through, self.told.done(self.history.len() as u64));
        self.then(|model| {
            model.records.retain(|index, _| *index > through.index);
            model.purged = Some(through);
            model.last = model.last.max(Some(through));
        });
    }

    /// What was accepted can be read at once.
    fn check_readable(&self) -> Result<(), String> {
        let found = Model::of(&self.rig)?;
        if found != *self.now() {
            return Err(format!("the log says {found:?}, and was told {:?}", self.now()));
        }
        Ok(())
    }

    /// Starts again, and checks what is there.
    fn reopen(&mut self) -> Result<(), String> {
        let all = self.told.all();
        if !all.is_sorted_by_key(|(what, _)| *what) {
            return Err(format!("completions out of order: {all:?}"));
        }
        let acknowledged = self
            .told
            .well()
            .last()
            .map_or(0, |last| usize::try_from(*last).expect("small"));
        let disk = self.rig.disk.clone();
        self.rig = Rig::on(disk).map_err(|error| format!("does not open: {error}"))?;
        let found = Model::of(&self.rig)?;
        let allowed = &self.history[acknowledged..];
        let Some(nth) = allowed.iter().position(|model| *model == found) else {
            return Err(format!(
                "the log says {found:?}, after {acknowledged} of {}: {allowed:?}",
                self.history.len() - 1
            ));
        };
        let committed = self.rig.log.state().committed;
        if !self.committed.contains(&committed) || committed.is_some_and(|committed| Some(committed) > found.last) {
            return Err(format!(
                "{committed:?} is committed, and the log ends at {:?}",
                found.last
            ));
        }
        self.history = vec![allowed[nth].clone()];
        self.told = Told::default();
        Ok(())
    }
}

/// Does all of `works`, then loses power twice.
fn run(works: &[Work], lying: bool) -> Result<(), String> {
    let disk = MemDisk::new();
    disk.lie(lying);
    let mut run = Run::new(disk);
    for (nth, work) in works.iter().chain([Work::Crash(1), Work::Crash(2)].iter()).enumerate() {
        run.work(work)
            .map_err(|error| format!("step {nth}, {work:?}: {error}"))?;
    }
    Ok(())
}

fn work() -> impl Strategy<Value = Work> {
    let append = |lengths: std::ops::Range<usize>| {
        (1..4u64, lengths, 0..2u64).prop_map(|(count, length, term)| Work::Append { count, length, term })
    };
    prop_oneof![
        12 => append(0..1500),
        3 => append(0..6000),
        1 => append(12_000..40_000),
        2 => any::<u8>().prop_map(Work::Vote),
        3 => (0..4u64).prop_map(Work::Committed),
        2 => (0..6u64).prop_map(Work::Truncate),
        3 => (-8..2i64).prop_map(Work::Purge),
        8 => Just(Work::Step),
        4 => Just(Work::RunAll),
        1 => (0..3u64).prop_map(Work::FailWrites),
        1 => (0..4u64).prop_map(Work::FailSyncs),
        1 => (0..2u64).prop_map(Work::FailCreates),
        2 => Just(Work::Restart),
        1 => (0..3u64).prop_map(Work::FailStart),
        3 => any::<u64>().prop_map(Work::Crash),
    ]
}

fn works() -> impl Strategy<Value = Vec<Work>> {
    prop::collection::vec(work(), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_acknowledged_survives_and_nothing_else_appears(works in works()) {
        run(&works, false).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn the_same_check_fails_when_flushes_do_nothing() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut failures = 0;
    for _ in 0..20 {
        let works = works().new_tree(&mut runner).expect("a case").current();
        failures += usize::from(run(&works, true).is_err());
    }
    assert!(failures > 10, "only {failures} of 20 runs noticed");
}

#[test]
fn an_idle_log_survives_any_crash() {
    let mut run = Run::new(MemDisk::new());
    for seed in 0..20 {
        run.work(&Work::Crash(seed)).expect("nothing to lose");
        assert_eq!(run.rig.flusher.step(), Step::Idle);
    }
}

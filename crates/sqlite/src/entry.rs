//! One entry runs: its statements, their units, and what undoes them.
//!
//! ```text
//!  entry ─┬─ atomic: one savepoint around all of its texts; the first failure undoes all
//!         └─ otherwise each text is a unit of its own; a failure undoes that text alone
//!  text  ─── its statements in order; the element is that of the last one
//! ```
//!
//! A quick run takes no savepoint where SQLite's own statement rollback is enough. Where that turns out to be wrong
//! ([`Conclusion::NeedsCare`]) the batch is undone and the entry runs again with savepoints. Where SQLite rolled back
//! the whole transaction ([`Conclusion::RolledBack`]) the entry runs again in a transaction of its own, and the unit
//! that did it is replaced by what it answered.
//!
//! A step costs as much as the values that it works on are long, so there are two budgets (D13). An entry runs first where
//! values must be short. The first one that is not ends the run; the entry runs again where they may be long, with far
//! fewer steps. Which of the two an entry gets depends on its values alone.

pub(crate) mod script;
mod unit;

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use command::reply::{Outcome, OutcomeKind, Reply};
use command::request::{Kind, Write};
use command::statement::Value;

use crate::budget::Grant;
use crate::context::{Facts, Spent};
use crate::effect::Fold;
use crate::engine::Engine;
use crate::error::Error;
use crate::ffi::hooks;
use crate::ffi::statement::StatementError;
use crate::meta::State;
use crate::open::Limits;
use unit::{Answer, DEFER_OFF, ENTRY, FLUSH, Failed, UNIT, Unit};

/// Units of one entry that may roll back the transaction, each costing a run of the entry from its start.
const ROLLBACKS_MAX: usize = 64;

/// Bytes that cost a step when a function works on them (`Budget::charge`): about as long as a step, 5 ns.
const SHORT_STEP_BYTES: u64 = 8;
/// The same where values may be long. There are few steps, and a gigabyte of work on values for all of them.
const LONG_STEP_BYTES: u64 = 256;

const TOO_MANY_ROLLBACKS: &str = "too many statements of this request rolled back the transaction";

/// How a run protects itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Savepoints where they are known to be needed.
    Quick,
    /// A savepoint around every unit.
    Careful,
}

/// How long the values are that a run may meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Values {
    /// Up to [`Limits::short_length_max`].
    #[default]
    Short,
    /// Up to [`Limits::length_max`].
    Long,
}

/// What is known of an entry from runs that were undone.
#[derive(Default)]
pub struct Resume {
    values: Values,
    /// Units that rolled back the transaction, by their place, with what they left.
    rolled_back: BTreeMap<usize, Left>,
    /// The whole entry is already known: nothing of it runs again.
    finished: Option<Box<Finished>>,
}

/// What a unit left behind that had no effect on the database.
struct Left {
    outcome: Outcome,
    class: i32,
    counters: Counters,
    spent: Spent,
}

struct Finished {
    ran: Ran,
    counters: Counters,
}

/// The replicated counters (spec §5.2).
#[derive(Clone, Copy)]
struct Counters {
    last_rowid: i64,
    changes: i64,
    total_changes: i64,
}

/// An entry has run.
pub struct Ran {
    /// Its reply, without its index.
    pub reply: Reply,
    /// The effect hash after it.
    pub effect: u64,
}

/// How a run ended.
pub enum Conclusion {
    /// It is part of the transaction.
    Done(Ran),
    /// It must be undone with the transaction, and run again with [`Care::Careful`].
    NeedsCare,
    /// It must be undone with the transaction, or SQLite has done so; run it again in one of its own with this.
    RolledBack(Resume),
}

/// A run of one entry within the writer's transaction.
pub(crate) struct Entry<'a> {
    engine: Engine<'a>,
    state: &'a mut State,
    write: &'a Write,
    kind: Kind,
    care: Care,
    values: Values,
    limits: &'a Limits,
    outcomes: Vec<Outcome>,
    fold: Fold,
    /// `changes()` as users see it: stale where a statement does not set it.
    changes: i64,
    reply_bytes_left: u64,
    /// A result was cut because the reply grew too large.
    reply_cut: bool,
    /// Facts of all statements so far.
    facts: Facts,
}

impl<'a> Entry<'a> {
    /// Starts counters, randomness and budgets where the entry before left them. Values may be long, with all of the
    /// steps, as a dump needs it; [`Self::run`] decides anew.
    pub(crate) fn new(
        engine: Engine<'a>,
        state: &'a mut State,
        write: &'a Write,
        care: Care,
        limits: &'a Limits,
    ) -> Self {
        let seed = write.seed;
        #[cfg(feature = "mutations")]
        let seed = if mutation::is(mutation::Mutation::LocalRandom) {
            seed ^ local_random()
        } else {
            seed
        };
        engine.context.seed(seed);
        engine.context.last_rowid_used.store(false, Relaxed);
        let counters = Counters {
            last_rowid: state.last_rowid,
            changes: state.changes,
            total_changes: state.total_changes,
        };
        let mut entry = Self {
            engine,
            write,
            kind: write.kind(),
            care,
            values: Values::Long,
            limits,
            outcomes: Vec::with_capacity(write.statements.len()),
            fold: Fold::new(state.effect),
            changes: 0,
            reply_bytes_left: limits.reply_bytes_max,
            reply_cut: false,
            facts: Facts::default(),
            state,
        };
        entry.set_counters(counters);
        entry.grant(limits.steps_max, SHORT_STEP_BYTES);
        entry
    }

    fn grant(&self, steps_max: u64, step_bytes: u64) {
        let steps = match self.write.steps_max {
            0 => steps_max,
            steps => steps.min(steps_max),
        };
        self.engine.context.budget.grant(Grant {
            steps,
            step_bytes,
            stored_bytes: self.limits.stored_bytes_max,
        });
    }

    /// Whether a value comes with the entry that is not short: then there is no need to try.
    fn brings_long_values(&self) -> bool {
        let mut parameters = self.write.statements.iter().flat_map(|text| &text.parameters);
        parameters.any(|parameter| {
            let length = match &parameter.value {
                Some(Value::Text(text)) => text.len(),
                Some(Value::Blob(bytes)) => bytes.len(),
                Some(Value::Integer(_) | Value::Real(_)) | None => 0,
            };
            length > usize::try_from(self.limits.short_length_max).unwrap_or(usize::MAX)
        })
    }

    /// Runs it.
    pub(crate) fn run(mut self, mut resume: Resume) -> Result<Conclusion, Error> {
        if let Some(finished) = resume.finished.take() {
            self.set_counters(finished.counters);
            self.keep_counters();
            return Ok(Conclusion::Done(finished.ran));
        }
        if resume.values == Values::Long || self.brings_long_values() {
            self.grant(self.limits.long_steps_max.min(self.limits.steps_max), LONG_STEP_BYTES);
        } else {
            self.values = Values::Short;
        }
        let texts = &self.write.statements;
        let atomic = self.write.atomic && texts.len() > 1;
        #[cfg(feature = "mutations")]
        let atomic = atomic && !mutation::is(mutation::Mutation::NoSavepoint);
        if atomic {
            self.engine.own(ENTRY.open)?;
        }
        let mut failed = false;
        for (place, text) in texts.iter().enumerate().filter(|(_, text)| !text.sql.is_empty()) {
            if let Some(left) = resume.rolled_back.get(&place) {
                self.take_over(left);
                continue;
            }
            match self.unit(text, atomic)? {
                Unit::Done => {}
                Unit::Failed if !atomic => {}
                Unit::Failed => {
                    failed = true;
                    break;
                }
                Unit::NeedsCare => return Ok(Conclusion::NeedsCare),
                Unit::NeedsLength => {
                    return Ok(Conclusion::RolledBack(Resume {
                        values: Values::Long,
                        ..Resume::default()
                    }));
                }
                Unit::RolledBack(left) => return Ok(self.rolled_back(place, *left, resume, atomic)),
            }
        }
        let request_error = match (atomic, failed) {
            (false, _) => None,
            (true, true) => {
                self.undo(&ENTRY, self.facts)?;
                None
            }
            (true, false) => self.close(&ENTRY, self.facts)?,
        };
        if atomic && self.facts.has(Facts::DEFERS) {
            self.engine.own(DEFER_OFF)?;
        }
        self.keep_counters();
        Ok(Conclusion::Done(self.ran(request_error)))
    }

    fn ran(mut self, request_error: Option<StatementError>) -> Ran {
        let reply = match request_error {
            None => Reply {
                outcomes: self.outcomes,
                error: None,
                index: 0,
            },
            Some(error) => {
                self.fold.request_failed();
                Reply::failed(error.message, "")
            }
        };
        Ran {
            reply,
            effect: self.fold.finish(),
        }
    }

    /// SQLite has rolled back the transaction in the unit at `place`.
    fn rolled_back(mut self, place: usize, left: Left, mut resume: Resume, atomic: bool) -> Conclusion {
        let counters = left.counters;
        let alone = self.write.statements.len() == 1;
        let hopeless = resume.rolled_back.len() >= ROLLBACKS_MAX;
        if atomic || alone || hopeless {
            self.take_over(&left);
            let error = hopeless.then(|| StatementError::new(TOO_MANY_ROLLBACKS));
            let ran = self.ran(error);
            resume.finished = Some(Box::new(Finished { ran, counters }));
        } else {
            resume.rolled_back.insert(place, left);
        }
        Conclusion::RolledBack(resume)
    }

    /// Takes over what a unit answered in an earlier run.
    fn take_over(&mut self, left: &Left) {
        self.fold.error(left.class);
        self.outcomes.push(left.outcome.clone());
        self.set_counters(left.counters);
        self.engine.context.take_back(&left.spent);
    }

    /// Adds the element of a text, and its effect.
    fn answer(&mut self, result: Result<Answer, Failed>, began: Instant) {
        let kind = match result {
            Ok(answer) => {
                match &answer.outcome {
                    OutcomeKind::Changes(changes) => self.fold.changes(changes),
                    OutcomeKind::Rows(rows) if answer.returning => self.fold.rows(&rows.rows),
                    OutcomeKind::Rows(_) | OutcomeKind::Error(_) => {}
                }
                answer.outcome
            }
            Err(failed) => {
                self.fold.error(failed.error.primary());
                failed.into_outcome()
            }
        };
        self.outcomes.push(timed(kind, began));
    }

    fn left(&self, result: Result<Answer, Failed>, began: Instant) -> Left {
        let (class, kind) = match result {
            Ok(answer) => (0, answer.outcome),
            Err(failed) => (failed.error.primary(), failed.into_outcome()),
        };
        Left {
            outcome: timed(kind, began),
            class,
            counters: self.counters(),
            spent: self.engine.context.spent(),
        }
    }

    fn counters(&self) -> Counters {
        let offset = self.engine.context.total_changes_offset.load(Relaxed);
        Counters {
            last_rowid: self.engine.last_rowid(),
            changes: self.changes,
            total_changes: self.engine.total_changes().wrapping_add(offset),
        }
    }

    fn set_counters(&mut self, counters: Counters) {
        hooks::set_last_insert_rowid(self.engine.connection(), counters.last_rowid);
        self.changes = counters.changes;
        let offset = counters.total_changes.wrapping_sub(self.engine.total_changes());
        self.engine.context.total_changes_offset.store(offset, Relaxed);
    }

    fn keep_counters(&mut self) {
        let counters = self.counters();
        self.state.last_rowid = counters.last_rowid;
        self.state.changes = counters.changes;
        self.state.total_changes = counters.total_changes;
    }
}

/// A number that no other node draws.
#[cfg(feature = "mutations")]
pub(crate) fn local_random() -> u64 {
    use std::hash::BuildHasher as _;
    std::hash::RandomState::new().hash_one(0)
}

fn timed(kind: OutcomeKind, began: Instant) -> Outcome {
    Outcome {
        kind: Some(kind),
        elapsed_ns: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
    }
}

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

pub(crate) mod script;

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use command::reply::{Changes, Outcome, OutcomeKind, Reply};
use command::request::{Kind, Write};
use command::statement::Statement as Text;
use rusqlite::ffi::{SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_INTERRUPT};

use crate::bind::{Bindings, Got};
use crate::context::{Facts, Spent};
use crate::effect::Fold;
use crate::engine::Engine;
use crate::error::Error;
use crate::ffi::hooks;
use crate::ffi::statement::{Statement, StatementError, Step};
use crate::gather::Gathered;
use crate::meta::State;
use crate::open::Limits;

/// Units of one entry that may roll back the transaction, each costing a run of the entry from its start.
const ROLLBACKS_MAX: usize = 64;

const FOREIGN_KEY: &str = "FOREIGN KEY constraint failed";
const OWN_REFERENCE: &str = "foreign key refers to sqlite_quorlite, which is Quorlite's own table";
const LAST_ROWID: &str = "rowid 9223372036854775807 is refused: after it SQLite picks rowids at random";
const RECURSIVE_VIRTUAL: &str = "a recursive query together with an FTS, R-Tree or other virtual table is refused in a write: its work is unbounded";
const RANKS: &str =
    "a write cannot use FTS5 ranks: the C library computes them, and its last digit differs between CPUs";
const EXECUTE_TIMEOUT: &str = "execute timeout";
const TOO_MANY_ROLLBACKS: &str = "too many statements of this request rolled back the transaction";

/// How a run protects itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// Savepoints where they are known to be needed.
    Quick,
    /// A savepoint around every unit.
    Careful,
}

/// What is known of an entry from runs that SQLite rolled back.
#[derive(Default)]
pub struct Resume {
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
    /// SQLite has rolled back the transaction; run it again in one of its own with this.
    RolledBack(Resume),
}

/// A run of one entry within the writer's transaction.
pub(crate) struct Entry<'a> {
    engine: Engine<'a>,
    state: &'a mut State,
    write: &'a Write,
    kind: Kind,
    care: Care,
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

/// The savepoint around a unit.
#[derive(Default)]
struct Guard {
    open: bool,
    /// The text holds several statements: a failure undoes all of them.
    several: bool,
}

/// How a unit ended.
enum Unit {
    Done,
    Failed,
    NeedsCare,
    RolledBack(Box<Left>),
}

/// What one statement answered, and what it was.
struct Answer {
    outcome: OutcomeKind,
    returning: bool,
    facts: Facts,
}

/// A failure of one statement, with the rows it had already shown.
struct Failed {
    error: StatementError,
    shown: Option<Gathered>,
}

impl From<StatementError> for Failed {
    fn from(error: StatementError) -> Self {
        Self { error, shown: None }
    }
}

const DEFER_OFF: &str = "PRAGMA defer_foreign_keys=OFF";
const ENTRY: Savepoint = Savepoint {
    open: "SAVEPOINT quorlite_entry",
    back: "ROLLBACK TO quorlite_entry",
    release: "RELEASE quorlite_entry",
};
const UNIT: Savepoint = Savepoint {
    open: "SAVEPOINT quorlite_unit",
    back: "ROLLBACK TO quorlite_unit",
    release: "RELEASE quorlite_unit",
};
/// Opening it makes virtual tables write what they hold in memory.
const FLUSH: Savepoint = Savepoint {
    open: "SAVEPOINT quorlite_flush",
    back: "ROLLBACK TO quorlite_flush",
    release: "RELEASE quorlite_flush",
};

struct Savepoint {
    open: &'static str,
    back: &'static str,
    release: &'static str,
}

impl<'a> Entry<'a> {
    /// Starts counters, randomness and budgets where the entry before left them.
    pub(crate) fn new(engine: Engine<'a>, state: &'a mut State, write: &'a Write, care: Care, limits: &Limits) -> Self {
        let steps = match write.steps_max {
            0 => limits.steps_max,
            steps => steps.min(limits.steps_max),
        };
        engine.context.seed(write.seed);
        engine.context.budget.grant(steps, limits.stored_bytes_max);
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
            outcomes: Vec::with_capacity(write.statements.len()),
            fold: Fold::new(state.effect),
            changes: 0,
            reply_bytes_left: limits.reply_bytes_max,
            reply_cut: false,
            facts: Facts::default(),
            state,
        };
        entry.set_counters(counters);
        entry
    }

    /// Runs it.
    pub(crate) fn run(mut self, mut resume: Resume) -> Result<Conclusion, Error> {
        if let Some(finished) = resume.finished.take() {
            self.set_counters(finished.counters);
            self.keep_counters();
            return Ok(Conclusion::Done(finished.ran));
        }
        let texts = &self.write.statements;
        let atomic = self.write.atomic && texts.len() > 1;
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

    /// Runs one text. `inside`: a savepoint around it is open already, and undoing is its owner's business.
    fn unit(&mut self, text: &'a Text, inside: bool) -> Result<Unit, Error> {
        let began = Instant::now();
        // SQLite ends a text at its first NUL.
        let sql = text.sql.split('\0').next().unwrap_or_default();
        let mut guard = Guard::default();
        self.reply_cut = false;
        let mut result = self.statements(sql, text, inside, &mut guard)?;
        if result.is_err() && self.engine.is_rolled_back() {
            return Ok(Unit::RolledBack(Box::new(self.left(result, began))));
        }
        let objection = match &result {
            Ok(answer) => self.objection(answer.facts, inside)?,
            Err(_) => self.leftover(inside),
        };
        let bare = self.care == Care::Quick && !inside && !guard.open;
        if bare && (objection.is_some() || self.reply_cut) {
            return Ok(Unit::NeedsCare);
        }
        if guard.open {
            // `OR FAIL` keeps the rows before the one that failed, as it would without a savepoint.
            let stays = objection.is_none() && !self.reply_cut && (result.is_ok() || !guard.several);
            if !stays {
                self.undo(&UNIT, self.facts)?;
            } else if let Some(error) = self.close(&UNIT, self.facts)?
                && result.is_ok()
            {
                result = Err(error.into());
            }
        }
        if let (Ok(_), Some(error)) = (&result, objection) {
            result = Err(error.into());
        }
        if !inside && self.facts.has(Facts::DEFERS) {
            self.engine.own(DEFER_OFF)?;
        }
        let ended = if result.is_ok() { Unit::Done } else { Unit::Failed };
        self.answer(result, began);
        Ok(ended)
    }

    /// Runs the statements of a text; the answer is the last one's, its facts are all of theirs.
    fn statements(
        &mut self,
        sql: &str,
        text: &'a Text,
        inside: bool,
        guard: &mut Guard,
    ) -> Result<Result<Answer, Failed>, Error> {
        let mut bindings = match Bindings::new(&text.parameters, Got::Supplied) {
            Ok(bindings) => bindings,
            Err(error) => return Ok(Err(error.into())),
        };
        let terminated = OnceCell::new();
        let mut rest = sql;
        let mut all = Facts::default();
        loop {
            let (statement, facts, tail) = match self.engine.prepare(rest) {
                Ok(prepared) => prepared,
                Err(error) => return self.judged(error.into()),
            };
            let more = !tail.trim_matches(is_blank).is_empty();
            all = all.and(facts);
            self.facts = self.facts.and(facts);
            if (self.care == Care::Careful || facts.has(Facts::VIRTUAL) || more) && !inside && !guard.open {
                self.engine.own(UNIT.open)?;
                guard.open = true;
            }
            guard.several |= more;
            let answer = match statement {
                None => Ok(Answer::nothing()),
                Some(mut statement) => self.statement(&mut statement, facts, &mut bindings),
            };
            self.engine.settle(facts)?;
            match answer {
                Err(failed) => return self.judged(failed),
                Ok(answer) if !more => return Ok(Ok(Answer { facts: all, ..answer })),
                // SQLite copies a text that does not end with NUL, all of what is left, for each statement.
                Ok(_) if terminated.get().is_none() => rest = terminated.get_or_init(|| format!("{tail}\0")),
                Ok(_) => rest = tail,
            }
        }
    }

    /// Runs one statement to its end.
    fn statement(
        &mut self,
        statement: &mut Statement<'_>,
        facts: Facts,
        bindings: &mut Bindings<'a>,
    ) -> Result<Answer, Failed> {
        if facts.has(Facts::VIRTUAL.and(Facts::RECURSIVE)) {
            return Err(StatementError::new(RECURSIVE_VIRTUAL).into());
        }
        if facts.has(Facts::RANKS.and(Facts::COUNTS)) || facts.has(Facts::RANKS.and(Facts::SCHEMA)) {
            return Err(StatementError::new(RANKS).into());
        }
        if facts.has(Facts::ASKS_CHANGES) {
            self.engine.zero_changes()?;
        }
        let context = self.engine.context;
        context.changes.store(self.changes, Relaxed);
        let explain = statement.is_explain();
        let counts = facts.has(Facts::COUNTS) && !facts.has(Facts::SCHEMA) && !explain;
        let has_columns = statement.column_count() > 0;
        let wanted = match self.kind {
            Kind::Execute => counts && has_columns,
            Kind::Request => has_columns,
        };
        let readonly = statement.is_readonly() || explain;
        let mut execution = statement.begin();
        bindings.bind(&mut execution)?;
        execution.forget_steps();
        let metered = facts.has(Facts::MULTIPLIES) && !readonly;
        self.engine.arm(!facts.has(Facts::VIRTUAL), metered);
        let mut rows = wanted.then(Gathered::default);
        let ended = loop {
            match execution.step() {
                Ok(Step::Done) => break Ok(()),
                Ok(Step::Row) => {
                    if let Some(rows) = &mut rows
                        && let Err(error) = rows.take(&mut execution, &mut self.reply_bytes_left)
                    {
                        self.reply_cut = true;
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.engine.disarm(metered);
        if let Some(rows) = &mut rows {
            rows.name(&mut execution);
        }
        drop(execution);
        if counts {
            self.changes = self.engine.changes();
        }
        match ended {
            Ok(()) => Ok(Answer {
                outcome: self.outcome(rows, readonly),
                returning: counts && has_columns,
                facts,
            }),
            Err(error) => Err(Failed {
                error,
                shown: rows.filter(|rows| readonly && rows.has_begun() && !self.reply_cut),
            }),
        }
    }

    fn outcome(&self, rows: Option<Gathered>, readonly: bool) -> OutcomeKind {
        match (rows, self.kind) {
            (Some(rows), _) => OutcomeKind::Rows(rows.into_rows(None)),
            (None, Kind::Request) if readonly => OutcomeKind::Rows(Gathered::default().into_rows(None)),
            (None, Kind::Request | Kind::Execute) => OutcomeKind::Changes(Changes {
                last_insert_id: self.engine.last_rowid(),
                rows_affected: self.changes,
            }),
        }
    }

    /// Decides whether a failure is the statement's or the node's (D4), and finds its text.
    fn judged(&mut self, mut failed: Failed) -> Result<Result<Answer, Failed>, Error> {
        self.engine.judge(&failed.error)?;
        let context = self.engine.context;
        if let Some(why) = context.take_refusal() {
            failed.error.message = why.to_owned();
        } else if failed.error.primary() == SQLITE_INTERRUPT
            && let Some(why) = self.exhausted()
        {
            failed.error.message = why.to_owned();
        }
        Ok(Err(failed))
    }

    fn exhausted(&self) -> Option<&'static str> {
        let why = self.engine.context.budget.exhausted()?;
        // A limit that the client set itself is its `db_timeout`.
        Some(if self.write.steps_max == 0 {
            why
        } else {
            EXECUTE_TIMEOUT
        })
    }

    /// What speaks against a text that has run without an error.
    fn objection(&self, facts: Facts, inside: bool) -> Result<Option<StatementError>, Error> {
        let context = self.engine.context;
        if let Some(why) = self.exhausted() {
            return Ok(Some(StatementError {
                code: SQLITE_INTERRUPT,
                message: why.to_owned(),
            }));
        }
        if context.last_rowid_used.load(Relaxed) {
            return Ok(Some(StatementError::new(LAST_ROWID)));
        }
        if facts.has(Facts::REFERENCES) && self.engine.has_own_reference()? {
            return Ok(Some(StatementError::new(OWN_REFERENCE)));
        }
        Ok((!inside).then(|| self.deferred_violation()).flatten())
    }

    /// What speaks against the rows that a failed statement has kept.
    fn leftover(&self, inside: bool) -> Option<StatementError> {
        if self.engine.context.last_rowid_used.load(Relaxed) {
            return Some(StatementError::new(LAST_ROWID));
        }
        (!inside).then(|| self.deferred_violation()).flatten()
    }

    fn deferred_violation(&self) -> Option<StatementError> {
        hooks::has_deferred_violations(self.engine.connection()).then(|| StatementError {
            code: SQLITE_CONSTRAINT_FOREIGNKEY,
            message: FOREIGN_KEY.to_owned(),
        })
    }

    /// Closes a savepoint; what speaks against it undoes it.
    fn close(&self, savepoint: &Savepoint, facts: Facts) -> Result<Option<StatementError>, Error> {
        let objection = match self.deferred_violation() {
            Some(error) => Some(error),
            None if facts.has(Facts::VIRTUAL) => self.engine.try_own(FLUSH.open)?.err(),
            None => None,
        };
        if let Some(error) = objection {
            self.undo(savepoint, facts)?;
            return Ok(Some(error));
        }
        self.engine.own(savepoint.release)?;
        Ok(None)
    }

    /// Undoes everything since the savepoint.
    fn undo(&self, savepoint: &Savepoint, facts: Facts) -> Result<(), Error> {
        self.engine.own(savepoint.back)?;
        self.engine.own(savepoint.release)?;
        self.engine.context.last_rowid_used.store(false, Relaxed);
        self.engine.settle(facts)
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

impl Answer {
    /// A text without a statement: comments, semicolons.
    fn nothing() -> Self {
        Self {
            outcome: OutcomeKind::Changes(Changes::default()),
            returning: false,
            facts: Facts::default(),
        }
    }
}

impl Failed {
    fn into_outcome(self) -> OutcomeKind {
        match self.shown {
            Some(shown) => OutcomeKind::Rows(shown.into_rows(Some(self.error.message))),
            None => OutcomeKind::Error(self.error.message),
        }
    }
}

fn timed(kind: OutcomeKind, began: Instant) -> Outcome {
    Outcome {
        kind: Some(kind),
        elapsed_ns: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
    }
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\0'
}

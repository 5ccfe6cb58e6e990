//! A text of an entry runs: its statements, what speaks against them afterwards, and the savepoint that undoes them.

use std::cell::OnceCell;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use command::reply::{Changes, OutcomeKind};
use command::request::Kind;
use command::statement::Statement as Text;
use rusqlite::Connection;
use rusqlite::ffi::{SQLITE_CONSTRAINT_FOREIGNKEY, SQLITE_INTERRUPT, SQLITE_TOOBIG};
use rusqlite::limits::Limit;

use super::{Care, Entry, Left, Values};
use crate::bind::{Bindings, Got};
use crate::context::Facts;
use crate::error::Error;
use crate::ffi::hooks;
use crate::ffi::statement::{Statement, StatementError, Step};
use crate::gather::Gathered;

const FOREIGN_KEY: &str = "FOREIGN KEY constraint failed";
pub(super) const OWN_REFERENCE: &str = "foreign key refers to sqlite_quorlite, which is Quorlite's own table";
const LAST_ROWID: &str = "rowid 9223372036854775807 is refused: after it SQLite picks rowids at random";
const RANKS: &str =
    "a write cannot use FTS5 ranks: the C library computes them, and its last digit differs between CPUs";
/// Bytes of a LIKE or GLOB pattern where values may be long.
const LONG_PATTERN_BYTES_MAX: i32 = 256;
const EXECUTE_TIMEOUT: &str = "execute timeout";

/// The savepoint around a unit.
#[derive(Default)]
pub(super) struct Guard {
    pub(super) open: bool,
    /// The text holds several statements: a failure undoes all of them.
    pub(super) several: bool,
}

/// See [`Entry::narrow`].
struct Narrowed<'a> {
    connection: &'a Connection,
    limit: Limit,
    restore: i32,
}

impl Drop for Narrowed<'_> {
    fn drop(&mut self) {
        // It was within SQLite's bounds before, and is again.
        let _ = self.connection.set_limit(self.limit, self.restore);
    }
}

/// How a unit ended.
pub(super) enum Unit {
    Done,
    Failed,
    NeedsCare,
    /// It met a value that is not short.
    NeedsLength,
    RolledBack(Box<Left>),
}

/// What one statement answered, and what it was.
pub(super) struct Answer {
    pub(super) outcome: OutcomeKind,
    pub(super) returning: bool,
    pub(super) facts: Facts,
}

/// A failure of one statement, with the rows it had already shown.
pub(super) struct Failed {
    pub(super) error: StatementError,
    pub(super) shown: Option<Gathered>,
}

impl From<StatementError> for Failed {
    fn from(error: StatementError) -> Self {
        Self { error, shown: None }
    }
}

pub(super) const DEFER_OFF: &str = "PRAGMA defer_foreign_keys=OFF";
pub(super) const ENTRY: Savepoint = Savepoint {
    open: "SAVEPOINT quorlite_entry",
    back: "ROLLBACK TO quorlite_entry",
    release: "RELEASE quorlite_entry",
};
pub(super) const UNIT: Savepoint = Savepoint {
    open: "SAVEPOINT quorlite_unit",
    back: "ROLLBACK TO quorlite_unit",
    release: "RELEASE quorlite_unit",
};
/// Opening it makes virtual tables write what they hold in memory.
pub(super) const FLUSH: Savepoint = Savepoint {
    open: "SAVEPOINT quorlite_flush",
    back: "ROLLBACK TO quorlite_flush",
    release: "RELEASE quorlite_flush",
};

pub(super) struct Savepoint {
    pub(super) open: &'static str,
    pub(super) back: &'static str,
    pub(super) release: &'static str,
}

impl<'a> Entry<'a> {
    /// Runs one text. `inside`: a savepoint around it is open already, and undoing is its owner's business.
    pub(super) fn unit(&mut self, text: &'a Text, inside: bool) -> Result<Unit, Error> {
        let began = Instant::now();
        // SQLite ends a text at its first NUL.
        let sql = text.sql.split('\0').next().unwrap_or_default();
        let mut guard = Guard::default();
        self.reply_cut = false;
        let mut result = self.statements(sql, text, inside, &mut guard)?;
        let is_too_long = |failed: &Failed| failed.error.primary() == SQLITE_TOOBIG;
        if self.values == Values::Short && !self.reply_cut && result.as_ref().is_err_and(is_too_long) {
            return Ok(Unit::NeedsLength);
        }
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
        if let Some(error) = objection {
            // What SQLite finds out when a single statement commits is that statement's failure, whatever else was.
            let is_own = error.code == SQLITE_CONSTRAINT_FOREIGNKEY && !guard.several;
            if is_own {
                self.uncount();
            }
            if result.is_ok() || is_own {
                result = Err(error.into());
            }
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
            let (statement, facts, tail) = match self.prepare(rest)? {
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
                Some(mut statement) => {
                    let _narrowed = self.narrow()?;
                    if self.values == Values::Long {
                        // Prepared where more is allowed than where it might be used next.
                        statement.release();
                    }
                    self.statement(&mut statement, facts, &mut bindings)
                }
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

    /// Prepares the first statement of `sql`.
    #[expect(clippy::type_complexity, reason = "what the engine answers, or the node's failure")]
    fn prepare<'q>(
        &self,
        sql: &'q str,
    ) -> Result<Result<(Option<Statement<'a>>, Facts, &'q str), StatementError>, Error> {
        let _narrowed = self.narrow()?;
        match self.engine.prepare(sql) {
            Ok((statement, facts, _)) if facts.has(Facts::LISTS) => {
                drop(statement);
                self.engine.learn_anew()?;
                Ok(self.engine.prepare(sql))
            }
            prepared => Ok(prepared),
        }
    }

    /// While a user's statement is prepared and runs, a limit of the connection is lower than for our own: that on values,
    /// or where they may be long, that on patterns, which are compared in `pattern × value` steps that nothing interrupts.
    fn narrow(&self) -> Result<Narrowed<'a>, Error> {
        let (limit, to) = match self.values {
            Values::Short => (
                Limit::SQLITE_LIMIT_LENGTH,
                self.limits.short_length_max.min(self.limits.length_max),
            ),
            Values::Long => (Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONG_PATTERN_BYTES_MAX),
        };
        let connection = self.engine.connection();
        let restore = connection.set_limit(limit, to).map_err(Error::sqlite("set a limit"))?;
        Ok(Narrowed {
            connection,
            limit,
            restore,
        })
    }

    /// Runs one statement to its end.
    fn statement(
        &mut self,
        statement: &mut Statement<'_>,
        facts: Facts,
        bindings: &mut Bindings<'a>,
    ) -> Result<Answer, Failed> {
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
        let metered = (facts.has(Facts::MULTIPLIES) || facts.has(Facts::VIRTUAL)) && !readonly;
        self.engine.arm(metered);
        let mut rows = wanted.then(Gathered::default);
        let ended = loop {
            match context.budget.step(&mut execution) {
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

    pub(super) fn exhausted(&self) -> Option<&'static str> {
        let why = self.engine.context.budget.exhausted()?;
        // A limit that the client set itself is its `db_timeout`.
        Some(if self.write.steps_max == 0 {
            why
        } else {
            EXECUTE_TIMEOUT
        })
    }

    /// The last statement would have been undone when it committed by itself: SQLite counts none of its rows then, but
    /// those of its triggers.
    fn uncount(&mut self) {
        let offset = &self.engine.context.total_changes_offset;
        offset.fetch_sub(self.engine.changes(), Relaxed);
        // DROP TABLE counts the rows that it deletes for the foreign keys' sake, but answers stale counters.
        if !self.facts.has(Facts::SCHEMA) {
            self.changes = 0;
        }
    }

    /// What speaks against a text that has run without an error.
    pub(super) fn objection(&self, facts: Facts, inside: bool) -> Result<Option<StatementError>, Error> {
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
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::DeferredForeignKey) {
            return None;
        }
        let enforced = self.engine.context.foreign_keys;
        (enforced && hooks::has_deferred_violations(self.engine.connection())).then(|| StatementError {
            code: SQLITE_CONSTRAINT_FOREIGNKEY,
            message: FOREIGN_KEY.to_owned(),
        })
    }

    /// Closes a savepoint; what speaks against it undoes it.
    pub(super) fn close(&self, savepoint: &Savepoint, facts: Facts) -> Result<Option<StatementError>, Error> {
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
    pub(super) fn undo(&self, savepoint: &Savepoint, facts: Facts) -> Result<(), Error> {
        self.engine.own(savepoint.back)?;
        self.engine.own(savepoint.release)?;
        self.engine.context.last_rowid_used.store(false, Relaxed);
        self.engine.settle_undone(facts)
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
    pub(super) fn into_outcome(self) -> OutcomeKind {
        match self.shown {
            Some(shown) => OutcomeKind::Rows(shown.into_rows(Some(self.error.message))),
            None => OutcomeKind::Error(self.error.message),
        }
    }
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\0'
}

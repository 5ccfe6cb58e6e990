//! A reader: one read-only connection that streams results.
//!
//! Owns a connection and its kept statements. Never changes the database, never gathers a result: cells go from
//! SQLite to the sink without a copy (D12).
//!
//! ```text
//!  text ──► statement ──► statement ──► last statement ──rows──► sink
//!             run, rows dropped              │
//!                                            └── failed? the text's element says so, the next text runs
//! ```
//!
//! Invariants:
//! * A snapshot is taken at a statement's first step, which is after [`Reader::query`] was called (D8).
//! * Between two queries a reader holds no snapshot and no lock.
//! * A statement's failure is a result; a failure of disk or memory is an [`Error`] as well (D4).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command::rows::{Columns, End, RowSink};
use command::statement;
use rusqlite::{Connection, ffi};

use crate::bind::{Bindings, Got};
use crate::classify::{self, Class};
use crate::error::Error;
use crate::ffi::statement::{Session, Statement, StatementError, Step};
use crate::guard::{Denied, Guard, Unprepared};
use crate::turns::Turns;
use crate::watch::{Bounds, Cancel, Clock, Cut, Watch};

mod brief;
pub(crate) use brief::{AtOnce, Knowledge};

/// Statements kept by one reader: what an application repeats, not all that it ever sent.
const STATEMENTS_KEPT: usize = 64;

/// What a user is told who writes through a read path (spec §6.3).
const WRITE_THROUGH_READ: &str = "attempt to change database via query operation";

/// What a PRAGMA answers that no client may use (spec §6.5).
const DISALLOWED_PRAGMA: &str = "disallowed pragma";

/// What `db_timeout` says (spec §7.5).
const TIMEOUT: &str = "query timeout";

/// One read-only connection.
pub struct Reader {
    session: Session,
    watch: Arc<Watch>,
    guard: Arc<Guard>,
    knowledge: Arc<Knowledge>,
    /// `None` runs whenever it is asked.
    turns: Option<Arc<Turns>>,
    age_max: Duration,
}

/// How a query runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryOptions {
    /// All statements see one snapshot.
    pub transaction: bool,
    /// Fill [`Columns::tables`].
    pub qualify_columns: bool,
    /// Statements that run at this moment, or begin after it, fail with `query timeout`.
    pub deadline: Option<Instant>,
    /// Of each text only the first statement runs.
    pub first_only: bool,
}

/// How a text failed, or that its sink wants no more.
enum Halt {
    Statement(StatementError),
    Message(String),
    Cut(Cut),
    Broken,
}

/// A statement about to run.
struct Ready<'s, 'q> {
    statement: Statement<'s>,
    /// Where it was prepared from; more may follow it there.
    text: &'q str,
    is_write: bool,
}

impl From<StatementError> for Halt {
    fn from(error: StatementError) -> Self {
        Self::Statement(error)
    }
}

impl Reader {
    /// Makes a reader of a connection from [`open_reader`](crate::open::open_reader).
    ///
    /// `age_max` bounds how long one snapshot is held: past it the statement is cut (D10). A sink that blocks holds the
    /// snapshot too, so it must not block for longer.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`] when the watch cannot be installed.
    pub fn new(mut connection: Connection, clock: Clock, age_max: Duration) -> Result<Self, Error> {
        let watch = Watch::install(&mut connection, clock)?;
        let guard = Guard::install(&mut connection)?;
        Ok(Self {
            session: Session::new(connection, STATEMENTS_KEPT),
            watch,
            guard,
            knowledge: Arc::default(),
            turns: None,
            age_max,
        })
    }

    /// Shares what other readers of the same database know, and the processor with all others of the node.
    pub(crate) fn sharing(mut self, knowledge: Arc<Knowledge>, turns: Arc<Turns>) -> Self {
        self.knowledge = knowledge;
        self.turns = Some(turns);
        self
    }

    /// Runs `statements` and shows their results to `sink`, one element for each text that is not exactly empty.
    ///
    /// A failing statement does not stop the next one. Ends early, with `Ok`, when the sink breaks. Blocks as long as
    /// SQLite, the sink and others' turns take. An element's `elapsed` includes the time that the sink took.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] once `cancel` was used, without a last call to the sink. [`Error::Node`] when disk or
    /// memory failed, or a page is damaged; the sink was told first, with SQLite's text.
    pub fn query(
        &mut self,
        statements: &[statement::Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        // Before there is a snapshot that would have to wait with it.
        let turn = self.turns.as_ref().map(Turns::take);
        let result = self.query_watched(statements, options, sink, cancel);
        self.watch.end();
        let close = if options.transaction {
            self.end_transaction()
        } else {
            Ok(())
        };
        drop(turn);
        result.and(close)
    }

    /// Classifies `sql` against the database as it is now; what it says may be outdated by the next write.
    pub fn classify(&self, sql: &str) -> Class {
        classify::classify(&self.session, &self.guard, sql)
    }

    /// The connection underneath.
    pub fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// May serve another query: no setting was changed, no transaction is open.
    pub(crate) fn is_clean(&self) -> bool {
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::OldTransaction) {
            return true;
        }
        !self.guard.is_soiled() && self.connection().is_autocommit()
    }

    fn query_watched(
        &mut self,
        statements: &[statement::Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<(), Error> {
        self.begin_watch(options, cancel);
        let begins = options.transaction;
        #[cfg(feature = "mutations")]
        let begins = begins && self.connection().is_autocommit();
        if begins {
            self.control("BEGIN")?;
        }
        for statement in statements.iter().filter(|statement| !statement.sql.is_empty()) {
            if !options.transaction {
                self.begin_watch(options, cancel);
            }
            if self.element(statement, options, sink)?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Starts the age of a snapshot.
    fn begin_watch(&self, options: &QueryOptions, cancel: &Cancel) {
        self.watch.begin(Bounds {
            cancel: Some(cancel.clone()),
            deadline: options.deadline,
            age_limit: self.watch.now().checked_add(self.age_max),
            quantum: None,
        });
    }

    fn end_transaction(&self) -> Result<(), Error> {
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::OldTransaction) {
            return Ok(());
        }
        if self.connection().is_autocommit() {
            return Ok(());
        }
        self.control("COMMIT")
    }

    fn control(&self, sql: &'static str) -> Result<(), Error> {
        self.guard
            .own(|| self.connection().execute_batch(sql))
            .map_err(Error::sqlite("control a read transaction"))
    }

    /// Runs one text and shows its element.
    fn element(
        &mut self,
        statement: &statement::Statement,
        options: &QueryOptions,
        sink: &mut dyn RowSink,
    ) -> Result<ControlFlow<()>, Error> {
        let begun = self.watch.now();
        let run = match self.watch.check() {
            Some(cut) => Err(Halt::Cut(cut)),
            None => self.run_text(statement, options, sink),
        };
        let elapsed = self.watch.now().saturating_duration_since(begun);
        match run {
            Ok(()) => Ok(sink.end(End::Complete, elapsed)),
            Err(Halt::Broken) => Ok(ControlFlow::Break(())),
            Err(Halt::Message(message)) => Ok(sink.end(End::Failed(message), elapsed)),
            Err(Halt::Cut(cut)) => Ok(sink.end(End::Failed(self.cut_text(cut)?), elapsed)),
            Err(Halt::Statement(error)) => {
                let message = self.text(&error)?;
                let flow = sink.end(End::Failed(message), elapsed);
                let Some(failure) = node_failure(&error) else {
                    return Ok(flow);
                };
                if matches!(failure, Error::Unsound { .. }) {
                    self.knowledge.suspect();
                }
                Err(failure)
            }
        }
    }

    /// Runs all statements of one text as one unit: they see one snapshot, and the last one's rows are shown.
    fn run_text(
        &self,
        statement: &statement::Statement,
        options: &QueryOptions,
        sink: &mut dyn RowSink,
    ) -> Result<(), Halt> {
        let mut bindings = Bindings::new(&statement.parameters, Got::Left)?;
        let (first, tail) = self.next(&statement.sql)?;
        let Some(first) = first else {
            return broken(sink.columns(&Columns::default()));
        };
        if tail.is_empty() || options.first_only {
            return self.show(first, &mut bindings, options, sink);
        }
        let held = self
            .connection()
            .is_autocommit()
            .then(|| Held::begin(self))
            .transpose()?;
        let last = self.run_but_last(first, tail, &mut bindings)?;
        self.show(last, &mut bindings, options, sink)?;
        drop(held);
        Ok(())
    }

    /// Runs the statements of a text up to the last one, and returns that. One is prepared before the one before it runs,
    /// to know which is the last.
    fn run_but_last<'s, 'q>(
        &'s self,
        first: Ready<'s, 'q>,
        mut tail: &'q str,
        bindings: &mut Bindings<'_>,
    ) -> Result<Ready<'s, 'q>, Halt> {
        let mut current = first;
        loop {
            let (next, rest) = self.next(tail)?;
            let Some(next) = next else { return Ok(current) };
            drain(current, bindings)?;
            current = next;
            tail = rest;
        }
    }

    /// Runs a statement and shows its rows.
    ///
    /// The columns come first even when binding or the first step fails: the statement could be prepared. They are read
    /// after that step, which may find the schema changed.
    fn show(
        &self,
        mut ready: Ready<'_, '_>,
        bindings: &mut Bindings<'_>,
        options: &QueryOptions,
        sink: &mut dyn RowSink,
    ) -> Result<(), Halt> {
        let prepared = ready.statement.reprepared();
        let mut execution = ready.statement.begin();
        execution.forget_steps();
        let mut step = match bindings.bind(&mut execution) {
            Ok(()) if ready.is_write => Err(Halt::Message(WRITE_THROUGH_READ.to_owned())),
            Ok(()) => execution.step().map_err(Halt::from),
            Err(error) => Err(Halt::from(error)),
        };
        if matches!(&step, Err(Halt::Statement(error)) if error.primary() == ffi::SQLITE_ERROR) {
            // A kept statement fails as a new one would: perhaps it can no longer be prepared.
            self.next(ready.text)?;
        }
        broken(if options.qualify_columns {
            sink.columns(&execution.columns_with_tables())
        } else {
            sink.columns(&execution.columns())
        })?;
        while step? == Step::Row {
            broken(sink.row(execution.row()?))?;
            step = execution.step().map_err(Halt::from);
            // The sink may have taken its time, and SQLite itself asks only every so many steps.
            if let (Ok(Step::Row), Some(cut)) = (&step, self.watch.check()) {
                return Err(Halt::Cut(cut));
            }
        }
        let steps = execution.steps();
        drop(execution);
        self.learn(&ready, steps, ready.statement.reprepared() != prepared);
        Ok(())
    }

    /// Prepares the first statement of `sql`.
    fn next<'s, 'q>(&'s self, sql: &'q str) -> Result<(Option<Ready<'s, 'q>>, &'q str), Halt> {
        if sql.is_empty() {
            return Ok((None, ""));
        }
        match self.guard.prepare(&self.session, sql) {
            Ok(prepared) => {
                let ready = prepared.statement.map(|statement| Ready {
                    is_write: classify::is_write(&statement, prepared.is_pragma),
                    statement,
                    text: sql,
                });
                Ok((ready, prepared.tail))
            }
            Err(Unprepared::Statement(error)) => Err(Halt::Statement(error)),
            Err(Unprepared::Denied(denied)) => Err(Halt::Message(match denied {
                Denied::Refused(refusal) => refusal.to_string(),
                Denied::Write => WRITE_THROUGH_READ.to_owned(),
                Denied::Pragma => DISALLOWED_PRAGMA.to_owned(),
            })),
        }
    }

    /// What the user is told of a failure: SQLite's text, but for those that this room causes.
    fn text(&self, error: &StatementError) -> Result<String, Error> {
        match (error.primary(), self.watch.check()) {
            (ffi::SQLITE_READONLY, _) => Ok(WRITE_THROUGH_READ.to_owned()),
            (ffi::SQLITE_INTERRUPT, Some(cut)) => self.cut_text(cut),
            // Who may wait does so in SQLite.
            (ffi::SQLITE_BUSY, _) if self.watch.is_hasty() => Err(Error::Interrupted),
            _ => Ok(error.message.clone()),
        }
    }

    fn cut_text(&self, cut: Cut) -> Result<String, Error> {
        match cut {
            Cut::Cancelled | Cut::Quantum => Err(Error::Interrupted),
            Cut::Deadline => Ok(TIMEOUT.to_owned()),
            Cut::Age => Ok(format!(
                "query cut: it held its snapshot for more than {:?}",
                self.age_max
            )),
        }
    }
}

/// One snapshot for the statements of one text.
struct Held<'r>(&'r Reader);

impl<'r> Held<'r> {
    fn begin(reader: &'r Reader) -> Result<Self, Halt> {
        match reader.control("BEGIN") {
            Ok(()) => Ok(Self(reader)),
            Err(error) => Err(Halt::Message(error.to_string())),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.end_transaction() {
            // The pool does not take back a reader that is in a transaction.
            tracing::warn!(%error, "read transaction did not end");
        }
    }
}

/// Runs a statement and drops its rows.
fn drain(mut ready: Ready<'_, '_>, bindings: &mut Bindings<'_>) -> Result<(), Halt> {
    if ready.is_write {
        return Err(Halt::Message(WRITE_THROUGH_READ.to_owned()));
    }
    let mut execution = ready.statement.begin();
    bindings.bind(&mut execution)?;
    while execution.step()? == Step::Row {}
    Ok(())
}

fn broken(flow: ControlFlow<()>) -> Result<(), Halt> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Halt::Broken),
    }
}

/// A failure of disk or memory, which no statement can cause. (A virtual table's "corrupt" can be: a wrong command.)
pub(crate) fn node_failure(error: &StatementError) -> Option<Error> {
    let (what, message) = ("read the database".to_owned(), error.message.clone());
    match error.primary() {
        ffi::SQLITE_CORRUPT if error.code == ffi::SQLITE_CORRUPT_VTAB => None,
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => Some(Error::Unsound { what, message }),
        ffi::SQLITE_IOERR | ffi::SQLITE_NOMEM => Some(Error::Node { what, message }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

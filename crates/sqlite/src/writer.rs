//! The one connection that writes: it runs entries inside transactions that also hold the index of the last one.
//!
//! ```text
//!  begin ──► run, run, run … ──► commit        one batch
//!               │
//!               └─ undone ──► rollback ──► begin, run carefully, commit      entry by entry
//! ```
//!
//! Invariants:
//! * Data and the row of `sqlite_quorlite` commit together (D2).
//! * An error from here means that the node stops; whatever a statement did wrong is in its reply (D4).
//! * The durable position was committed before the flush that made it so; it is never read afterwards.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use command::reply::{Changes, Outcome, OutcomeKind, Reply};
use command::request::Write;
use command::rows::CellRef;
use rusqlite::Connection;

use crate::authorizer;
use crate::budget::STEPS_PER_TICK;
use crate::checkpoint;
use crate::context::{Context, Facts};
use crate::effect::Fold;
use crate::engine::Engine;
use crate::entry::script::{Running, ScriptEnd};
use crate::entry::{Care, Conclusion, Entry, Ran, Resume};
use crate::error::Error;
use crate::faults;
use crate::ffi::hooks::{Backfill, Hooks};
use crate::ffi::statement::{Session, StatementError, Step};
use crate::ffi::{functions, vfs};
use crate::floor;
use crate::frames;
use crate::interrupt::Interrupt;
use crate::meta::{self, Found, Position, State};
use crate::open::{self, Limits, Options};
use crate::script::skip_comments;
use crate::wal::Wal;

/// Statements kept prepared; each costs a few KiB.
const KEPT_STATEMENTS_MAX: usize = 256;
const VACUUM_IN_TRANSACTION: &str = "cannot VACUUM from within a transaction";

/// See the head of this file.
pub struct Writer {
    // Before hooks and context, which its callbacks refer to until it is closed.
    session: Session,
    hooks: Hooks,
    context: Arc<Context>,
    limits: Limits,
    path: PathBuf,
    wal: Wal,
    page_bytes: u64,
    /// With what the running transaction has changed.
    state: State,
    committed: State,
    durable: Option<Position>,
}

impl Writer {
    /// Opens the database at `path`; creates it, with our tables, if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Foreign`] for a database that is not ours or was written by a newer release, [`Error::Damaged`] for one
    /// whose WAL has lost frames that were copied to it, [`Error::Sqlite`] when it cannot be opened.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        faults::forget();
        floor::check(path)?;
        let mut connection = open::open_writer(path, options)?;
        let state = find_or_create(path, &connection)?;
        let page_bytes = connection
            .pragma_query_value(None, "page_size", |row| row.get::<_, i64>(0))
            .map_err(Error::sqlite("read the page size"))?;
        let context = Arc::new(Context::new(options));
        let hooks = Hooks::new(Arc::clone(&context));
        watch(&mut connection, &context, &hooks)?;
        let writer = Self {
            session: Session::new(connection, KEPT_STATEMENTS_MAX),
            hooks,
            context,
            limits: options.limits,
            path: path.to_owned(),
            wal: Wal::beside(path),
            page_bytes: page_bytes as u64,
            committed: state.clone(),
            state,
            durable: None,
        };
        writer.engine().survey()?;
        writer.engine().measure_ticks()?;
        Ok(writer)
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Stops what it runs, from any thread.
    pub fn interrupt(&self) -> Interrupt {
        self.context.budget.interrupt.clone()
    }

    /// The row of `sqlite_quorlite`, with what the running transaction has changed.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The row, to be changed within a transaction; [`Self::commit`] writes it.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The row as it was last committed.
    pub fn committed(&self) -> &State {
        &self.committed
    }

    /// Begins a transaction.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn begin(&mut self) -> Result<(), Error> {
        faults::forget();
        self.context.schema_changed.store(false, Relaxed);
        self.engine().own("BEGIN IMMEDIATE")
    }

    /// Runs one write within the transaction, and moves the clock and the counters of [`Self::state`].
    ///
    /// # Errors
    ///
    /// [`Error::Node`]: this node must stop applying.
    pub fn run(&mut self, write: &Write, care: Care, resume: Resume) -> Result<Conclusion, Error> {
        self.state.clock_us = self.state.clock_us.max(write.clock_us);
        let clock_us = self.state.clock_us;
        #[cfg(feature = "mutations")]
        let clock_us = if mutation::is(mutation::Mutation::LocalClock) {
            clock_us + i64::from(crate::entry::local_random() as u32)
        } else {
            clock_us
        };
        let _clock = vfs::BoundClock::bind(clock_us);
        #[cfg(feature = "mutations")]
        let write = &astray(&self.path, write);
        let engine = Engine {
            session: &self.session,
            context: &self.context,
            hooks: &self.hooks,
        };
        Entry::new(engine, &mut self.state, write, care, &self.limits).run(resume)
    }

    /// Runs the text of a dump within the transaction, as one unit, and moves the clock and the counters of
    /// [`Self::state`]. Reads `text` as it goes: memory is bounded by its longest statement.
    ///
    /// # Errors
    ///
    /// [`Error::Node`], and [`Error::Io`] when `text` cannot be read: this node must stop applying.
    pub fn run_script(&mut self, text: &mut dyn Read, clock_us: i64, seed: u64) -> Result<ScriptEnd, Error> {
        self.state.clock_us = self.state.clock_us.max(clock_us);
        let _clock = vfs::BoundClock::bind(self.state.clock_us);
        let engine = Engine {
            session: &self.session,
            context: &self.context,
            hooks: &self.hooks,
        };
        Running::new(engine, &mut self.state, &self.limits, seed).run(text)
    }

    /// Whether this write cannot run in a transaction.
    pub fn stands_alone(write: &Write) -> bool {
        let mut texts = write.statements.iter().filter(|text| !text.sql.is_empty());
        match (texts.next(), texts.next()) {
            (Some(text), None) => is_vacuum(&text.sql),
            (_, _) => false,
        }
    }

    /// Runs a write that [`Self::stands_alone`], outside of a transaction.
    ///
    /// It has committed by itself when this returns; running it again is harmless.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn run_alone(&mut self, write: &Write) -> Result<Ran, Error> {
        faults::forget();
        let mut fold = Fold::new(self.state.effect);
        let mut outcomes = Vec::new();
        for text in write.statements.iter().filter(|text| !text.sql.is_empty()) {
            let kind = match self.vacuum(&text.sql)? {
                Ok(()) => {
                    let changes = Changes {
                        last_insert_id: self.state.last_rowid,
                        rows_affected: self.state.changes,
                    };
                    fold.changes(&changes);
                    OutcomeKind::Changes(changes)
                }
                Err(error) => {
                    fold.error(error.primary());
                    OutcomeKind::Error(error.message)
                }
            };
            outcomes.push(Outcome::new(kind));
        }
        Ok(Ran {
            reply: Reply {
                outcomes,
                error: None,
                index: 0,
            },
            effect: fold.finish(),
        })
    }

    /// Commits the transaction with the row as it stands. Not durable on return: see [`Self::make_durable`].
    ///
    /// The inner result is a failure that SQLite found only now, such as a virtual table's: roll back then.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn commit(&mut self) -> Result<Result<(), StatementError>, Error> {
        let engine = self.engine();
        engine.ours("write sqlite_quorlite", |session| meta::write(session, &self.state))?;
        if let Err(error) = engine.try_own("COMMIT")? {
            return Ok(Err(error));
        }
        faults::check("commit")?;
        self.committed = self.state.clone();
        Ok(Ok(()))
    }

    /// Undoes the transaction, if SQLite has not already done so, and what is remembered of it.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn rollback(&mut self) -> Result<(), Error> {
        let engine = self.engine();
        if !engine.is_rolled_back() {
            engine.own("ROLLBACK")?;
        }
        engine.settle(Facts::SCHEMA.and(Facts::STATISTICS))?;
        self.state = self.committed.clone();
        Ok(())
    }

    /// Entries need a transaction each as long as this schema stands.
    pub fn commits_alone(&self) -> bool {
        self.context.commits_alone.load(Relaxed)
    }

    /// Flushes the WAL, and answers the position that is durable now: the last one committed before.
    ///
    /// # Errors
    ///
    /// [`Error::Node`] and [`Error::Poisoned`]; never retried (D5).
    pub fn make_durable(&mut self) -> Result<Option<Position>, Error> {
        let applied = self.committed.applied;
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::PurgeBeforeDurable) {
            return Ok(applied);
        }
        if applied.is_none() || applied > self.durable {
            self.wal.sync()?;
            self.durable = applied;
        }
        Ok(self.durable)
    }

    /// Bytes of the WAL that are in use after the last commit.
    pub fn wal_bytes(&self) -> u64 {
        let count = u64::from(self.context.wal_frames.load(Relaxed));
        frames::HEADER_BYTES + count * (self.page_bytes + frames::FRAME_HEADER_BYTES)
    }

    /// Frames in the WAL after the last commit.
    pub fn wal_frames(&self) -> u32 {
        self.context.wal_frames.load(Relaxed)
    }

    /// Copies to the database what the checkpointer has left, between two batches. When nothing is left and no reader is
    /// in the way, the next transaction starts the WAL over.
    ///
    /// # Errors
    ///
    /// [`Error::Node`]; never retried (D5).
    pub fn finish_checkpoint(&mut self) -> Result<Option<Backfill>, Error> {
        let applied = self.committed.applied;
        let done = checkpoint::passive(self.session.connection())?;
        if done.is_some_and(|done| done.log_frames > 0 && done.backfilled == done.log_frames) {
            self.durable = self.durable.max(applied);
        }
        Ok(done)
    }

    pub(crate) fn run_own(&self, sql: &'static str, values: &[CellRef<'_>]) -> Result<(), Error> {
        self.engine().own_with(sql, values)
    }

    pub(crate) fn visit_own(
        &self,
        sql: &'static str,
        values: &[CellRef<'_>],
        show: impl FnMut(&[CellRef<'_>]),
    ) -> Result<(), Error> {
        self.engine()
            .ours(sql, |session| meta::visit(session, sql, values, show))
    }

    /// Reads this database past the authorizer, with what the running transaction has changed.
    pub(crate) fn past_authorizer<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        self.context.ours.store(true, Relaxed);
        let answer = read(self.session.connection());
        self.context.ours.store(false, Relaxed);
        answer
    }

    fn engine(&self) -> Engine<'_> {
        Engine {
            session: &self.session,
            context: &self.context,
            hooks: &self.hooks,
        }
    }

    fn vacuum(&self, sql: &str) -> Result<Result<(), StatementError>, Error> {
        let engine = self.engine();
        self.context.vacuuming.store(true, Relaxed);
        let result = step_through(engine, sql);
        self.context.vacuuming.store(false, Relaxed);
        if let Err(error) = &result {
            engine.judge(error)?;
        }
        engine.settle(Facts::SCHEMA.and(Facts::STATISTICS))?;
        Ok(result.map_err(|mut error| {
            if let Some(why) = self.context.take_refusal() {
                error.message = why.to_owned();
            }
            error
        }))
    }
}

fn step_through(engine: Engine<'_>, sql: &str) -> Result<(), StatementError> {
    let (statement, _, tail) = engine.prepare(sql)?;
    if !tail.trim().is_empty() {
        return Err(StatementError::new(VACUUM_IN_TRANSACTION));
    }
    if let Some(mut statement) = statement {
        let mut execution = statement.begin();
        while execution.step()? == Step::Row {}
    }
    Ok(())
}

fn find_or_create(path: &Path, connection: &Connection) -> Result<State, Error> {
    let foreign = |reason: String| Error::Foreign {
        path: path.to_owned(),
        reason,
    };
    match meta::find(connection)? {
        Found::Ours(state) => {
            meta::complete(connection)?;
            Ok(state)
        }
        Found::Nothing => {
            meta::create(connection, &State::default())?;
            Ok(State::default())
        }
        Found::Foreign => Err(foreign(
            "this database was not made by Quorlite; start with an empty directory and load it through /db/load or /boot"
                .to_owned(),
        )),
        Found::Newer(format) => Err(foreign(format!(
            "sqlite_quorlite has format {format}, which a newer release wrote: upgrade this node"
        ))),
    }
}

/// Sets the callbacks by which the context guides and watches the connection.
fn watch(connection: &mut Connection, context: &Arc<Context>, hooks: &Hooks) -> Result<(), Error> {
    functions::install(connection, context)?;
    hooks.install(connection);
    let judge = Arc::clone(context);
    connection
        .authorizer(Some(move |action: rusqlite::hooks::AuthContext<'_>| {
            authorizer::judge(&judge, &action)
        }))
        .map_err(Error::sqlite("set the authorizer"))?;
    let meter = Arc::clone(context);
    connection
        .progress_handler(STEPS_PER_TICK, Some(move || meter.budget.tick()))
        .map_err(Error::sqlite("set the progress handler"))
}

/// The write, as a node runs it that is led astray.
#[cfg(feature = "mutations")]
fn astray(path: &Path, write: &Write) -> Write {
    let mut write = write.clone();
    if mutation::is_astray(path) {
        write.seed ^= crate::entry::local_random();
    }
    write
}

/// Whether a text's first word is VACUUM.
fn is_vacuum(sql: &str) -> bool {
    let word: String = skip_comments(sql)
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    word.eq_ignore_ascii_case("vacuum")
}

#[cfg(test)]
mod tests;

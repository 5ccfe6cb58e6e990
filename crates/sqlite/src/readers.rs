//! The pool of readers of the current database.
//!
//! Owns the readers at rest. Opens them when they are needed, up to a bound; keeps a few; hands one to one query at a
//! time. Never waits longer than it was told.
//!
//! ```text
//!  Readers ── current ──► Pool ── idle, or opened ──► Lease ── dropped ──► idle again, or closed
//!                          │                            │
//!                          └──────── Generation ◄───────┘   its folder goes when the last of them does
//! ```
//!
//! Invariants:
//! * A lease given after [`Readers::switch`] returned reads the new database (D8).
//! * A reader whose settings were changed, or that is inside a transaction, is closed instead of kept.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use command::rows::RowSink;
use command::statement;

use crate::content::Content;
use crate::error::Error;
use crate::home::Generation;
use crate::open::{self, Options};
use crate::pin::PinBounds;
use crate::reader::{AtOnce, Knowledge, QueryOptions, Reader};
use crate::turns::Turns;
use crate::watch::Clock;

/// How many readers there may be, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct ReadersOptions {
    /// Most connections open at once; 0 = no limit. Beyond it a query waits. Brief queries have connections besides, one
    /// for each thread that runs them.
    pub connections_max: usize,
    /// Most connections kept open while nobody reads: each holds its page cache.
    pub idle_max: usize,
    /// Queries that run at the same time, but for brief ones; those beyond take turns.
    pub running_max: usize,
    /// Longest wait for a connection.
    pub wait_max: Duration,
    /// Longest that one snapshot is held (D10).
    pub read_age_max: Duration,
}

/// The readers of the current database; shared by reference.
pub struct Readers {
    current: RwLock<Arc<Pool>>,
    database: Options,
    options: ReadersOptions,
    clock: Clock,
    turns: Arc<Turns>,
}

/// A reader, on loan; it returns when dropped.
pub struct Lease {
    /// `None` only while it is being dropped.
    reader: Option<Reader>,
    pool: Arc<Pool>,
}

/// The readers of one generation.
struct Pool {
    generation: Generation,
    options: ReadersOptions,
    knowledge: Arc<Knowledge>,
    state: Mutex<State>,
    /// Told when a reader came back or was closed.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Reader>,
    /// Readers for brief queries, at rest: apart from the others, so that no long query has them.
    brief: Vec<Reader>,
    /// Idle ones and those on loan.
    open: usize,
    is_retired: bool,
}

impl Default for ReadersOptions {
    fn default() -> Self {
        Self {
            connections_max: 256,
            idle_max: 16,
            running_max: running_max_of_this_machine(),
            wait_max: Duration::from_secs(5),
            read_age_max: Duration::from_secs(60),
        }
    }
}

impl Readers {
    /// Readers of `generation`; none is opened yet.
    pub fn new(generation: Generation, database: Options, options: ReadersOptions, clock: Clock) -> Self {
        Self {
            current: RwLock::new(Pool::new(generation, options)),
            database,
            options,
            turns: Turns::new(options.running_max, Arc::clone(&clock)),
            clock,
        }
    }

    /// Lends a reader. Blocks for at most `wait`, or [`ReadersOptions::wait_max`] if that is shorter, while all are on
    /// loan.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when none came back in time; [`Error::Sqlite`] when one cannot be opened.
    pub fn check_out(&self, wait: Duration) -> Result<Lease, Error> {
        let pool = self.current();
        if let Some(reader) = pool.take_idle(wait.min(self.options.wait_max))? {
            return Ok(Lease::new(reader, pool));
        }
        match self.open(&pool) {
            Ok(reader) => Ok(Lease::new(reader, pool)),
            Err(error) => {
                pool.closed();
                Err(error)
            }
        }
    }

    /// Runs `statements` on this thread if all are known to be brief; false if they must run elsewhere, from the start:
    /// what `sink` was shown does not count then.
    ///
    /// Takes some tens of microseconds, and at most about a millisecond; never waits for a lock, nor for a reader that
    /// is on loan.
    pub fn query_at_once(
        &self,
        statements: &[statement::Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
    ) -> bool {
        let pool = self.current();
        if !pool.knowledge.all_brief(statements, options) {
            return false;
        }
        let rests = pool.state().brief.pop();
        // There are as many as there were threads here at once, and they stay: opening one is rare.
        let Ok(mut reader) = rests.map_or_else(|| self.open(&pool), Ok) else {
            return false;
        };
        // What fails here fails again where it is told.
        let is_done = matches!(reader.query_at_once(statements, options, sink), Ok(AtOnce::Done));
        pool.rest(reader);
        is_done
    }

    /// [`Self::query_at_once`] would try: all of `statements` are known to be reads, and brief.
    pub fn are_brief(&self, statements: &[statement::Statement]) -> bool {
        let pool = self.current();
        pool.knowledge.all_brief(statements, &QueryOptions::default())
    }

    /// Turns to another generation. Readers of the old one finish what they are doing, then close.
    pub fn switch(&self, generation: Generation) {
        let next = Pool::new(generation, self.options);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let previous = std::mem::replace(&mut *current, next);
        drop(current);
        previous.retire();
    }

    /// The generation that is read now.
    pub fn generation(&self) -> Generation {
        self.current().generation.clone()
    }

    /// Pins the current content, to be hashed, on a connection of its own.
    ///
    /// # Errors
    ///
    /// What opening and reading report.
    pub fn pin_content(&self, bounds: PinBounds) -> Result<Content, Error> {
        Content::pin(&self.generation(), &self.database, Arc::clone(&self.clock), bounds)
    }

    /// Whether SQLite told a reader of the current generation, since this was asked last, that pages are damaged.
    pub fn take_suspicion(&self) -> bool {
        self.current().knowledge.take_suspicion()
    }

    /// Connections open on the current generation.
    pub fn open_count(&self) -> usize {
        self.current().state().open
    }

    /// The bounds that it was made with.
    pub fn options(&self) -> &ReadersOptions {
        &self.options
    }

    fn current(&self) -> Arc<Pool> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn open(&self, pool: &Pool) -> Result<Reader, Error> {
        let connection = open::open_reader(&pool.generation.database(), &self.database)?;
        let reader = Reader::new(connection, Arc::clone(&self.clock), self.options.read_age_max)?;
        Ok(reader.sharing(Arc::clone(&pool.knowledge), Arc::clone(&self.turns)))
    }
}

/// Two for each processor, since one may wait for the disk; and at least four, for steps that take long.
fn running_max_of_this_machine() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).max(4)
}

impl Pool {
    fn new(generation: Generation, options: ReadersOptions) -> Arc<Self> {
        Arc::new(Self {
            generation,
            options,
            knowledge: Arc::default(),
            state: Mutex::default(),
            freed: Condvar::new(),
        })
    }

    /// Takes the reader that rested last; `None` is leave to open one, already counted.
    fn take_idle(&self, wait: Duration) -> Result<Option<Reader>, Error> {
        let is_full = |state: &mut State| {
            state.idle.is_empty() && self.options.connections_max != 0 && state.open >= self.options.connections_max
        };
        let mut state = self.state();
        if is_full(&mut state) {
            let waited = self.freed.wait_timeout_while(state, wait, is_full);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() {
                return Err(Error::Busy);
            }
            state = woken;
        }
        let reader = state.idle.pop();
        if reader.is_none() {
            state.open += 1;
        }
        Ok(reader)
    }

    fn give_back(&self, reader: Reader) {
        let mut state = self.state();
        if state.is_retired || state.idle.len() >= self.options.idle_max || !reader.is_clean() {
            drop(state);
            // Closing may touch the disk: outside the lock.
            drop(reader);
            self.closed();
        } else {
            state.idle.push(reader);
            drop(state);
            self.freed.notify_one();
        }
    }

    /// Lays a reader for brief queries to rest.
    fn rest(&self, reader: Reader) {
        let mut state = self.state();
        if state.is_retired || !reader.is_clean() {
            drop(state);
            drop(reader);
        } else {
            state.brief.push(reader);
        }
    }

    fn closed(&self) {
        self.state().open -= 1;
        self.freed.notify_one();
    }

    fn retire(&self) {
        let mut state = self.state();
        state.is_retired = true;
        let idle = std::mem::take(&mut state.idle);
        let brief = std::mem::take(&mut state.brief);
        state.open -= idle.len();
        drop(state);
        drop((idle, brief));
        self.freed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and what it holds is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    fn new(reader: Reader, pool: Arc<Pool>) -> Self {
        Self {
            reader: Some(reader),
            pool,
        }
    }

    /// The generation that it reads.
    pub fn generation(&self) -> &Generation {
        &self.pool.generation
    }
}

impl Deref for Lease {
    type Target = Reader;

    #[expect(clippy::expect_used, reason = "only drop takes the reader out")]
    fn deref(&self) -> &Reader {
        self.reader
            .as_ref()
            .expect("a lease holds its reader until it is dropped")
    }
}

impl DerefMut for Lease {
    #[expect(clippy::expect_used, reason = "only drop takes the reader out")]
    fn deref_mut(&mut self) -> &mut Reader {
        self.reader
            .as_mut()
            .expect("a lease holds its reader until it is dropped")
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            self.pool.give_back(reader);
        }
    }
}

#[cfg(test)]
mod tests;

//! Cutting a statement short: its client has gone, its deadline has passed, or its snapshot has grown too old (D10).
//!
//! SQLite asks a connection's [`Watch`] every few thousand steps; nothing interrupts from outside, so that a cut meant
//! for one query never hits the next one on the same connection. A query that others wait for stands back here, too
//! (`crate::turns`).
//!
//! Takes time from a [`Clock`] that is given to it, so that a simulator can own it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rusqlite::Connection;

use crate::error::Error;
use crate::turns;

/// Steps of SQLite's virtual machine between two questions: some microseconds, and one part in a hundred of the time.
pub(crate) const STEPS_BETWEEN_QUESTIONS: i32 = 500;

/// The monotonic clock.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// A handle by which another thread stops a query; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    asked: Arc<AtomicBool>,
}

/// Why a statement was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// [`Cancel::cancel`] was called.
    Cancelled,
    /// The deadline has passed.
    Deadline,
    /// The read transaction has reached its greatest age.
    Age,
    /// It was to be short, and is not.
    Quantum,
}

/// What is watched while something runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bounds {
    pub(crate) cancel: Option<Cancel>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) age_limit: Option<Instant>,
    pub(crate) quantum: Option<Quantum>,
}

/// What a statement may take that runs where others wait for the thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quantum {
    /// Questions that SQLite may still ask, each worth [`STEPS_BETWEEN_QUESTIONS`].
    pub(crate) questions: u32,
    /// When its time is over.
    pub(crate) until: Instant,
}

/// What SQLite's progress handler asks.
pub(crate) struct Watch {
    state: Mutex<State>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    bounds: Bounds,
    cut: Option<Cut>,
}

impl Cancel {
    /// A handle that nobody has used yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the query to stop; it does so within some tens of microseconds of running, or when its sink returns.
    pub fn cancel(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// [`Self::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }
}

impl Watch {
    /// Watches `connection` from now on; it has no bounds yet.
    pub(crate) fn install(connection: &mut Connection, clock: Clock) -> Result<Arc<Self>, Error> {
        let watch = Arc::new(Self {
            state: Mutex::default(),
            clock,
        });
        let asked = Arc::clone(&watch);
        connection
            .progress_handler(STEPS_BETWEEN_QUESTIONS, Some(move || asked.question().is_some()))
            .map_err(Error::sqlite("watch a connection"))?;
        Ok(watch)
    }

    /// Watches what begins now within `bounds`.
    pub(crate) fn begin(&self, bounds: Bounds) {
        *self.state() = State { bounds, cut: None };
    }

    /// Watches nothing more, and lets go of the handle.
    pub(crate) fn end(&self) {
        self.begin(Bounds::default());
    }

    /// SQLite asks, after [`STEPS_BETWEEN_QUESTIONS`].
    fn question(&self) -> Option<Cut> {
        let mut state = self.state();
        if let Some(quantum) = &mut state.bounds.quantum {
            quantum.questions = quantum.questions.saturating_sub(1);
        }
        drop(state);
        match self.check() {
            // What was passed meanwhile is found at once.
            None if turns::pass_on() => self.check(),
            cut => cut,
        }
    }

    /// A quantum is set: nothing may be waited for.
    pub(crate) fn is_hasty(&self) -> bool {
        self.state().bounds.quantum.is_some()
    }

    /// Is a bound passed? Once one is, it stays passed until the next [`Self::begin`].
    pub(crate) fn check(&self) -> Option<Cut> {
        let mut state = self.state();
        if state.cut.is_none() {
            state.cut = state.bounds.passed(&self.clock);
        }
        state.cut
    }

    pub(crate) fn now(&self) -> Instant {
        (self.clock)()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and what it holds is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bounds {
    fn passed(&self, clock: &Clock) -> Option<Cut> {
        if self.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            return Some(Cut::Cancelled);
        }
        if self.quantum.is_some_and(|quantum| quantum.questions == 0) {
            return Some(Cut::Quantum);
        }
        if self.deadline.is_none() && self.age_limit.is_none() && self.quantum.is_none() {
            return None;
        }
        let now = clock();
        let has_passed = |limit: Option<Instant>| limit.is_some_and(|limit| now >= limit);
        if has_passed(self.deadline) {
            Some(Cut::Deadline)
        } else if has_passed(self.age_limit) {
            Some(Cut::Age)
        } else if has_passed(self.quantum.map(|quantum| quantum.until)) {
            Some(Cut::Quantum)
        } else {
            None
        }
    }
}

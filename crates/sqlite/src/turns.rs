//! Turns: how many threads run long queries at the same time, and for how long while others wait.
//!
//! Owns who runs and who waits. Never looks at a query; what is shared out is the processor.
//!
//! ```text
//!  a query begins ──► first ──┐
//!                             ├─ a place is free ──► runs ─┬─ ends
//!                   ┌► again ─┘                            │
//!                   └── its slice is over and others wait ─┤
//!                       it waited for its client ──────────┘
//! ```
//!
//! Invariants:
//! * Whoever waits for a client holds no turn.
//! * A query that has not run yet goes before those that have, but for every fourth call: a short one waits for a slice,
//!   never for a long one's end, and a long one comes forward whatever comes in.
//! * A thread whose step takes long without asking keeps its place, and cannot keep the others waiting: after
//!   [`STUCK`] without a call one more runs.
//!
//! Source: multilevel feedback queues (Corbató, Merwin-Daggett, Daley: "An experimental time-sharing system", 1962).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::process::{getpriority_process, setpriority_process};

use crate::watch::Clock;

/// How long a query runs while others wait: a thousand times what the change to another thread costs.
const SLICE: Duration = Duration::from_millis(10);

/// Without a call for this long, those who run are taken to be in steps that do not ask.
const STUCK: Duration = Duration::from_millis(200);

/// Calls of queries that have not run yet, before one of those that have.
const FIRST_CALLS: u32 = 3;

/// How much less the system favours a thread that runs long queries: a third of the time of one that serves or applies.
const NICENESS: i32 = 5;

/// See the head of this file.
pub(crate) struct Turns {
    at_once: usize,
    clock: Clock,
    state: Mutex<State>,
}

/// This thread's turn, until it is dropped.
pub(crate) struct Turn(PhantomData<*const ()>);

struct State {
    running: usize,
    first: VecDeque<Arc<Place>>,
    again: VecDeque<Arc<Place>>,
    /// Calls from `first` since the last one from `again`.
    first_calls: u32,
    last_call: Instant,
}

/// A thread that waits.
struct Place {
    thread: Thread,
    /// It runs: whoever called it has counted it.
    is_called: AtomicBool,
}

#[derive(Clone, Copy)]
enum Line {
    First,
    Again,
}

struct Held {
    turns: Arc<Turns>,
    /// The end of its slice.
    until: Instant,
}

thread_local! {
    static HELD: RefCell<Option<Held>> = const { RefCell::new(None) };
    static IS_BACK: Cell<bool> = const { Cell::new(false) };
}

impl Turns {
    /// Lets `at_once` threads run, at least one.
    pub(crate) fn new(at_once: usize, clock: Clock) -> Arc<Self> {
        let last_call = clock();
        Arc::new(Self {
            at_once: at_once.max(1),
            clock,
            state: Mutex::new(State {
                running: 0,
                first: VecDeque::new(),
                again: VecDeque::new(),
                first_calls: 0,
                last_call,
            }),
        })
    }

    /// Waits for a turn: for a slice of those who run, and for those who came before.
    pub(crate) fn take(self: &Arc<Self>) -> Turn {
        self.enter(Line::First);
        hold(Some(self.held()));
        Turn(PhantomData)
    }

    fn held(self: &Arc<Self>) -> Held {
        Held {
            turns: Arc::clone(self),
            until: (self.clock)() + SLICE,
        }
    }

    fn enter(&self, line: Line) {
        let mut state = self.state();
        if state.running < self.at_once && !state.has_waiting() {
            state.running += 1;
            state.last_call = (self.clock)();
            return;
        }
        let place = state.stand_in(line);
        drop(state);
        self.wait(&place);
    }

    fn leave(&self) {
        let mut state = self.state();
        state.running -= 1;
        self.fill(&mut state);
    }

    /// Goes behind the others, if there are any; answers whether there were.
    fn pass_on(&self) -> bool {
        let mut state = self.state();
        if !state.has_waiting() {
            return false;
        }
        let place = state.stand_in(Line::Again);
        state.running -= 1;
        self.fill(&mut state);
        drop(state);
        self.wait(&place);
        true
    }

    fn fill(&self, state: &mut State) {
        if state.running < self.at_once {
            state.call((self.clock)());
        }
    }

    fn wait(&self, place: &Place) {
        while !place.is_called.load(Ordering::Acquire) {
            thread::park_timeout(STUCK);
            self.see_to_it(place);
        }
    }

    /// Lets one more run when those who do have not asked for long.
    fn see_to_it(&self, place: &Place) {
        let mut state = self.state();
        let now = (self.clock)();
        if !place.is_called.load(Ordering::Acquire) && now.saturating_duration_since(state.last_call) >= STUCK {
            state.call(now);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; and what it holds is whole at every moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_waiting(&self) -> bool {
        !self.first.is_empty() || !self.again.is_empty()
    }

    fn stand_in(&mut self, line: Line) -> Arc<Place> {
        let place = Arc::new(Place {
            thread: thread::current(),
            is_called: AtomicBool::new(false),
        });
        match line {
            Line::First => self.first.push_back(Arc::clone(&place)),
            Line::Again => self.again.push_back(Arc::clone(&place)),
        }
        place
    }

    /// Lets the next one run, if one waits.
    fn call(&mut self, now: Instant) {
        let is_first = !self.first.is_empty() && (self.again.is_empty() || self.first_calls < FIRST_CALLS);
        let next = if is_first {
            self.first.pop_front()
        } else {
            self.again.pop_front()
        };
        let Some(next) = next else { return };
        self.first_calls = if is_first { self.first_calls + 1 } else { 0 };
        self.running += 1;
        self.last_call = now;
        next.is_called.store(true, Ordering::Release);
        next.thread.unpark();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // There is none if it was lost in `rest`.
        if let Some(held) = hold(None) {
            held.turns.leave();
        }
    }
}

fn hold(held: Option<Held>) -> Option<Held> {
    HELD.with(|place| place.replace(held))
}

/// Lets all other threads of this process go before the one that calls; for good, since going back takes a privilege.
///
/// Nothing on systems where a thread has no priority of its own.
pub fn step_back() {
    if cfg!(target_os = "linux") && !IS_BACK.replace(true) {
        // Linux takes "this process" to be this thread.
        let lowered = getpriority_process(None).and_then(|own| setpriority_process(None, own + NICENESS));
        if let Err(error) = lowered {
            tracing::warn!(%error, "priority of a reading thread not lowered");
        }
    }
}

/// Lets others run if this thread has a turn and its slice is over; answers whether it waited.
pub(crate) fn pass_on() -> bool {
    let over = HELD.with_borrow(|held| {
        held.as_ref()
            .filter(|held| (held.turns.clock)() >= held.until)
            .map(|held| Arc::clone(&held.turns))
    });
    let Some(turns) = over else { return false };
    let waited = turns.pass_on();
    hold(Some(turns.held()));
    waited
}

/// Runs `wait`, which is idle, without the turn that this thread holds, if it does; then waits for the next.
///
/// A sink that waits for a slow client does so in here.
pub fn rest<R>(wait: impl FnOnce() -> R) -> R {
    let Some(held) = hold(None) else { return wait() };
    held.turns.leave();
    let waited = wait();
    held.turns.enter(Line::Again);
    hold(Some(held.turns.held()));
    waited
}

#[cfg(test)]
mod tests;

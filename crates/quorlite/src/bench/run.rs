//! One run: clients that each send a request, check its answer and take the next, until the time or the count is over.
//!
//! Everything happens on one thread: the clients share the work and the recorder without locks, and the load generator
//! leaves the other cores to the server.
//!
//! * Closed loop: a client sends its next request when the last one is answered.
//! * Open loop: requests leave at their intended times, by whichever client is free, and their latency counts from then.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::check::{Expected, check};
use super::connection::{Answer, Exchange};
use super::failure::Failure;
use super::options::{Extent, Options};
use super::recorder::{Recorder, Success};
use super::schedule::{Schedule, SystemClock, pace, sharpen_timers};
use super::work::{Job, Work};

#[cfg(test)]
mod tests;

/// Pause of a client after a failure: long enough to leave the cores to a cluster that elects a leader, short enough
/// that the end of an outage is seen to within a few milliseconds.
const RETRY_PAUSE: Duration = Duration::from_millis(5);
/// How long an open loop may go on after its last intended time; what has not left by then is reported as unsent.
const DRAIN: Duration = Duration::from_secs(10);

/// When requests leave and when the run ends.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Load before measuring.
    pub warmup: Duration,
    /// How much is measured.
    pub extent: Extent,
    /// Requests per second of an open loop.
    pub rate: Option<f64>,
    /// Go on after failures.
    pub keep_going: bool,
}

impl Plan {
    /// The plan of a command line.
    pub fn new(options: &Options) -> Plan {
        Plan {
            warmup: options.warmup,
            extent: options.extent,
            rate: options.rate,
            keep_going: options.keep_going,
        }
    }

    fn schedule(&self) -> Option<Schedule> {
        let per_s = self.rate?;
        let slots_in = |time: Duration| (time.as_secs_f64() * per_s) as u64;
        let slots = match self.extent {
            Extent::For(duration) => slots_in(self.warmup + duration),
            Extent::Requests(count) => slots_in(self.warmup) + count,
        };
        // One at least: clients wait for a slot, and the last slot ends the run.
        Some(Schedule {
            per_s,
            slots: slots.max(1),
        })
    }

    fn end(&self) -> Option<Duration> {
        match self.extent {
            Extent::For(duration) => Some(self.warmup + duration),
            Extent::Requests(_) => None,
        }
    }
}

/// What the clients of a run share.
struct Run {
    plan: Plan,
    schedule: Option<Schedule>,
    start: Instant,
    work: RefCell<Work>,
    recorder: RefCell<Recorder>,
    /// Slots of the open loop that are due; closed when the run is over.
    gate: Arc<Semaphore>,
    slots_taken: Cell<u64>,
    requests_left: Cell<u64>,
    is_over: Cell<bool>,
}

/// Feeds the gate of an open loop: adds a permit for each slot that is due, counted from the instant given.
pub type Feed = fn(Schedule, Instant, Arc<Semaphore>);

/// Runs `work` over `exchanges`, one client each, and answers what happened. Must be called inside a `LocalSet`.
pub async fn run<E: Exchange + 'static>(plan: Plan, work: Work, exchanges: Vec<E>, feed: Feed) -> (Work, Recorder) {
    let schedule = plan.schedule();
    let gate = Arc::new(Semaphore::new(0));
    let requests_left = match plan.extent {
        Extent::Requests(count) => count,
        Extent::For(_) => u64::MAX,
    };
    let run = Rc::new(Run {
        plan,
        schedule,
        start: Instant::now(),
        work: RefCell::new(work),
        recorder: RefCell::new(Recorder::new(plan.warmup, plan.end())),
        gate: Arc::clone(&gate),
        slots_taken: Cell::new(0),
        requests_left: Cell::new(requests_left),
        is_over: Cell::new(false),
    });
    if let Some(schedule) = schedule {
        feed(schedule, run.start, gate);
    }
    let clients: Vec<_> = exchanges
        .into_iter()
        .map(|exchange| tokio::task::spawn_local(client(Rc::clone(&run), exchange)))
        .collect();
    for client in clients {
        // A client that panicked has printed why; its share of the load is missing, so the run is not a result.
        client
            .await
            .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    }
    let run = Rc::into_inner(run).unwrap_or_else(|| unreachable!("the clients have ended"));
    (run.work.into_inner(), run.recorder.into_inner())
}

/// Feeds the gate from a thread of its own, on the machine's clock.
pub fn feed_from_thread(schedule: Schedule, start: Instant, gate: Arc<Semaphore>) {
    std::thread::spawn(move || {
        sharpen_timers();
        pace(&schedule, &SystemClock(start.into_std()), |count| {
            gate.add_permits(count as usize);
            !gate.is_closed()
        });
    });
}

async fn client<E: Exchange>(run: Rc<Run>, mut exchange: E) {
    let mut job = Job::default();
    while let Some(sent) = run.turn().await {
        let expected = run.work.borrow_mut().next(&mut job);
        let node = exchange.node();
        let outcome = match exchange.call(&job.request).await {
            Ok(answer) => check(expected, answer.status, answer.body).map(|()| answer),
            Err(failure) => Err(failure),
        };
        match outcome {
            Ok(answer) => run.succeed(&job, expected, sent, answer, node),
            Err(failure) => run.fail(sent, &failure).await,
        }
    }
}

impl Run {
    /// Waits for this client's next turn and answers when its request is, or was meant to be, sent; `None` at the end.
    async fn turn(&self) -> Option<Duration> {
        let Some(schedule) = self.schedule else {
            return self.closed_turn();
        };
        loop {
            self.gate.acquire().await.ok()?.forget();
            let slot = self.slots_taken.get();
            self.slots_taken.set(slot + 1);
            if slot + 1 == schedule.slots {
                self.gate.close();
            }
            if self.start.elapsed() <= schedule.intended(schedule.slots) + DRAIN {
                return Some(schedule.intended(slot));
            }
            self.recorder.borrow_mut().unsent += 1;
        }
    }

    fn closed_turn(&self) -> Option<Duration> {
        let now = self.start.elapsed();
        if self.is_over.get() || self.plan.end().is_some_and(|end| now >= end) || self.requests_left.get() == 0 {
            return None;
        }
        if now >= self.plan.warmup {
            self.requests_left.set(self.requests_left.get() - 1);
        }
        Some(now)
    }

    fn succeed(&self, job: &Job, expected: Expected, sent: Duration, answer: Answer<'_>, node: usize) {
        let rows = match expected {
            Expected::Written { rows } | Expected::BigRows { rows } => rows,
            Expected::Queued | Expected::ValueOf { .. } => 1,
            Expected::Success => 0,
        };
        self.work.borrow_mut().acknowledge(job);
        self.recorder.borrow_mut().success(Success {
            sent,
            answered: self.start.elapsed(),
            rows,
            bytes: answer.body.len(),
            wrote: job.keys.is_some(),
            node,
        });
    }

    async fn fail(&self, sent: Duration, failure: &Failure) {
        self.recorder.borrow_mut().failure(sent, failure);
        if self.plan.keep_going {
            tokio::time::sleep(RETRY_PAUSE).await;
        } else {
            self.recorder.borrow_mut().cut();
            self.is_over.set(true);
            self.gate.close();
        }
    }
}

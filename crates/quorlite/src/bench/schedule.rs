//! The open loop's schedule: when each request is meant to leave, whatever the server does.
//!
//! A request's latency counts from that moment, not from when a client was free to send it, so a stall shows in all
//! requests that should have left during it (no coordinated omission).
//!
//! Tokio's timers tick in milliseconds, which is longer than a write takes; so a thread of its own sleeps on the
//! kernel's high-resolution timer and releases slots to the clients.

use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Share of a slot that may be due early: `intended` is rounded to nanoseconds.
const ROUNDING: f64 = 1e-4;

/// Requests at a fixed rate.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Requests per second, above zero.
    pub per_s: f64,
    /// How many in all.
    pub slots: u64,
}

impl Schedule {
    /// When a slot is due, from the start of the run.
    pub fn intended(&self, slot: u64) -> Duration {
        Duration::from_secs_f64(slot as f64 / self.per_s)
    }

    /// How many slots are due at `now`.
    pub fn due(&self, now: Duration) -> u64 {
        ((now.as_secs_f64() * self.per_s + ROUNDING) as u64)
            .saturating_add(1)
            .min(self.slots)
    }
}

/// Time as the pacer sees it.
pub trait Clock {
    /// Time since the start of the run.
    fn now(&self) -> Duration;
    /// Waits until then, or a little longer.
    fn sleep_until(&self, at: Duration);
}

/// The machine's clock.
pub struct SystemClock(pub Instant);

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep_until(&self, at: Duration) {
        std::thread::sleep(at.saturating_sub(self.0.elapsed()));
    }
}

/// Releases slots when they are due, several at once if it woke late, until all are out or `release` answers false.
pub fn pace(schedule: &Schedule, clock: &impl Clock, mut release: impl FnMut(u64) -> bool) {
    let mut released = 0;
    while released < schedule.slots {
        let due = schedule.due(clock.now());
        if due > released && !release(due - released) {
            return;
        }
        released = released.max(due);
        if released < schedule.slots {
            clock.sleep_until(schedule.intended(released));
        }
    }
}

/// Lets this thread sleep to the microsecond: the default slack of 50 µs would count as latency of the server.
pub fn sharpen_timers() {
    #[cfg(target_os = "linux")]
    {
        let slack_ns = std::num::NonZeroU64::new(1_000);
        // Refused only where prctl is filtered; then the figures carry the slack.
        let _ = rustix::thread::set_current_timer_slack(slack_ns);
    }
}

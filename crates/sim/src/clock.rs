//! What a node takes for time and chance: virtual time with its machine's own error, and a seeded stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use store::environment::{Clock, Random};

use crate::chance::{Chance, lock};
use crate::trace::Trace;

/// 2026-01-01T00:00:00Z: where virtual time starts.
const EPOCH_US: i64 = 1_767_225_600_000_000;

/// A machine's wall clock: off by some seconds, and by others after a jump.
pub struct MachineClock {
    trace: Trace,
    error_us: AtomicI64,
    /// What it gains in a million microseconds.
    drift_us: AtomicI64,
    /// Virtual time until which no flush ends.
    stands_until_us: AtomicU64,
    flush_slowness: AtomicU32,
}

impl MachineClock {
    /// A clock that is off by `error_us`.
    pub fn new(trace: Trace, error_us: i64) -> MachineClock {
        MachineClock {
            trace,
            error_us: AtomicI64::new(error_us),
            drift_us: AtomicI64::new(0),
            stands_until_us: AtomicU64::new(0),
            flush_slowness: AtomicU32::new(1),
        }
    }

    /// Flushes take so many times longer from now on.
    pub fn slow_flushes(&self, slowness: u32) {
        self.flush_slowness.store(slowness, Ordering::Relaxed);
    }

    /// It gains so much in a million microseconds from now on; what it has gained so far is its error.
    pub fn drift(&self, drift_us: i64) {
        let error = self.error();
        let elapsed = self.elapsed();
        self.drift_us.store(drift_us, Ordering::Relaxed);
        self.error_us
            .store(error - gained(elapsed, drift_us), Ordering::Relaxed);
    }

    /// No flush ends for the next `pause`.
    pub fn stand_still(&self, pause: Duration) {
        let pause = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        let until = self.trace.now_us().saturating_add(pause);
        self.stands_until_us.fetch_max(until, Ordering::Relaxed);
    }

    fn elapsed(&self) -> i64 {
        i64::try_from(self.trace.now_us()).unwrap_or(i64::MAX)
    }

    fn error(&self) -> i64 {
        self.error_us.load(Ordering::Relaxed) + gained(self.elapsed(), self.drift_us.load(Ordering::Relaxed))
    }

    /// The clock jumps to another error.
    pub fn jump(&self, error_us: i64) {
        self.error_us.store(error_us, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now_us(&self) -> i64 {
        EPOCH_US + self.elapsed() + self.error()
    }

    fn flush_time(&self, draw: u64) -> Duration {
        let stands = self
            .stands_until_us
            .load(Ordering::Relaxed)
            .saturating_sub(self.trace.now_us());
        let flush = Duration::from_micros(100 + draw % 2_000) * self.flush_slowness.load(Ordering::Relaxed);
        Duration::from_micros(stands) + flush
    }
}

/// What a clock that gains `drift_us` in a million microseconds has gained after `elapsed`.
fn gained(elapsed: i64, drift_us: i64) -> i64 {
    elapsed / 1000 * drift_us / 1000
}

/// A process's source of random numbers.
pub struct ProcessRandom(Mutex<Chance>);

impl ProcessRandom {
    /// Numbers from this stream.
    pub fn new(chance: Chance) -> ProcessRandom {
        ProcessRandom(Mutex::new(chance))
    }
}

impl Random for ProcessRandom {
    fn next(&self) -> u64 {
        lock(&self.0).number()
    }
}

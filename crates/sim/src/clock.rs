//! What a node takes for time and chance: virtual time with its machine's own error, and a seeded stream.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
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
    flush_slowness: AtomicU32,
}

impl MachineClock {
    /// A clock that is off by `error_us`.
    pub fn new(trace: Trace, error_us: i64) -> MachineClock {
        MachineClock {
            trace,
            error_us: AtomicI64::new(error_us),
            flush_slowness: AtomicU32::new(1),
        }
    }

    /// Flushes take so many times longer from now on.
    pub fn slow_flushes(&self, slowness: u32) {
        self.flush_slowness.store(slowness, Ordering::Relaxed);
    }

    /// The clock jumps to another error.
    pub fn jump(&self, error_us: i64) {
        self.error_us.store(error_us, Ordering::Relaxed);
    }
}

impl Clock for MachineClock {
    fn now_us(&self) -> i64 {
        let elapsed = i64::try_from(self.trace.now_us()).unwrap_or(i64::MAX);
        EPOCH_US + elapsed + self.error_us.load(Ordering::Relaxed)
    }

    fn flush_time(&self, draw: u64) -> Duration {
        Duration::from_micros(100 + draw % 2_000) * self.flush_slowness.load(Ordering::Relaxed)
    }
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

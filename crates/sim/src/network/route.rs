//! One direction between two machines: how long a frame takes, and whether any arrives.

use std::time::Duration;

use crate::chance::Chance;

/// Bytes per millisecond of a good route: 100 MB/s.
const BYTES_PER_MS: usize = 100_000;

/// How frames travel from one machine to another.
#[derive(Debug, Clone)]
pub struct Route {
    /// Least time that a frame takes.
    pub latency: Duration,
    /// Most time on top of it.
    pub jitter: Duration,
    /// Divides the bandwidth and multiplies the latency.
    pub slowness: u32,
    /// Nothing arrives.
    pub is_cut: bool,
    /// An end stands still: nothing arrives, and nothing breaks.
    pub is_held: bool,
}

impl Default for Route {
    fn default() -> Route {
        Route {
            latency: Duration::from_millis(1),
            jitter: Duration::from_millis(1),
            slowness: 1,
            is_cut: false,
            is_held: false,
        }
    }
}

impl Route {
    /// A route of some usual speed: the same rack, or the next town.
    pub fn new(chance: &mut Chance) -> Route {
        let latency = Duration::from_micros(chance.between(100, 3000));
        let jitter = Duration::from_micros(chance.between(100, 4000));
        Route {
            latency,
            jitter,
            ..Route::default()
        }
    }

    /// How long a frame of `bytes` takes; now and then a packet of it is lost and sent again.
    pub fn delay(&self, chance: &mut Chance, bytes: usize) -> Duration {
        let jitter = chance.below(u64::try_from(self.jitter.as_micros()).unwrap_or(u64::MAX));
        let resent = if chance.one_in(200) {
            chance.millis(20, 250)
        } else {
            Duration::ZERO
        };
        let transfer = Duration::from_millis((bytes / BYTES_PER_MS) as u64);
        (self.latency + Duration::from_micros(jitter) + transfer) * self.slowness + resent
    }
}

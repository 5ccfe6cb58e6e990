//! Seeded chance, in streams: one for each purpose, so that a draw more here changes nothing there.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A stream of draws.
#[derive(Debug)]
pub struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream that `seed` has for `purpose`.
    pub fn new(seed: u64, purpose: &str) -> Chance {
        Chance(ChaCha8Rng::seed_from_u64(xxh3_64_with_seed(purpose.as_bytes(), seed)))
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`; 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The bias of the remainder is far below what any run could show.
        self.number() % bound.max(1)
    }

    /// A number of `low..high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// True once in `many`.
    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// One of `items`, which are not empty.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.index(items.len())]
    }

    /// A place in a list of `length` items.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// A time between `low` and `high` milliseconds.
    pub fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of `weighted`, each as likely as its weight says.
    pub fn weighted<T: Copy>(&mut self, weighted: &[(u64, T)]) -> T {
        let mut draw = self.below(weighted.iter().map(|(weight, _)| weight).sum());
        for (weight, item) in weighted {
            if draw < *weight {
                return *item;
            }
            draw -= weight;
        }
        weighted[0].1
    }
}

/// A lock whose holder never panics half-way.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

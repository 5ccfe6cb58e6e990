//! How often things happened, by name.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::chance::lock;

/// Counters; an unknown name reads 0.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    /// One more.
    pub fn add(&self, name: &'static str) {
        *lock(&self.0).entry(name).or_default() += 1;
    }

    /// The highest seen.
    pub fn raise(&self, name: &'static str, to: u64) {
        let mut counts = lock(&self.0);
        let known = counts.entry(name).or_default();
        *known = (*known).max(to);
    }

    /// Adds a number.
    pub fn add_many(&self, name: &'static str, more: u64) {
        *lock(&self.0).entry(name).or_default() += more;
    }

    /// All of them, in the order of their names.
    pub fn all(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0).clone()
    }
}

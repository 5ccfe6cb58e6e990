//! What is kept by text, the least recently used going first.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// At most so many things, by text.
pub(crate) struct Kept<T> {
    by_text: HashMap<Arc<str>, (u64, T), BuildHasherDefault<TextHasher>>,
    uses: u64,
    max: usize,
}

/// Quick, and without a seed: so few texts are kept that those which collide on purpose gain nothing.
#[derive(Default)]
struct TextHasher(u64);

impl<T> Kept<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            by_text: HashMap::default(),
            uses: 0,
            max,
        }
    }

    pub(crate) fn look(&self, text: &str) -> Option<&T> {
        self.by_text.get(text).map(|(_, kept)| kept)
    }

    pub(crate) fn take(&mut self, text: &str) -> Option<(Arc<str>, T)> {
        let (key, (_, kept)) = self.by_text.remove_entry(text)?;
        Some((key, kept))
    }

    pub(crate) fn put(&mut self, key: Arc<str>, kept: T) {
        if self.max == 0 {
            return;
        }
        if self.by_text.len() >= self.max {
            // Use counts are unique, so which one goes does not depend on the map's order.
            let oldest = self.by_text.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(key) = oldest.map(|(key, _)| Arc::clone(key)) {
                self.by_text.remove(&key);
            }
        }
        self.uses += 1;
        self.by_text.insert(key, (self.uses, kept));
    }

    pub(crate) fn clear(&mut self) {
        self.by_text.clear();
    }
}

impl Hasher for TextHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    /// What ends a text, which has a hash of its own.
    fn write_u8(&mut self, _: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

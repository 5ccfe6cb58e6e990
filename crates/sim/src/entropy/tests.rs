//! The test binary holds the override too: hash keys of a thread that starts after the seed are the seed's.

use std::hash::{BuildHasher, RandomState};

fn keyed(seed: u64) -> u64 {
    super::seed(seed);
    let thread = std::thread::spawn(|| RandomState::new().hash_one(42_u64));
    thread.join().unwrap()
}

#[test]
fn hash_keys_are_a_function_of_the_seed() {
    // The stream is the process': a test beside this one may draw from it in between, but not each time.
    assert!((0..1000).any(|_| keyed(7) == keyed(7)), "keys never repeat");
    assert!((0..1000).any(|_| keyed(7) != keyed(8)), "keys are always the same");
}

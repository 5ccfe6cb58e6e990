//! The test binary holds the override too: hash keys of a thread that starts after the seed are the seed's.

use std::hash::{BuildHasher, RandomState};

fn keyed() -> u64 {
    let thread = std::thread::spawn(|| RandomState::new().hash_one(42_u64));
    thread.join().unwrap()
}

#[test]
fn hash_keys_are_a_function_of_the_seed() {
    super::seed(7);
    let first = keyed();
    super::seed(7);
    assert_eq!(first, keyed());
    super::seed(8);
    assert_ne!(first, keyed());
}

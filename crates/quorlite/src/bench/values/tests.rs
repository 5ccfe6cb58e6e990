//! Tests of values and keys.

use super::*;

#[test]
fn values_are_fixed_for_ever() {
    // The bare read floor of quorlite-bench computes the same; a change here must be made there.
    assert_eq!(
        std::str::from_utf8(&value(1)).unwrap(),
        "1cc52098ced2a0192cea8ea9b59e7faf75c82a73"
    );
    assert_ne!(value(1), value(2));
    assert_ne!(value(1)[..16], value(1)[16..32]);
}

#[test]
fn picked_numbers_stay_below_the_bound_and_spread() {
    let mut picker = Picker::new(7);
    let mut seen = [0_u32; 10];
    for _ in 0..10_000 {
        seen[picker.below(10) as usize] += 1;
    }
    assert!(seen.iter().all(|count| (800..1200).contains(count)), "{seen:?}");
}

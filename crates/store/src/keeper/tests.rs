//! When followers are given up.

use super::keep_from;

#[test]
fn the_log_is_kept_for_a_slow_follower_up_to_the_cap() {
    assert_eq!(keep_from(0, 0, 100), 0);
    assert_eq!(keep_from(3_300, 100, 100), 0, "32 times the entries of a snapshot wait");
    assert_eq!(keep_from(3_301, 100, 100), 3_301);
    assert_eq!(keep_from(50, 100, 100), 0, "it was purged further than that");
}

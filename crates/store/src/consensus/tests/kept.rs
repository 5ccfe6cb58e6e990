//! A follower that comes back with less than it acknowledged.

use crate::consensus::kept::{Acknowledged, Kept};

#[test]
fn a_log_that_lost_what_was_acknowledged_in_its_term_is_found_at_the_first_word() {
    assert!(Kept::new(4, 10).check(4, 11).is_err());
    assert!(Kept::new(4, 10).check(4, 10).is_ok());
    // A vote of an earlier term: it was flushed before anything was acknowledged in this one.
    assert!(Kept::new(3, 10).check(4, 5).is_err());
    // A new leader that has heard nothing yet.
    assert!(Kept::new(3, 10).check(4, 0).is_ok());
}

#[test]
fn what_was_said_to_an_earlier_leader_or_in_this_process_is_not_compared() {
    let kept = Kept::new(4, 10);
    assert!(
        kept.check(3, 50).is_ok(),
        "that leader's entries may have been truncated"
    );
    assert!(kept.check(4, 10).is_ok());
    assert!(kept.check(4, 20).is_ok(), "acknowledged by this process");
    let fresh = Kept::new(4, 10);
    assert!(fresh.check(3, 50).is_ok());
    assert!(
        fresh.check(4, 11).is_err(),
        "a leader of a term that is over proves nothing"
    );
}

#[test]
fn acknowledgements_count_in_their_own_term() {
    let acknowledged = Acknowledged::default();
    acknowledged.note(7, 2, 90);
    acknowledged.note(7, 2, 80);
    assert_eq!(acknowledged.by(7, 2), 90);
    assert_eq!((acknowledged.by(7, 3), acknowledged.by(8, 2)), (0, 0));
    acknowledged.note(7, 3, 5);
    assert_eq!((acknowledged.by(7, 3), acknowledged.by(7, 2)), (5, 0));
}

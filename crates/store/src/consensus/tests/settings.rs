//! openraft's switches that are off, or on, by default and must not be.

use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::consensus::config;

#[test]
fn pre_vote_is_on_and_leaders_are_not_restored() {
    let config = config(Duration::from_millis(50), Duration::from_millis(400));
    assert_eq!(config.enable_pre_vote, Some(true));
    assert_eq!(config.enable_leader_restore, Some(false));
    assert_eq!(config.snapshot_policy, SnapshotPolicy::Never);
    assert_eq!(config.max_in_snapshot_log_to_keep, u64::MAX);
    assert!(config.validate().is_ok());
}

#[test]
fn timings_stay_valid_however_small() {
    let config = config(Duration::from_millis(5), Duration::from_millis(5));
    assert!(config.heartbeat_interval < config.election_timeout_min);
    assert!(config.election_timeout_min < config.election_timeout_max);
    assert!(config.validate().is_ok());
}

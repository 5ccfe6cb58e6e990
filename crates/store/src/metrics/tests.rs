//! Buckets and stages.

use std::time::Duration;

use tokio::time::Instant;

use super::{BOUNDS_US, Histogram, Metrics};
use crate::read::Level;

#[test]
fn a_bucket_holds_what_is_at_most_its_bound() {
    let histogram = Histogram::default();
    for us in [0, 50, 51, 100, 30_000_000, 30_000_001] {
        histogram.observe(Duration::from_micros(us));
    }
    histogram.observe_many(Duration::from_millis(1), 3);
    let observed = histogram.read();
    assert_eq!(observed.counts[0], 2);
    assert_eq!(observed.counts[1], 2);
    assert_eq!(observed.counts[4], 3);
    assert_eq!(observed.counts[BOUNDS_US.len() - 1..], [1, 1]);
    assert_eq!(observed.sum_us, 60_003_202);
}

#[test]
fn replication_is_measured_from_the_own_flush_if_there_was_one() {
    let metrics = Metrics::default();
    metrics.flushed(5, 7, Instant::now());
    for index in 4..=8 {
        metrics.committed(index);
    }
    assert_eq!(metrics.replicate.read().counts.iter().sum::<u64>(), 3);
    assert_eq!(metrics.flush.read().counts.iter().sum::<u64>(), 1);
    // More than are remembered.
    metrics.flushed(8, 100_000, Instant::now());
    metrics.committed(8);
    metrics.committed(100_000);
    assert_eq!(metrics.replicate.read().counts.iter().sum::<u64>(), 4);
}

#[test]
fn reads_are_counted_by_level() {
    let metrics = Metrics::default();
    metrics.confirmed(Level::Strong, Instant::now());
    assert_eq!(metrics.reads[3].load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(metrics.confirm[3].read().counts.iter().sum::<u64>(), 1);
}

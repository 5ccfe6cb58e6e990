//! Tests of buckets and percentiles.

use super::*;

#[test]
fn buckets_cover_all_values_without_a_gap_and_stay_narrow() {
    let mut values: Vec<u64> = (0..2000).collect();
    values.extend((11..VALUE_BITS_MAX).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1, 3 << (bit - 1)]));
    values.sort_unstable();
    let mut before = 0;
    for value in values {
        let index = bucket(value);
        assert!(
            index >= before && index < BUCKETS,
            "{value} is in bucket {index} after {before}"
        );
        let error = upper(index) - value;
        assert!(
            error as f64 <= value as f64 * 0.008,
            "bucket of {value} reaches to {}",
            upper(index)
        );
        before = index;
    }
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    for index in 1..BUCKETS {
        assert_eq!(
            bucket(upper(index - 1) + 1),
            index,
            "bucket {index} begins where the one before ends"
        );
    }
}

#[test]
fn percentiles_are_those_of_the_sorted_values() {
    let mut histogram = Histogram::new();
    // 1 to 10,000 µs in an order that is not sorted: 7,919 is prime to 10,000.
    for step in 0..10_000_u64 {
        histogram.record(Duration::from_micros(step * 7_919 % 10_000 + 1));
    }
    for (share, micros) in [(0.5, 5_000.0), (0.9, 9_000.0), (0.99, 9_900.0), (0.999, 9_990.0)] {
        let found = histogram.percentile(share).as_secs_f64() * 1e6;
        assert!((found - micros).abs() <= micros * 0.008, "p{share}: {found} µs");
    }
    assert_eq!(histogram.max(), Duration::from_micros(10_000));
    assert_eq!(histogram.percentile(1.0), Duration::from_micros(10_000));
    assert_eq!(histogram.count(), 10_000);
    assert!((histogram.mean().as_secs_f64() * 1e6 - 5_000.5).abs() < 0.01);
}

#[test]
fn one_slow_request_in_a_thousand_shows_in_the_tail_only() {
    let mut histogram = Histogram::new();
    for _ in 0..999 {
        histogram.record(Duration::from_micros(500));
    }
    histogram.record(Duration::from_secs(3));
    assert!(histogram.percentile(0.999) < Duration::from_micros(505));
    assert_eq!(histogram.percentile(0.9999), Duration::from_secs(3));
}

#[test]
fn an_empty_histogram_answers_zero() {
    let histogram = Histogram::new();
    assert_eq!(histogram.percentile(0.99), Duration::ZERO);
    assert_eq!(histogram.mean(), Duration::ZERO);
}

#[test]
fn a_value_beyond_the_last_bucket_is_kept_as_the_maximum() {
    let mut histogram = Histogram::new();
    histogram.record(Duration::from_secs(7_200));
    assert_eq!(histogram.max(), Duration::from_secs(7_200));
    assert_eq!(
        histogram.percentile(1.0),
        Duration::from_nanos((1 << VALUE_BITS_MAX) - 1)
    );
}

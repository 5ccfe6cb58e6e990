//! Tests of medians and of what is missing.

use super::*;

#[test]
fn the_ratio_is_the_median_of_the_turns_and_not_of_the_medians() {
    let mut samples = Samples::default();
    // The disk was slow in the second turn: both fell to a tenth.
    for (value, floor) in [(80.0, 100.0), (9.0, 10.0), (70.0, 100.0)] {
        samples.add("x", Measure::Main, value, Some(floor));
    }
    let medians = samples.medians("x", Measure::Main).unwrap();
    assert_eq!(
        (medians.value, medians.floor, medians.ratio),
        (70.0, Some(100.0), Some(0.8))
    );
    assert_eq!(medians.turns, 3);
}

#[test]
fn an_even_number_of_turns_gives_the_mean_of_the_middle() {
    assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
    assert_eq!(median([7.0].into_iter()), Some(7.0));
    assert_eq!(median(std::iter::empty()), None);
}

#[test]
fn what_is_missing_keeps_its_first_reason() {
    let mut samples = Samples::default();
    samples.miss("x", "no such endpoint");
    samples.miss("x", "later");
    samples.add("y", Measure::P99, 1.0, None);
    assert_eq!(
        (samples.reason("x"), samples.medians("x", Measure::Main)),
        (Some("no such endpoint"), None)
    );
    assert_eq!(samples.medians("y", Measure::P99).unwrap().ratio, None);
    assert_eq!(samples.medians("y", Measure::P50), None);
    assert_eq!(samples.missing().collect::<Vec<_>>(), [("x", "no such endpoint")]);
    assert_eq!(samples.measured().collect::<Vec<_>>(), [("y", Measure::P99)]);
}

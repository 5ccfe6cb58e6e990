//! Tests of the schedule and the pacer on a virtual clock.

use std::cell::{Cell, RefCell};

use super::*;

/// A clock that moves only when it is slept on, and oversleeps as told.
struct Virtual {
    now: Cell<Duration>,
    oversleep: Duration,
}

impl Clock for Virtual {
    fn now(&self) -> Duration {
        self.now.get()
    }

    fn sleep_until(&self, at: Duration) {
        assert!(at >= self.now.get(), "the pacer sleeps into the past");
        self.now.set(at + self.oversleep);
    }
}

/// Runs a schedule and answers (time, slots) of each release.
fn releases(schedule: Schedule, oversleep: Duration) -> Vec<(Duration, u64)> {
    let clock = Virtual {
        now: Cell::new(Duration::ZERO),
        oversleep,
    };
    let seen = RefCell::new(Vec::new());
    pace(&schedule, &clock, |count| {
        seen.borrow_mut().push((clock.now(), count));
        true
    });
    seen.into_inner()
}

#[test]
fn slots_are_spread_evenly_from_time_zero() {
    let schedule = Schedule {
        per_s: 250.0,
        slots: 1000,
    };
    assert_eq!(schedule.intended(0), Duration::ZERO);
    assert_eq!(schedule.intended(1), Duration::from_millis(4));
    assert_eq!(schedule.intended(250), Duration::from_secs(1));
    assert_eq!(schedule.due(Duration::ZERO), 1);
    assert_eq!(schedule.due(Duration::from_micros(3_999)), 1);
    assert_eq!(schedule.due(Duration::from_micros(4_001)), 2);
    assert_eq!(schedule.due(Duration::from_secs(3600)), 1000);
}

#[test]
fn a_punctual_pacer_releases_one_slot_at_its_time() {
    let schedule = Schedule {
        per_s: 1000.0,
        slots: 5,
    };
    let releases = releases(schedule, Duration::from_nanos(1));
    assert_eq!(releases.len(), 5);
    for (slot, (at, count)) in releases.iter().enumerate() {
        assert_eq!(*count, 1);
        assert!(
            *at - schedule.intended(slot as u64) <= Duration::from_nanos(1),
            "slot {slot} at {at:?}"
        );
    }
}

#[test]
fn a_late_pacer_catches_up_and_loses_no_slot() {
    // Each sleep ends 10 ms late, at one slot per millisecond.
    let schedule = Schedule {
        per_s: 1000.0,
        slots: 100,
    };
    let releases = releases(schedule, Duration::from_millis(10));
    assert_eq!(releases.iter().map(|(_, count)| count).sum::<u64>(), 100);
    assert!(releases.len() <= 11, "{releases:?}");
    let mut out = 0;
    for (at, count) in releases {
        out += count;
        assert!(schedule.intended(out - 1) <= at, "a slot left before it was due");
    }
}

#[test]
fn a_pacer_stops_when_nobody_listens() {
    let clock = Virtual {
        now: Cell::new(Duration::ZERO),
        oversleep: Duration::ZERO,
    };
    let calls = Cell::new(0);
    pace(
        &Schedule {
            per_s: 10.0,
            slots: 1_000_000,
        },
        &clock,
        |_| {
            calls.set(calls.get() + 1);
            calls.get() < 3
        },
    );
    assert_eq!(calls.get(), 3);
}

//! Tests of what is counted where.

use super::*;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn write(sent: u64, answered: u64, node: usize) -> Success {
    Success {
        sent: ms(sent),
        answered: ms(answered),
        rows: 2,
        bytes: 10,
        wrote: true,
        node,
    }
}

#[test]
fn the_warmup_is_not_counted_and_the_last_answers_are_latencies_only() {
    let mut recorder = Recorder::new(ms(100), Some(ms(1100)));
    recorder.success(write(10, 90, 0));
    recorder.success(write(90, 110, 0));
    recorder.success(write(1000, 1100, 0));
    recorder.success(write(1050, 1500, 0));
    assert_eq!((recorder.requests, recorder.rows, recorder.bytes), (2, 4, 20));
    assert_eq!((recorder.latencies.count(), recorder.latencies.max()), (3, ms(450)));
    assert_eq!(recorder.elapsed(), ms(1000));
}

#[test]
fn without_an_end_the_last_answer_is_the_end() {
    let mut recorder = Recorder::new(Duration::ZERO, None);
    recorder.success(write(0, 700, 0));
    recorder.success(write(0, 300, 0));
    assert_eq!((recorder.elapsed(), recorder.requests), (ms(700), 2));
}

#[test]
fn windows_show_when_a_stall_began() {
    let mut recorder = Recorder::new(ms(100), Some(ms(1100)));
    recorder.success(write(120, 121, 0));
    recorder.success(write(340, 840, 0));
    recorder.failure(ms(399), &Failure::Lost("x".to_owned()));
    recorder.failure(ms(50), &Failure::Lost("y".to_owned()));
    let shown: Vec<_> = recorder
        .windows
        .iter()
        .map(|w| (w.requests, w.failures, w.latency_max))
        .collect();
    assert_eq!(shown, [(1, 0, ms(1)), (0, 0, ms(0)), (1, 1, ms(500))]);
    assert_eq!(recorder.failures_total(), 2);
}

#[test]
fn failures_are_counted_by_kind_with_the_first_text() {
    let mut recorder = Recorder::new(Duration::ZERO, None);
    for text in ["leader not found", "other"] {
        recorder.failure(
            ms(1),
            &Failure::Status {
                status: 503,
                text: text.to_owned(),
            },
        );
    }
    recorder.failure(ms(1), &Failure::Connect("refused".to_owned()));
    assert_eq!(
        recorder.failures["status 503"],
        Count {
            count: 2,
            first: "status 503: leader not found".to_owned()
        }
    );
    assert_eq!(recorder.failures["connect"].count, 1);
}

#[test]
fn the_longest_silence_is_between_acknowledged_writes_of_all_clients() {
    let mut recorder = Recorder::new(Duration::ZERO, None);
    for (answered, node) in [(10, 0), (20, 0), (1520, 2), (1530, 1), (1900, 1)] {
        recorder.success(write(5, answered, node));
        recorder.failure(ms(answered), &Failure::Connect(String::new()));
    }
    recorder.success(Success {
        wrote: false,
        ..write(0, 9000, 0)
    });
    let gap = recorder.gap.unwrap();
    assert_eq!(
        gap,
        Gap {
            from: (ms(20), 0),
            until: (ms(1520), 2)
        }
    );
    assert_eq!(gap.length(), ms(1500));
}

#[test]
fn a_broken_off_run_ends_at_its_last_answer() {
    let mut recorder = Recorder::new(Duration::ZERO, Some(ms(5000)));
    recorder.success(write(0, 400, 0));
    recorder.cut();
    assert_eq!(recorder.elapsed(), ms(400));
}

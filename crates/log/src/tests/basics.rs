//! What each operation promises, one at a time.

use super::{Rig, SEGMENT_BYTES, Told, at, ignore, record, well};
use crate::{Error, Step};
use bytes::Bytes;

#[test]
fn an_empty_log_knows_nothing() {
    let rig = Rig::new();
    let state = rig.log.state();
    assert_eq!(
        (state.purged, state.last, state.committed, state.vote),
        (None, None, None, None)
    );
    assert_eq!(rig.indexes(), []);
    assert_eq!(rig.log.position_at(0), None);
}

#[test]
fn records_are_readable_at_once_and_durable_when_told() {
    let mut rig = Rig::new();
    let told = Told::default();
    rig.log
        .append(vec![record(1, 0, 10), record(1, 1, 20)], told.done(1))
        .expect("appended");
    assert_eq!(rig.indexes(), [0, 1]);
    assert_eq!(rig.log.state().flushed, None);
    assert_eq!(told.well(), []);
    assert_eq!(rig.flusher.step(), Step::Progress);
    assert_eq!(told.well(), [1]);
    assert_eq!(rig.log.state().flushed, Some(at(1, 1)));
    assert_eq!(rig.log.state().waiting_bytes, 0);
    assert_eq!(rig.log.read(1..2, 100).expect("read"), [record(1, 1, 20)]);
    assert_eq!(rig.flusher.step(), Step::Idle);
}

#[test]
fn what_waits_takes_one_flush() {
    let mut rig = Rig::new();
    rig.fill(0, 1, 10);
    let (told, before) = (Told::default(), rig.log.state().flushes);
    for index in 1..100 {
        rig.log
            .append(vec![record(1, index, 30)], told.done(index))
            .expect("appended");
    }
    rig.log
        .save_vote(Bytes::from_static(b"vote"), told.done(100))
        .expect("saved");
    assert_eq!(rig.flusher.step(), Step::Progress);
    assert_eq!(told.well(), (1..=100).collect::<Vec<u64>>());
    assert_eq!(rig.log.state().flushes, before + 1);
}

#[test]
fn a_committed_position_rides_along_and_never_flushes() {
    let mut rig = Rig::new();
    rig.fill(0, 3, 10);
    let syncs = rig.disk.syncs();
    rig.log.save_committed(Some(at(1, 2)));
    assert_eq!(rig.flusher.step(), Step::Idle);
    assert_eq!(rig.disk.syncs(), syncs);
    let mut rig = rig.restart().expect("opens");
    assert_eq!(rig.log.state().committed, None, "nothing carried it to the disk");
    rig.log.save_committed(Some(at(1, 2)));
    rig.fill(3, 1, 10);
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.log.state().committed, Some(at(1, 2)));
}

#[test]
fn a_committed_position_never_precedes_its_record_to_the_disk() {
    let mut rig = Rig::new();
    rig.log.append(vec![record(1, 0, 10)], ignore()).expect("appended");
    // More than one batch: the second holds the last record.
    rig.log
        .append((1..=200).map(|index| record(1, index, 10_000)).collect(), ignore())
        .expect("appended");
    rig.log.save_committed(Some(at(1, 200)));
    assert_eq!(rig.flusher.step(), Step::Progress);
    let rig = rig.restart().expect("opens");
    let state = rig.log.state();
    assert!(
        state.committed <= state.last,
        "{:?} is committed, and the log ends at {:?}",
        state.committed,
        state.last
    );
}

#[test]
fn a_committed_position_never_meets_a_record_that_it_does_not_mean() {
    let mut rig = Rig::new();
    rig.fill(0, 5, 10);
    // The first batch ends, for want of room in the segment, before the truncation of record 1.5.
    rig.log.append(vec![record(1, 5, 10)], ignore()).expect("appended");
    for _ in 0..13 {
        rig.log.save_vote(Bytes::from(vec![0; 1000]), ignore()).expect("saved");
    }
    rig.log.truncate_after(Some(at(1, 4)), ignore());
    rig.log.append(vec![record(2, 5, 10)], ignore()).expect("appended");
    rig.log.save_committed(Some(at(2, 5)));
    assert_eq!(rig.flusher.step(), Step::Progress);
    assert_eq!(rig.log.state().flushed, Some(at(1, 5)), "the test catches the moment");
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.log.state().committed, None);
}

#[test]
fn everything_survives_a_restart() {
    let mut rig = Rig::new();
    rig.fill(0, 300, 200);
    rig.log
        .save_vote(Bytes::from_static(b"me, term 7"), well())
        .expect("saved");
    rig.log.save_committed(Some(at(1, 250)));
    rig.log.truncate_after(Some(at(1, 280)), well());
    rig.log.purge(at(1, 100), well());
    rig.run();
    for power_loss in [false, true] {
        rig = (if power_loss { rig.crash(7) } else { rig.restart() }).expect("opens");
        let state = rig.log.state();
        assert_eq!((state.purged, state.last), (Some(at(1, 100)), Some(at(1, 280))));
        assert_eq!(state.flushed, state.last);
        assert_eq!(state.committed, Some(at(1, 250)));
        assert_eq!(state.vote.as_deref(), Some(&b"me, term 7"[..]));
        assert_eq!(rig.indexes(), (101..=280).collect::<Vec<u64>>());
        assert_eq!(rig.log.read(150..151, 0).expect("read"), [record(1, 150, 200)]);
    }
    rig.fill(281, 10, 200);
    assert_eq!(rig.indexes(), (101..=290).collect::<Vec<u64>>());
}

#[test]
fn a_read_is_bounded_and_never_empty() {
    let mut rig = Rig::new();
    rig.fill(0, 10, 100);
    rig.log
        .append((10..20).map(|index| record(2, index, 100)).collect(), ignore())
        .expect("appended");
    let read = |range, bytes_max| {
        let records = rig.log.read(range, bytes_max).expect("read");
        records.iter().map(|record| record.position.index).collect::<Vec<u64>>()
    };
    assert_eq!(read(8..13, 1000), [8, 9, 10, 11, 12]);
    assert_eq!(read(8..13, 399), [8, 9, 10]);
    assert_eq!(read(8..13, 0), [8]);
    assert_eq!(read(12..13, 0), [12]);
    assert_eq!(read(20..30, 100), []);
    assert_eq!(read(5..5, 100), []);
}

#[test]
fn records_must_continue_the_log() {
    let mut rig = Rig::new();
    let told = Told::default();
    rig.fill(5, 1, 10);
    for wrong in [
        vec![record(1, 5, 1)],
        vec![record(1, 7, 1)],
        vec![record(1, 6, 1), record(1, 8, 1)],
    ] {
        let error = rig.log.append(wrong, told.done(0)).expect_err("refused");
        assert!(matches!(error, Error::OutOfOrder { .. }), "{error}");
    }
    assert_eq!(rig.log.state().last, Some(at(1, 5)));
    rig.log
        .append(vec![], told.done(1))
        .expect("nothing is always in order");
    rig.run();
    assert_eq!(told.well(), [1]);
}

#[test]
fn truncation_hides_records_at_once_and_others_take_their_place() {
    let mut rig = Rig::new();
    rig.fill(0, 10, 10);
    rig.log.append(vec![record(1, 10, 10)], ignore()).expect("appended");
    rig.log.truncate_after(Some(at(1, 4)), well());
    assert_eq!(rig.indexes(), [0, 1, 2, 3, 4]);
    assert_eq!(rig.log.position_at(5), None);
    rig.log.append(vec![record(2, 5, 10)], well()).expect("appended");
    assert_eq!(rig.log.position_at(5), Some(at(2, 5)));
    assert_eq!(rig.log.read(5..6, 0).expect("read"), [record(2, 5, 10)]);
    rig.run();
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.indexes(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(rig.log.read(5..6, 0).expect("read"), [record(2, 5, 10)]);
}

#[test]
fn truncating_everything_lets_a_log_start_anywhere() {
    let mut rig = Rig::new();
    rig.fill(0, 10, 10);
    rig.log.truncate_after(None, well());
    rig.log.append(vec![record(3, 5, 10)], well()).expect("appended");
    assert_eq!(rig.indexes(), [5]);
    assert_eq!(rig.log.position_at(4), None);
    rig.run();
    assert_eq!(rig.indexes(), [5]);
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.indexes(), [5]);
}

#[test]
fn truncation_beyond_the_tail_changes_nothing_and_at_another_term_is_refused() {
    let mut rig = Rig::new();
    let told = Told::default();
    rig.fill(0, 5, 10);
    rig.log.truncate_after(Some(at(1, 9)), told.done(1));
    rig.log.truncate_after(Some(at(9, 2)), told.done(2));
    rig.run();
    assert_eq!(rig.indexes(), [0, 1, 2, 3, 4]);
    assert_eq!(told.well(), [1]);
    assert_eq!(told.all().len(), 2);
}

#[test]
#[should_panic(expected = "committed")]
fn a_committed_record_is_never_truncated() {
    let mut rig = Rig::new();
    rig.fill(0, 5, 10);
    rig.log.save_committed(Some(at(1, 3)));
    rig.log.truncate_after(Some(at(1, 2)), ignore());
}

#[test]
fn a_truncation_that_removes_nothing_may_name_a_position_before_the_committed_one() {
    let mut rig = Rig::new();
    rig.fill(0, 5, 10);
    rig.log.purge(at(4, 100), well());
    rig.log.save_committed(Some(at(4, 100)));
    rig.log.truncate_after(None, well());
    rig.log.truncate_after(Some(at(1, 3)), well());
    rig.run();
    assert_eq!(rig.log.state().last, Some(at(4, 100)));
}

#[test]
fn a_purge_beyond_the_tail_empties_the_log() {
    let mut rig = Rig::new();
    rig.fill(0, 5, 10);
    rig.log.append(vec![record(1, 5, 10)], ignore()).expect("appended");
    rig.log.purge(at(4, 100), well());
    assert_eq!(rig.indexes(), []);
    assert_eq!(rig.log.state().last, Some(at(4, 100)));
    assert!(
        rig.log.append(vec![record(4, 6, 1)], ignore()).is_err(),
        "the log goes on after the purged position"
    );
    rig.log.append(vec![record(4, 101, 1)], well()).expect("appended");
    rig.run();
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.indexes(), [101]);
    assert_eq!(rig.log.position_at(100), Some(at(4, 100)));
}

#[test]
fn a_purge_at_another_term_drops_the_conflicting_records() {
    let mut rig = Rig::new();
    rig.fill(0, 10, 10);
    rig.log.purge(at(2, 5), well());
    assert_eq!(rig.indexes(), []);
    rig.run();
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.log.state().last, Some(at(2, 5)));
    assert_eq!(rig.indexes(), []);
}

#[test]
fn purged_segments_are_recycled_not_piled_up() {
    let mut rig = Rig::new();
    let mut files_most = 0;
    for round in 0..40 {
        rig.fill(round * 50, 50, 500);
        rig.log.purge(at(1, round * 50 + 40), well());
        rig.run();
        files_most = files_most.max(rig.disk.files().len());
    }
    assert!(files_most <= 8, "{files_most} files at once");
    let spent = rig.log.state().written_bytes;
    assert!(spent > 40 * SEGMENT_BYTES, "the test went round: {spent} bytes");
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.indexes(), (1991..2000).collect::<Vec<u64>>());
}

#[test]
fn a_record_larger_than_a_segment_gets_its_own() {
    let mut rig = Rig::new();
    rig.fill(0, 3, 100);
    rig.fill(3, 1, 100_000);
    rig.fill(4, 100, 300);
    rig.fill(104, 1, 50_000);
    rig.fill(105, 100, 300);
    let mut rig = rig.crash(7).expect("opens");
    assert_eq!(rig.indexes(), (0..205).collect::<Vec<u64>>());
    assert_eq!(rig.log.read(3..4, 0).expect("read"), [record(1, 3, 100_000)]);
    rig.log.purge(at(1, 204), well());
    rig.run();
    assert!(
        rig.disk.files().iter().all(|(_, bytes)| *bytes == 16 * 1024),
        "{:?}",
        rig.disk.files()
    );
}

#[test]
fn records_up_to_64_mib_work() {
    let mut rig = Rig::new();
    rig.fill(0, 1, 64 * 1024 * 1024);
    rig.fill(1, 1, 10);
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.log.read(0..2, 0).expect("read")[0].bytes.len(), 64 * 1024 * 1024);
    let huge = crate::Record {
        position: at(1, 2),
        bytes: Bytes::from(vec![0; crate::RECORD_BYTES_MAX + 1]),
    };
    assert!(matches!(
        rig.log.append(vec![huge], ignore()),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn a_reader_keeps_a_purged_segment_from_being_overwritten() {
    let mut rig = Rig::new();
    rig.fill(0, 100, 500);
    let plan = rig.log.plan(10..11);
    rig.log.purge(at(1, 99), well());
    rig.run();
    rig.fill(100, 500, 500);
    assert_eq!(
        crate::log::read_plan(plan).expect("the old bytes are still there"),
        [record(1, 10, 500)]
    );
}

#[test]
fn closing_finishes_what_waits_and_refuses_the_rest() {
    let mut rig = Rig::new();
    let told = Told::default();
    rig.log.append(vec![record(1, 0, 10)], told.done(1)).expect("appended");
    rig.log.close();
    assert!(matches!(
        rig.log.append(vec![record(1, 1, 10)], ignore()),
        Err(Error::Closed)
    ));
    rig.log.purge(at(1, 0), told.done(2));
    assert_eq!(rig.flusher.step(), Step::Progress);
    assert_eq!(rig.flusher.step(), Step::Closed);
    assert_eq!(told.well(), [1]);
    assert_eq!(told.all()[0], (2, Err("the log is closed".to_owned())));
}

#[test]
fn a_failed_write_or_flush_stops_the_log_for_good() {
    for write in [true, false] {
        let mut rig = Rig::new();
        let told = Told::default();
        rig.fill(0, 3, 10);
        if write {
            rig.disk.fail_writes_after(0);
        } else {
            rig.disk.fail_syncs_after(0);
        }
        rig.log
            .append(vec![record(1, 3, 10), record(1, 4, 10)], told.done(1))
            .expect("appended");
        rig.log
            .save_vote(Bytes::from_static(b"v"), told.done(2))
            .expect("saved");
        let syncs = rig.disk.syncs();
        assert_eq!(rig.flusher.step(), Step::Closed);
        assert_eq!(told.all().iter().map(|(what, _)| *what).collect::<Vec<u64>>(), [1, 2]);
        assert_eq!(told.well(), []);
        assert!(matches!(
            rig.log.append(vec![record(1, 5, 1)], ignore()),
            Err(Error::Failed { .. })
        ));
        rig.log.truncate_after(Some(at(1, 1)), told.done(3));
        assert_eq!(rig.flusher.step(), Step::Closed);
        assert_eq!(told.well(), []);
        assert!(rig.disk.syncs() <= syncs + 1, "a failed flush was tried again");
        assert!(rig.log.state().failure.is_some());
    }
}

#[test]
fn a_full_disk_stops_the_log_only_when_a_segment_is_needed() {
    let mut rig = Rig::new();
    rig.fill(0, 1, 100);
    rig.disk.fail_creates_after(0);
    let told = Told::default();
    let mut index = 1;
    // The failed preparation does no harm while the segment has room.
    while rig.log.append(vec![record(1, index, 500)], told.done(index)).is_ok() {
        rig.run();
        index += 1;
    }
    assert!(told.well().len() >= 20, "{:?}", told.well());
    assert!(rig.log.state().failure.is_some());
    let rig = rig.crash(7).expect("opens");
    assert_eq!(rig.indexes().len(), told.well().len() + 1);
}

//! Damage is told from a torn tail: the first is refused by name, the second is cut for good.

use std::sync::Arc;

use proptest::prelude::*;

use super::{Rig, Told, at, ignore, options, record, well};
use crate::codec::{Body, FRAME_HEAD_BYTES, SEGMENT_HEAD_BYTES, SegmentHead, frame_bytes};
use crate::testing::MemDisk;
use crate::{Disk, Error, open};

/// Bytes of a record that makes a frame of 240.
const LENGTH: usize = 200;

/// Where the frame of the `nth` record of [`LENGTH`] bytes stands in the first segment.
fn frame_offset(nth: u64) -> u64 {
    let head = frame_bytes(72);
    SEGMENT_HEAD_BYTES + head + nth * frame_bytes(LENGTH)
}

fn first_segment(disk: &MemDisk) -> String {
    disk.files()
        .into_iter()
        .map(|(name, _)| name)
        .find(|name| name.ends_with(".log"))
        .expect("there is a segment")
}

/// A log of `count` records, flushed one by one, and closed.
fn filled(count: u64) -> MemDisk {
    let mut rig = Rig::new();
    rig.fill(0, count, LENGTH);
    rig.disk.restart();
    rig.disk
}

fn refused(disk: &MemDisk) -> Error {
    let before: Vec<Vec<u8>> = disk.files().iter().map(|(name, _)| disk.bytes(name)).collect();
    let error = Rig::on(disk.clone()).err().expect("the log does not open");
    let after: Vec<Vec<u8>> = disk.files().iter().map(|(name, _)| disk.bytes(name)).collect();
    assert_eq!(before, after, "a refused log is left as it was");
    error
}

fn damaged_at(disk: &MemDisk) -> (String, u64) {
    match refused(disk) {
        Error::Damaged { file, offset, .. } => (file, offset),
        other => panic!("expected damage, got {other}"),
    }
}

#[test]
fn a_flipped_bit_in_any_byte_of_a_flushed_record_is_refused_with_file_and_offset() {
    let disk = filled(10);
    let name = first_segment(&disk);
    let from = usize::try_from(frame_offset(4)).expect("small");
    for byte in from..from + FRAME_HEAD_BYTES + LENGTH {
        disk.flip(&name, byte, 3);
        assert_eq!(damaged_at(&disk), (name.clone(), frame_offset(4)), "byte {byte}");
        disk.flip(&name, byte, 3);
    }
    assert_eq!(Rig::on(disk).expect("whole again").indexes().len(), 10);
}

#[test]
fn the_message_names_the_remedy() {
    let disk = filled(10);
    let name = first_segment(&disk);
    disk.flip(&name, usize::try_from(frame_offset(4)).expect("small") + 100, 0);
    let text = refused(&disk).to_string();
    assert!(
        text.starts_with(&format!("{name} is damaged at offset {}:", frame_offset(4))),
        "{text}"
    );
    assert!(text.contains("join again with an empty data directory"), "{text}");
}

#[test]
fn a_bad_last_record_is_a_torn_tail() {
    let disk = filled(10);
    let name = first_segment(&disk);
    disk.flip(&name, usize::try_from(frame_offset(9)).expect("small") + 100, 0);
    let mut rig = Rig::on(disk).expect("a torn tail is cut");
    assert_eq!(rig.indexes(), (0..9).collect::<Vec<u64>>());
    rig.fill(9, 5, LENGTH);
    let rig = rig.crash(3).expect("opens");
    assert_eq!(rig.indexes(), (0..14).collect::<Vec<u64>>());
}

#[test]
fn damage_at_the_end_of_a_full_segment_is_refused() {
    let disk = filled(200);
    let name = first_segment(&disk);
    let bytes = disk.bytes(&name);
    let last = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .expect("the segment holds something");
    disk.flip(&name, last, 1);
    assert_eq!(damaged_at(&disk).0, name);
}

#[test]
fn damage_to_any_frame_of_the_newest_segment_but_its_last_batch_is_refused() {
    let disk = filled(200);
    let newest = disk
        .files()
        .into_iter()
        .rev()
        .find(|(name, _)| name.ends_with(".log") && disk.bytes(name)[4096..].iter().any(|byte| *byte != 0));
    let (name, _) = newest.expect("there is a segment");
    // Its head frame, on which all that it holds depends.
    disk.flip(&name, 4100, 1);
    assert_eq!(damaged_at(&disk), (name, 4096));
}

#[test]
fn a_missing_segment_is_refused() {
    for nth in 0..2 {
        let disk = filled(200);
        let name = disk
            .files()
            .into_iter()
            .map(|(name, _)| name)
            .nth(nth)
            .expect("many segments");
        disk.delete(&name).expect("deleted");
        let error = refused(&disk);
        assert!(error.to_string().contains("is missing"), "{error}");
    }
}

#[test]
fn a_missing_segment_whose_records_are_purged_is_not_missed() {
    let mut rig = Rig::new();
    rig.fill(0, 200, LENGTH);
    let disk = rig.disk.clone();
    let segments: Vec<(String, Vec<u8>)> = disk
        .files()
        .into_iter()
        .map(|(name, _)| (name.clone(), disk.bytes(&name)))
        .collect();
    rig.log.purge(at(1, 195), well());
    rig.run();
    // As if power had been lost when only some of the renames were on the disk: the first two are back, the third not.
    for (name, bytes) in &segments[..2] {
        disk.put(name, bytes.clone());
    }
    let mut rig = rig.restart().expect("opens");
    assert_eq!(rig.indexes(), [196, 197, 198, 199]);
    rig.run();
    assert!(
        !disk.files().iter().any(|(name, _)| *name == segments[0].0),
        "what is left is put away"
    );
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    for length in [0, 100, 9000] {
        let disk = filled(200);
        let name = first_segment(&disk);
        disk.put(&name, disk.bytes(&name)[..length].to_vec());
        assert_eq!(damaged_at(&disk).0, name);
    }
}

#[test]
fn an_unknown_magic_version_or_kind_is_refused_by_name() {
    let disk = filled(3);
    let name = first_segment(&disk);
    let whole = disk.bytes(&name);

    let mut foreign = whole.clone();
    foreign[..8].copy_from_slice(b"bolt\0\0db");
    disk.put(&name, foreign);
    let error = refused(&disk).to_string();
    assert!(error.contains("unknown magic \"bolt\\x00\\x00db\""), "{error}");

    let mut later = whole.clone();
    later[8] = 2;
    disk.put(&name, later);
    let error = refused(&disk).to_string();
    assert!(
        error.contains("unknown version 2") && error.contains("reads log format version 1"),
        "{error}"
    );

    let mut later = whole.clone();
    let offset = usize::try_from(frame_offset(3)).expect("small");
    let head = SegmentHead::decode(&whole).expect("whole");
    let mut frame = Vec::new();
    Body::Vote(b"v").encode(&mut frame, head.seed(), u32::try_from(offset).expect("small"), 0);
    frame[8] = 77;
    let checksum = {
        // The seed is the codec's own: find it by what it makes of a frame that it wrote.
        let mut same = frame.clone();
        same[8] = 3;
        let unseeded = crc32c::crc32c(&same[4..FRAME_HEAD_BYTES + 1]);
        let written = u32::from_le_bytes(same[..4].try_into().expect("four bytes"));
        crc32c::crc32c(&frame[4..FRAME_HEAD_BYTES + 1]) ^ unseeded ^ written
    };
    frame[..4].copy_from_slice(&checksum.to_le_bytes());
    later[offset..offset + frame.len()].copy_from_slice(&frame);
    disk.put(&name, later);
    let error = refused(&disk).to_string();
    assert!(error.contains("unknown kind 77"), "{error}");
}

#[test]
fn a_bad_record_is_never_served() {
    let mut rig = Rig::new();
    rig.fill(0, 10, LENGTH);
    let name = first_segment(&rig.disk);
    rig.disk
        .flip(&name, usize::try_from(frame_offset(4)).expect("small") + 100, 0);
    let error = rig.log.read(0..10, usize::MAX).expect_err("one of them is bad");
    assert!(
        matches!(&error, Error::Damaged { offset, .. } if *offset == frame_offset(4)),
        "{error}"
    );
    assert_eq!(rig.log.read(0..4, usize::MAX).expect("the others are whole").len(), 4);
}

#[test]
fn foreign_files_are_left_alone_and_half_created_ones_removed() {
    let disk = filled(3);
    disk.put("notes.txt", b"mine".to_vec());
    disk.put("0001.log", b"not a name of ours".to_vec());
    disk.put("00000000000000aa.new", vec![0; 100]);
    let mut rig = Rig::on(disk.clone()).expect("opens");
    rig.fill(3, 100, LENGTH);
    let names: Vec<String> = disk.files().into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"notes.txt".to_owned()) && names.contains(&"0001.log".to_owned()),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.ends_with(".new")), "{names:?}");
}

/// Loses power, keeping everything but the first sector that was not flushed.
fn crash_without_the_first_sector(rig: Rig) -> MemDisk {
    let Rig { disk, log, flusher } = rig;
    let mut calls = 0;
    disk.crash(&mut |below| {
        calls += 1;
        // The first call is about names, the second about that sector.
        if calls == 2 { 0 } else { below - 1 }
    });
    drop((log, flusher));
    disk
}

/// A batch of two records, the second of which starts a sector.
#[derive(Clone, Copy)]
struct Torn {
    records_before: u64,
    /// Of the first of the two.
    length: usize,
    /// The batch is the first of its segment.
    switches: bool,
}

/// Amid a segment: 6,608 + 560 is a multiple of 512.
const AMID: Torn = Torn {
    records_before: 10,
    length: 520,
    switches: false,
};
/// At the start of one: 4,096 + 112 for the head + 400 is.
const AT_START: Torn = Torn {
    records_before: 50,
    length: 360,
    switches: true,
};

/// A disk after a batch of two records was torn so that the second is whole and the first is not.
fn torn_batch(torn: Torn) -> MemDisk {
    let Torn {
        records_before,
        length,
        switches,
    } = torn;
    let mut rig = Rig::new();
    rig.fill(0, records_before, LENGTH);
    let segments = rig.log.state().segments;
    let next = records_before;
    rig.disk.fail_syncs_after(0);
    let batch = vec![record(1, next, length), record(1, next + 1, 1000)];
    rig.log.append(batch, ignore()).expect("appended");
    rig.run();
    assert_eq!(rig.log.state().segments > segments, switches);
    crash_without_the_first_sector(rig)
}

/// The second record must not come back when another takes the exact place of the first.
fn check_that_it_stays_cut(disk: MemDisk, torn: Torn) {
    let next = torn.records_before;
    let mut rig = Rig::on(disk.clone()).expect("a torn tail is cut");
    assert_eq!(rig.indexes(), (0..next).collect::<Vec<u64>>());
    rig.log
        .append(vec![record(2, next, torn.length)], well())
        .expect("appended");
    rig.run();
    drop(rig);
    // Nothing is pending but what a failed flush left.
    disk.crash(&mut |_| 0);
    let rig = Rig::on(disk).expect("opens");
    let last = rig.log.state().last;
    assert_eq!(last, Some(at(2, next)), "the second record of the torn batch came back");
}

#[test]
fn a_cut_whose_flush_failed_is_made_again() {
    // The newest segment is flushed first, then the one without a head frame.
    for (torn, syncs) in [(AMID, 0), (AT_START, 0), (AT_START, 1)] {
        let disk = torn_batch(torn);
        disk.fail_syncs_after(syncs);
        let error = Rig::on(disk.clone()).err().expect("the cut could not be flushed");
        assert!(matches!(error, Error::Io { operation: "flush", .. }), "{error}");
        disk.restart();
        check_that_it_stays_cut(disk, torn);
    }
}

#[test]
fn a_torn_batch_never_comes_back() {
    check_that_it_stays_cut(torn_batch(AMID), AMID);
}

#[test]
fn a_torn_batch_at_the_start_of_a_segment_never_comes_back() {
    check_that_it_stays_cut(torn_batch(AT_START), AT_START);
}

#[test]
fn a_name_that_was_not_flushed_is_made_durable_at_start() {
    let mut rig = Rig::new();
    // The head of the first segment is flushed, its name is not.
    rig.disk.fail_syncs_after(1);
    rig.log.append(vec![record(1, 0, 10)], ignore()).expect("appended");
    rig.run();
    let mut rig = rig.restart().expect("opens");
    let told = Told::default();
    rig.log.append(vec![record(1, 0, 10)], told.done(1)).expect("appended");
    rig.run();
    assert_eq!(told.well(), [1]);
    rig.disk.crash(&mut |_| 0);
    let rig = rig.restart().expect("opens");
    assert_eq!(rig.indexes(), [0]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// One flipped bit anywhere: the log is refused, or says what was acknowledged; only the last batch may be cut.
    #[test]
    fn one_flipped_bit_loses_at_most_the_last_batch(
        lengths in prop::collection::vec(0..2500usize, 2..40),
        purge in 0..3u64,
        file in any::<prop::sample::Index>(),
        byte in any::<prop::sample::Index>(),
        dense in any::<bool>(),
        bit in 0..8u8,
    ) {
        let mut rig = Rig::new();
        for (index, length) in lengths.iter().enumerate() {
            rig.fill(index as u64, 1, *length);
        }
        let count = lengths.len() as u64;
        let purged = (purge > 0).then(|| count / 4 * purge).filter(|index| *index + 1 < count);
        if let Some(index) = purged {
            rig.log.purge(at(1, index), well());
            rig.run();
            rig.log.append(vec![record(1, count, 50)], well()).expect("appended");
            rig.run();
        }
        let whole = rig.indexes();
        rig.disk.restart();
        let disk = rig.disk.clone();
        let (name, bytes) = file.get(&disk.files()).clone();
        let used = disk.bytes(&name).iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        disk.flip(&name, byte.index(if dense { used } else { bytes }), bit);
        match open(Arc::new(disk), options()) {
            Err(Error::Damaged { .. } | Error::Unknown { .. }) => {}
            Err(other) => prop_assert!(false, "{}", other),
            Ok((log, _flusher)) => {
                let records = log.read(0..u64::MAX, usize::MAX).expect("what is left is whole");
                let found: Vec<u64> = records.iter().map(|record| record.position.index).collect();
                let cut = &whole[..whole.len() - 1];
                prop_assert!(found == whole || found == cut, "{:?} of {:?}", found, whole);
                for found in records {
                    prop_assert_eq!(&record(1, found.position.index, found.bytes.len()), &found);
                }
            }
        }
    }
}

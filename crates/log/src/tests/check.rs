//! A check finds what opening refuses and nothing else, and leaves the disk as it was. Every log that these tests open is
//! checked first.

use super::{Rig, ignore, record};
use crate::check::{Checked, Shown, check};
use crate::testing::MemDisk;
use crate::{Disk, Error, Log, Record};

const LENGTH: usize = 200;

/// A check, and the records that it showed.
pub(super) struct Seen {
    checked: Checked,
    records: Vec<Record>,
}

pub(super) fn checked(disk: &MemDisk) -> Seen {
    let before = contents(disk);
    let mut records = Vec::new();
    let checked = check(disk, &mut |shown| {
        if let Shown::Record(_, _, record) = shown {
            records.push(record.clone());
        }
    });
    assert_eq!(contents(disk), before, "a check changed the disk");
    Seen {
        checked: checked.expect("the disk can be read"),
        records,
    }
}

fn contents(disk: &MemDisk) -> Vec<(String, Vec<u8>)> {
    let files = disk.files().into_iter();
    files.map(|(name, _)| (name.clone(), disk.bytes(&name))).collect()
}

impl Seen {
    /// What was found is what opening the log made of it.
    pub fn agrees(&self, opened: Result<&Log, &Error>) {
        let damage = &self.checked.damage;
        match opened {
            Ok(log) => {
                assert!(damage.is_empty(), "opened, and {damage:?}");
                let state = log.state();
                assert_eq!((self.checked.purged, self.checked.last), (state.purged, state.last));
                assert_eq!(self.checked.vote, state.vote);
                let read = log.read(0..u64::MAX, usize::MAX).expect("whole");
                assert_eq!(self.records, read);
            }
            Err(error @ (Error::Damaged { .. } | Error::Unknown { .. })) => {
                let is_named = damage.iter().any(|found| found.to_string() == error.to_string());
                assert!(is_named, "{error} is not among {damage:?}");
            }
            Err(_) => {}
        }
    }
}

/// A log of several segments, closed.
fn filled() -> MemDisk {
    let mut rig = Rig::new();
    rig.fill(0, 200, LENGTH);
    rig.disk.restart();
    rig.disk
}

#[test]
fn each_damaged_segment_is_named() {
    let disk = filled();
    let names: Vec<String> = disk.files().into_iter().map(|(name, _)| name).collect();
    disk.flip(&names[0], 5000, 1);
    disk.flip(&names[2], 20, 1);
    let seen = checked(&disk);
    let places: Vec<(&str, u64)> = seen
        .checked
        .damage
        .iter()
        .map(|error| match error {
            Error::Damaged { file, offset, .. } => (file.as_str(), *offset),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(places.len(), 2, "{places:?}");
    assert_eq!((places[0].0, places[1]), (names[0].as_str(), (names[2].as_str(), 0)));
    assert!((4096..5000).contains(&places[0].1), "{places:?}");
    // What is behind the damage is known all the same.
    assert_eq!(seen.checked.last.map(|last| last.index), Some(199));
}

#[test]
fn a_torn_tail_is_told_and_stays() {
    let mut rig = Rig::new();
    rig.fill(0, 5, LENGTH);
    let batch = (5..8).map(|index| record(1, index, LENGTH)).collect();
    rig.log.append(batch, ignore()).expect("contiguous");
    rig.run();
    rig.disk.restart();
    let name = rig.disk.files()[0].0.clone();
    let bytes = rig.disk.bytes(&name);
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    // In the second of the batch's three records.
    let at = last - 350;
    rig.disk.flip(&name, at, 1);
    for _ in 0..2 {
        let seen = checked(&rig.disk);
        let [torn] = &seen.checked.torn[..] else {
            panic!("{:?}", seen.checked);
        };
        assert_eq!((torn.file.as_str(), torn.frames), (name.as_str(), 1));
        assert!(torn.offset > at as u64);
        assert_eq!(seen.records.len(), 6);
        assert!(seen.checked.damage.is_empty());
    }
}

#[test]
fn segments_are_shown_with_their_records() {
    let seen = checked(&filled());
    let segments = seen.checked.segments.iter().filter_map(|segment| segment.records);
    let mut next = 0;
    for (first, last) in segments {
        assert_eq!(first.index, next);
        next = last.index + 1;
    }
    assert_eq!(next, 200);
    assert_eq!(seen.checked.terms.len(), 1);
    assert_eq!(checked(&MemDisk::new()).checked.last, None);
}

#[test]
fn a_file_that_is_missing_is_missed() {
    let disk = filled();
    let name = disk.files()[1].0.clone();
    disk.delete(&name).expect("deleted");
    let damage = checked(&disk).checked.damage;
    assert!(damage[0].to_string().contains("is missing"), "{damage:?}");
}

//! The promise file against crashes and damage.

use proptest::prelude::*;
use std::fs;
use tempfile::TempDir;

use super::peer;
use crate::cluster::founding::file;
use crate::cluster::founding::pledge::Record;
use crate::cluster::message::Attempt;

fn record() -> Record {
    let voters = vec![(&peer(3, "n1", "a:1")).into(), (&peer(9, "n2", "b:1")).into()];
    Record {
        round: 4,
        promise: Some(Attempt {
            coordinator: 3,
            round: 7,
            voters,
        }),
        joining: false,
    }
}

#[test]
fn what_was_written_is_read() {
    let dir = TempDir::new().unwrap();
    let path = file::path(dir.path());
    assert_eq!(file::read(&path).unwrap(), Record::default());
    file::write(&path, &record()).unwrap();
    assert_eq!(file::read(&path).unwrap(), record());
    file::write(&path, &Record::default()).unwrap();
    assert_eq!(file::read(&path).unwrap(), Record::default());
}

#[test]
fn a_crash_while_writing_leaves_the_old_promise() {
    let dir = TempDir::new().unwrap();
    let path = file::path(dir.path());
    file::write(&path, &record()).unwrap();
    let bytes = file::encode(&Record::default());
    for cut in 0..bytes.len() {
        fs::write(path.with_extension("new"), &bytes[..cut]).unwrap();
        assert_eq!(file::read(&path).unwrap(), record());
    }
    file::write(&path, &Record::default()).unwrap();
    assert_eq!(file::read(&path).unwrap(), Record::default());
}

#[test]
fn a_damaged_file_is_named_with_the_way_out() {
    let dir = TempDir::new().unwrap();
    let path = file::path(dir.path());
    let mut bytes = file::encode(&record());
    bytes.truncate(bytes.len() - 3);
    fs::write(&path, &bytes).unwrap();
    let error = file::read(&path).unwrap_err().to_string();
    assert!(
        error.contains("promise: ") && error.contains("from offset 20") && error.contains("delete the file"),
        "{error}"
    );
}

#[test]
fn the_first_version_stays_readable() {
    let bytes = [
        b"QRLTPROM".as_slice(),
        &[1, 0, 0, 0, 33, 0, 0, 0, 0xf0, 0x32, 0x2d, 0xcc],
        &[8, 4, 18, 29, 9, 3, 0, 0, 0, 0, 0, 0, 0, 16, 7, 26, 16],
        &[9, 3, 0, 0, 0, 0, 0, 0, 0, 18, 2, b'n', b'1', 26, 1, b'a'],
    ]
    .concat();
    let read = file::decode(&bytes).unwrap();
    let attempt = read.promise.unwrap();
    assert_eq!((read.round, attempt.coordinator, attempt.round), (4, 3, 7));
    assert_eq!(attempt.voters, [(&peer(3, "n1", "a")).into()]);
}

proptest! {
    #[test]
    fn a_flipped_bit_or_a_cut_never_passes(place in any::<prop::sample::Index>(), bit in 0_u8..8, cut in any::<bool>()) {
        let mut bytes = file::encode(&record());
        let place = place.index(bytes.len());
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << bit;
        }
        prop_assert!(file::decode(&bytes).is_err());
    }

    #[test]
    fn garbage_is_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(file::decode(&bytes).is_err());
    }
}

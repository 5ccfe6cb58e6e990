//! The file of a floor.

use std::path::PathBuf;

use super::{BYTES, Floor, encode, raise, read};
use crate::error::Error;

const LOW: Floor = Floor {
    salts: [1, 2, 3, 4, 5, 6, 7, 8],
    frames: 3,
};
const HIGH: Floor = Floor { frames: 70_000, ..LOW };
const LATER: Floor = Floor {
    salts: [1, 2, 3, 5, 0, 0, 0, 0],
    frames: 1,
};

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("db-floor")
    }

    fn raise(&self, floor: Floor) -> Option<Floor> {
        raise(&self.dir.path().join("db"), floor).unwrap();
        read(&self.file()).unwrap()
    }

    fn read(&self, bytes: &[u8]) -> Result<Option<Floor>, Error> {
        std::fs::write(self.file(), bytes).unwrap();
        read(&self.file())
    }
}

#[test]
fn a_floor_never_goes_down_while_the_wal_lives() {
    let bench = Bench::new();
    assert_eq!(read(&bench.file()).unwrap(), None);
    assert_eq!(bench.raise(LOW), Some(LOW));
    assert_eq!(bench.raise(HIGH), Some(HIGH));
    assert_eq!(bench.raise(LOW), Some(HIGH));
    assert_eq!(bench.raise(LATER), Some(LATER));
}

#[test]
fn what_was_never_flushed_is_no_floor() {
    let bench = Bench::new();
    assert_eq!(bench.read(&[]).unwrap(), None);
    assert_eq!(bench.read(&[0; BYTES]).unwrap(), None);
    assert_eq!(bench.raise(LOW), Some(LOW));
}

#[test]
fn a_damaged_floor_is_refused() {
    let bench = Bench::new();
    for bit in 0..BYTES * 8 {
        let mut bytes = encode(HIGH);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = bench.read(&bytes).unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "bit {bit}: {error}");
        assert!(error.to_string().contains("db-floor is damaged at offset 0"), "{error}");
    }
    assert!(matches!(bench.read(&encode(HIGH)[..39]), Err(Error::Damaged { .. })));
}

#[test]
fn a_floor_of_a_newer_release_is_refused_by_name() {
    let mut bytes = encode(HIGH);
    bytes[8] = 2;
    let sum = xxhash_rust::xxh3::xxh3_64(&bytes[..32]);
    bytes[32..].copy_from_slice(&sum.to_le_bytes());
    let error = Bench::new().read(&bytes).unwrap_err();
    assert!(error.to_string().contains("has version 2"), "{error}");
}

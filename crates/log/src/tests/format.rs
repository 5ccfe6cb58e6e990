//! The bytes: a log that this version wrote is kept in `fixtures/v1`, must be read, and is what is written today.
//!
//! `UPDATE=1` writes it again, which only a new version of the format may need.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Rig, at, ignore, record, well};
use crate::Position;
use crate::codec::{self, Body, Found, Frame, Head, Seed, SegmentHead};
use crate::position::Marks;
use crate::testing::MemDisk;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1")
}

/// A log with one of each kind of frame, in two segments.
fn example() -> Rig {
    let mut rig = Rig::new();
    rig.log
        .append((0..10).map(|index| record(1, index, 40)).collect(), well())
        .expect("appended");
    rig.log
        .save_vote(Bytes::from_static(b"term 2 for node 7"), well())
        .expect("saved");
    rig.run();
    rig.log.truncate_after(Some(at(1, 7)), well());
    rig.log.append(vec![record(2, 8, 1000)], well()).expect("appended");
    rig.log.save_committed(Some(at(1, 6)));
    rig.run();
    rig.log.purge(at(1, 3), well());
    for index in 9..15 {
        rig.log
            .append(vec![record(2, index, 2000)], ignore())
            .expect("appended");
        rig.run();
    }
    rig
}

#[test]
fn a_log_of_version_1_is_read() {
    let disk = MemDisk::new();
    for entry in std::fs::read_dir(fixture()).expect("the fixture is there") {
        let entry = entry.expect("a file");
        disk.put(
            entry.file_name().to_str().expect("a name"),
            std::fs::read(entry.path()).expect("readable"),
        );
    }
    let rig = Rig::on(disk).expect("opens");
    let state = rig.log.state();
    assert_eq!(
        (state.purged, state.last, state.committed),
        (Some(at(1, 3)), Some(at(2, 14)), Some(at(1, 6)))
    );
    assert_eq!(state.vote.as_deref(), Some(&b"term 2 for node 7"[..]));
    assert_eq!(state.segments, 2);
    let mut expected: Vec<_> = (4..8).map(|index| record(1, index, 40)).collect();
    expected.push(record(2, 8, 1000));
    expected.extend((9..15).map(|index| record(2, index, 2000)));
    assert_eq!(rig.log.read(0..100, usize::MAX).expect("whole"), expected);
}

#[test]
fn what_is_written_today_is_version_1() {
    let disk = example().disk;
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(fixture()).expect("created");
        for (name, _) in disk.files() {
            std::fs::write(fixture().join(&name), disk.bytes(&name)).expect("written");
        }
    }
    for (name, _) in disk.files() {
        let kept = std::fs::read(fixture().join(&name)).expect("the fixture has it");
        assert!(kept == disk.bytes(&name), "{name} differs");
    }
}

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(term, index)| at(term, index))
}

fn seed(generation: u64) -> Seed {
    SegmentHead {
        generation,
        salt: 99,
        bytes: 0,
    }
    .seed()
}

proptest! {
    #[test]
    fn a_frame_is_read_as_it_was_written_only_under_its_seed_and_at_its_place(
        kind in 0..6u8,
        first in position(),
        second in prop::option::of(position()),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        generation in any::<u64>(),
        offset in any::<u32>(),
        flushed in any::<u64>(),
    ) {
        let body = || match kind {
            0 => Body::Entry { position: first, bytes: &payload },
            1 => Body::Vote(&payload),
            2 => Body::Committed(second),
            3 => Body::Truncate(second),
            4 => Body::Purge { through: first, empties: flushed % 2 == 0 },
            _ => Body::Head(Head {
                start: flushed,
                previous: generation,
                marks: Marks { purged: second, last: Some(first), committed: None, vote: Some(payload.clone().into()) },
            }),
        };
        let mut bytes = Vec::new();
        body().encode(&mut bytes, seed(generation), offset, flushed);
        prop_assert_eq!(bytes.len() as u64, codec::frame_bytes(body().payload_bytes()));
        let expected = Found::Frame(Frame { flushed, body: body() });
        prop_assert_eq!(codec::decode(&bytes, seed(generation), offset), expected);
        prop_assert_eq!(codec::decode(&bytes, seed(generation.wrapping_add(1)), offset), Found::Nothing);
        prop_assert_eq!(codec::decode(&bytes, seed(generation), offset.wrapping_add(8)), Found::Nothing);
        let unpadded = codec::FRAME_HEAD_BYTES + body().payload_bytes();
        prop_assert_eq!(codec::decode(&bytes[..unpadded - 1], seed(generation), offset), Found::Nothing);
    }

    #[test]
    fn any_bytes_are_nothing_at_worst(bytes in prop::collection::vec(any::<u8>(), 0..300), offset in any::<u32>()) {
        let _ = codec::decode(&bytes, seed(1), offset);
        if bytes.len() >= 64 {
            let _ = SegmentHead::decode(&bytes);
        }
    }
}

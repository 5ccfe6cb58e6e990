//! What earlier versions wrote is read.

use std::fs;
use std::path::Path;

use super::{Position, State};
use crate::keys::{KeptKey, KeptWindow};
use crate::open::Options;
use crate::writer::Writer;

/// What the database of version 1 says.
fn state() -> State {
    State {
        applied: Some(Position { term: 3, index: 7 }),
        effect: 0xfedc_ba98_7654_3210,
        clock_us: 1_700_000_000_000_001,
        last_rowid: -5,
        changes: 2,
        total_changes: 9,
        membership_at: Some(Position { term: 2, index: 4 }),
        membership: b"members".as_slice().into(),
        settings: b"\x08\x01".as_slice().into(),
        skips: vec![8, u64::MAX],
    }
}

fn window() -> KeptWindow {
    KeptWindow {
        incarnation: u64::MAX,
        boot: 2,
        used: 6,
        highest: 9,
        bits: vec![0xa5; 512],
    }
}

fn key() -> KeptKey {
    KeptKey {
        index: 5,
        body_hash: 0x8000_0000_0000_0001,
        reply: Some(vec![1, 2, 3]),
    }
}

#[test]
fn a_database_of_version_1_is_read() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1.sqlite");
    if std::env::var_os("UPDATE").is_some() {
        write(&fixture);
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sqlite");
    fs::copy(fixture, &path).unwrap();
    let writer = Writer::open(&path, &Options::default()).unwrap();
    assert_eq!(writer.state(), &state());
    assert_eq!(writer.windows().unwrap(), [window()]);
    assert_eq!(writer.find_key("a key").unwrap(), Some(key()));
    assert_eq!(writer.find_key("another").unwrap(), None);
    assert_eq!(writer.loads().unwrap(), []);
}

/// Writes the fixture anew; only for a new version, under a new name.
fn write(fixture: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db.sqlite");
    let mut writer = Writer::open(&path, &Options::default()).unwrap();
    writer.begin().unwrap();
    *writer.state_mut() = state();
    writer.keep_key("a key", &key()).unwrap();
    writer.keep_window(&window()).unwrap();
    writer.commit().unwrap().unwrap();
    let done = writer.finish_checkpoint().unwrap().unwrap();
    assert_eq!(done.log_frames, done.backfilled);
    fs::create_dir_all(fixture.parent().unwrap()).unwrap();
    fs::copy(&path, fixture).unwrap();
}

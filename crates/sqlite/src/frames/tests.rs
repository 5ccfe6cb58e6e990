//! What is counted is what SQLite takes.

use std::path::PathBuf;

use rusqlite::Connection;

use super::Frames;

/// A database with a WAL of some transactions, and nobody who has it open.
fn wal() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let open = Connection::open(dir.path().join("open")).unwrap();
    open.execute_batch(
        "PRAGMA journal_mode=WAL; CREATE TABLE t(x);
         INSERT INTO t VALUES(1); INSERT INTO t VALUES(2); INSERT INTO t VALUES(3)",
    )
    .unwrap();
    for suffix in ["", "-wal"] {
        let name = |base| dir.path().join(format!("{base}{suffix}"));
        std::fs::copy(name("open"), name("db")).unwrap();
    }
    let wal = dir.path().join("db-wal");
    (dir, wal)
}

fn count(wal: &std::path::Path) -> Option<u32> {
    Frames::open(wal)
        .unwrap()
        .map(|mut frames| frames.count(u32::MAX).unwrap())
}

/// Frames that SQLite finds.
fn taken(dir: &tempfile::TempDir) -> u32 {
    let db = Connection::open(dir.path().join("db")).unwrap();
    db.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
        .unwrap();
    db.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| row.get::<_, i64>(1))
        .unwrap() as u32
}

#[test]
fn frames_are_counted_as_sqlite_counts_them() {
    let (dir, wal) = wal();
    let frames = count(&wal).unwrap();
    assert_eq!(frames, taken(&dir));
    assert_eq!(frames, 5);
}

#[test]
fn a_flipped_bit_ends_them_where_it_stands() {
    let (dir, wal) = wal();
    let sound = std::fs::read(&wal).unwrap();
    for frame in 0..5 {
        for at in [0, 5, 9, 17, 23, 24, 2000, 4119] {
            let mut bytes = sound.clone();
            bytes[32 + frame * 4120 + at] ^= 4;
            std::fs::write(&wal, &bytes).unwrap();
            let mut frames = Frames::open(&wal).unwrap().unwrap();
            assert_eq!(frames.count(u32::MAX).unwrap(), frame as u32, "byte {at}");
            assert_eq!(frames.offset(), 32 + frame as u64 * 4120);
            // SQLite takes whole transactions alone, and the first has two frames.
            assert_eq!(taken(&dir), if frame == 1 { 0 } else { frame as u32 }, "byte {at}");
        }
    }
}

#[test]
fn a_header_that_sqlite_does_not_take_is_none() {
    let (dir, wal) = wal();
    let sound = std::fs::read(&wal).unwrap();
    for at in 0..32 {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        std::fs::write(&wal, &bytes).unwrap();
        assert_eq!(count(&wal), None, "byte {at}");
        assert_eq!(taken(&dir), 0, "byte {at}");
    }
    for bytes in [&sound[..0], &sound[..31]] {
        std::fs::write(&wal, bytes).unwrap();
        assert_eq!(count(&wal), None);
    }
    std::fs::remove_file(&wal).unwrap();
    assert_eq!(count(&wal), None);
}

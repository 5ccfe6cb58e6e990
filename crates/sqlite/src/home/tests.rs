//! Generations, and a crash between any two steps.

use std::fs;
use std::path::{Path, PathBuf};

use super::Home;
use crate::error::Error;

/// Every state that the files of `from` pass through is a copy of `from`; a crash is going on from the copy.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn after_a_crash(dir: &Path) -> (tempfile::TempDir, Home) {
    let copied = tempfile::tempdir().unwrap();
    copy(dir, copied.path());
    let home = Home::open(copied.path()).unwrap();
    (copied, home)
}

fn content(home: &Home) -> String {
    fs::read_to_string(home.current().database()).unwrap()
}

fn folders(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

#[test]
fn a_new_home_has_an_empty_first_generation_and_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    assert_eq!(home.current().number(), 1);
    assert!(home.current().folder().is_dir());
    fs::write(home.current().database(), "one").unwrap();
    drop(home);
    assert_eq!(content(&Home::open(dir.path()).unwrap()), "one");
}

#[test]
fn the_old_generation_goes_with_its_last_user() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::open(dir.path()).unwrap();
    fs::write(home.current().database(), "one").unwrap();
    let reader = home.current().clone();
    let building = home.begin().unwrap();
    fs::write(building.database(), "two").unwrap();
    let next = home.switch(building).unwrap();
    assert_eq!(next.number(), 2);
    assert_eq!(content(&home), "two");
    assert_eq!(fs::read_to_string(reader.database()).unwrap(), "one");
    let old = reader.folder().to_owned();
    drop(reader);
    assert!(!old.exists());
    drop((home, next));
    assert_eq!(content(&Home::open(dir.path()).unwrap()), "two");
}

#[test]
fn what_was_not_switched_to_is_removed_and_its_number_not_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::open(dir.path()).unwrap();
    let building = home.begin().unwrap();
    let folder = building.folder().to_owned();
    fs::write(building.database(), "two").unwrap();
    drop(building);
    assert!(!folder.exists());
    assert_ne!(home.begin().unwrap().folder(), folder);
}

#[test]
fn a_crash_at_any_step_leaves_one_whole_generation() {
    let dir = tempfile::tempdir().unwrap();
    let mut home = Home::open(dir.path()).unwrap();
    fs::write(home.current().database(), "one").unwrap();
    let reader = home.current().clone();

    let building = home.begin().unwrap();
    fs::write(building.database(), "tw").unwrap();
    let (copied, crashed) = after_a_crash(dir.path());
    assert_eq!(content(&crashed), "one");
    assert_eq!(folders(copied.path()).len(), 1, "the unfinished one is gone");

    fs::write(building.database(), "two").unwrap();
    // Between the pointer's flush and its rename: the new one lies aside.
    let torn = tempfile::tempdir().unwrap();
    copy(dir.path(), torn.path());
    for length in [0, 5, 32] {
        let bytes = fs::read(dir.path().join("db/current")).unwrap();
        fs::write(torn.path().join("db/current.new"), &bytes[..length]).unwrap();
        assert_eq!(content(&after_a_crash(torn.path()).1), "one");
    }

    home.switch(building).unwrap();
    assert_eq!(folders(dir.path()).len(), 2, "the old one is still read");
    let (copied, crashed) = after_a_crash(dir.path());
    assert_eq!(content(&crashed), "two");
    assert_eq!(folders(copied.path()).len(), 1, "the old one is gone");
    // Half removed.
    fs::remove_file(reader.database()).unwrap();
    assert_eq!(content(&after_a_crash(dir.path()).1), "two");
}

#[test]
fn a_crash_while_the_first_generation_is_made_starts_afresh() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("db")).unwrap();
    assert_eq!(after_a_crash(dir.path()).1.current().number(), 1);
    fs::create_dir_all(dir.path().join("db/1")).unwrap();
    assert_eq!(after_a_crash(dir.path()).1.current().number(), 1);
    fs::write(dir.path().join("db/current.new"), "QUOR").unwrap();
    assert_eq!(after_a_crash(dir.path()).1.current().number(), 1);
}

fn refusal(dir: &Path) -> String {
    match Home::open(dir) {
        Err(error @ Error::Foreign { .. }) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("raft.db"), "x").unwrap();
    assert!(refusal(dir.path()).contains("rqlite"));
    fs::remove_file(dir.path().join("raft.db")).unwrap();

    let home = Home::open(dir.path()).unwrap();
    let database = home.current().database();
    fs::write(&database, "one").unwrap();
    let pointer = dir.path().join("db/current");
    let good = fs::read(&pointer).unwrap();

    fs::write(&pointer, "hello").unwrap();
    assert!(refusal(dir.path()).contains("wrong length"));
    let mut bad = good.clone();
    bad[0] = b'X';
    fs::write(&pointer, &bad).unwrap();
    assert!(refusal(dir.path()).contains("unknown magic"));
    for byte in 8..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1;
        fs::write(&pointer, &bad).unwrap();
        assert!(refusal(dir.path()).contains("checksum"), "byte {byte}");
    }
    fs::remove_file(&pointer).unwrap();
    assert!(refusal(dir.path()).contains("missing"));
    assert_eq!(fs::read_to_string(&database).unwrap(), "one");

    fs::write(&pointer, &good).unwrap();
    fs::write(dir.path().join("db/notes.txt"), "mine").unwrap();
    fs::create_dir(dir.path().join("db/mine")).unwrap();
    assert_eq!(content(&Home::open(dir.path()).unwrap()), "one");
    assert!(dir.path().join("db/notes.txt").exists() && dir.path().join("db/mine").exists());
}

#[test]
fn a_newer_pointer_is_refused_by_its_version() {
    let dir = tempfile::tempdir().unwrap();
    drop(Home::open(dir.path()).unwrap());
    let mut bytes = b"QUORLDB\0".to_vec();
    bytes.extend_from_slice(&2u64.to_le_bytes());
    bytes.extend_from_slice(&1u64.to_le_bytes());
    bytes.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&bytes).to_le_bytes());
    fs::write(dir.path().join("db/current"), bytes).unwrap();
    assert!(refusal(dir.path()).contains("has version 2"));
}

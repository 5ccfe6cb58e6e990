//! The files of loads.

use std::fs;

use super::{Staging, Use, exclusively};

#[test]
fn chunks_stand_where_they_belong_however_often_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut staging = Staging::new(dir.path());
    for (offset, chunk) in [(0, "abc"), (3, "def"), (0, "abc"), (6, "ghi"), (3, "def")] {
        staging.write(7, offset, chunk.as_bytes()).unwrap();
        staging.flush().unwrap();
    }
    assert_eq!(fs::read(staging.path(7)).unwrap(), b"abcdefghi");
    let mut again = Staging::new(dir.path());
    again.write(7, 3, b"DEF").unwrap();
    assert_eq!(fs::read(again.path(7)).unwrap(), b"abcDEFghi");
}

#[test]
fn a_start_keeps_the_files_of_known_loads_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut staging = Staging::new(dir.path());
    staging.write(1, 0, b"one").unwrap();
    staging.write(u64::MAX, 0, b"two").unwrap();
    fs::write(dir.path().join("load-mine"), "somebody else's").unwrap();
    staging.keep_only(&[u64::MAX]).unwrap();
    let mut names: Vec<String> = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["load-ffffffffffffffff", "load-mine"]);
    staging.remove(u64::MAX).unwrap();
    staging.remove(u64::MAX).unwrap();
    assert!(!staging.path(u64::MAX).exists());
}

#[test]
fn a_file_is_known_to_be_open_elsewhere_for_as_long_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut staging = Staging::new(dir.path());
    staging.write(1, 0, b"owned").unwrap();
    let path = staging.path(1);
    let is_used = || exclusively(&path, |is_used| is_used);
    assert!(!is_used());
    let (one, other) = (Use::begin(&path), Use::begin(&path));
    drop(one);
    assert!(is_used());
    drop(other);
    assert!(!is_used());
    let mut visitor = Staging::visiting(dir.path());
    visitor.write(1, 0, b"owned").unwrap();
    assert!(is_used());
    drop(visitor);
    assert!(!is_used());
}

//! The file: it survives a restart, ends with its generation, and is refused when it is damaged.

use super::{FILE, Quarantine};
use crate::error::Error;

#[test]
fn a_restart_finds_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let quarantine = Quarantine::open(dir.path(), 3).unwrap();
    assert!(!quarantine.is_on());
    quarantine.enter(3, "it differs");
    assert_eq!(
        (quarantine.is_on(), quarantine.reason().as_deref()),
        (true, Some("it differs"))
    );
    let again = Quarantine::open(dir.path(), 3).unwrap();
    assert_eq!((again.is_on(), again.reason().as_deref()), (true, Some("it differs")));
    again.lift().unwrap();
    assert!(!again.is_on() && again.reason().is_none());
    assert!(!Quarantine::open(dir.path(), 3).unwrap().is_on());
}

#[test]
fn another_generation_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    Quarantine::open(dir.path(), 3).unwrap().enter(3, "it differs");
    assert!(!Quarantine::open(dir.path(), 4).unwrap().is_on());
    assert!(!dir.path().join(FILE).exists());
}

#[test]
fn the_first_reason_stays() {
    let quarantine = Quarantine::default();
    quarantine.enter(1, "first");
    quarantine.enter(1, "second");
    assert_eq!(quarantine.reason().as_deref(), Some("first"));
}

#[test]
fn a_damaged_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    Quarantine::open(dir.path(), 3).unwrap().enter(3, "it differs");
    let path = dir.path().join(FILE);
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let error = Quarantine::open(dir.path(), 3).unwrap_err();
        assert!(
            matches!(&error, Error::Foreign { what, .. } if what.contains("remove this file")),
            "{error}"
        );
    }
    std::fs::write(&path, &whole[..10]).unwrap();
    assert!(Quarantine::open(dir.path(), 3).is_err());
}

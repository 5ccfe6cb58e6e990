//! When damage is over.

use std::ffi::OsString;
use std::path::PathBuf;

use store::divergence::marks::{Kind, Mark, SOUND, UNSOUND};
use store::member::{NodeId, Peer};
use store::status::{Role, Soundness, Status};

use super::{Damage, generation};

fn status(generation: u64, marks: Option<(u64, u64, u64)>) -> Status {
    let peer = Peer {
        id: NodeId(1),
        name: "n1".to_owned(),
        address: "n1:4002".to_owned(),
    };
    let mark = |kind, hash, index| Some(Mark { kind, index, hash });
    let soundness = marks.map_or_else(Soundness::default, |(index, hash, check)| Soundness {
        effect: mark(Kind::Effect, 5, index),
        content: mark(Kind::Content, hash, index),
        memory: mark(Kind::Memory, 6, index),
        check: mark(Kind::Check, check, index),
        ..Soundness::default()
    });
    Status {
        peer,
        leader: None,
        role: Role::Follower,
        voter: true,
        ready: true,
        term: 1,
        last_log: (0, 0),
        flushed: 0,
        committed: 0,
        applied: (100, 1),
        snapshot: (0, 0),
        purged: 0,
        members: Vec::new(),
        membership_index: 0,
        last_contact: None,
        database: PathBuf::from(format!("/n1/2/db/{generation}/db.sqlite")),
        log_bytes: 0,
        log_flushes: 0,
        applying: None,
        matched: Vec::new(),
        snapshots: 0,
        restores: 0,
        soundness,
    }
}

fn damage(goes_on: bool) -> Damage {
    Damage {
        lies: true,
        goes_on,
        generation: Some(OsString::from("3")),
        through: u64::MAX,
    }
}

#[test]
fn another_generation_ends_it() {
    assert_eq!(generation(&status(3, None)), Some(OsString::from("3")));
    assert!(!damage(false).is_over(&status(3, None), None));
    assert!(damage(false).is_over(&status(4, None), None));
}

#[test]
fn one_that_is_led_astray_stays_so_in_another_generation() {
    let mut astray = damage(true);
    assert!(!astray.is_over(&status(4, None), None));
    astray.goes_on = false;
    astray.generation = None;
    assert!(!astray.is_over(&status(4, None), None));
    assert!(astray.is_over(&status(5, None), None));
}

#[test]
fn marks_that_are_those_of_another_end_it_if_they_are_late_enough() {
    let right = status(9, Some((101, 7, SOUND)));
    assert!(damage(false).is_over(&status(3, Some((101, 7, SOUND))), Some(&right)));
    assert!(!damage(false).is_over(&status(3, Some((101, 8, SOUND))), Some(&right)));
    assert!(!damage(false).is_over(&status(3, Some((101, 7, UNSOUND))), Some(&right)));
    let early = status(9, Some((100, 7, SOUND)));
    assert!(!damage(false).is_over(&status(3, Some((100, 7, SOUND))), Some(&early)));
}

//! Plans.

use super::{Fault, KINDS, Means, Plan, expected};

const ALL: Means = Means {
    rules: true,
    own_disks: true,
};

#[test]
fn each_kind_comes_in_some_plan() {
    for (fault, name, ..) in KINDS {
        let comes = |seed| {
            Plan::new(seed, ALL)
                .faults
                .iter()
                .any(|(weight, it)| *weight > 0 && it == fault)
        };
        assert!((0..50).any(comes), "{name}");
        assert_eq!(fault.name(), *name);
    }
}

#[test]
fn a_straight_round_has_no_faults_of_the_proxy() {
    let plans: Vec<Plan> = (0..50).map(|seed| Plan::new(seed, ALL)).collect();
    let straight = || plans.iter().filter(|plan| plan.is_straight);
    assert!(straight().count() > 5);
    assert!(straight().all(|plan| plan.faults.iter().all(|(_, fault)| *fault != Fault::Garble)));
}

#[test]
fn what_the_machine_lacks_is_not_expected() {
    let bare = Means {
        rules: false,
        own_disks: false,
    };
    let names: Vec<&str> = expected(bare).collect();
    assert!(names.contains(&"kill") && names.contains(&"reset"));
    assert!(!names.contains(&"isolation") && !names.contains(&"full disk"));
    assert_eq!(expected(ALL).count(), KINDS.len());
}

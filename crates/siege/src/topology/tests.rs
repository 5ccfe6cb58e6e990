//! Addresses and cuts, as far as they need no network.

use std::collections::BTreeSet;

use checkers::chance::Chance;

use super::Topology;
use crate::enclosure::Enclosure;

const NODES: usize = 5;

/// One that could cut packets, before anything is built.
fn closed() -> Topology {
    let mut chance = Chance::new(1, "corner");
    let topology = Topology::new(NODES, Enclosure::Open, &mut chance).unwrap();
    Topology {
        has_network: true,
        ..topology
    }
}

#[test]
fn each_direction_between_two_nodes_has_rules_of_its_own() {
    let topology = closed();
    let pairs = || {
        (0..NODES)
            .flat_map(|from| (0..NODES).map(move |to| (from, to)))
            .filter(|(from, to)| from != to)
    };
    let rules: Vec<String> = pairs().flat_map(|(from, to)| topology.rules_of(from, to)).collect();
    let distinct: BTreeSet<&String> = rules.iter().collect();
    assert_eq!(distinct.len(), rules.len());
    assert_eq!(rules.len(), NODES * (NODES - 1) * 3);
}

#[test]
fn a_cut_drops_what_one_says_and_not_what_it_hears() {
    let rules = closed().rules_of(0, 2);
    assert!(
        rules.contains(&"prio 10 from 10.66.1.1 to 10.77.0.3 blackhole".to_owned()),
        "{rules:?}"
    );
    assert!(
        rules
            .iter()
            .all(|rule| rule.contains("from 10.66.1.1 ") || rule.contains("from 10.77.0.1 ")),
        "{rules:?}"
    );
}

#[test]
fn the_proxy_knows_its_callers() {
    let topology = closed();
    for node in 0..NODES {
        assert_eq!(topology.caller(topology.own_ip(node)), node);
    }
    assert_eq!(topology.caller(topology.public_ip(1)), NODES);
}

#[test]
fn nodes_without_namespaces_are_apart_too() {
    let open = Topology::new(NODES, Enclosure::Open, &mut Chance::new(1, "corner")).unwrap();
    let addresses: BTreeSet<_> = (0..NODES)
        .flat_map(|node| [open.listen(node), open.public(node)])
        .collect();
    assert_eq!(addresses.len(), 2 * NODES);
    assert!(addresses.iter().all(|address| address.ip().is_loopback()));
    assert_eq!(open.source(0, 1), None);
}

//! Who is right when replicas differ: a majority of voters with equal marks, or nobody.
//!
//! Pure: it is given what nodes say of themselves, and answers who differs from most of them.
//!
//! Invariants:
//! * What decides is a majority of all voters, not of those that answered.
//! * A read replica can be found wrong, and never helps to find anybody so.

use std::collections::{BTreeMap, BTreeSet};

use super::marks::{Kind, Mark};
use crate::member::NodeId;

/// A place in the log at which nodes were compared.
pub(crate) type Place = (Kind, u64);

/// What comes of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// Who differs from a majority, where first, and who that majority is.
    pub minority: BTreeMap<NodeId, (Place, BTreeSet<NodeId>)>,
    /// The first place at which nodes differ and no majority is known.
    pub split: Option<Place>,
}

/// Compares the marks of nodes, each as its node reports it.
pub(crate) fn judge(voters: &BTreeSet<NodeId>, reports: &BTreeMap<NodeId, Vec<Mark>>) -> Judgement {
    let mut places: BTreeMap<Place, BTreeMap<u64, BTreeSet<NodeId>>> = BTreeMap::new();
    for (node, marks) in reports {
        for mark in marks {
            let hashes = places.entry((mark.kind, mark.index)).or_default();
            hashes.entry(mark.hash).or_default().insert(*node);
        }
    }
    let mut judgement = Judgement::default();
    for (place, hashes) in places.into_iter().filter(|(_, hashes)| hashes.len() > 1) {
        let is_majority = |nodes: &&BTreeSet<NodeId>| nodes.intersection(voters).count() > voters.len() / 2;
        let Some(majority) = hashes.values().find(is_majority) else {
            judgement.split.get_or_insert(place);
            continue;
        };
        for node in hashes.values().flatten().filter(|node| !majority.contains(node)) {
            judgement
                .minority
                .entry(*node)
                .or_insert_with(|| (place, majority.clone()));
        }
    }
    judgement
}

#[cfg(test)]
mod tests;

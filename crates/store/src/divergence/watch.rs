//! What a node does about divergence without being asked: it compares, raises the alarm, goes into quarantine, hands over,
//! and has itself re-seeded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::judgement::{Judgement, Place, judge};
use super::{Report, kind_name};
use crate::consensus::compare::Callers;
use crate::consensus::seed;
use crate::consensus::state_machine::chain;
use crate::member::{Member, NodeId, Peer};
use crate::node::{Inner, Node};

/// How long a hand-over may take before it is tried again.
const HANDOVER_MAX: Duration = Duration::from_secs(5);

/// How long the entry that asks for a verification may take.
const VERIFY_MAX: Duration = Duration::from_secs(10);

/// At most so often all nodes verify because one of them has met damaged pages.
const SUSPICION_MIN: Duration = Duration::from_secs(60);

/// The pause after a re-seeding that failed; twice as long after each further one.
const RESEED_PAUSE: Duration = Duration::from_secs(1);

/// The longest such pause.
const RESEED_PAUSE_MAX: Duration = Duration::from_secs(30);

/// After so many election timeouts without a leader a node in quarantine stands after all: it may be the only one whose
/// log is complete. It hands over at once.
const PATIENCE: u32 = 10;

/// Runs until the node is dropped or stops.
pub(crate) async fn run(inner: Weak<Inner>) {
    let mut watch = Watch {
        began: Instant::now(),
        ..Watch::default()
    };
    let Some(interval) = inner.upgrade().map(|inner| inner.config.compare_interval) else {
        return;
    };
    loop {
        tokio::time::sleep(interval).await;
        let Some(inner) = inner.upgrade() else { return };
        if inner.core.progress.stopped.borrow().is_some() || *inner.closing.borrow() {
            return;
        }
        watch.look(&inner).await;
    }
}

struct Watch {
    callers: Callers,
    began: Instant,
    /// Nodes whose divergence was told.
    told: BTreeSet<NodeId>,
    /// How many times each peer's process was in quarantine when it was last asked.
    quarantines: BTreeMap<NodeId, u64>,
    split: Option<Place>,
    seeding: Option<JoinHandle<()>>,
    /// When a leader was last known, as a node in quarantine saw it.
    led: Option<Instant>,
    /// When this node last asked for a verification because one was wanted.
    suspected: Option<Instant>,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            callers: Callers::default(),
            began: Instant::now(),
            told: BTreeSet::new(),
            quarantines: BTreeMap::new(),
            split: None,
            seeding: None,
            led: None,
            suspected: None,
        }
    }
}

impl Watch {
    async fn look(&mut self, inner: &Arc<Inner>) {
        let divergence = &inner.core.progress.divergence;
        if inner.databases.readers().take_suspicion() {
            divergence.suspect();
        }
        let members = Node { inner: inner.clone() }.members();
        let me = inner.peer.id;
        let peers: Vec<Peer> = members
            .iter()
            .map(|member| member.peer.clone())
            .filter(|peer| peer.id != me)
            .collect();
        let reports = self.callers.ask(&inner.core, peers).await;
        divergence.hear(reports.clone());
        self.compare(inner, &members, &reports);
        self.hold_back(inner).await;
        let is_wanted = divergence.report().is_suspect || reports.values().any(|report| report.is_suspect);
        self.verify(inner, is_wanted).await;
    }

    /// Compares what nodes say, and does what follows from it.
    fn compare(&mut self, inner: &Arc<Inner>, members: &[Member], reports: &BTreeMap<NodeId, Report>) {
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::NoComparison) {
            return;
        }
        let divergence = &inner.core.progress.divergence;
        let mut marks: BTreeMap<_, _> = reports
            .iter()
            .filter(|(_, report)| report.quarantine.is_none())
            .map(|(id, report)| (*id, report.marks.clone()))
            .collect();
        if !divergence.quarantine.is_on() {
            marks.insert(inner.peer.id, divergence.marks.all());
        }
        let voters = members.iter().filter(|member| member.voter && !member.catching_up);
        let voters: BTreeSet<NodeId> = voters.map(|member| member.peer.id).collect();
        let judgement = judge(&voters, &marks);
        self.hear_of_quarantines(inner, members, reports);
        self.raise(inner, members, &judgement);
        if let Some((place, majority)) = judgement.minority.get(&inner.peer.id) {
            let reason = format!(
                "{} differs from that of a majority ({})",
                at(*place),
                names(members, majority)
            );
            divergence.quarantine.enter(inner.databases.current().number(), &reason);
        }
    }

    /// A peer may have found out by itself, and be done with it, before this node saw anything of it.
    fn hear_of_quarantines(&mut self, inner: &Inner, members: &[Member], reports: &BTreeMap<NodeId, Report>) {
        for (node, report) in reports {
            let (count, reason) = &report.quarantines;
            let known = self.quarantines.insert(*node, *count);
            let is_new = known.map_or(report.quarantine.is_some(), |known| *count > known);
            if is_new && !self.told.contains(node) {
                let name = names(members, &BTreeSet::from([*node]));
                let text = format!("node {name} went into quarantine: {reason}");
                inner.core.progress.divergence.alarm(text);
            }
        }
    }

    /// Raises the alarm, once for each node and for each tie.
    fn raise(&mut self, inner: &Inner, members: &[Member], judgement: &Judgement) {
        let divergence = &inner.core.progress.divergence;
        for (node, (place, majority)) in &judgement.minority {
            if self.told.insert(*node) {
                divergence.alarm(format!(
                    "{} of node {} is not that of a majority ({})",
                    at(*place),
                    names(members, &BTreeSet::from([*node])),
                    names(members, majority)
                ));
            }
        }
        self.told.retain(|node| judgement.minority.contains_key(node));
        if let Some(place) = judgement.split.filter(|_| self.split.is_none()) {
            divergence.alarm(format!(
                "{} is not the same on all nodes, and no majority says which is right: compare them, and re-seed those \
                 that are wrong",
                at(place)
            ));
        }
        self.split = judgement.split;
    }

    /// In quarantine: hands leadership over, stands only if nobody else can, and has itself re-seeded.
    async fn hold_back(&mut self, inner: &Arc<Inner>) {
        let core = &inner.core;
        if !core.progress.divergence.quarantine.is_on() {
            if self.led.take().is_some() {
                core.set_standing(true);
            }
            return;
        }
        let led = self.led.get_or_insert_with(Instant::now);
        if core.leader().is_some() {
            *led = Instant::now();
        }
        core.set_standing(led.elapsed() > PATIENCE * inner.config.election_timeout);
        if core.ensure_leading().is_ok() {
            match core.transfer(None, HANDOVER_MAX).await {
                Ok(()) => info!("leadership handed over by a node in quarantine"),
                Err(error) => warn!(%error, "a node in quarantine could not hand over leadership yet"),
            }
        }
        if self.seeding.as_ref().is_none_or(JoinHandle::is_finished) {
            self.seeding = Some(tokio::spawn(reseed(Arc::downgrade(inner))));
        }
    }

    /// The leader asks for a verification when one is due or wanted.
    async fn verify(&mut self, inner: &Arc<Inner>, is_wanted: bool) {
        let divergence = &inner.core.progress.divergence;
        if divergence.quarantine.is_on() || !inner.core.leads() {
            return;
        }
        let interval = inner.config.verify_interval;
        let last = divergence.last_verification().unwrap_or(self.began);
        let is_due = !interval.is_zero() && last.elapsed() >= interval;
        let is_wanted = is_wanted && self.suspected.is_none_or(|at| at.elapsed() >= SUSPICION_MIN);
        if !is_due && !is_wanted {
            return;
        }
        if is_wanted {
            self.suspected = Some(Instant::now());
        }
        let node = Node { inner: inner.clone() };
        if let Err(error) = node.verify(VERIFY_MAX).await {
            warn!(%error, "verification not asked for");
        }
    }
}

/// Tries to have this node re-seeded, until it is, with pauses that grow.
async fn reseed(inner: Weak<Inner>) {
    let mut pause = RESEED_PAUSE;
    loop {
        {
            let Some(inner) = inner.upgrade() else { return };
            let core = &inner.core;
            let is_over = !core.progress.divergence.quarantine.is_on() || *inner.closing.borrow();
            if is_over || core.progress.stopped.borrow().is_some() {
                return;
            }
            if let Some(leader) = core.leader().filter(|leader| leader.id != core.id()) {
                match seed::fetch(core, &leader).await {
                    Ok(()) => return,
                    Err(error) => warn!(
                        leader = %leader.name,
                        error = chain(&error),
                        again_in = ?pause,
                        "not re-seeded"
                    ),
                }
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RESEED_PAUSE_MAX);
    }
}

fn at(place: Place) -> String {
    let (kind, index) = place;
    format!("{} at index {index}", kind_name(kind))
}

fn names(members: &[Member], nodes: &BTreeSet<NodeId>) -> String {
    let name = |node: &NodeId| {
        let member = members.iter().find(|member| member.peer.id == *node);
        member.map_or_else(|| node.to_string(), |member| member.peer.name.clone())
    };
    nodes.iter().map(name).collect::<Vec<_>>().join(", ")
}

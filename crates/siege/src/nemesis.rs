//! What goes wrong, and when: faults drawn from the round's seed, several at a time, each taken back after a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use checkers::chance::Chance;
use serde_json::json;

use crate::disk::{Cut, EIO, ENOSPC};
use crate::node::Node;
use crate::plan::Fault;
use crate::round::Round;
use crate::topology::NodeId;

/// Free bytes of a disk that is below the watermark, and not full.
const LOW_BYTES: u64 = 16 * 1024 * 1024;

/// How a fault is taken back.
enum Remedy {
    /// The process starts.
    Start(NodeId),
    /// The process goes on.
    Resume(NodeId),
    /// Packets pass.
    Mend(Vec<(NodeId, NodeId)>),
    /// What one sends to the other comes in time.
    Route(NodeId, NodeId),
    /// The disk is as fast as it was.
    Fast(NodeId),
    /// The disk has space.
    Space(NodeId),
}

/// Draws faults while a round is chaotic.
pub struct Nemesis {
    round: Arc<Round>,
    chance: Chance,
    remedies: Vec<(Instant, Remedy)>,
}

impl Nemesis {
    /// The nemesis of a round.
    pub fn new(round: Arc<Round>) -> Nemesis {
        let chance = Chance::new(round.seed, "nemesis");
        Nemesis {
            round,
            chance,
            remedies: Vec::new(),
        }
    }

    /// Waits a moment, taking back what is due, and strikes; not after `end`.
    pub fn act(&mut self, end: Instant) {
        let next = (Instant::now() + self.chance.millis(20, self.round.plan.calm_ms)).min(end);
        while Instant::now() < next {
            self.take_back(|at| at <= Instant::now());
            let soonest = self.remedies.iter().map(|(at, _)| *at).min().unwrap_or(next);
            std::thread::sleep(soonest.min(next).saturating_duration_since(Instant::now()));
        }
        if Instant::now() < end {
            let fault = self.chance.weighted(&self.round.plan.faults);
            if let Err(error) = self.strike(fault) {
                self.round.siege.fail(format!("{}: {error:#}", fault.name()));
            }
        }
    }

    /// Takes everything back.
    pub fn relent(&mut self) {
        self.take_back(|_| true);
        let siege = &self.round.siege;
        siege.proxy.heal();
        for node in &siege.nodes {
            if let Err(error) = node.heal(self.round.seed) {
                siege.fail(format!("heal {}: {error:#}", node.name));
            }
        }
    }

    fn take_back(&mut self, is_due: impl Fn(Instant) -> bool) {
        let (due, later) = self.remedies.drain(..).partition(|(at, _)| is_due(*at));
        self.remedies = later;
        for (_, remedy) in due {
            if let Err(error) = self.apply(&remedy) {
                self.round.siege.fail(format!("take a fault back: {error:#}"));
            }
        }
    }

    fn apply(&self, remedy: &Remedy) -> Result<()> {
        let siege = &self.round.siege;
        match remedy {
            Remedy::Start(node) => siege.nodes[*node].want(Duration::ZERO),
            Remedy::Resume(node) => siege.nodes[*node].resume(),
            Remedy::Mend(cuts) => {
                for (from, to) in cuts {
                    siege.topology.mend(*from, *to)?;
                }
            }
            Remedy::Route(from, to) => siege.proxy.route(*from, *to).heal(),
            Remedy::Fast(node) => siege.nodes[*node].disk.slow(0)?,
            Remedy::Space(node) => siege.nodes[*node].has_space()?,
        }
        Ok(())
    }

    fn later(&mut self, low_ms: u64, high_ms: u64, remedy: Remedy) {
        let at = Instant::now() + self.chance.millis(low_ms, high_ms);
        self.remedies.push((at, remedy));
    }

    fn note(&self, fault: Fault, what: &str) {
        self.round.siege.counts.add(fault.name());
        self.round.siege.tell("***", &format!("{} {what}", fault.name()));
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.round.siege.nodes[node]
    }

    fn any(&mut self) -> NodeId {
        self.chance.index(self.round.siege.nodes.len())
    }

    fn other(&mut self, node: NodeId) -> NodeId {
        let nodes = self.round.siege.nodes.len();
        (node + 1 + self.chance.index(nodes - 1)) % nodes
    }

    fn strike(&mut self, fault: Fault) -> Result<()> {
        let node = self.any();
        match fault {
            Fault::Kill => self.kill(fault, node)?,
            Fault::KillLeader => {
                if let Some(leader) = self.round.siege.leader() {
                    self.kill(fault, leader)?;
                }
            }
            Fault::Restart => {
                if self.node(node).ask_to_stop() {
                    self.note(fault, &self.node(node).name);
                }
            }
            Fault::Pause => {
                if self.node(node).pause() {
                    self.note(fault, &self.node(node).name);
                    self.later(50, 3000, Remedy::Resume(node));
                }
            }
            Fault::PowerLoss => {
                if self.node(node).is_running() {
                    self.note(fault, &self.node(node).name);
                    self.cut_power(&[node])?;
                }
            }
            Fault::Blackout => {
                self.note(fault, "of all");
                let all: Vec<NodeId> = (0..self.round.siege.nodes.len()).collect();
                self.cut_power(&all)?;
            }
            Fault::Isolation | Fault::OneWayCut => self.cut(fault, node)?,
            Fault::SlowRoute | Fault::LossyRoute | Fault::Reset | Fault::Garble => self.disturb(fault, node),
            Fault::LowDisk | Fault::FullDisk => self.fill(fault, node)?,
            Fault::SlowDisk | Fault::FailedFlush | Fault::FailedWrite => self.fail_disk(fault, node)?,
            Fault::ClockJump => {
                self.note(fault, &self.node(node).name);
                let offset = i64::try_from(self.chance.below(20_000_000_000)).unwrap_or(0) - 10_000_000_000;
                self.node(node).disk.shift_clock(offset)?;
            }
            Fault::Replacement | Fault::Wipe => self.replace(fault, node)?,
            Fault::Snapshot => self.snapshot(node),
            Fault::Transfer => self.transfer(node),
        }
        Ok(())
    }

    fn kill(&mut self, fault: Fault, node: NodeId) -> Result<()> {
        if self.node(node).kill()? {
            self.note(fault, &self.node(node).name);
            self.later(0, 1000, Remedy::Start(node));
        }
        Ok(())
    }

    /// All of `nodes` at one moment, as close as signals get.
    fn cut_power(&mut self, nodes: &[NodeId]) -> Result<()> {
        for node in nodes {
            self.node(*node).strike()?;
        }
        let siege = self.round.siege.clone();
        let mut draw = || {
            let cut = if self.chance.one_in(2) { Cut::Drop } else { Cut::Mix };
            (cut, self.chance.below(u64::from(u32::MAX)))
        };
        let cuts: Vec<(NodeId, (Cut, u64))> = nodes.iter().map(|node| (*node, draw())).collect();
        let lost: Result<Vec<u64>> = std::thread::scope(|scope| {
            let lose = |(node, (cut, seed)): (NodeId, (Cut, u64))| {
                let node = &siege.nodes[node];
                scope.spawn(move || node.lose_power(cut, seed))
            };
            let threads: Vec<_> = cuts.into_iter().map(lose).collect();
            let panicked = |_| anyhow::anyhow!("a power cut panicked");
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(panicked)?)
                .collect()
        });
        siege.counts.add_many("bytes lost in power cuts", lost?.iter().sum());
        for node in nodes {
            self.later(0, 800, Remedy::Start(*node));
        }
        Ok(())
    }

    /// Drops packets: all from and to a node, or what it sends, or hears, or sends to one other.
    fn cut(&mut self, fault: Fault, node: NodeId) -> Result<()> {
        let one = self.other(node);
        let others = (0..self.round.siege.nodes.len()).filter(|other| *other != node);
        let out: Vec<(NodeId, NodeId)> = others.map(|other| (node, other)).collect();
        let back: Vec<(NodeId, NodeId)> = out.iter().map(|(from, to)| (*to, *from)).collect();
        let cuts = match (fault, self.chance.below(4)) {
            (Fault::Isolation, _) => [out, back].concat(),
            (_, 0) => out,
            (_, 1) => back,
            (_, _) => vec![(node, one)],
        };
        let named = |(from, to): &(NodeId, NodeId)| format!("{}>{}", self.node(*from).name, self.node(*to).name);
        self.note(fault, &cuts.iter().map(named).collect::<Vec<_>>().join(" "));
        for (from, to) in &cuts {
            self.round.siege.topology.cut(*from, *to)?;
        }
        self.later(100, 3000, Remedy::Mend(cuts));
        Ok(())
    }

    /// What the proxy does to what `node` sends to another.
    fn disturb(&mut self, fault: Fault, node: NodeId) {
        let to = self.other(node);
        let from = self.round.siege.proxy.rows(&self.round.siege.topology, node);
        self.note(fault, &format!("{}>{}", self.node(node).name, self.node(to).name));
        let siege = self.round.siege.clone();
        let route = siege.proxy.route(from, to);
        match fault {
            Fault::SlowRoute => {
                route.delay(u32::try_from(self.chance.between(5, 300)).unwrap_or(5));
                self.later(200, 4000, Remedy::Route(from, to));
            }
            Fault::LossyRoute => {
                route.lose(u32::try_from(self.chance.between(20, 400)).unwrap_or(20));
                self.later(200, 4000, Remedy::Route(from, to));
            }
            Fault::Garble => route.garble(),
            _ => route.reset(),
        }
    }

    fn fill(&mut self, fault: Fault, node: NodeId) -> Result<()> {
        if self.node(node).excuse_full_disk() {
            self.note(fault, &self.node(node).name);
            let left = if fault == Fault::LowDisk { LOW_BYTES } else { 0 };
            self.node(node).disk.fill(left)?;
            self.later(300, 3000, Remedy::Space(node));
        }
        Ok(())
    }

    fn fail_disk(&mut self, fault: Fault, node: NodeId) -> Result<()> {
        if fault == Fault::SlowDisk {
            self.note(fault, &self.node(node).name);
            let delay_us = u32::try_from(self.chance.between(1_000, 300_000)).unwrap_or(1_000);
            self.node(node).disk.slow(delay_us)?;
            self.later(200, 3000, Remedy::Fast(node));
        } else if self.node(node).excuse_disk_error(fault == Fault::FailedFlush) {
            self.note(fault, &self.node(node).name);
            let number = u32::try_from(self.chance.between(1, 30)).unwrap_or(1);
            let disk = &self.node(node).disk;
            match fault {
                Fault::FailedFlush => disk.fail_flush(number, EIO)?,
                _ => disk.fail_write(number, if number.is_multiple_of(2) { EIO } else { ENOSPC })?,
            }
        }
        Ok(())
    }

    /// A node loses everything and joins again, removed before or not; never two at a time.
    fn replace(&mut self, fault: Fault, node: NodeId) -> Result<()> {
        let siege = self.round.siege.clone();
        if !siege.is_settled() {
            return Ok(());
        }
        self.note(fault, &self.node(node).name);
        if fault == Fault::Replacement {
            let asked = self.other(node);
            let body = json!({"id": self.node(node).name}).to_string();
            let told = siege
                .ask(asked, "DELETE", "/remove?timeout=1s", &body)
                .map(|answer| answer.status);
            siege.tell("ops", &format!("remove {}: {told:?}", self.node(node).name));
        }
        self.node(node).wipe()?;
        self.later(0, 500, Remedy::Start(node));
        Ok(())
    }

    fn snapshot(&mut self, node: NodeId) {
        let kept = self.chance.below(20) + 1;
        let told = self
            .round
            .siege
            .ask(node, "POST", &format!("/snapshot?trailing_logs={kept}"), "");
        if told.is_some_and(|answer| answer.status < 300) {
            self.note(Fault::Snapshot, &self.node(node).name);
        }
    }

    fn transfer(&mut self, node: NodeId) {
        let target = self.other(node);
        let body = if self.chance.one_in(2) {
            json!({"id": self.node(target).name}).to_string()
        } else {
            String::new()
        };
        let told = self.round.siege.ask(node, "POST", "/leader?wait&timeout=1s", &body);
        if told.is_some_and(|answer| answer.status == 200) {
            self.note(Fault::Transfer, &body);
        }
    }
}

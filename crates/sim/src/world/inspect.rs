//! What processes say of their databases, against what the simulator has done to them: an alarm and a quarantine must have a
//! reason, and a damaged database may be passed on.

use std::ffi::OsString;
use std::sync::atomic::Ordering;

use store::member::NodeId;
use store::status::Status;

use super::World;
use crate::chance::lock;
use crate::damage;
use crate::machine::Machine;
use crate::network::MachineId;

/// For so many looks a machine that led counts as where a database may have come from.
const LED_LOOKS: u64 = 10;

/// What was seen of a machine.
#[derive(Default)]
pub(super) struct Seen {
    /// Its process.
    life: String,
    /// Its node, and the generation of that node's database.
    generation: Option<(NodeId, OsString)>,
    quarantines: u64,
    reseeds: u64,
    /// The index of the last verification.
    verified: u64,
    /// Looks until it no longer counts as one that led.
    led: u64,
}

impl World {
    /// Looks at what all processes say of their databases: alarms and quarantines must have a reason.
    pub(super) fn inspect(&self) {
        let running = self.machines.iter().filter_map(|it| Some((it, it.running()?)));
        let looks: Vec<_> = running
            .map(|(machine, running)| {
                (
                    machine,
                    running.node.status(),
                    running.node.is_leader(),
                    running.life.name.clone(),
                )
            })
            .collect();
        let sources: Vec<MachineId> = looks
            .iter()
            .filter(|(machine, _, leads, _)| self.has_led(machine.id, *leads))
            .map(|(machine, ..)| machine.id)
            .collect();
        for (machine, status, ..) in &looks {
            self.trace_source(machine, status, &sources);
        }
        for (machine, status, _, life) in &looks {
            self.judge(machine, status, life);
        }
        for (machine, status, ..) in &looks {
            let mut sound = looks
                .iter()
                .filter(|(other, ..)| other.id != machine.id && !other.is_wrong());
            machine.settle(status, sound.next().map(|(_, status, ..)| status));
        }
    }

    /// It leads, or did so of late: only a leader sends its database.
    fn has_led(&self, machine: MachineId, leads: bool) -> bool {
        let mut seen = lock(&self.seen);
        let seen = seen.entry(machine).or_default();
        seen.led = if leads { LED_LOOKS } else { seen.led.saturating_sub(1) };
        seen.led > 0
    }

    /// Another database took the place of a machine's: it may have come from one whose own is wrong.
    fn trace_source(&self, machine: &Machine, status: &Status, sources: &[MachineId]) {
        let generation = damage::generation(status).map(|generation| (status.peer.id, generation));
        let mut all = lock(&self.seen);
        let seen = all.entry(machine.id).or_default();
        let is_same_node = seen.generation.as_ref().is_some_and(|(id, _)| *id == status.peer.id);
        let is_new = is_same_node && seen.generation != generation;
        seen.generation = generation;
        drop(all);
        let mut others = self.machines.iter().filter(|other| other.id != machine.id);
        if is_new && let Some(source) = others.find(|other| other.is_wrong() && sources.contains(&other.id)) {
            self.counts.add("damage passed on");
            self.trace
                .line(&machine.name, format_args!("may have the damage of {}", source.name));
            self.is_passed_on.store(true, Ordering::Relaxed);
            machine.inherit_damage(source, status);
        }
    }

    fn judge(&self, machine: &Machine, status: &Status, life: &str) {
        let soundness = &status.soundness;
        if self.plan.is_mended && soundness.alarms > 0 && !self.has_damage.load(Ordering::Relaxed) {
            self.fail(format!(
                "{life} raised an alarm without a reason: {:?}",
                soundness.last_alarm
            ));
        }
        let mut all = lock(&self.seen);
        let seen = all.entry(machine.id).or_default();
        if seen.life != life {
            (seen.quarantines, seen.reseeds) = (0, 0);
            life.clone_into(&mut seen.life);
        }
        if soundness.quarantines > seen.quarantines {
            let reason = &soundness.last_quarantine;
            self.counts.add("quarantines");
            self.trace
                .line(&machine.name, format_args!("is in quarantine: {reason}"));
            if !machine.is_wrong() && !self.is_passed_on.load(Ordering::Relaxed) {
                self.fail(format!("{life} is in quarantine without a reason: {reason}"));
            }
        }
        self.counts
            .add_many("re-seedings", soundness.reseeds.saturating_sub(seen.reseeds));
        let verified = soundness.content.map_or(0, |mark| mark.index);
        self.counts
            .add_many("verifications", u64::from(verified > seen.verified));
        (seen.quarantines, seen.reseeds, seen.verified) = (soundness.quarantines, soundness.reseeds, verified);
    }
}

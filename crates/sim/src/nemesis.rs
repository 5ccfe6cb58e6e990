//! What goes wrong, and when: faults drawn from the seed, one after the other, several at a time.

use std::sync::Arc;
use std::time::Duration;

use crate::chance::Chance;
use crate::life::Death;
use crate::network::MachineId;
use crate::plan::Fault;
use crate::world::World;

/// How long an operation on the cluster may take before it is tried elsewhere.
const OPERATION_MAX: Duration = Duration::from_secs(5);

/// How often an election is looked at.
const GLANCE: Duration = Duration::from_micros(500);

/// Draws faults until the chaos ends.
pub struct Nemesis {
    world: Arc<World>,
    chance: Chance,
}

impl Nemesis {
    /// The nemesis of a world.
    pub fn new(world: Arc<World>) -> Nemesis {
        let chance = Chance::new(world.plan.seed, "nemesis");
        Nemesis { world, chance }
    }

    /// Strikes until the chaos ends.
    pub async fn run(mut self) {
        while self.world.is_chaotic() {
            let pause = self.chance.millis(10, self.world.plan.calm_ms);
            tokio::time::sleep(pause).await;
            let fault = self.chance.weighted(&self.world.plan.faults);
            self.strike(fault).await;
        }
    }

    async fn strike(&mut self, fault: Fault) {
        let machine = self.chance.index(self.world.machines.len());
        match fault {
            Fault::Kill => self.end(machine, Death::Kill, "kill"),
            Fault::PowerLoss => self.end(machine, Death::PowerLoss, "power loss"),
            Fault::Blackout => self.blackout(),
            Fault::Isolation => self.cut(machine, true),
            Fault::OneWayCut => self.cut(machine, false),
            Fault::SlowRoute => self.slow(machine),
            Fault::Reset => {
                self.note("reset", machine);
                let other = self.other(machine);
                self.world.network.reset(machine, other);
            }
            Fault::ClockJump => self.jump(machine),
            Fault::ClockDrift => self.drift(machine),
            Fault::Pause => self.pause(machine),
            Fault::BitRot => self.rot(machine).await,
            Fault::DiskError => self.disk_error(machine),
            Fault::SlowDisk => self.slow_disk(machine),
            Fault::Snapshot => self.snapshot(machine).await,
            Fault::Transfer => self.transfer().await,
            Fault::Replacement => self.replace(&[machine]).await,
            Fault::Solitude => self.leave_alone(machine).await,
            Fault::Coup => self.coup().await,
            Fault::PageRot => self.rot_pages(machine).await,
            Fault::Divergence => self.diverge(machine).await,
        }
    }

    fn note(&self, kind: &'static str, machine: MachineId) {
        self.world.counts.add(kind);
        self.world
            .trace
            .line(&self.world.machines[machine].name, format_args!("fault: {kind}"));
    }

    /// Ends a process now, or in the middle of one of its next operations on the disk.
    fn end(&mut self, machine: MachineId, death: Death, kind: &'static str) {
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        self.note(kind, machine);
        if self.chance.one_in(3) {
            running.life.die(death);
        } else {
            running.life.die_after(self.chance.below(40), death);
        }
    }

    /// All machines at once, each at some operation of its own.
    fn blackout(&mut self) {
        self.note("blackout", 0);
        let is_prompt = self.chance.one_in(2);
        for machine in &self.world.machines {
            let Some(running) = machine.running() else { continue };
            if is_prompt {
                running.life.die(Death::PowerLoss);
            } else {
                running.life.die_after(self.chance.below(4), Death::PowerLoss);
            }
        }
    }

    fn other(&mut self, machine: MachineId) -> MachineId {
        let machines = self.world.machines.len();
        (machine + 1 + self.chance.index(machines - 1)) % machines
    }

    /// Cuts a machine off for a while: from everybody, or from one peer in one direction.
    fn cut(&mut self, machine: MachineId, is_full: bool) {
        self.note(if is_full { "isolation" } else { "one-way cut" }, machine);
        let mut routes = Vec::new();
        if is_full {
            for other in (0..self.world.machines.len()).filter(|other| *other != machine) {
                routes.extend([(machine, other), (other, machine)]);
            }
        } else {
            let other = self.other(machine);
            routes.push((machine, other));
        }
        for (from, to) in &routes {
            self.world.network.change(*from, *to, |route| route.is_cut = true);
        }
        let pause = self.chance.millis(100, 4000);
        let world = self.world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            for (from, to) in routes {
                world.network.change(from, to, |route| route.is_cut = false);
            }
        });
    }

    fn slow(&mut self, machine: MachineId) {
        self.note("slow route", machine);
        let other = self.other(machine);
        let slowness = u32::try_from(self.chance.between(5, 60)).unwrap_or(5);
        self.world
            .network
            .change(machine, other, |route| route.slowness = slowness);
        let pause = self.chance.millis(200, 4000);
        let world = self.world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.network.change(machine, other, |route| route.slowness = 1);
        });
    }

    fn jump(&mut self, machine: MachineId) {
        self.note("clock jump", machine);
        let error = i64::try_from(self.chance.below(20_000_000)).unwrap_or(0) - 10_000_000;
        self.world.machines[machine].clock.jump(error);
    }

    /// A clock runs up to a twentieth too fast or too slow.
    fn drift(&mut self, machine: MachineId) {
        self.note("clock drift", machine);
        let drift = i64::try_from(self.chance.below(100_000)).unwrap_or(0) - 50_000;
        self.world.machines[machine].clock.drift(drift);
    }

    /// A process stands still: what reaches it waits, its flushes do not end, nobody hears it.
    fn pause(&mut self, machine: MachineId) {
        self.note("pause", machine);
        let mut routes = Vec::new();
        for other in (0..self.world.machines.len()).filter(|other| *other != machine) {
            routes.extend([(machine, other), (other, machine)]);
        }
        for (from, to) in &routes {
            self.world.network.change(*from, *to, |route| route.is_held = true);
        }
        let pause = self.chance.millis(50, 4000);
        self.world.machines[machine].pause();
        self.world.machines[machine].clock.stand_still(pause);
        let world = self.world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.machines[machine].resume();
            for (from, to) in routes {
                world.network.change(from, to, |route| route.is_held = false);
            }
        });
    }

    /// Bits of a log or a WAL flip; its node must notice, and is replaced then, or not need them. One at a time: two are a
    /// majority.
    async fn rot(&mut self, machine: MachineId) {
        if !self.may_damage().await {
            return;
        }
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        self.note("bit rot", machine);
        self.world.machines[machine].let_rot();
        running.life.die(*self.chance.pick(&[Death::Kill, Death::PowerLoss]));
    }

    /// No node is damaged, and all are there: one may be.
    async fn may_damage(&self) -> bool {
        let is_any_damaged = self.world.machines.iter().any(|machine| machine.is_damaged());
        !is_any_damaged && self.world.is_settled().await
    }

    /// Bits of a database's pages flip; its node must notice, or not need them.
    async fn rot_pages(&mut self, machine: MachineId) {
        if !self.may_damage().await {
            return;
        }
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        self.note("page rot", machine);
        self.world.note_damage();
        self.world.machines[machine].let_pages_rot();
        running.life.die(*self.chance.pick(&[Death::Kill, Death::PowerLoss]));
    }

    /// A node applies what comes otherwise than the others, for a while, also through restarts.
    async fn diverge(&mut self, machine: MachineId) {
        if !self.may_damage().await {
            return;
        }
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        self.note("divergence", machine);
        self.world.note_damage();
        self.world.machines[machine].lead_astray(&running);
        let pause = self.chance.millis(200, 3000);
        let world = self.world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.machines[machine].bring_back();
        });
    }

    /// One of the next writes or flushes fails; the process must stop, and its machine is switched off.
    fn disk_error(&mut self, machine: MachineId) {
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        self.note("disk error", machine);
        running.life.allow_stop();
        let count = self.chance.below(20);
        match self.chance.below(4) {
            0 => running.disk.fail_writes_after(count),
            1 => running.disk.fail_syncs_after(count),
            2 => running.disk.fail_creates_after(self.chance.below(2)),
            _ => running.files.fail_flushes_after(self.chance.below(3)),
        }
    }

    /// Flushes of the log take up to a second, for a while.
    fn slow_disk(&mut self, machine: MachineId) {
        self.note("slow disk", machine);
        let slowness = u32::try_from(self.chance.between(10, 400)).unwrap_or(10);
        self.world.machines[machine].clock.slow_flushes(slowness);
        let pause = self.chance.millis(200, 4000);
        let world = self.world.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            world.machines[machine].clock.slow_flushes(1);
        });
    }

    async fn snapshot(&mut self, machine: MachineId) {
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        self.note("snapshot", machine);
        let trailing = Some(self.chance.below(10));
        let made = tokio::time::timeout(OPERATION_MAX, running.node.snapshot(trailing)).await;
        match self.chance.below(6) {
            // The log is cut, and now the power fails: what SQLite holds had better be durable.
            0 => self.end(machine, Death::PowerLoss, "power loss"),
            1 => self.blackout(),
            _ => {}
        }
        if let Ok(Err(error)) = made
            && running.life.is_alive()
            && !running.life.may_stop()
        {
            self.world
                .trace
                .line(&self.world.machines[machine].name, format_args!("no snapshot: {error}"));
        }
    }

    async fn transfer(&mut self) {
        let Some((machine, running)) = self.world.leader() else {
            return;
        };
        self.note("transfer", machine);
        let target = if self.chance.one_in(2) {
            Some(self.other(machine))
        } else {
            None
        };
        let target = target.map(|target| self.world.machines[target].name.clone());
        let transfer = running.node.transfer(target.as_deref(), OPERATION_MAX);
        if let Ok(result) = tokio::time::timeout(OPERATION_MAX, transfer).await {
            let told = result.map_or_else(|error| error.to_string(), |()| "done".to_owned());
            self.world
                .trace
                .line("ops", format_args!("transfer to {target:?}: {told}"));
        }
    }

    /// The leader dies; the next one is cut off as soon as it is elected, and whoever voted for it dies: what a vote is
    /// worth that was not flushed.
    async fn coup(&mut self) {
        let Some((old, running)) = self.world.leader() else {
            return;
        };
        self.note("coup", old);
        running.life.die(*self.chance.pick(&[Death::Kill, Death::PowerLoss]));
        let elected = tokio::time::timeout(OPERATION_MAX, async {
            loop {
                if let Some((leader, _)) = self.world.leader() {
                    return leader;
                }
                tokio::time::sleep(GLANCE).await;
            }
        });
        let Ok(leader) = elected.await else { return };
        self.cut(leader, true);
        let voters = (0..self.world.machines.len()).filter(|voter| ![leader, old].contains(voter));
        for voter in voters.collect::<Vec<_>>() {
            if let Some(running) = self.world.machines[voter].running() {
                running.life.die(*self.chance.pick(&[Death::Kill, Death::PowerLoss]));
            }
        }
    }

    /// One machine is all that is left of the cluster, until the repairs have added the others.
    async fn leave_alone(&mut self, machine: MachineId) {
        let others = (0..self.world.machines.len()).filter(|other| *other != machine);
        self.replace(&others.collect::<Vec<_>>()).await;
    }

    /// Removes nodes for certain, wipes their machines, and leaves it to the repairs to add what comes back.
    async fn replace(&mut self, machines: &[MachineId]) {
        // Two replacements at once could ask for more than a minority.
        if !self.may_damage().await {
            return;
        }
        let Some((leader, running)) = self.world.leader() else {
            return;
        };
        if machines.contains(&leader) {
            return;
        }
        let kind = if machines.len() > 1 { "solitude" } else { "replacement" };
        self.note(kind, machines[0]);
        for machine in machines {
            self.world.machines[*machine].retire(true);
        }
        let mut removed = 0;
        for machine in machines {
            let name = &self.world.machines[*machine].name;
            let answer = tokio::time::timeout(OPERATION_MAX, running.node.remove(name)).await;
            if !matches!(answer, Ok(Ok(()))) || !running.life.is_alive() {
                self.world
                    .trace
                    .line("ops", format_args!("{name} may or may not be removed"));
                break;
            }
            self.world.trace.line("ops", format_args!("{name} is removed"));
            removed += 1;
        }
        let (removed, kept) = machines.split_at(removed);
        for machine in kept {
            self.world.machines[*machine].retire(false);
        }
        if machines.len() > 1 {
            // Who is alone goes on for a while.
            tokio::time::sleep(self.chance.millis(0, 1000)).await;
        }
        for machine in removed {
            // It may be down, with a process that will come back; it must not come back with its old disk.
            let running = self.world.machines[*machine].until_running().await;
            running.life.die(Death::Wipe);
        }
    }
}

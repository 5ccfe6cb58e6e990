//! One run: three machines, a network, clients, a nemesis; first chaos, then peace, then the verdict.
//!
//! ```text
//!  form cluster ─► chaos: clients ∥ nemesis ∥ operator ∥ auditor ─► heal ─► a write, everywhere ─► checker
//! ```
//!
//! In the chaos only safety is asked for. After it, with every machine up and every route whole, the cluster must take a
//! write, and all nodes must come to hold the same, within a bounded virtual time.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use command::request::Kind;
use command::statement::Statement;
use store::member::Peer;
use store::status::Soundness;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::chance::{Chance, lock};
use crate::checker;
use crate::client::Client;
use crate::clock::MachineClock;
use crate::counts::Counts;
use crate::history::{History, Holding, Sample};
use crate::machine::{self, Machine, Running};
use crate::nemesis::Nemesis;
use crate::network::{MachineId, Network, Route};
use crate::oracle::{self, Oracle};
use crate::plan::{Plan, Workload};
use crate::space::Allowance;
use crate::sql;
use crate::trace::Trace;
use crate::workload::{self, Base};

mod inspect;

use inspect::Seen;

/// Machines of a world.
const MACHINES: usize = 3;

/// How long the cluster may take to form, in virtual time.
const FORMING: Duration = Duration::from_secs(30);

/// How long it may take to be whole and to take a write, once everything works again.
const RECOVERY: Duration = Duration::from_secs(60);

/// How long a membership may take to be committed before a fault that needs it is given up.
const SETTLING: Duration = Duration::from_secs(1);

/// How often the operator and the auditor look, in milliseconds.
const LOOK_MS: u64 = 300;

/// Everything that exists in a run.
pub struct World {
    /// What the seed decided.
    pub plan: Plan,
    /// What happened.
    pub trace: Trace,
    /// What lies between the machines.
    pub network: Network,
    /// The machines, by number.
    pub machines: Vec<Machine>,
    /// What clients did and saw.
    pub history: History,
    /// How often things happened.
    pub counts: Counts,
    /// Plain SQLite, to compare with.
    pub oracle: Oracle,
    /// What may still be written.
    pub allowance: Arc<Allowance>,
    is_chaotic: AtomicBool,
    formed_at: AtomicU64,
    /// Some database was damaged, or led astray.
    has_damage: AtomicBool,
    /// A damaged database was sent to another machine before it was found out: what counts as right may be wrong.
    is_passed_on: AtomicBool,
    /// What was last seen of each machine.
    seen: Mutex<BTreeMap<MachineId, Seen>>,
    failures: Mutex<Vec<String>>,
    doom: watch::Sender<bool>,
}

/// What a run came to.
pub struct Verdict {
    /// Violations; empty for a clean run.
    pub failures: Vec<String>,
    /// The hash of everything that happened.
    pub hash: u64,
    /// What a human reads.
    pub lines: Vec<String>,
    /// How often things happened.
    pub counts: std::collections::BTreeMap<&'static str, u64>,
}

impl World {
    /// A world whose machines keep their files below `folder`.
    pub fn new(plan: Plan, folder: &Path, is_loud: bool) -> Arc<World> {
        let trace = Trace::new(folder, is_loud);
        let seed = plan.seed;
        let addresses = (0..MACHINES).map(machine::address).collect();
        let network = Network::new(addresses, trace.clone(), Chance::new(seed, "network"));
        let machines = (0..MACHINES)
            .map(|id| {
                let mut chance = Chance::new(seed, &format!("machine {id}"));
                let error = i64::try_from(chance.below(4_000_000)).unwrap_or(0) - 2_000_000;
                Machine::new(id, folder.to_owned(), MachineClock::new(trace.clone(), error), chance)
            })
            .collect();
        let oracle = Oracle::new(Chance::new(seed, "oracle"), plan.foreign_keys);
        Arc::new(World {
            plan,
            trace,
            network,
            machines,
            history: History::default(),
            counts: Counts::default(),
            oracle,
            allowance: Arc::default(),
            is_chaotic: AtomicBool::new(false),
            formed_at: AtomicU64::new(0),
            has_damage: AtomicBool::new(false),
            is_passed_on: AtomicBool::new(false),
            seen: Mutex::default(),
            failures: Mutex::default(),
            doom: watch::Sender::new(false),
        })
    }

    /// Runs from the first start to the verdict.
    pub async fn run(self: &Arc<World>) -> Verdict {
        for id in 0..MACHINES {
            let world = self.clone();
            tokio::spawn(async move { world.machines[id].supervise(&world).await });
        }
        let mut doom = self.doom.subscribe();
        tokio::select! {
            biased;
            () = async { _ = doom.wait_for(|is_doomed| *is_doomed).await.map(drop) } => {}
            reason = self.allowance.gone() => self.fail(reason),
            () = self.acts() => {}
        }
        self.tally();
        Verdict {
            failures: lock(&self.failures).clone(),
            hash: self.trace.hash(),
            lines: self.trace.lines(),
            counts: self.counts.all(),
        }
    }

    async fn acts(self: &Arc<World>) {
        if self.plan.workload == Workload::Oracle {
            self.oracle.listen();
        }
        match timeout(FORMING, self.form()).await {
            Ok(()) => {
                self.chaos().await;
                self.peace().await;
            }
            Err(_) => self.fail("no cluster was formed".to_owned()),
        }
    }

    /// Something happened after which there is no use in going on.
    pub fn doom(&self, what: String) {
        self.fail(what);
        self.doom.send_replace(true);
    }

    /// Something happened that must not.
    pub fn fail(&self, what: String) {
        self.trace.line("!!!", &what);
        lock(&self.failures).push(what);
    }

    /// A database is about to be damaged, or led astray: from now on replicas may differ.
    pub fn note_damage(&self) {
        self.has_damage.store(true, Ordering::Relaxed);
    }

    /// Faults may strike.
    pub fn is_chaotic(&self) -> bool {
        self.is_chaotic.load(Ordering::Relaxed)
    }

    /// The machine at an address.
    pub fn machine_at(&self, address: &str) -> Option<MachineId> {
        self.machines.iter().position(|machine| machine.address == address)
    }

    /// A process that believes that it leads; the one of the highest term.
    pub fn leader(&self) -> Option<(MachineId, Running)> {
        let running = self
            .machines
            .iter()
            .filter_map(|machine| Some((machine.id, machine.running()?)));
        running
            .filter(|(_, running)| running.node.is_leader())
            .max_by_key(|(_, running)| running.node.status().term)
    }

    /// Every machine runs, and the leader knows each as a voter that has caught up.
    pub fn is_whole(&self) -> bool {
        let Some((_, leader)) = self.leader() else { return false };
        let status = leader.node.status();
        let members = status.members;
        let is_complete = !status.joint && members.len() == self.machines.len();
        is_complete
            && self.machines.iter().all(|machine| {
                machine.running().is_some_and(|running| {
                    let is_voter = |member: &&store::member::Member| member.voter && !member.catching_up;
                    members
                        .iter()
                        .filter(is_voter)
                        .any(|member| member.peer.id == running.node.peer().id)
                })
            })
    }

    /// It is whole, and that is committed: a node that only its leader knows as a voter counts for no majority yet.
    pub async fn is_settled(&self) -> bool {
        let Some((_, leader)) = self.leader().filter(|_| self.is_whole()) else {
            return false;
        };
        let last = leader.node.status().last_log.0;
        let committed = leader.node.wait_applied(last, SETTLING).await;
        committed.is_ok() && leader.life.is_alive() && self.is_whole()
    }

    /// Forms a cluster of all machines, and the tables in it.
    async fn form(&self) {
        let mut voters: Vec<Peer> = Vec::new();
        for machine in &self.machines {
            voters.push(machine.until_running().await.node.peer().clone());
        }
        let Some(first) = self.machines[0].running() else {
            return;
        };
        if let Err(error) = first.node.initialize(voters).await {
            self.fail(format!("initialize: {error}"));
        }
        let mut schema = [workload::schema(), Base::default().rows()].concat();
        if self.plan.workload == Workload::Oracle {
            schema.extend(oracle::grammar::Grammar::prelude());
        }
        let index = self.insist(schema).await;
        self.formed_at.store(index, Ordering::Relaxed);
    }

    /// The log index at which the tables are there.
    pub fn formed_at(&self) -> u64 {
        self.formed_at.load(Ordering::Relaxed)
    }

    /// Writes at the leader until it is done; the statements must be harmless to repeat. Returns the index.
    async fn insist(&self, statements: Vec<Statement>) -> u64 {
        loop {
            if let Some((_, leader)) = self.leader() {
                let write = leader.node.stamp(statements.clone(), Kind::Execute, true);
                let done = leader.node.write(write, Duration::from_secs(5)).await;
                match done {
                    Ok(reply) if reply.error.is_none() && leader.life.is_alive() => return reply.index,
                    Ok(reply) => self.trace.line("ops", format_args!("not yet: {:?}", reply.error)),
                    Err(error) => self.trace.line("ops", format_args!("not yet: {error}")),
                }
            }
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// Clients work while everything goes wrong.
    async fn chaos(self: &Arc<World>) {
        self.trace.line("sim", format_args!("chaos for {:?}", self.plan.chaos));
        self.is_chaotic.store(true, Ordering::Relaxed);
        let mut tasks = Vec::new();
        for id in 1..=self.plan.clients {
            let world = self.clone();
            tasks.push(match self.plan.workload {
                Workload::Mixed => tokio::spawn(Client::new(world, id).run()),
                Workload::Oracle => tokio::spawn(oracle::client::Client::new(world, id).run()),
            });
        }
        let nemesis = tokio::spawn(Nemesis::new(self.clone()).run());
        let looking = [tokio::spawn(operate(self.clone())), tokio::spawn(audit(self.clone()))];
        sleep(self.plan.chaos).await;
        self.is_chaotic.store(false, Ordering::Relaxed);
        nemesis.abort();
        for client in tasks {
            if timeout(RECOVERY, client).await.is_err() {
                self.fail("a client waits for ever".to_owned());
            }
        }
        for task in looking {
            task.abort();
        }
    }

    /// Heals everything, waits until all nodes hold the same, and compares.
    async fn peace(self: &Arc<World>) {
        self.trace.line("sim", "peace");
        for from in 0..MACHINES {
            for to in 0..MACHINES {
                self.network.change(from, to, |route| *route = Route::default());
            }
        }
        self.disarm().await;
        for machine in &self.machines {
            machine.bring_back();
        }
        let operator = tokio::spawn(operate(self.clone()));
        let whole = timeout(RECOVERY, async {
            while !self.is_whole() {
                sleep(Duration::from_millis(LOOK_MS)).await;
            }
            self.insist(vec![Statement::new("INSERT INTO bulk(data) VALUES(zeroblob(1))")])
                .await
        });
        let whole = whole.await;
        let agreed = match &whole {
            Ok(index) if !self.plan.is_mended => Some(*index),
            Ok(_) => timeout(RECOVERY, self.agree()).await.ok(),
            Err(_) => None,
        };
        operator.abort();
        let Some(index) = agreed else {
            let what = if whole.is_ok() {
                "replicas still differ"
            } else {
                "no progress"
            };
            self.fail(format!(
                "{what} {RECOVERY:?} after everything was healed: {}",
                self.picture()
            ));
            return;
        };
        let mut holdings = Vec::new();
        for machine in &self.machines {
            holdings.extend(self.hold(machine, index).await);
        }
        if holdings.len() == self.machines.len() {
            let is_passed_on = self.is_passed_on.load(Ordering::Relaxed);
            let of_all = if is_passed_on {
                checker::check_equal
            } else {
                checker::check
            };
            for violation in of_all(&self.history.content(), &holdings) {
                self.fail(violation);
            }
            if self.plan.workload == Workload::Oracle {
                for violation in self.oracle.check(self.plan.foreign_keys, &self.counts) {
                    self.fail(violation);
                }
            }
        }
    }

    /// Has all nodes verify what they hold until they say the same of it, and none is in quarantine; then writes once more.
    async fn agree(&self) -> u64 {
        loop {
            if let Some((_, leader)) = self.leader()
                && let Ok(reply) = leader.node.verify(Duration::from_secs(5)).await
            {
                sleep(Duration::from_millis(3 * self.plan.compare_ms + LOOK_MS)).await;
                self.inspect();
                let running = self.machines.iter().filter_map(Machine::running);
                let found = running.map(|running| {
                    let Soundness {
                        quarantine, content, ..
                    } = running.node.status().soundness;
                    content.filter(|mark| quarantine.is_none() && mark.index >= reply.index)
                });
                let found: Vec<_> = found.collect();
                let is_same = found.windows(2).all(|pair| pair[0].is_some() && pair[0] == pair[1]);
                if found.len() == MACHINES && is_same {
                    return self
                        .insist(vec![Statement::new("INSERT INTO bulk(data) VALUES(zeroblob(1))")])
                        .await;
                }
            }
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// Takes back faults that wait for their moment: every process starts anew, for the last time.
    async fn disarm(&self) {
        for machine in &self.machines {
            let Ok(running) = timeout(RECOVERY, machine.until_running()).await else {
                self.fail(format!("{} does not come up", machine.name));
                return;
            };
            running.life.die(crate::life::Death::Kill);
            // Its supervisor takes it down in its own time.
            sleep(Duration::from_millis(LOOK_MS)).await;
        }
    }

    /// What `machine` holds once it has applied `index`.
    async fn hold(&self, machine: &Machine, index: u64) -> Option<Holding> {
        let Ok(running) = timeout(RECOVERY, machine.until_running()).await else {
            self.fail(format!("{} does not come up", machine.name));
            return None;
        };
        if let Err(error) = running.node.wait_applied(index, RECOVERY).await {
            self.fail(format!(
                "{} does not catch up: {error}: {}",
                machine.name,
                self.picture()
            ));
            return None;
        }
        if self.plan.workload == Workload::Oracle {
            match oracle::client::sight(&running) {
                Ok(Some(sight)) => self.oracle.sight(sight),
                Ok(None) => self.fail(format!("{} has applied nothing", machine.name)),
                Err(error) => self.fail(format!("{} cannot be seen: {error}", machine.name)),
            }
        }
        let hash = match running.node.content_hash().await {
            Ok(hash) => hash,
            Err(error) => {
                self.fail(format!("{} has no content hash: {error}", machine.name));
                return None;
            }
        };
        match sql::holding(&running.node, &machine.name, hash.hash) {
            Ok(holding) => Some(holding),
            Err(error) => {
                self.fail(format!("{} cannot be read: {error}", machine.name));
                None
            }
        }
    }

    /// Where everybody stands, for a message.
    fn picture(&self) -> String {
        let describe = |machine: &Machine| match machine.running() {
            None => format!("{} down", machine.name),
            Some(running) => {
                let status = running.node.status();
                let members: Vec<String> = status.members.iter().map(|m| machine::label(&m.peer)).collect();
                format!(
                    "{} {:?} term {} last {:?} committed {} applied {} purged {} members {members:?}",
                    machine::label(&status.peer),
                    status.role,
                    status.term,
                    status.last_log,
                    status.committed,
                    status.applied.0,
                    status.purged,
                )
            }
        };
        self.machines.iter().map(describe).collect::<Vec<_>>().join("; ")
    }

    /// Last counts, from the nodes that are there in the end.
    fn tally(&self) {
        for machine in &self.machines {
            if let Some(running) = machine.running() {
                self.counts.raise("terms", running.node.status().term);
            }
        }
        let (frames, breaks) = self.network.counts();
        self.counts.add_many("frames", frames);
        self.counts.add_many("broken streams", breaks);
        self.counts
            .add_many("megabytes written", self.allowance.written() >> 20);
    }
}

/// The operator: adds to the cluster whoever runs and is not in it, and counts what nodes did.
async fn operate(world: Arc<World>) {
    loop {
        sleep(Duration::from_millis(LOOK_MS)).await;
        let Some((_, leader)) = world.leader() else { continue };
        let members = leader.node.members();
        for machine in &world.machines {
            let Some(running) = machine.running() else { continue };
            let peer = running.node.peer().clone();
            let is_leaving = world.is_chaotic() && machine.is_retiring();
            if is_leaving || members.iter().any(|member| member.peer.id == peer.id) {
                continue;
            }
            let added = timeout(Duration::from_secs(5), leader.node.add(peer.clone(), true)).await;
            let told = match added {
                Ok(Ok(joined)) => format!("{joined:?}"),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            world
                .trace
                .line("ops", format_args!("add {}: {told}", machine::label(&peer)));
        }
    }
}

/// The auditor: asks nodes for their content hash now and then, and counts what they did.
async fn audit(world: Arc<World>) {
    loop {
        sleep(Duration::from_millis(LOOK_MS)).await;
        world.inspect();
        for machine in &world.machines {
            let Some(running) = machine.running() else { continue };
            let status = running.node.status();
            world.counts.raise("snapshots of one process", status.snapshots);
            world.counts.raise("restores of one process", status.restores);
            if machine.is_wrong() {
                continue;
            }
            if let Ok(hash) = running.node.content_hash().await
                && running.life.is_alive()
            {
                world.counts.add("content hashes");
                let node = running.life.name.clone();
                world.history.sample(Sample {
                    node,
                    index: hash.index,
                    hash: hash.hash,
                });
            }
        }
    }
}

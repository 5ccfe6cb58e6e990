//! A machine: its disk, its files, its clock, and whoever starts its process again when that has died.
//!
//! ```text
//!  boot ──► process runs ──► dies (killed, power lost, wiped, stopped by itself)
//!   ▲                          │ streams break, what is in flight is lost
//!   └── what the disk kept ◄───┘ after a while
//! ```
//!
//! A process that stops by itself is a bug, unless a disk fault was injected.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::testing::MemDisk;
use mutation::Mutation;
use store::Node;
use store::config::Config;
use store::environment::{Environment, Runner};
use store::member::Peer;
use store::status::Status;
use tokio::sync::watch;

use crate::chance::{Chance, lock};
use crate::clock::{MachineClock, ProcessRandom};
use crate::damage::{self, Damage};
use crate::disk::ProcessDisk;
use crate::files::{MachineFiles, ProcessFiles};
use crate::life::{Death, Life};
use crate::network::MachineId;
use crate::rot;
use crate::space::STARTS_MAX;
use crate::world::World;

/// How long the shutdown of a process that is dead already may take, in virtual time.
const BURIAL: Duration = Duration::from_secs(20);

/// How long a process may take from its start to its first answer, in virtual time.
const BOOT_MAX: Duration = Duration::from_secs(60);

/// One machine.
pub struct Machine {
    /// Its number.
    pub id: MachineId,
    /// The node id that its user gave it.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Its clock.
    pub clock: Arc<MachineClock>,
    folder: PathBuf,
    files: MachineFiles,
    state: Mutex<State>,
    running: watch::Sender<Option<Running>>,
    /// Pauses that have not ended.
    pauses: watch::Sender<u64>,
}

struct State {
    /// What became of the bits of its files.
    rot: Rot,
    /// Bits of its database's pages flip when it is down next.
    are_pages_due: bool,
    /// Its database may be wrong.
    damage: Option<Damage>,
    chance: Chance,
    disk: MemDisk,
    starts: u64,
    /// It leaves the cluster for good, and is wiped then.
    retires: bool,
}

/// Bits of the log or of SQLite's WAL that flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rot {
    /// All are as they were written.
    None,
    /// Some will flip when the machine is down.
    Due,
    /// Some have.
    Done,
}

/// A process that answers.
#[derive(Clone)]
pub struct Running {
    /// Its life.
    pub life: Arc<Life>,
    /// Its node.
    pub node: Node,
    /// Its view of SQLite's files.
    pub files: Arc<ProcessFiles>,
    /// Its machine's disk.
    pub disk: MemDisk,
}

impl Machine {
    /// A machine that is switched off; its files stand below `folder`.
    pub fn new(id: MachineId, folder: PathBuf, clock: MachineClock, chance: Chance) -> Machine {
        let name = format!("n{}", id + 1);
        Machine {
            id,
            address: address(id),
            clock: Arc::new(clock),
            folder: folder.join(&name),
            name,
            files: MachineFiles::default(),
            state: Mutex::new(State {
                chance,
                disk: MemDisk::new(),
                starts: 0,
                rot: Rot::None,
                retires: false,
                are_pages_due: false,
                damage: None,
            }),
            running: watch::Sender::new(None),
            pauses: watch::Sender::new(0),
        }
    }

    /// The process, if one answers.
    pub fn running(&self) -> Option<Running> {
        self.running.borrow().clone().filter(|running| running.life.is_alive())
    }

    /// Waits for a process that answers.
    pub async fn until_running(&self) -> Running {
        let mut running = self.running.subscribe();
        loop {
            if let Some(running) = self.running() {
                return running;
            }
            // The sender lives as long as `self`, so this cannot fail for good.
            let _ = running.changed().await;
        }
    }

    /// Its process stands still until [`Self::resume`]: what comes is kept, nothing leaves.
    pub fn pause(&self) {
        self.pauses.send_modify(|pauses| *pauses += 1);
    }

    /// A pause ends.
    pub fn resume(&self) {
        self.pauses.send_modify(|pauses| *pauses = pauses.saturating_sub(1));
    }

    /// Waits until its process does not stand still.
    pub async fn moving(&self) {
        // The sender lives as long as `self`.
        let _ = self.pauses.subscribe().wait_for(|pauses| *pauses == 0).await.map(drop);
    }

    /// It leaves the cluster, and must not be added again before it is wiped; or it stays after all.
    pub fn retire(&self, retires: bool) {
        lock(&self.state).retires = retires;
    }

    /// It leaves the cluster for good.
    pub fn is_retiring(&self) -> bool {
        lock(&self.state).retires
    }

    /// Bits of its files flip when it is down next.
    pub fn let_rot(&self) {
        lock(&self.state).rot = Rot::Due;
    }

    /// Bits of its log or its WAL have flipped, or will.
    fn is_rotten(&self) -> bool {
        lock(&self.state).rot != Rot::None
    }

    /// Bits of its database's pages flip when it is down next.
    pub fn let_pages_rot(&self) {
        lock(&self.state).are_pages_due = true;
    }

    /// Its database is applied to otherwise than on other machines, until [`Self::bring_back`].
    pub fn lead_astray(&self, running: &Running) {
        mutation::lead_astray(self.folder.clone());
        lock(&self.state).damage = Some(Damage {
            lies: false,
            goes_on: true,
            generation: damage::generation(&running.node.status()),
            through: u64::MAX,
        });
    }

    /// Ends what [`Self::lead_astray`] began.
    pub fn bring_back(&self) {
        mutation::bring_back(&self.folder);
        if let Some(damage) = lock(&self.state).damage.as_mut().filter(|damage| damage.goes_on) {
            // One may have taken the place of another meanwhile, and be wrong as well.
            damage.generation = None;
            damage.goes_on = false;
        }
    }

    /// Something of it is damaged, or will be.
    pub fn is_damaged(&self) -> bool {
        let state = lock(&self.state);
        state.rot != Rot::None || state.are_pages_due || state.damage.is_some()
    }

    /// Its database may be wrong.
    pub fn is_wrong(&self) -> bool {
        lock(&self.state).damage.is_some()
    }

    /// What it answers may be wrong.
    pub fn may_lie(&self) -> bool {
        lock(&self.state).damage.as_ref().is_some_and(|damage| damage.lies)
    }

    /// Its database came from a machine whose own may be wrong.
    pub fn inherit_damage(&self, from: &Machine, status: &Status) {
        let theirs = lock(&from.state).damage.clone();
        lock(&self.state).damage = theirs.map(|damage| Damage {
            goes_on: false,
            generation: damage::generation(status),
            ..damage
        });
    }

    /// Forgets the damage if it is gone; `sound` is one that was never wrong.
    pub fn settle(&self, status: &Status, sound: Option<&Status>) {
        let damage = &mut lock(&self.state).damage;
        if damage.as_mut().is_some_and(|damage| damage.is_over(status, sound)) {
            *damage = None;
        }
    }

    /// The node tells of its damage, as it must: the machine is replaced by one with an empty disk.
    fn give_up(&self, world: &World, life: &Life, problem: &str) {
        world.counts.add("damage refused");
        world.trace.line(&self.name, format_args!("is given up: {problem}"));
        life.die(Death::Wipe);
    }

    /// Starts its process again and again, until the world ends.
    pub async fn supervise(&self, world: &Arc<World>) {
        let mut death = None;
        loop {
            let (life, opened) = self.boot(world, death).await;
            let node = match opened {
                Ok(running) => self.run(world, running).await,
                Err(problem)
                    if life.is_alive() && (self.may_lie() || self.is_rotten() && tells_of_damage(&problem)) =>
                {
                    self.give_up(world, &life, &problem);
                    None
                }
                Err(problem) if life.is_alive() => {
                    world.doom(format!("{} does not start: {problem}", life.name));
                    life.die(Death::Kill);
                    None
                }
                Err(_) => None,
            };
            death = Some(self.bury(world, &life, node).await);
        }
    }

    /// Starts a process on what the last one left.
    async fn boot(&self, world: &Arc<World>, death: Option<Death>) -> (Arc<Life>, Result<Running, String>) {
        let life;
        let disk;
        let folder;
        let chance;
        {
            let mut state = lock(&self.state);
            state.starts += 1;
            let starts = state.starts;
            life = Arc::new(Life::new(format!("{}.{starts}", self.name), world.allowance.clone()));
            if starts > STARTS_MAX {
                return (life, Err(format!("more than {STARTS_MAX} starts")));
            }
            folder = self.folder.join(starts.to_string());
            if let Err(problem) = self.inherit(&mut state, &folder, death) {
                return (life, Err(format!("simulator: {problem}")));
            }
            if world.is_chaotic() && death.is_some() && state.chance.one_in(world.plan.unlucky_starts) {
                let death = *state.chance.pick(&[Death::Kill, Death::PowerLoss]);
                let operations = state.chance.below(80);
                life.die_after(operations, death);
            }
            disk = state.disk.clone();
            disk.lie(mutation::is(Mutation::NoLogFlush));
            chance = Chance::new(state.chance.number(), &life.name);
        }
        world.trace.line(&self.name, format_args!("starts as {}", life.name));
        if death.is_some() {
            world.counts.add("restarts");
        }
        let files = Arc::new(ProcessFiles::new(
            self.files.clone(),
            folder.clone(),
            life.clone(),
            world.trace.clone(),
        ));
        sqlite::faults::install(folder.clone(), files.clone());
        world.network.listen(self.id, life.clone(), None);
        let environment = Environment {
            transport: Arc::new(world.network.transport(self.id, life.clone())),
            disk: Arc::new(ProcessDisk::new(disk.clone(), life.clone(), world.trace.clone())),
            clock: self.clock.clone(),
            random: Arc::new(ProcessRandom::new(chance)),
            runner: Runner::Inline,
        };
        let config = self.config(world, folder.clone());
        let opened = tokio::select! {
            biased;
            death = life.died() => Err(format!("{death:?} while it started")),
            opened = tokio::time::timeout(BOOT_MAX, Node::open(config, environment)) => match opened {
                Ok(Ok(node)) => Ok(node),
                Ok(Err(error)) => Err(with_causes(&error)),
                Err(_) => Err("it hangs".to_owned()),
            },
        };
        self.files.prune(&folder);
        let running = opened.map(|node| Running {
            life: life.clone(),
            node,
            files,
            disk,
        });
        (life, running)
    }

    /// Fills `folder` and the disk with what a death left.
    fn inherit(&self, state: &mut State, folder: &std::path::Path, death: Option<Death>) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let Some(death) = death else { return Ok(()) };
        let last = self.folder.join((state.starts - 1).to_string());
        self.files.move_to(&last, folder, death, &mut state.chance)?;
        self.remove_old(state.starts)?;
        match death {
            Death::Kill => state.disk.restart(),
            Death::PowerLoss => {
                let State { chance, disk, .. } = state;
                disk.crash(&mut |bound| chance.below(bound));
            }
            Death::Wipe => {
                state.disk = MemDisk::new();
                state.rot = Rot::None;
                state.retires = false;
                state.are_pages_due = false;
                state.damage = None;
                mutation::bring_back(&self.folder);
            }
        }
        if std::mem::take(&mut state.are_pages_due) && self.files.flip_pages(folder, &mut state.chance)? {
            state.damage = Some(Damage {
                lies: true,
                goes_on: false,
                generation: damage::generation_in(folder),
                through: 0,
            });
        }
        if state.rot == Rot::Due {
            let State { chance, disk, rot, .. } = state;
            let has_flipped = if chance.one_in(2) {
                rot::flip(disk, chance)
            } else {
                self.files.flip_wal(folder, chance)?
            };
            *rot = if has_flipped { Rot::Done } else { Rot::None };
        }
        Ok(())
    }

    /// Removes the folder of the process before the last, which has long been buried.
    fn remove_old(&self, starts: u64) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.folder.join(starts.saturating_sub(2).to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn config(&self, world: &World, folder: PathBuf) -> Config {
        let mut config = Config::new(folder, self.name.clone(), self.address.clone());
        config.foreign_keys = world.plan.foreign_keys;
        config.snapshot_entries = world.plan.snapshot_entries;
        config.snapshot_wal_bytes = world.plan.wal_bytes;
        config.mark_entries = world.plan.mark_entries;
        config.compare_interval = Duration::from_millis(world.plan.compare_ms);
        config.verify_interval = Duration::from_millis(world.plan.verify_ms);
        config.log.segment_bytes = world.plan.segment_bytes;
        // The real disk under the simulated one is nobody's business.
        config.disk_watermark = 0;
        config
    }

    /// Lets a process answer until it dies.
    async fn run(&self, world: &Arc<World>, running: Running) -> Option<Node> {
        let Running { life, node, .. } = running.clone();
        world.network.listen(self.id, life.clone(), Some(node.clone()));
        world
            .trace
            .line(&self.name, format_args!("answers as node {}", node.peer().id));
        self.running.send_replace(Some(running));
        tokio::select! {
            biased;
            _ = life.died() => {}
            reason = node.stopped() => if life.is_alive() {
                if self.is_rotten() && tells_of_damage(&reason) {
                    self.give_up(world, &life, &reason);
                } else if life.may_stop() {
                    world.trace.line(&self.name, format_args!("stopped by itself: {reason}"));
                    life.die(Death::PowerLoss);
                } else {
                    world.doom(format!("{} stopped by itself, without a fault: {reason}", life.name));
                    life.die(Death::Kill);
                }
            },
        }
        Some(node)
    }

    /// Takes a dead process out of the world, and waits as long as the machine stays down.
    async fn bury(&self, world: &Arc<World>, life: &Arc<Life>, node: Option<Node>) -> Death {
        let death = life.died().await;
        world.network.hang_up(self.id, death);
        self.running.send_replace(None);
        let folder = self.folder.join(lock(&self.state).starts.to_string());
        world.trace.line(&self.name, format_args!("is down: {death:?}"));
        tokio::spawn(async move {
            if let Some(node) = node {
                // What it still tries is refused; a hang of a dead process is of no interest.
                let _ = tokio::time::timeout(BURIAL, node.shutdown()).await;
            }
            sqlite::faults::remove(&folder);
        });
        let pause = if world.is_chaotic() {
            lock(&self.state).chance.millis(20, 2500)
        } else {
            Duration::from_millis(20)
        };
        tokio::time::sleep(pause).await;
        death
    }
}

/// A message says what is wrong with the files. A bit in the head of a segment may make it one of a later release; a WAL
/// that lost what was not copied yet may end before what the log was purged through.
fn tells_of_damage(problem: &str) -> bool {
    const WORDS: [&str; 4] = [
        "is damaged at offset",
        "has the unknown version",
        "has the unknown magic",
        "a log that starts after entry",
    ];
    WORDS.iter().any(|words| problem.contains(words))
}

/// The address of a machine.
pub fn address(id: MachineId) -> String {
    format!("n{}:4002", id + 1)
}

/// A peer's name in the trace.
pub fn label(peer: &Peer) -> String {
    format!("{} ({})", peer.name, peer.id)
}

/// An error with all its causes.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

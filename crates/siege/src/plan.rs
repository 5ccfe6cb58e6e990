//! What a round's seed decides before it begins: which faults, how likely each, how close to each other.

use checkers::chance::Chance;

/// A kind of fault, or of operation that is worth a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// kill -9 of one process.
    Kill,
    /// kill -9 of the leader.
    KillLeader,
    /// SIGTERM, and a new start.
    Restart,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// One machine loses power.
    PowerLoss,
    /// All machines lose power at once.
    Blackout,
    /// A node is cut off from all others.
    Isolation,
    /// What one node sends to another is dropped, or to all others.
    OneWayCut,
    /// What one node sends to another is late.
    SlowRoute,
    /// Parts of what one node sends to another come late, as after a loss.
    LossyRoute,
    /// All connections between two nodes break.
    Reset,
    /// A bit flips between two nodes.
    Garble,
    /// A disk has less space than the watermark.
    LowDisk,
    /// A disk has no space.
    FullDisk,
    /// Flushes take long.
    SlowDisk,
    /// A flush fails.
    FailedFlush,
    /// A write fails.
    FailedWrite,
    /// A wall clock jumps.
    ClockJump,
    /// A node is removed, and comes back with an empty disk.
    Replacement,
    /// A node comes back with an empty disk, and nobody removed it.
    Wipe,
    /// A node makes a snapshot.
    Snapshot,
    /// Leadership is handed over.
    Transfer,
}

/// What a fault needs of the machine, or of the round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Nothing,
    /// Packets that can be dropped.
    Rules,
    /// The proxy.
    Proxy,
    /// A file system for each disk.
    OwnDisk,
}

/// Each kind, its name, how likely it is before the seed's temper, and what it needs.
const KINDS: &[(Fault, &str, u64, Need)] = &[
    (Fault::Kill, "kill", 8, Need::Nothing),
    (Fault::KillLeader, "leader killed", 6, Need::Nothing),
    (Fault::Restart, "restart", 5, Need::Nothing),
    (Fault::Pause, "pause", 8, Need::Nothing),
    (Fault::PowerLoss, "power loss", 6, Need::Nothing),
    (Fault::Blackout, "blackout", 4, Need::Nothing),
    (Fault::Isolation, "isolation", 8, Need::Rules),
    (Fault::OneWayCut, "one-way cut", 10, Need::Rules),
    (Fault::SlowRoute, "slow route", 6, Need::Proxy),
    (Fault::LossyRoute, "lossy route", 6, Need::Proxy),
    (Fault::Reset, "reset", 6, Need::Proxy),
    (Fault::Garble, "garbled chunk", 5, Need::Proxy),
    (Fault::LowDisk, "low disk", 3, Need::OwnDisk),
    (Fault::FullDisk, "full disk", 3, Need::OwnDisk),
    (Fault::SlowDisk, "slow disk", 5, Need::Nothing),
    (Fault::FailedFlush, "failed flush", 3, Need::Nothing),
    (Fault::FailedWrite, "failed write", 3, Need::Nothing),
    (Fault::ClockJump, "clock jump", 4, Need::Nothing),
    (Fault::Replacement, "replacement", 3, Need::Nothing),
    (Fault::Wipe, "wipe", 2, Need::Nothing),
    (Fault::Snapshot, "snapshot", 5, Need::Nothing),
    (Fault::Transfer, "transfer", 5, Need::Nothing),
];

/// What the machine has.
#[derive(Debug, Clone, Copy)]
pub struct Means {
    /// Packets can be dropped.
    pub rules: bool,
    /// Each disk is a file system.
    pub own_disks: bool,
}

/// A round, as its seed has it.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The kinds of faults, and how likely each is.
    pub faults: Vec<(u64, Fault)>,
    /// Packets go straight between nodes, not through the proxy.
    pub is_straight: bool,
    /// Most time between two faults, in milliseconds.
    pub calm_ms: u64,
    /// Clients that work at once.
    pub clients: u64,
    /// Most time that a client thinks, in milliseconds.
    pub think_ms: u64,
}

impl Fault {
    /// As it is counted.
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, ..)| *kind == self)
            .map_or("?", |(_, name, ..)| name)
    }
}

/// The names of all faults that can be had with `means`.
pub fn expected(means: Means) -> impl Iterator<Item = &'static str> {
    let can = move |need: Need| means.has(need);
    KINDS
        .iter()
        .filter(move |(.., need)| can(*need))
        .map(|(_, name, ..)| *name)
}

impl Means {
    fn has(self, need: Need) -> bool {
        match need {
            Need::Nothing | Need::Proxy => true,
            Need::Rules => self.rules,
            Need::OwnDisk => self.own_disks,
        }
    }
}

impl Plan {
    /// The plan of `seed`.
    pub fn new(seed: u64, means: Means) -> Plan {
        let mut chance = Chance::new(seed, "plan");
        let is_straight = means.rules && chance.one_in(3);
        let can = |need: Need| means.has(need) && !(is_straight && need == Need::Proxy);
        let possible = KINDS.iter().filter(|(.., need)| can(*need));
        let even: Vec<(u64, Fault)> = possible.map(|(fault, _, weight, _)| (*weight, *fault)).collect();
        let mut temper = |(weight, fault): &(u64, Fault)| (weight * chance.weighted(&[(2, 0), (5, 1), (2, 4)]), *fault);
        let faults: Vec<(u64, Fault)> = even.iter().map(&mut temper).collect();
        let is_calm = faults.iter().all(|(weight, _)| *weight == 0);
        Plan {
            faults: if is_calm { even } else { faults },
            is_straight,
            calm_ms: *chance.pick(&[400, 1000, 2000]),
            clients: chance.between(8, 17),
            think_ms: *chance.pick(&[10, 30, 80]),
        }
    }
}

#[cfg(test)]
mod tests;

//! Who is where, and which packets pass.
//!
//! ```text
//!   namespace n1                    the siege's own                       namespace n2
//!   10.66.1.1 ──── 10.66.1.254        proxies, clients        10.66.2.254 ──── 10.66.2.1
//!                    10.77.0.2: where the others find n2, a proxy, or a route straight to n2
//!                    10.78.1.2: what the proxy calls n2 from, on behalf of n1
//! ```
//!
//! Each node is announced under an address of its own, 10.77.0.N. That is the proxy's, which sees by the caller's address
//! who calls; or it is the node's, and packets go straight to it. A cut is a rule that drops packets, so that it can go
//! one way. Where there are no namespaces, all of that is a loopback network with the proxy alone.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Mutex;

use anyhow::Result;
use checkers::chance::{Chance, lock};

use crate::enclosure::{self, Enclosure};
use crate::shell;

const HTTP_PORT: u16 = 4001;
const RAFT_PORT: u16 = 4002;

/// A node's number, from 0.
pub type NodeId = usize;

/// The network of a siege.
pub struct Topology {
    nodes: usize,
    has_network: bool,
    /// Where there are no namespaces: a corner of the loopback network that nobody else is likely to use.
    corner: u8,
    /// Rules that drop packets now, and how many cuts want each.
    rules: Mutex<BTreeMap<String, usize>>,
}

impl Topology {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// When ip(8) cannot.
    pub fn new(nodes: usize, enclosure: Enclosure, chance: &mut Chance) -> Result<Topology> {
        let topology = Topology {
            nodes,
            has_network: enclosure.has_network(),
            corner: u8::try_from(chance.between(10, 250)).unwrap_or(10),
            rules: Mutex::default(),
        };
        if topology.has_network {
            enclosure::furnish()?;
            topology.link()?;
        }
        Ok(topology)
    }

    fn link(&self) -> Result<()> {
        // Rules of ours come before the one for what is local.
        let mut lines = vec![
            "rule add prio 100 lookup local".to_owned(),
            "rule del prio 0".to_owned(),
        ];
        for node in 0..self.nodes {
            let (name, number) = (namespace(node), node + 1);
            shell::run(&["ip", "netns", "add", &name])?;
            lines.extend([
                format!("link add v{number} type veth peer name eth0 netns {name}"),
                format!("addr add 10.66.{number}.254/24 dev v{number}"),
                format!("link set v{number} up"),
                format!("addr add {}/32 dev lo", self.public_ip(node)),
            ]);
            lines.extend((0..self.nodes).map(|to| format!("addr add {}/32 dev lo", source_ip(node, to))));
        }
        shell::feed(&["ip", "-batch", "-"], &lines.join("\n"))?;
        for node in 0..self.nodes {
            let lines = [
                "link set lo up".to_owned(),
                format!("addr add {}/32 dev lo", self.public_ip(node)),
                format!("addr add {}/24 dev eth0", self.own_ip(node)),
                "link set eth0 up".to_owned(),
                format!("route add default via 10.66.{}.254", node + 1),
            ];
            shell::feed(&["ip", "-n", &namespace(node), "-batch", "-"], &lines.join("\n"))?;
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        Ok(())
    }

    /// Packets can be dropped, and go past the proxy.
    pub fn has_network(&self) -> bool {
        self.has_network
    }

    fn own_ip(&self, node: NodeId) -> Ipv4Addr {
        let number = byte(node + 1);
        if self.has_network {
            Ipv4Addr::new(10, 66, number, 1)
        } else {
            Ipv4Addr::new(127, self.corner, number, 1)
        }
    }

    fn public_ip(&self, node: NodeId) -> Ipv4Addr {
        let number = byte(node + 1);
        if self.has_network {
            Ipv4Addr::new(10, 77, 0, number)
        } else {
            Ipv4Addr::new(127, self.corner, 0, number)
        }
    }

    /// Where clients find a node.
    pub fn http(&self, node: NodeId) -> SocketAddrV4 {
        SocketAddrV4::new(self.own_ip(node), HTTP_PORT)
    }

    /// Where a node listens for the others.
    pub fn listen(&self, node: NodeId) -> SocketAddrV4 {
        let ip = if self.has_network {
            Ipv4Addr::UNSPECIFIED
        } else {
            self.own_ip(node)
        };
        SocketAddrV4::new(ip, RAFT_PORT)
    }

    /// Where the others are told to find it; where the proxy listens.
    pub fn public(&self, node: NodeId) -> SocketAddrV4 {
        SocketAddrV4::new(self.public_ip(node), RAFT_PORT)
    }

    /// Where the proxy finds it.
    pub fn behind(&self, node: NodeId) -> SocketAddrV4 {
        SocketAddrV4::new(self.own_ip(node), RAFT_PORT)
    }

    /// What the proxy calls `to` from, on behalf of `from`.
    pub fn source(&self, from: NodeId, to: NodeId) -> Option<Ipv4Addr> {
        (self.has_network && from < self.nodes).then(|| source_ip(from, to))
    }

    /// The node that calls from an address; the number after the last where that cannot be told.
    pub fn caller(&self, ip: Ipv4Addr) -> NodeId {
        let known = (0..self.nodes).find(|node| self.has_network && self.own_ip(*node) == ip);
        known.unwrap_or(self.nodes)
    }

    /// The words before a node's program: it runs in its namespace, and does not outlive us.
    pub fn wrapper(&self, node: NodeId) -> Vec<String> {
        if self.has_network {
            vec![
                "nsenter".to_owned(),
                format!("--net={}/{}", enclosure::NAMED, namespace(node)),
            ]
        } else {
            ["setpriv", "--pdeathsig", "KILL"].map(str::to_owned).into()
        }
    }

    /// Drops what `from` sends to `to`, in each connection between the two.
    ///
    /// # Errors
    ///
    /// When ip(8) cannot.
    pub fn cut(&self, from: NodeId, to: NodeId) -> Result<()> {
        let mut known = lock(&self.rules);
        let mut lines = Vec::new();
        for rule in self.rules_of(from, to) {
            let cuts = known.entry(rule.clone()).or_default();
            *cuts += 1;
            if *cuts == 1 {
                lines.push(format!("rule add {rule}"));
            }
        }
        shell::feed(&["ip", "-batch", "-"], &lines.join("\n")).map(drop)
    }

    /// Takes one such cut back.
    ///
    /// # Errors
    ///
    /// When ip(8) cannot.
    pub fn mend(&self, from: NodeId, to: NodeId) -> Result<()> {
        let mut known = lock(&self.rules);
        let mut lines = Vec::new();
        for rule in self.rules_of(from, to) {
            let cuts = known.entry(rule.clone()).or_default();
            *cuts = cuts.saturating_sub(1);
            if *cuts == 0 {
                known.remove(&rule);
                lines.push(format!("rule del {rule}"));
            }
        }
        shell::feed(&["ip", "-batch", "-"], &lines.join("\n")).map(drop)
    }

    fn rules_of(&self, from: NodeId, to: NodeId) -> Vec<String> {
        let rule = |one: Ipv4Addr, other: Ipv4Addr| format!("prio 10 from {one} to {other} blackhole");
        vec![
            // What it says to the other, straight or to the proxy; its answers to the proxy; its answers straight.
            rule(self.own_ip(from), self.public_ip(to)),
            rule(self.own_ip(from), source_ip(to, from)),
            rule(self.public_ip(from), self.own_ip(to)),
        ]
    }

    /// Lets packets go straight between nodes, or to the proxy. Connections break.
    ///
    /// # Errors
    ///
    /// When ip(8) cannot.
    pub fn bypass(&self, is_straight: bool) -> Result<()> {
        let lines = |node: NodeId| {
            let (public, own) = (self.public_ip(node), self.own_ip(node));
            if is_straight {
                [
                    format!("addr del {public}/32 dev lo"),
                    format!("route add {public}/32 via {own}"),
                ]
            } else {
                [
                    format!("route del {public}/32 via {own}"),
                    format!("addr add {public}/32 dev lo"),
                ]
            }
        };
        let lines: Vec<String> = (0..self.nodes).flat_map(lines).collect();
        shell::feed(&["ip", "-batch", "-"], &lines.join("\n")).map(drop)
    }
}

fn namespace(node: NodeId) -> String {
    format!("n{}", node + 1)
}

fn source_ip(from: NodeId, to: NodeId) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, byte(from + 1), byte(to + 1))
}

fn byte(number: usize) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests;

//! The table as data: each row's load, where it runs, what its floor is, and what rqlite v10.3 gave.

#[cfg(test)]
mod tests;

/// Which server a load goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Site {
    /// One node.
    Lone,
    /// The leader of three nodes on this machine.
    Leader,
    /// A follower of the same three.
    Follower,
}

/// What a row stands beside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Floor {
    /// The bare write server, under the same load.
    Write,
    /// The bare read server, under the same number of clients.
    Read,
    /// The no-op server, under the same number of clients.
    Noop,
    /// A figure of the raw loops.
    Raw(&'static str),
}

/// One load.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its name in the table.
    pub name: &'static str,
    /// The server.
    pub site: Site,
    /// Words for the load generator.
    pub load: &'static str,
    /// Clients.
    pub clients: u32,
    /// What it stands beside.
    pub floor: Floor,
    /// What rqlite v10.3 did, as published in the design: rows per second.
    pub reference: f64,
}

/// The disk's floor.
pub const RAW_FLUSHES: &str = "raw disk, flushes of a 256-byte record";
/// Raw inserts at 64 per transaction: the floor of bulk writes.
pub const RAW_INSERTS: &str = "raw SQLite, inserts, 64 per transaction";
/// Raw scans: the floor of big results.
pub const RAW_SCANS: &str = "raw SQLite, scans of 10,000 x 5";

const fn row(name: &'static str, site: Site, load: &'static str, clients: u32, floor: Floor, reference: f64) -> Row {
    Row {
        name,
        site,
        load,
        clients,
        floor,
        reference,
    }
}

use Floor::{Noop, Raw, Read, Write};
use Site::{Follower, Leader, Lone};

/// All loads, in the order in which they run. Reads come first, so that the writes do not decide what is cached.
#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    row("point reads, level none", Lone, "read -l none", 64, Read, 17_564.0),
    row("point reads, level weak", Lone, "read -l weak", 64, Read, 18_026.0),
    row("point reads, level linearizable", Lone, "read -l linearizable", 64, Read, 16_049.0),
    row("point reads, level strong", Lone, "read -l strong", 64, Read, 9_685.0),
    row("10,000 rows x 5 columns", Lone, "big -l none", 1, Raw(RAW_SCANS), 14.0 * 10_000.0),
    row("durable writes", Lone, "write", 1, Write, 1_754.0),
    row("durable writes", Lone, "write", 8, Write, 5_467.0),
    row("durable writes", Lone, "write", 64, Write, 10_971.0),
    row("durable writes", Lone, "write", 256, Write, 12_720.0),
    row("queued writes, applied", Lone, "queued", 1, Noop, 10_672.0),
    row("queued writes, applied", Lone, "queued", 64, Noop, 27_252.0),
    row("bulk writes, 1,000 rows a request", Lone, "bulk", 1, Raw(RAW_INSERTS), 87_035.0),
    row("bulk writes, 1,000 rows a request", Lone, "bulk", 8, Raw(RAW_INSERTS), 143_648.0),
    row("linearizable reads, 3 nodes", Leader, "read -l linearizable", 1, Read, 2_554.0),
    row("linearizable reads, 3 nodes", Leader, "read -l linearizable", 64, Read, 11_781.0),
    row("durable writes, 3 nodes", Leader, "write", 1, Write, 488.0),
    row("durable writes, 3 nodes", Leader, "write", 8, Write, 1_437.0),
    row("durable writes, 3 nodes", Leader, "write", 64, Write, 4_205.0),
    row("durable writes, 3 nodes", Leader, "write", 256, Write, 6_885.0),
    row("durable writes, 3 nodes, via a follower", Follower, "write", 1, Write, 432.0),
    row("durable writes, 3 nodes, via a follower", Follower, "write", 64, Write, 3_363.0),
];

impl Row {
    /// Its name with the number of clients.
    pub fn title(&self) -> String {
        let plural = if self.clients == 1 { "" } else { "s" };
        format!("{}, {} client{plural}", self.name, self.clients)
    }

    /// Whether it writes single rows: flushes and bytes per row are counted then.
    pub fn is_counted(&self) -> bool {
        self.load == "write" && self.site == Site::Lone
    }
}

/// Figures that are not loads: name, unit, what rqlite v10.3 gave.
pub const OTHERS: &[(&str, &str, &str)] = &[
    (START_EMPTY, "ms", "1,200–2,000"),
    (RESTART, "ms", "1,800–2,300"),
    (MEMORY_IDLE, "MB", "24"),
    (MEMORY_AFTER, "MB", "135"),
];

/// From start to ready on an empty directory.
pub const START_EMPTY: &str = "start to ready, empty";
/// From start to ready after kill -9.
pub const RESTART: &str = "restart to ready after kill -9, 120,000 rows";
/// Resident memory once ready.
pub const MEMORY_IDLE: &str = "memory, idle";
/// Resident memory after all loads of a round.
pub const MEMORY_AFTER: &str = "memory, after the writes of a round";

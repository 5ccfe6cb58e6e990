//! One round: raw floors, bare servers, one node, three nodes; all on fresh directories.

use std::path::Path;

use super::children::{Bare, Node};
use super::load::{self, Load};
use super::rows::{self, Floor, ROWS, Row, Site};
use super::samples::{Measure, Samples};
use super::{consensus, probe, say};
use crate::floors;
use crate::options::Options;

/// Requests of 1,000 rows before the restart that is measured.
const RESTART_LOAD: &str = "bulk -n 120";
const WARMUP: &str = "300ms";

/// The bare servers of a round.
struct Floors {
    noop: Bare,
    read: Bare,
    write: Bare,
}

/// What a process has counted since it began.
#[derive(Debug, Clone, Copy)]
struct Counts {
    flushes: Option<u64>,
    bytes: u64,
}

/// A load, and what each of its rows cost.
#[derive(Debug, Clone, Copy)]
struct Run {
    load: Load,
    flushes_per_row: Option<f64>,
    bytes_per_row: f64,
}

/// Runs one round.
///
/// # Errors
///
/// If a floor cannot be measured. What the server cannot do is noted in `samples`.
pub fn run(options: &Options, samples: &mut Samples) -> anyhow::Result<()> {
    let dir = tempfile::Builder::new()
        .prefix("quorlite-bench-")
        .tempdir_in(&options.dir)?;
    raw(options, dir.path(), samples)?;
    if let Some(program) = &options.consensus {
        consensus::turns(program, options.time, samples)?;
    }
    let floors = start_floors(dir.path())?;
    if options.quorlited.is_none() {
        return floors_alone(options, &floors, samples);
    }
    if let Err(error) = lone(options, dir.path(), &floors, samples) {
        miss_site(options, samples, |site| site == Site::Lone, &format!("{error:#}"));
    }
    if let Err(error) = cluster(options, dir.path(), &floors, samples) {
        miss_site(options, samples, |site| site != Site::Lone, &format!("{error:#}"));
    }
    Ok(())
}

fn raw(options: &Options, dir: &Path, samples: &mut Samples) -> anyhow::Result<()> {
    say("  raw disk and raw SQLite");
    let disk = floors::disk::flushes(dir, options.time)?;
    let sqlite = floors::sqlite::figures(dir, options.time / 2)?;
    for (name, value) in [
        (rows::RAW_FLUSHES, disk.per_s),
        ("raw SQLite, inserts, 1 per transaction", sqlite.inserts),
        (rows::RAW_INSERTS, sqlite.inserts_batched),
        (
            "raw SQLite, inserts, 1 per transaction, in a savepoint",
            sqlite.inserts_savepoint,
        ),
        (
            "raw SQLite, inserts, 64 per transaction, in savepoints",
            sqlite.inserts_batched_savepoint,
        ),
        ("raw SQLite, point selects", sqlite.selects),
        (rows::RAW_SCANS, sqlite.scans * floors::sqlite::BIG_ROWS as f64),
    ] {
        samples.add(name, Measure::Main, value, None);
    }
    samples.add(rows::RAW_FLUSHES, Measure::P50, disk.p50_us / 1e3, None);
    samples.add(rows::RAW_FLUSHES, Measure::P99, disk.p99_us / 1e3, None);
    Ok(())
}

fn start_floors(dir: &Path) -> anyhow::Result<Floors> {
    let sub = |name: &str| {
        let path = dir.join(name);
        std::fs::create_dir(&path).map(|()| path)
    };
    Ok(Floors {
        noop: Bare::start("noop", None)?,
        read: Bare::start("read", Some(&sub("floor-read")?))?,
        write: Bare::start("write", Some(&sub("floor-write")?))?,
    })
}

/// Without a server: each floor once, under every load that some row puts on it.
fn floors_alone(options: &Options, floors: &Floors, samples: &mut Samples) -> anyhow::Result<()> {
    let mut done = Vec::new();
    for row in ROWS.iter().filter(|row| options.wants(row.name)) {
        if !done.contains(&(row.floor, row.clients)) {
            done.push((row.floor, row.clients));
            floor_turn(options, floors, row, samples)?;
        }
    }
    Ok(())
}

/// Runs the floor of a row; there is nothing to run for a raw one.
fn floor_turn(options: &Options, floors: &Floors, row: &Row, samples: &mut Samples) -> anyhow::Result<Option<Run>> {
    let (name, server, work) = match row.floor {
        Floor::Write => ("bare write server", &floors.write, "write --no-setup"),
        Floor::Read => ("bare read server", &floors.read, "read --no-setup"),
        Floor::Noop => ("HTTP no-op server", &floors.noop, "write --no-setup"),
        Floor::Raw(_) => return Ok(None),
    };
    let title = Row { name, ..*row }.title();
    let run = measure(
        options,
        &title,
        work,
        row.clients,
        (&server.address, server.process.id()),
    )?;
    add(samples, &title, &run, None, row.floor == Floor::Write);
    Ok(Some(run))
}

fn lone(options: &Options, dir: &Path, floors: &Floors, samples: &mut Samples) -> anyhow::Result<()> {
    let mut node = Node::start(options, "n1", dir, None)?;
    samples.add(
        rows::START_EMPTY,
        Measure::Main,
        node.start_time.as_secs_f64() * 1e3,
        None,
    );
    samples.add(rows::MEMORY_IDLE, Measure::Main, megabytes(node.process_id())?, None);
    restart(options, &mut node, samples);
    for row in ROWS
        .iter()
        .filter(|row| row.site == Site::Lone && options.wants(row.name))
    {
        turn(options, floors, row, (&node.http, node.process_id()), samples)?;
    }
    samples.add(rows::MEMORY_AFTER, Measure::Main, megabytes(node.process_id())?, None);
    Ok(())
}

fn restart(options: &Options, node: &mut Node, samples: &mut Samples) {
    let restarted = load::run(options, RESTART_LOAD, &node.http).and_then(|_| node.kill_and_restart());
    match restarted {
        Ok(time) => samples.add(rows::RESTART, Measure::Main, time.as_secs_f64() * 1e3, None),
        Err(error) => samples.miss(rows::RESTART, &format!("{error:#}")),
    }
}

fn cluster(options: &Options, dir: &Path, floors: &Floors, samples: &mut Samples) -> anyhow::Result<()> {
    let wanted: Vec<&Row> = ROWS
        .iter()
        .filter(|row| row.site != Site::Lone && options.wants(row.name))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let first = Node::start(options, "c1", dir, None)?;
    let second = Node::start(options, "c2", dir, Some(&first.raft))?;
    let third = Node::start(options, "c3", dir, Some(&first.raft))?;
    let nodes = [&first, &second, &third];
    let addresses: Vec<String> = nodes.iter().map(|node| node.http.clone()).collect();
    for row in wanted {
        // Asked anew each time: leadership may have moved, and a row through the wrong node is another row.
        let leader = probe::leader(&addresses).unwrap_or_else(|| first.http.clone());
        let through_leader = row.site == Site::Leader;
        let Some(node) = nodes.iter().find(|node| (node.http == leader) == through_leader) else {
            continue;
        };
        turn(options, floors, row, (&node.http, node.process_id()), samples)?;
    }
    Ok(())
}

/// Runs a row's floor, then the row.
fn turn(
    options: &Options,
    floors: &Floors,
    row: &Row,
    server: (&str, u32),
    samples: &mut Samples,
) -> anyhow::Result<()> {
    let floor = floor_turn(options, floors, row, samples)?;
    let title = row.title();
    match measure(options, &title, row.load, row.clients, server) {
        Ok(run) => add(samples, &title, &run, beside(row, floor, samples), row.is_counted()),
        Err(error) => samples.miss(&title, &format!("{error:#}")),
    }
    Ok(())
}

/// What a row stands beside: the floor's run, or a rate of the raw loops of this round.
fn beside(row: &Row, floor: Option<Run>, samples: &Samples) -> Option<Beside> {
    match row.floor {
        Floor::Raw(name) => Some(Beside::Rate(samples.turns(name, Measure::Main).last()?.value)),
        Floor::Write | Floor::Read | Floor::Noop => floor.map(Beside::Run),
    }
}

#[derive(Debug, Clone, Copy)]
enum Beside {
    Run(Run),
    Rate(f64),
}

fn measure(
    options: &Options,
    title: &str,
    work: &str,
    clients: u32,
    (address, process): (&str, u32),
) -> anyhow::Result<Run> {
    say(&format!("  {title}"));
    let seconds = options.time.as_secs_f64();
    let before = counts(process, address)?;
    let load = load::run(
        options,
        &format!("{work} -c {clients} -d {seconds}s -w {WARMUP}"),
        address,
    )?;
    let after = counts(process, address)?;
    let flushes = after.flushes.zip(before.flushes).map(|(after, before)| after - before);
    Ok(Run {
        load,
        flushes_per_row: flushes.map(|flushes| flushes as f64 / load.acknowledged),
        bytes_per_row: (after.bytes - before.bytes) as f64 / load.acknowledged,
    })
}

fn counts(process: u32, address: &str) -> anyhow::Result<Counts> {
    Ok(Counts {
        flushes: probe::flushes(address),
        bytes: probe::written_bytes(process)?,
    })
}

/// Adds the figures of a run, those per row too if it is a counted one.
fn add(samples: &mut Samples, title: &str, run: &Run, beside: Option<Beside>, is_counted: bool) {
    let floor = match beside {
        Some(Beside::Run(floor)) => Some(floor),
        Some(Beside::Rate(_)) | None => None,
    };
    let rate = match beside {
        Some(Beside::Rate(rate)) => Some(rate),
        Some(Beside::Run(floor)) => Some(floor.load.rows_per_s),
        None => None,
    };
    samples.add(title, Measure::Main, run.load.rows_per_s, rate);
    samples.add(
        title,
        Measure::P50,
        run.load.p50_ms,
        floor.map(|floor| floor.load.p50_ms),
    );
    samples.add(
        title,
        Measure::P99,
        run.load.p99_ms,
        floor.map(|floor| floor.load.p99_ms),
    );
    samples.add(
        title,
        Measure::Max,
        run.load.max_ms,
        floor.map(|floor| floor.load.max_ms),
    );
    if !is_counted {
        return;
    }
    if let Some(flushes) = run.flushes_per_row {
        samples.add(
            title,
            Measure::Flushes,
            flushes,
            floor.and_then(|floor| floor.flushes_per_row),
        );
    }
    samples.add(
        title,
        Measure::Bytes,
        run.bytes_per_row,
        floor.map(|floor| floor.bytes_per_row),
    );
}

fn miss_site(options: &Options, samples: &mut Samples, of_site: fn(Site) -> bool, reason: &str) {
    say(&format!("  failed: {reason}"));
    for row in ROWS.iter().filter(|row| of_site(row.site) && options.wants(row.name)) {
        samples.miss(&row.title(), reason);
    }
    if of_site(Site::Lone) {
        rows::OTHERS.iter().for_each(|(name, ..)| samples.miss(name, reason));
    }
}

fn megabytes(process: u32) -> anyhow::Result<f64> {
    Ok(probe::resident_bytes(process)? as f64 / 1e6)
}

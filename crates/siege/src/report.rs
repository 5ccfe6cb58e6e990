//! A siege from its first round to its last, and what is printed of it.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::arguments::Arguments;
use crate::enclosure::Enclosure;
use crate::plan::{self, Means, Plan};
use crate::round::Round;
use crate::siege::Siege;
use crate::work::Work;

/// From so many rounds on, a kind of fault or of work that never came is a failure.
const ROUNDS_FOR_ALL: u64 = 20;

/// Violations that are printed: the first ones say it all.
const FAILURES_MAX: usize = 20;

/// What must come in a long siege besides each kind of fault.
const WORK: &[&str] = &[
    "acknowledged",
    "refused",
    "unknown",
    "linearizable reads",
    "session reads",
    "register operations",
    "transactions on lists",
    "keys used again",
    "exotic requests",
    "stops as they should be",
    "bytes lost in power cuts",
];

/// Runs all rounds.
///
/// # Errors
///
/// When the machine does not allow it.
pub fn run(arguments: &Arguments, enclosure: Enclosure) -> Result<ExitCode> {
    let seed = arguments.seed.unwrap_or_else(seed);
    let work = Work::new()?;
    let siege = Siege::new(arguments, enclosure, work.path(), seed)?;
    let means = Means {
        rules: siege.topology.has_network(),
        own_disks: siege.nodes.iter().all(|node| node.disk.is_own()),
    };
    greet(arguments, enclosure, means, seed);
    siege.guard()?;
    for node in &siege.nodes {
        node.want(Duration::ZERO);
    }
    let chaos = Duration::from_secs(arguments.seconds);
    for number in 1..=arguments.rounds {
        let plan = Plan::new(seed + number - 1, means);
        one(&siege, number, seed + number - 1, plan, chaos);
        if siege.has_failed() {
            break;
        }
    }
    if !siege.has_failed() {
        finish(&siege);
    }
    siege.end();
    if !siege.has_failed() && arguments.rounds >= ROUNDS_FOR_ALL && !arguments.is_sabotage() {
        expect_all(&siege, means);
    }
    for node in &siege.nodes {
        node.kill()?;
    }
    verdict(arguments, &siege, &work, seed)
}

/// One round, and its line.
fn one(siege: &Arc<Siege>, number: u64, seed: u64, plan: Plan, chaos: Duration) {
    let before = siege.counts.all();
    let round = Round::new(siege.clone(), number, seed, plan);
    if let Err(error) = round.run(chaos) {
        siege.fail(format!("{error:#}"));
    }
    let word = if siege.has_failed() { "FAILED" } else { "ok" };
    say(&format!(
        "round {number} {word}, seed {seed}: {}",
        told(&since(&before, &siege.counts.all()))
    ));
}

/// Every node stops when it is told to.
fn finish(siege: &Siege) {
    for node in &siege.nodes {
        if let Err(error) = node.finish() {
            siege.fail(format!("{error:#}"));
        }
    }
}

fn expect_all(siege: &Siege, means: Means) {
    let counts = siege.counts.all();
    for name in plan::expected(means).chain(WORK.iter().copied()) {
        if counts.get(name).copied().unwrap_or(0) == 0 {
            siege.fail(format!("not once in all rounds: {name}"));
        }
    }
}

fn verdict(arguments: &Arguments, siege: &Siege, work: &Work, seed: u64) -> Result<ExitCode> {
    say(&format!("all rounds: {}", told(&siege.counts.all())));
    let failures = siege.failures();
    for failure in failures.iter().take(FAILURES_MAX) {
        say(&format!("violation: {failure}"));
    }
    let is_interrupted = failures.iter().any(|failure| failure == "interrupted");
    let is_good = failures.is_empty() != arguments.is_sabotage() && !is_interrupted;
    if !failures.is_empty() && !is_good {
        let kept = work.keep(&format!("{seed}"), siege.nodes.len())?;
        std::fs::copy(work.path().join("story.txt"), kept.join("story.txt"))?;
        say(&format!("kept: disks, logs and story in {}", kept.display()));
    }
    let word = if is_good { "PASS" } else { "FAIL" };
    let what = if arguments.is_sabotage() {
        ", where a violation must be found"
    } else {
        ""
    };
    say(&format!(
        "{word} siege of {} nodes, {} rounds of {} s from seed {seed}{what}",
        arguments.nodes, arguments.rounds, arguments.seconds
    ));
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn greet(arguments: &Arguments, enclosure: Enclosure, means: Means, seed: u64) {
    say(&format!(
        "siege of {} nodes from seed {seed}: {}",
        arguments.nodes,
        arguments.bin.display()
    ));
    match enclosure {
        Enclosure::Root => {}
        Enclosure::User => say("NOT ROOT: disks are in memory"),
        Enclosure::Open => say("NO NAMESPACES on this machine: nothing is cut off, no disk is full"),
    }
    if !means.own_disks && enclosure.has_network() {
        say("NO FILE SYSTEMS of their own on this machine: no disk is full");
    }
}

fn since(before: &BTreeMap<&'static str, u64>, now: &BTreeMap<&'static str, u64>) -> BTreeMap<&'static str, u64> {
    let more = |(name, count): (&&'static str, &u64)| (*name, count - before.get(name).copied().unwrap_or(0));
    // What is longest of all is of no single round.
    let is_of_round = |(name, count): &(&str, u64)| *count > 0 && !name.starts_with("longest");
    now.iter().map(more).filter(is_of_round).collect()
}

fn told(counts: &BTreeMap<&'static str, u64>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}

fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(1, |since| since.as_secs())
}

#[expect(clippy::print_stdout, reason = "what the siege finds is its output")]
fn say(line: &str) {
    println!("{line}");
}

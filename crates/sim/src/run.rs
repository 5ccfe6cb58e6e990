//! One seed in this process: seeded entropy, one thread, virtual time, files in a temporary folder.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use mutation::Mutation;
use tempfile::TempDir;

use crate::entropy;
use crate::plan::Plan;
use crate::world::{Verdict, World};

/// Memory is a better disk than a disk: what is durable is ours to say.
const MEMORY: &str = "/dev/shm";

/// Lines of history that a failing run prints.
const LINES_MAX: usize = 400;

/// Violations that a failing run prints: the first ones say it all.
const FAILURES_MAX: usize = 20;

/// What panicked, in whatever task.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// How a run is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Show {
    /// Every line of the history, as it happens.
    pub is_loud: bool,
    /// The nodes' own log, down to this level.
    pub log: Option<tracing::Level>,
}

/// Runs `plan`, without the guard that `mutation` takes away, with its files in `scratch`, or in a folder of its own, and prints what came of it.
///
/// # Errors
///
/// When the run cannot be set up.
pub fn run(plan: Plan, mutation: Option<Mutation>, show: Show, scratch: Option<PathBuf>) -> Result<ExitCode> {
    if let Some(level) = show.log {
        tracing_subscriber::fmt()
            .with_max_level(level)
            .without_time()
            .with_writer(std::io::stderr)
            .init();
    }
    std::panic::set_hook(Box::new(|panic| {
        PANICS
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(panic.to_string());
    }));
    if let Some(mutation) = mutation {
        mutation::set(mutation);
    }
    let seed = plan.seed;
    entropy::seed(seed);
    sqlite::seed_randomness(i32::try_from(seed % 0x7fff_ffff).unwrap_or(0).max(1));
    // A thread that starts now draws its hash keys from the seed.
    let simulation = std::thread::Builder::new()
        .name("simulation".to_owned())
        .spawn(move || simulate(plan, show, scratch));
    let joined = simulation.context("start the simulation's thread")?.join();
    let mut verdict = joined.map_err(|_| anyhow::anyhow!("the simulator panicked: {:?}", panics()))??;
    verdict
        .failures
        .extend(panics().into_iter().map(|panic| format!("panic: {panic}")));
    report(seed, &verdict);
    Ok(if verdict.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn panics() -> Vec<String> {
    PANICS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn simulate(plan: Plan, show: Show, scratch: Option<PathBuf>) -> Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    // Removed when this returns, unless somebody else owns it.
    let mut own = None;
    let path = match &scratch {
        Some(scratch) => scratch.as_path(),
        None => own.insert(self::scratch()?).path(),
    };
    let path = path.canonicalize()?;
    let verdict = runtime.block_on(async {
        let world = World::new(plan, &path, show.is_loud);
        world.run().await
    });
    // Tasks of dead processes still hold files in the folder.
    runtime.shutdown_background();
    Ok(verdict)
}

/// A new folder for a run's files; removed when it is dropped.
///
/// # Errors
///
/// When it cannot be made.
pub fn scratch() -> io::Result<TempDir> {
    let parent = if Path::new(MEMORY).is_dir() {
        Path::new(MEMORY).to_owned()
    } else {
        std::env::temp_dir()
    };
    tempfile::Builder::new().prefix("quorlite-sim-").tempdir_in(parent)
}

#[expect(clippy::print_stdout, reason = "the verdict is this program's output")]
fn report(seed: u64, verdict: &Verdict) {
    let counts: Vec<String> = verdict
        .counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    if !verdict.failures.is_empty() {
        let skipped = verdict.lines.len().saturating_sub(LINES_MAX);
        println!("history of seed {seed}, without its first {skipped} lines:");
        for line in &verdict.lines[skipped..] {
            println!("  {line}");
        }
        for failure in verdict.failures.iter().take(FAILURES_MAX) {
            println!("seed {seed} FAILED: {failure}");
        }
    }
    let word = if verdict.failures.is_empty() { "ok" } else { "failed" };
    println!("seed {seed} {word} trace {:016x}: {}", verdict.hash, counts.join(", "));
}

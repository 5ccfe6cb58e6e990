//! Many seeds: a process for each, a few at a time, and a summary.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::mutation::Mutation;
use crate::run;

/// Real time after which a seed counts as stuck.
const SEED_MAX: Duration = Duration::from_secs(300);

/// How often the children are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// A seed that runs.
struct Job {
    seed: u64,
    child: Child,
    started: Instant,
    output: tempfile::NamedTempFile,
    /// The child's files: removed here, also when the child was killed.
    _scratch: tempfile::TempDir,
}

/// What came of all seeds.
#[derive(Default)]
struct Tally {
    ok: u64,
    failed: Vec<u64>,
    counts: BTreeMap<String, u64>,
}

/// Runs every seed of `seeds`, `jobs` at a time; fails when one of them does.
///
/// # Errors
///
/// When a process cannot be started.
pub fn explore(seeds: Range<u64>, jobs: usize, mutation: Option<Mutation>) -> Result<ExitCode> {
    let started = Instant::now();
    let mut waiting = seeds.clone();
    let mut running: Vec<Job> = Vec::new();
    let mut tally = Tally::default();
    loop {
        while running.len() < jobs.max(1) {
            let Some(seed) = waiting.next() else { break };
            running.push(start(seed, mutation)?);
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(LOOK);
        for mut job in std::mem::take(&mut running) {
            match job.child.try_wait().context("wait for a seed")? {
                Some(status) => tally.add(&job, status.success())?,
                None if job.started.elapsed() > SEED_MAX => {
                    job.child.kill().context("end a stuck seed")?;
                    job.child.wait().context("end a stuck seed")?;
                    tally.stuck(&job);
                }
                None => running.push(job),
            }
        }
    }
    tally.report(&seeds, started.elapsed());
    Ok(if tally.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn start(seed: u64, mutation: Option<Mutation>) -> Result<Job> {
    let program = std::env::current_exe().context("find this program")?;
    let output = tempfile::NamedTempFile::new().context("make a file for a seed's output")?;
    let scratch = run::scratch().context("make a folder for a seed's files")?;
    let mut command = Command::new(program);
    command.arg("--scratch").arg(scratch.path());
    command.arg("--seed").arg(seed.to_string());
    if let Some(mutation) = mutation {
        command.arg("--mutate").arg(mutation.name());
    }
    let stdout = output.reopen().context("open a seed's output")?;
    let stderr = output.reopen().context("open a seed's output")?;
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .context("start a seed")?;
    Ok(Job {
        seed,
        child,
        started: Instant::now(),
        output,
        _scratch: scratch,
    })
}

impl Tally {
    #[expect(clippy::print_stdout, reason = "each seed's verdict is this program's output")]
    fn add(&mut self, job: &Job, is_ok: bool) -> Result<()> {
        let output = std::fs::read(job.output.path()).context("read a seed's output")?;
        let output = String::from_utf8_lossy(&output);
        if is_ok {
            self.ok += 1;
            self.count(&output);
        } else {
            self.failed.push(job.seed);
            println!("{output}");
            println!("seed {} failed; it replays with --seed {}", job.seed, job.seed);
        }
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "each seed's verdict is this program's output")]
    fn stuck(&mut self, job: &Job) {
        self.failed.push(job.seed);
        println!("seed {} FAILED: stuck for {SEED_MAX:?} of real time", job.seed);
    }

    /// Adds the counts of a seed's last line, `seed 1 ok trace …: 2 kill, 3 reset`.
    fn count(&mut self, output: &str) {
        let Some((_, counts)) = output.lines().last().and_then(|line| line.split_once(": ")) else {
            return;
        };
        for (count, name) in counts.split(", ").filter_map(|item| item.split_once(' ')) {
            *self.counts.entry(name.to_owned()).or_default() += count.parse::<u64>().unwrap_or(0);
        }
    }

    #[expect(clippy::print_stdout, reason = "the summary is this program's output")]
    fn report(&self, seeds: &Range<u64>, elapsed: Duration) {
        for (name, count) in &self.counts {
            println!("{count:>10} {name}");
        }
        let (ok, failed) = (self.ok, self.failed.len());
        println!(
            "seeds {seeds:?}: {ok} ok, {failed} failed in {:.0} s",
            elapsed.as_secs_f64()
        );
        if failed > 0 {
            println!("failed: {:?}", self.failed);
        }
    }
}

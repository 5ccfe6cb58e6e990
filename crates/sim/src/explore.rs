//! Many seeds: a process for each, a few at a time, and a summary.

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use mutation::Mutation;

use crate::oracle::grammar::KINDS;
use crate::plan::Workload;
use crate::run;

/// Real time after which a seed counts as stuck.
const SEED_MAX: Duration = Duration::from_secs(300);

/// So many seeds together know every kind of fault and of work; where one of these did not come once, the run fails.
const SEEDS_OF_ALL_KINDS: usize = 40;

/// What must have happened.
const EXPECTED: &[&str] = &[
    "acknowledged",
    "bit rot",
    "blackout",
    "clock drift",
    "clock jump",
    "coup",
    "disk error",
    "divergence",
    "exotic requests",
    "isolation",
    "keys used again",
    "kill",
    "linearizable reads",
    "one-way cut",
    "page rot",
    "pause",
    "power loss",
    "quarantines",
    "re-seedings",
    "register operations",
    "replacement",
    "solitude",
    "reset",
    "restores of one process",
    "session reads",
    "slow disk",
    "slow route",
    "snapshot",
    "snapshots of one process",
    "transfer",
    "verifications",
];

/// The same for the oracle, besides the kinds of its statements.
const EXPECTED_OF_ORACLE: &[&str] = &[
    "acknowledged",
    "batches of several",
    "blackout",
    "contents compared",
    "failed statements",
    "kill",
    "outcomes unknown",
    "power loss",
    "replacement",
    "replies compared",
    "requests with a key",
    "restarts",
    "restores of one process",
    "snapshots of one process",
    "transfer",
];

/// How often the children are looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How seeds are run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many at a time.
    pub jobs: usize,
    /// What clients do.
    pub workload: Workload,
    /// A guard to take away.
    pub mutation: Option<Mutation>,
    /// End with the first that fails.
    pub is_first: bool,
    /// Run each twice and compare the traces.
    pub is_twice: bool,
}

/// A seed that runs.
struct Job {
    seed: u64,
    child: Child,
    started: Instant,
    output: tempfile::NamedTempFile,
    /// What the same seed said when it ran before.
    before: Option<String>,
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

/// Runs every seed of `seeds`; fails when one of them does.
///
/// # Errors
///
/// When a process cannot be started.
pub fn explore(seeds: Range<u64>, options: Options) -> Result<ExitCode> {
    let started = Instant::now();
    let mut waiting = seeds.clone();
    let mut running: Vec<Job> = Vec::new();
    let mut tally = Tally::default();
    loop {
        let is_over = options.is_first && !tally.failed.is_empty();
        while running.len() < options.jobs.max(1) && !is_over {
            let Some(seed) = waiting.next() else { break };
            running.push(start(seed, options, None)?);
        }
        if running.is_empty() {
            break;
        }
        std::thread::sleep(LOOK);
        for mut job in std::mem::take(&mut running) {
            match job.child.try_wait().context("wait for a seed")? {
                Some(status) => {
                    let output = job.told()?;
                    if options.is_twice && status.success() && job.before.is_none() {
                        let verdict = verdict(&output).to_owned();
                        running.push(start(job.seed, options, Some(verdict))?);
                    } else {
                        tally.add(&job, status.success(), &output);
                    }
                }
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
    let missing = if options.mutation.is_none() && !options.is_first {
        tally.missing(options.workload)
    } else {
        Vec::new()
    };
    Ok(if tally.failed.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The line with which a seed ends.
fn verdict(output: &str) -> &str {
    output.lines().last().unwrap_or_default()
}

fn start(seed: u64, options: Options, before: Option<String>) -> Result<Job> {
    let program = std::env::current_exe().context("find this program")?;
    let output = tempfile::NamedTempFile::new().context("make a file for a seed's output")?;
    let scratch = run::scratch().context("make a folder for a seed's files")?;
    let mut command = Command::new(program);
    command.arg("--scratch").arg(scratch.path());
    command.arg("--seed").arg(seed.to_string());
    if options.workload == Workload::Oracle {
        command.arg("--oracle");
    }
    if let Some(mutation) = options.mutation {
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
        before,
        _scratch: scratch,
    })
}

impl Job {
    fn told(&self) -> Result<String> {
        let output = std::fs::read(self.output.path()).context("read a seed's output")?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }
}

impl Tally {
    #[expect(clippy::print_stdout, reason = "each seed's verdict is this program's output")]
    fn add(&mut self, job: &Job, is_ok: bool, output: &str) {
        let is_same = job.before.as_deref().is_none_or(|before| before == verdict(output));
        if !is_same {
            self.failed.push(job.seed);
            println!("{}\n{}", job.before.as_deref().unwrap_or_default(), verdict(output));
            println!("seed {} FAILED: it does not repeat itself", job.seed);
        } else if is_ok {
            self.ok += 1;
            self.count(output);
        } else {
            self.failed.push(job.seed);
            println!("{output}");
            println!("seed {} failed; it replays with --seed {}", job.seed, job.seed);
        }
    }

    /// What should have happened in so many seeds, and did not.
    #[expect(clippy::print_stdout, reason = "the summary is this program's output")]
    fn missing(&self, workload: Workload) -> Vec<&'static str> {
        if usize::try_from(self.ok).is_ok_and(|ok| ok < SEEDS_OF_ALL_KINDS) {
            return Vec::new();
        }
        let is_missing = |name: &&&str| self.counts.get(**name).is_none_or(|count| *count == 0);
        let expected = match workload {
            Workload::Mixed => EXPECTED.to_vec(),
            Workload::Oracle => [EXPECTED_OF_ORACLE, KINDS].concat(),
        };
        let missing: Vec<&str> = expected.iter().filter(is_missing).copied().collect();
        for name in &missing {
            println!("FAILED: {name} did not happen once in {} seeds", self.ok);
        }
        missing
    }

    #[expect(clippy::print_stdout, reason = "each seed's verdict is this program's output")]
    fn stuck(&mut self, job: &Job) {
        self.failed.push(job.seed);
        println!("seed {} FAILED: stuck for {SEED_MAX:?} of real time", job.seed);
    }

    /// Adds the counts of a seed's last line, `seed 1 ok trace …: 2 kill, 3 reset`.
    fn count(&mut self, output: &str) {
        let Some((_, counts)) = verdict(output).split_once(": ") else {
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

//! The seeded simulator: whole clusters of production code in one thread, under one seed, in virtual time.
//!
//! ```text
//!  seed ─► plan ─► world ─┬─ machines: node + disk + files + clock, killed and started again
//!                         ├─ network: streams that are slow, stall and break
//!                         ├─ nemesis: what goes wrong, and when
//!                         └─ clients ─► history ─► checker ─► verdict
//! ```
//!
//! Faults enter where the store takes the world as an argument (`store::environment`) and at SQLite's VFS
//! (`sqlite::faults`); nothing of the production code knows that it is simulated.

mod arguments;
mod client;
mod clock;
mod damage;
mod disk;
mod entropy;
mod explore;
mod files;
mod life;
mod machine;
mod nemesis;
mod network;
mod oracle;
mod plan;
mod rot;
mod run;
mod space;
mod sql;
mod trace;
mod world;

use std::process::ExitCode;

use anyhow::Result;
use checkers::{chance, checker, counts, exotic, history, linearizability, lists, workload};

use arguments::{Arguments, USAGE};
use explore::Options;
use plan::{Plan, Workload};
use run::Show;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

fn start() -> Result<ExitCode> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    let Arguments {
        seed,
        seeds,
        jobs,
        is_loud,
        log,
        mutation,
        scratch,
        is_first,
        is_twice,
        is_oracle,
    } = arguments;
    let workload = if is_oracle { Workload::Oracle } else { Workload::Mixed };
    match (seed, seeds) {
        (Some(seed), None) => run::run(
            Plan::new(seed, workload, mutation),
            mutation,
            Show { is_loud, log },
            scratch,
        ),
        (None, Some(seeds)) => explore::explore(
            seeds,
            Options {
                jobs: jobs.unwrap_or(1),
                workload,
                mutation,
                is_first,
                is_twice,
            },
        ),
        (Some(_), Some(_)) | (None, None) => anyhow::bail!("give --seed or --seeds\n{USAGE}"),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a failed command says why")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("quorlite-sim: {error:#}");
    ExitCode::from(2)
}

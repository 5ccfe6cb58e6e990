//! The runner: rounds of the whole table, floor and server in turns, and the medians of what they gave.
//!
//! ```text
//!  round:  raw disk, raw SQLite ─► bare servers up ─► one node:    floor row, its row, floor row, its row, …
//!                                                  └► three nodes: the same
//!  after all rounds: medians; the ratio is the median of the ratios within a turn, since a disk's mood lasts minutes
//! ```
//!
//! Invariant: nothing here stops at what the server cannot do. A row that failed says why and the next one runs.

mod children;
mod consensus;
mod load;
mod probe;
mod report;
mod round;
mod rows;
mod samples;

use std::io::Write;

use anyhow::{Context, ensure};

use self::samples::Samples;
use crate::options::Options;

/// Runs all rounds and prints the table.
///
/// # Errors
///
/// If a program is missing or a floor cannot be measured.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let programs = [
        Some(&options.quorlite),
        options.quorlited.as_ref(),
        options.consensus.as_ref(),
    ];
    for program in programs.into_iter().flatten() {
        ensure!(program.is_file(), "{} is not there", program.display());
    }
    let mut samples = Samples::default();
    for round in 1..=options.rounds {
        say(&format!("round {round} of {}", options.rounds));
        round::run(options, &mut samples)?;
    }
    if let Some(path) = &options.json {
        let json = report::json(options, &samples).to_string();
        std::fs::write(path, json).with_context(|| format!("write {}", path.display()))?;
    }
    std::io::stdout().write_all(report::markdown(options, &samples).as_bytes())?;
    Ok(())
}

/// Progress, for whoever waits.
fn say(text: &str) {
    // Nobody may be listening; the table is what counts.
    let _ = writeln!(std::io::stderr(), "{text}");
}

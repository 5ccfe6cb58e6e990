//! The `quorlite` command: which sub-command was asked for, and the exit code.
//!
//! Decides nothing else: each sub-command owns its options, its output and its errors.

mod arguments;
mod bench;
mod error;

use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "\
usage: quorlite bench WORK [flags]     drive a node and report throughput and latency
       quorlite bench --help           the works and the flags
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match words.split_first() {
        Some((command, rest)) if command == "bench" => bench::main(rest),
        Some((flag, _)) if flag == "-h" || flag == "--help" => print(USAGE).map(|()| ExitCode::SUCCESS),
        _ => Err(error::Error::NoShell(USAGE).into()),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "quorlite: {error:#}");
        match error.downcast_ref::<error::Error>() {
            Some(error) => error.exit_code(),
            None => ExitCode::FAILURE,
        }
    })
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

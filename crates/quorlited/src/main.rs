//! The server's binary: words in, exit code out.

use std::io::{self, Write};
use std::process::ExitCode;

use quorlited::config::Config;
use quorlited::flags::{self, Misuse, usage};
use quorlited::{check, logging, server};

/// A start that was refused, or a run that failed.
const FAILED: u8 = 1;

/// Flags that could not be read.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    if words.is_empty() {
        return say("fatal: the data directory path argument is missing", FAILED);
    }
    if let Some(asked) = check::asked(&words) {
        return check::run(asked);
    }
    let parsed = match flags::parse(words) {
        Ok(parsed) => parsed,
        Err(Misuse::Help) => return say(&usage::usage(), 0),
        Err(Misuse::Usage(line)) => return say(&format!("{line}\n{}", usage::usage()), MISUSED),
    };
    if parsed.bool("version") {
        return say(&usage::version_line(), 0);
    }
    let config = match Config::resolve(&parsed) {
        Ok(config) => config,
        Err(refused) => return say(&refused.to_string(), FAILED),
    };
    match start(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say(&format!("fatal: {error:#}"), FAILED),
    }
}

fn start(config: Config) -> anyhow::Result<()> {
    logging::install(&config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ran = runtime.block_on(server::run(config));
    // Whatever still runs now was told to stop, and had its time.
    runtime.shutdown_background();
    Ok(ran?)
}

/// One text on standard error. When even that is closed, the exit code is all that is left to say.
fn say(text: &str, code: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}", text.trim_end());
    ExitCode::from(code)
}

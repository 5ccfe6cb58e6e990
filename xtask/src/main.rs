//! The house keeper: `cargo xtask ci`, `fix` and `tidy`.
//!
//! Owns the order of the checks and their exit code. `ci` and `tidy` never rewrite a file; `fix` may.

mod ci;
mod tidy;

use anyhow::{Context as _, Result, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask ci | fix | tidy";

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    complain(&error);
    ExitCode::FAILURE
}

fn run() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let root = root()?;
    match words.as_slice() {
        ["ci"] => ci::check(&root),
        ["fix"] => ci::fix(&root),
        ["tidy"] => tidy::run(&root),
        _ => bail!(USAGE),
    }
}

/// The workspace's root: the folder above this package.
fn root() -> Result<PathBuf> {
    let package =
        std::env::var("CARGO_MANIFEST_DIR").context("read CARGO_MANIFEST_DIR: start this with `cargo xtask`")?;
    let root = Path::new(&package).parent().context("find the folder above xtask")?;
    Ok(root.to_path_buf())
}

#[expect(clippy::print_stderr, reason = "the one place where a failed command says why")]
fn complain(error: &anyhow::Error) {
    eprintln!("xtask: {error:#}");
}

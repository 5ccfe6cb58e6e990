//! The checks that a change must pass, in the order of what they cost.
//!
//! Owns which commands run and with which words. Knows nothing of what they find: each one's exit code is the answer.

use crate::tidy;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};

const FORMAT: &[&str] = &["fmt", "--all"];
const LINT: &[&str] = &["clippy", "--workspace", "--all-targets", "--locked"];
const TEST: &[&str] = &["test", "--workspace", "--locked"];
const DOCUMENT: &[&str] = &["doc", "--workspace", "--no-deps", "--locked"];

/// Runs every check and stops at the first that fails. Rewrites nothing.
pub fn check(root: &Path) -> Result<()> {
    cargo(root, &[FORMAT, &["--check"]].concat(), &[])?;
    announce("tidy");
    tidy::run(root)?;
    cargo(root, &[LINT, &["--", "-D", "warnings"]].concat(), &[])?;
    cargo(root, TEST, &[])?;
    cargo(root, DOCUMENT, &[("RUSTDOCFLAGS", "-D warnings")])?;
    if is_installed(root, "deny") {
        cargo(root, &["deny", "--locked", "check", "bans", "licenses", "sources"], &[])?;
    } else {
        announce("cargo deny is not installed: licences and sources were not checked");
    }
    Ok(())
}

/// Rewrites what rustfmt and clippy know how to mend.
pub fn fix(root: &Path) -> Result<()> {
    cargo(
        root,
        &[LINT, &["--fix", "--allow-dirty", "--allow-staged"]].concat(),
        &[],
    )?;
    cargo(root, FORMAT, &[])
}

fn cargo(root: &Path, words: &[&str], env: &[(&str, &str)]) -> Result<()> {
    let line = format!("cargo {}", words.join(" "));
    announce(&line);
    let status = Command::new("cargo")
        .args(words)
        .envs(env.iter().copied())
        .current_dir(root)
        .status()
        .with_context(|| format!("start {line}"))?;
    ensure!(status.success(), "{line}: {status}");
    Ok(())
}

fn is_installed(root: &Path, subcommand: &str) -> bool {
    let mut probe = Command::new("cargo");
    probe
        .args([subcommand, "--version"])
        .current_dir(root)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

#[expect(
    clippy::print_stderr,
    reason = "a reader of the build's output needs to know which step speaks"
)]
fn announce(step: &str) {
    eprintln!("== {step}");
}

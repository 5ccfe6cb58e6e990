//! Other programs: run to their end, and what they said when they failed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Runs a program and returns what it printed.
///
/// # Errors
///
/// When it cannot be started or fails; the text holds what it wrote.
pub fn run(words: &[&str]) -> Result<String> {
    feed(words, "")
}

/// As [`run`], with `input` to read.
///
/// # Errors
///
/// As [`run`].
pub fn feed(words: &[&str], input: &str) -> Result<String> {
    let line = words.join(" ");
    let (program, rest) = words.split_first().context("a program to run")?;
    let mut child = Command::new(program)
        .args(rest)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {line}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says by its exit code whether that was right.
        _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("wait for {line}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{line}: {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be run and succeeds.
pub fn succeeds(words: &[&str]) -> bool {
    run(words).is_ok()
}

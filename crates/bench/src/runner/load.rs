//! One run of the load generator, as a process of its own.

use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::options::Options;

#[cfg(test)]
mod tests;

/// What a run gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Rows per second; of queued writes, those applied.
    pub rows_per_s: f64,
    /// Rows acknowledged in all, warm-up included.
    pub acknowledged: f64,
    /// Median latency of a request, in milliseconds.
    pub p50_ms: f64,
    /// 99th percentile, in milliseconds.
    pub p99_ms: f64,
    /// Longest, in milliseconds.
    pub max_ms: f64,
}

/// Runs `quorlite bench LINE` against `address`.
///
/// # Errors
///
/// If the run is not a result: what failed first.
pub fn run(options: &Options, line: &str, address: &str) -> anyhow::Result<Load> {
    let mut command = Command::new(&options.quorlite);
    command
        .arg("bench")
        .args(line.split_whitespace())
        .args(["--json", "-a", address]);
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("start the load generator")?;
    let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    };
    parse(&report)
}

fn parse(report: &Value) -> anyhow::Result<Load> {
    if report["good"] != true {
        let failures = report["failures"].as_object();
        let first = failures
            .and_then(|failures| failures.values().next())
            .and_then(|failure| failure["first"].as_str());
        bail!("{}", first.unwrap_or("acknowledged rows are missing"));
    }
    let number = |value: &Value| value.as_f64().context("the report lacks a number");
    let latency = &report["latency_us"];
    let applied = report["queue"]["applied_per_s"].as_f64();
    Ok(Load {
        rows_per_s: applied.map_or_else(|| number(&report["rows_per_s"]), Ok)?,
        acknowledged: number(&report["acknowledged"])?,
        p50_ms: number(&latency["p50"])? / 1e3,
        p99_ms: number(&latency["p99"])? / 1e3,
        max_ms: number(&latency["max"])? / 1e3,
    })
}

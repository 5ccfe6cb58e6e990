//! Consensus alone: empty entries through the store on a log in memory, without HTTP, SQL or a disk.
//!
//! Not a floor: it is the product's own consensus and adapter, and says how much of a write they can cost at most.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

use super::samples::{Measure, Samples};
use super::say;

#[cfg(test)]
mod tests;

/// Nodes in one process, and clients.
const TURNS: [(u32, u32); 5] = [(1, 1), (1, 64), (1, 256), (3, 1), (3, 64)];

/// Runs the store's example `writes` at `program`, each turn for about `time`.
///
/// # Errors
///
/// When it does not start, fails, or does not say what it measured.
pub fn turns(program: &Path, time: Duration, samples: &mut Samples) -> anyhow::Result<()> {
    // It counts in whole seconds.
    let seconds = time.as_secs().max(1).to_string();
    for (nodes, clients) in TURNS {
        let title = title(nodes, clients);
        say(&format!("  {title}"));
        let output = Command::new(program)
            .args(["--memory", "--empty", "--nodes", &nodes.to_string()])
            .args([&clients.to_string(), &seconds])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {}", program.display()))?;
        if !output.status.success() {
            bail!("{title}: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let (per_s, p50_us, p99_us) = parse(&String::from_utf8_lossy(&output.stdout))?;
        samples.add(&title, Measure::Main, per_s, None);
        samples.add(&title, Measure::P50, p50_us / 1e3, None);
        samples.add(&title, Measure::P99, p99_us / 1e3, None);
    }
    Ok(())
}

fn title(nodes: u32, clients: u32) -> String {
    let plural = |n: u32| if n == 1 { "" } else { "s" };
    format!(
        "consensus in memory, {nodes} node{}, {clients} client{}",
        plural(nodes),
        plural(clients)
    )
}

/// Entries per second, and the median and 99th percentile in microseconds, of `123/s, p50 4 us, p99 5 us, …`.
fn parse(line: &str) -> anyhow::Result<(f64, f64, f64)> {
    let mut parts = line.trim().split(", ");
    let mut part = |start: &str, end: &str| {
        parts
            .next()
            .and_then(|part| part.strip_prefix(start)?.strip_suffix(end)?.parse::<f64>().ok())
            .with_context(|| format!("the measurement of consensus said {line:?}"))
    };
    Ok((part("", "/s")?, part("p50 ", " us")?, part("p99 ", " us")?))
}

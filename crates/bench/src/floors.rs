//! What the machine can do at all, without a server: the disk and SQLite, each in a tight loop. Frozen.

pub mod disk;
pub mod sqlite;

use std::time::{Duration, Instant};

/// Runs `step` until `time` is over and answers how often per second it ran.
///
/// # Errors
///
/// The first error of `step`.
pub fn per_s(time: Duration, mut step: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut count = 0_u64;
    while start.elapsed() < time {
        step()?;
        count += 1;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

//! The disk's floor: one 256-byte record after the other, each flushed before the next.
//!
//! The file is preallocated and zero-filled, so that a flush writes data only and no metadata; records follow each
//! other and start again at the front when the file is full, as recycled log segments do.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

const RECORD: [u8; 256] = [0x5a; 256];
/// Bytes written at once when a file is filled. One page: larger writes make larger folios in the page cache, and Linux
/// counts a whole folio as written (`write_bytes`) when one byte of it is: a megabyte a row, with chunks of a megabyte.
const CHUNK_BYTES: usize = 4096;

/// How long a flush takes.
#[derive(Debug, Clone, Copy)]
pub struct Flushes {
    /// Records flushed per second.
    pub per_s: f64,
    /// Median time of one, in microseconds.
    pub p50_us: f64,
    /// 99th percentile, in microseconds.
    pub p99_us: f64,
}

/// Measures for `time` in a new file in `dir`.
///
/// # Errors
///
/// If the file cannot be written.
pub fn flushes(dir: &Path, time: Duration) -> anyhow::Result<Flushes> {
    let bytes = 16 * 1024 * 1024;
    let file = zero_filled(&dir.join("flushes"), bytes)?;
    let (mut times, mut offset, start) = (Vec::new(), 0, Instant::now());
    while start.elapsed() < time {
        let before = Instant::now();
        file.write_all_at(&RECORD, offset)?;
        file.sync_data()?;
        times.push(before.elapsed().as_secs_f64() * 1e6);
        offset = (offset + RECORD.len() as u64) % bytes;
    }
    let per_s = times.len() as f64 / start.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Ok(Flushes {
        per_s,
        p50_us: at(0.5),
        p99_us: at(0.99),
    })
}

/// Makes a file of `bytes` zeros that are on the disk.
///
/// # Errors
///
/// If it cannot be written.
pub fn zero_filled(path: &Path, bytes: u64) -> anyhow::Result<File> {
    let file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    let zeros = vec![0; CHUNK_BYTES];
    for chunk in 0..bytes / CHUNK_BYTES as u64 {
        file.write_all_at(&zeros, chunk * CHUNK_BYTES as u64)?;
    }
    file.sync_all()?;
    Ok(file)
}

//! Latencies in buckets whose width grows with their value, so that a percentile is right to within one percent.
//!
//! Owns counts only; 35 kB whatever is recorded. Each power of two is cut into 128 equal buckets; values below 128
//! nanoseconds have one each. Why not the `hdrhistogram` crate: this is all that we need of it, in a page.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// log2 of the buckets per power of two: 128 of them make a bucket at most 0.8 % wide.
const STEP_BITS: u32 = 7;
/// Longest value that has a bucket of its own, as a power of two in nanoseconds: 18 minutes. Longer ones share the last.
const VALUE_BITS_MAX: u32 = 40;
const BUCKETS: usize = ((VALUE_BITS_MAX - STEP_BITS + 1) as usize) << STEP_BITS;

/// Counts of latencies.
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: Duration,
    max: Duration,
}

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Histogram {
        Histogram {
            counts: vec![0; BUCKETS],
            count: 0,
            sum: Duration::ZERO,
            max: Duration::ZERO,
        }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.count += 1;
        self.sum += latency;
        self.max = self.max.max(latency);
    }

    /// The smallest recorded value that at least `share` (0 to 1) of all values do not exceed, to within one percent;
    /// zero if nothing was recorded. Never more than [`Histogram::max`].
    pub fn percentile(&self, share: f64) -> Duration {
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper(index)).min(self.max);
            }
        }
        self.max
    }

    /// The longest value, exactly.
    pub fn max(&self) -> Duration {
        self.max
    }

    /// The mean, exactly; zero if nothing was recorded.
    pub fn mean(&self) -> Duration {
        if self.count == 0 {
            Duration::ZERO
        } else {
            self.sum.div_f64(self.count as f64)
        }
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }
}

/// The bucket of a value: the power of two above `STEPS` gives the block, the bits below its first give the place in it.
fn bucket(nanos: u64) -> usize {
    let capped = nanos.min((1 << VALUE_BITS_MAX) - 1);
    let block = (u64::BITS - capped.leading_zeros()).saturating_sub(STEP_BITS + 1);
    ((u64::from(block) << STEP_BITS) + (capped >> block)) as usize
}

/// The largest value of a bucket.
fn upper(index: usize) -> u64 {
    let index = index as u64;
    let block = (index >> STEP_BITS).saturating_sub(1);
    let place = index - (block << STEP_BITS);
    ((place + 1) << block) - 1
}

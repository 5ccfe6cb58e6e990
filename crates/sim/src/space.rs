//! How much a run may write: one that goes astray must end before the machine that it runs on is full.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// Bytes that all processes of a run may write, to their logs and through SQLite. The busiest of 500 seeds wrote a tenth.
const BYTES_MAX: u64 = 4 << 30;

/// Starts of one machine's process. Each copies its database; the unluckiest of 500 seeds had a fifth of them.
pub const STARTS_MAX: u64 = 400;

/// What is left of a run's space.
pub struct Allowance {
    written: AtomicU64,
    is_gone: watch::Sender<bool>,
}

impl Default for Allowance {
    fn default() -> Allowance {
        Allowance {
            written: AtomicU64::new(0),
            is_gone: watch::Sender::new(false),
        }
    }
}

impl Allowance {
    /// Takes `bytes`; false when there are not so many left.
    pub fn spend(&self, bytes: u64) -> bool {
        let before = self.written.fetch_add(bytes, Ordering::Relaxed);
        let is_enough = before + bytes <= BYTES_MAX;
        if !is_enough {
            self.is_gone.send_replace(true);
        }
        is_enough
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Resolves, with words for it, when nothing is left.
    pub async fn gone(&self) -> String {
        // The sender lives as long as `self`.
        let _ = self.is_gone.subscribe().wait_for(|is_gone| *is_gone).await.map(drop);
        format!("more than {BYTES_MAX} bytes written")
    }
}

#[cfg(test)]
mod tests;

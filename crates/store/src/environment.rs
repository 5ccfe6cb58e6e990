//! What the store takes from the world: disk, peers, time, randomness, and who runs its threads.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::transport::Transport;

/// The wall clock.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970 UTC.
    fn now_us(&self) -> i64;

    /// How long a flush of the log takes where its time is simulated ([`Runner::Inline`]); `draw` is any number.
    fn flush_time(&self, draw: u64) -> Duration {
        Duration::from_micros(100 + draw % 2_000)
    }
}

/// A source of random numbers, for stamps, incarnations and boots.
pub trait Random: Send + Sync + 'static {
    /// The next number, uniform over all of `u64`.
    fn next(&self) -> u64;
}

/// Who runs the flush loop and apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// Threads of their own: production.
    Threads,
    /// Tasks on the current runtime, one step at a time: the simulator.
    Inline,
}

/// Everything that a node takes from outside.
#[derive(Clone)]
pub struct Environment {
    /// Peers.
    pub transport: Arc<dyn Transport>,
    /// Where the log lives.
    pub disk: Arc<dyn log::Disk>,
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Who runs the synchronous cores.
    pub runner: Runner,
}

/// The place of the log in the data directory `dir`, on a real file system; created if it is missing.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be created.
pub fn log_disk(dir: &Path) -> Result<Arc<dyn log::Disk>, Error> {
    match log::FsDisk::new(dir.join("log")) {
        Ok(disk) => Ok(Arc::new(disk)),
        Err(source) => Err(Error::Io {
            what: format!("create data directory {}", dir.display()),
            source,
        }),
    }
}

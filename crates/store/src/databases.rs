//! The node's database generations and the readers of the current one.
//!
//! Which folder counts is decided by `sqlite::home`; who is told when that changes, here: the apply core reopens its
//! writer, the readers turn to the new file, and the old one goes with its last user.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlite::{Building, Clock, Generation, Home, Options, Readers, ReadersOptions};

use crate::config::Config;
use crate::environment::Runner;
use crate::error::Error;

/// Read connections that stay open while nobody reads: each holds its page cache.
const READERS_IDLE_MAX: usize = 4;

/// How long a read waits for a connection while all are on loan.
const READER_WAIT_MAX: Duration = Duration::from_secs(10);

/// The generations of one node.
pub struct Databases {
    home: Mutex<Home>,
    readers: Arc<Readers>,
    options: Options,
}

impl Databases {
    /// Finds the current generation, or makes the first.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`] for what is not ours, or cannot be opened.
    pub(crate) fn open(config: &Config) -> Result<Self, Error> {
        let home = Home::open(&config.dir)?;
        let options = Options {
            foreign_keys: config.foreign_keys,
            extensions: config.extensions.clone(),
            limits: config.limits,
            ..Options::default()
        };
        let bounds = ReadersOptions {
            connections_max: config.readers_max,
            idle_max: READERS_IDLE_MAX,
            wait_max: READER_WAIT_MAX,
            read_age_max: config.read_age_max,
            ..ReadersOptions::default()
        };
        let readers = Readers::new(home.current().clone(), options.clone(), bounds, Arc::new(Instant::now));
        Ok(Self {
            home: Mutex::new(home),
            readers: Arc::new(readers),
            options,
        })
    }

    /// What every connection is opened with.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What tells readers the time.
    pub(crate) fn clock(&self) -> Clock {
        Arc::new(Instant::now)
    }

    /// The generation that counts; its folder stays while it is held.
    pub fn current(&self) -> Generation {
        self.home().current().clone()
    }

    /// The current database file.
    pub fn path(&self) -> PathBuf {
        self.home().current().database()
    }

    /// The folder of all generations.
    pub(crate) fn home_folder(&self) -> PathBuf {
        self.home().current().home().to_owned()
    }

    /// The readers of the current generation.
    pub(crate) fn readers(&self) -> Arc<Readers> {
        self.readers.clone()
    }

    /// An empty folder for the next database.
    ///
    /// # Errors
    ///
    /// [`sqlite::Error::Io`].
    pub(crate) fn begin(&self) -> Result<Building, sqlite::Error> {
        self.home().begin()
    }

    /// Makes `building` the current generation, durably. The writer must be closed, and opened again on the answer.
    ///
    /// # Errors
    ///
    /// A failed flush, after which the process must stop (D5).
    pub fn switch(&self, building: Building) -> Result<Generation, sqlite::Error> {
        let generation = self.home().switch(building)?;
        self.readers.switch(generation.clone());
        Ok(generation)
    }

    fn home(&self) -> MutexGuard<'_, Home> {
        // `Home` changes only after the disk has; a panic in between is found at the next start.
        self.home.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs blocking work: off the runtime in production, in place in the simulator.
///
/// # Errors
///
/// [`Error::Stopped`] when the runtime is shutting down.
pub(crate) async fn blocking<R: Send + 'static>(
    runner: Runner,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, Error> {
    match runner {
        Runner::Inline => Ok(work()),
        Runner::Threads => tokio::task::spawn_blocking(work)
            .await
            .map_err(|error| Error::Stopped(error.to_string())),
    }
}

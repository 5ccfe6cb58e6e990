//! Who runs the apply core: a thread of its own, or the caller, one job at a time.
//!
//! SQLite lives on one thread in production (its entry clock is bound to it) and inline in the simulator; the core does
//! not know which. A job that fails as a node ends the executor: nothing is applied any more (D4).
//!
//! ```text
//!  state machine ─┐
//!  purge ─────────┼──► jobs ──► Applier (thread, or inline)
//!  keeper ────────┘
//! ```

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sqlite::meta::Position;
use tokio::sync::{mpsc, oneshot};

use crate::apply::Applier;
use crate::environment::Runner;

/// Jobs that wait for the thread. A full queue holds the sender back: consensus applies one batch at a time anyway.
const JOBS_MAX: usize = 16;

/// Takes the core; none is left after [`Executor::close`].
type Job = Box<dyn FnOnce(&mut Option<Applier>) + Send>;

/// A handle to the apply core; cheap to clone.
#[derive(Clone)]
pub(crate) struct Executor {
    mode: Mode,
    /// All entries below this index are known to be durable in SQLite: a purge of them need not wait for apply.
    ///
    /// A database that replaces another is durable, and ahead of it: what was known stays true.
    durable: Arc<AtomicU64>,
}

#[derive(Clone)]
enum Mode {
    Thread(mpsc::Sender<Job>),
    Inline(Arc<Mutex<Option<Applier>>>),
}

impl Executor {
    /// Starts to run `applier`.
    ///
    /// # Errors
    ///
    /// When the operating system refuses a thread.
    pub(crate) fn start(applier: Applier, runner: Runner) -> io::Result<Self> {
        let mode = match runner {
            Runner::Inline => Mode::Inline(Arc::new(Mutex::new(Some(applier)))),
            Runner::Threads => {
                let (tx, mut rx) = mpsc::channel::<Job>(JOBS_MAX);
                std::thread::Builder::new().name("apply".to_owned()).spawn(move || {
                    let mut applier = Some(applier);
                    while let Some(job) = rx.blocking_recv() {
                        job(&mut applier);
                    }
                })?;
                Mode::Thread(tx)
            }
        };
        Ok(Self {
            mode,
            durable: Arc::default(),
        })
    }

    /// Runs `job` on the apply core, after those that were given before.
    ///
    /// # Errors
    ///
    /// When the core has been closed.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Applier) -> R + Send + 'static,
    ) -> io::Result<R> {
        match &self.mode {
            Mode::Inline(applier) => {
                let mut applier = applier.lock().unwrap_or_else(PoisonError::into_inner);
                applier.as_mut().map(job).ok_or_else(closed)
            }
            Mode::Thread(jobs) => {
                let (tx, rx) = oneshot::channel();
                let boxed: Job = Box::new(move |applier| {
                    // The asker may have gone; the work is done all the same.
                    let _ = tx.send(applier.as_mut().map(job));
                });
                jobs.send(boxed).await.map_err(|_| closed())?;
                rx.await.ok().flatten().ok_or_else(closed)
            }
        }
    }

    /// Makes SQLite durable, and answers how far it is, and the membership there.
    ///
    /// # Errors
    ///
    /// When the flush failed; the node must stop (D5).
    pub(crate) async fn make_durable(&self) -> io::Result<(Option<Position>, Option<Bytes>)> {
        // One job: the membership belongs to the index, whatever is applied before and after.
        let made = self.run(|applier| {
            let membership = applier.applied().membership;
            applier.make_durable().map(|durable| (durable, membership))
        });
        let (durable, membership) = made.await?.map_err(io::Error::other)?;
        if let Some(at) = durable {
            self.durable.fetch_max(at.index + 1, Ordering::AcqRel);
        }
        Ok((durable, membership))
    }

    /// Makes SQLite durable through `through`; at once when it is known to be.
    ///
    /// # Errors
    ///
    /// When the flush failed, or when SQLite has not applied that far: the purge must not go on (D6).
    pub(crate) async fn make_durable_through(&self, through: Position) -> io::Result<()> {
        if self.durable.load(Ordering::Acquire) > through.index {
            return Ok(());
        }
        let (durable, _) = self.make_durable().await?;
        if durable.is_some_and(|at| at.index >= through.index) {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "purge through {} refused: the database is durable only through {}",
            through.index,
            durable.map_or(0, |at| at.index)
        )))
    }

    /// Drops the core, and with it the database's connection, after the jobs that were given before.
    pub(crate) async fn close(&self) {
        match &self.mode {
            Mode::Inline(applier) => drop(applier.lock().unwrap_or_else(PoisonError::into_inner).take()),
            Mode::Thread(jobs) => {
                let (tx, rx) = oneshot::channel();
                let job: Job = Box::new(move |applier| {
                    drop(applier.take());
                    // The asker may have gone.
                    let _ = tx.send(());
                });
                if jobs.send(job).await.is_ok() {
                    // An error means that the thread has ended, and the core with it.
                    let _ = rx.await;
                }
            }
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("apply has stopped")
}

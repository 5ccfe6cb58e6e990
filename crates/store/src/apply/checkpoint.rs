//! When the WAL is moved into the database: in bulk beside the writer, the last frames between two batches.
//!
//! ```text
//!  frames ≥ START ──► backfill (bulk) ──► few left? ──► finish, between two batches ──► the WAL starts over
//!                        ▲                  │ no
//!                        └──────────────────┘
//! ```

use std::thread::JoinHandle;

use sqlite::checkpoint::Checkpointer;
use sqlite::{Backfill, Error, Options, Writer};

/// Frames at which a checkpoint begins, unless told otherwise: 8 MiB at 4 KiB each. Recovery after a crash reads at most a
/// few times that.
pub(super) const START_FRAMES: u32 = 2048;
/// Frames that the writer copies itself: 1 MiB, which holds it up for no longer than its two flushes.
const FINISH_FRAMES_MAX: u32 = 256;
/// Frames that the writer copies itself when backfilling does not get nearer.
const FINISH_ANYWAY_FRAMES_MAX: u32 = 4096;
/// After an attempt that could not finish, so many times fewer new frames than started it pass before the next.
const RETRY_SHARE: u32 = 2;

/// What runs beside, and answers itself for the next time.
type Running = JoinHandle<(Checkpointer, Result<Option<Backfill>, Error>)>;

/// How far the current round is.
pub(super) struct Checkpoints {
    /// Frames at which a round begins.
    start_frames: u32,
    idle: Option<Checkpointer>,
    running: Option<Running>,
    /// Frames known to be in the database.
    backfilled: u32,
    /// Frames that were left after the last backfill of this round.
    left: Option<u32>,
    /// No attempt below so many frames.
    not_before: u32,
    /// Frames seen last: fewer now means that the WAL has started over.
    seen: u32,
}

impl Checkpoints {
    /// Rounds that begin at `start_frames`.
    pub(super) fn new(start_frames: u32) -> Self {
        Self {
            start_frames,
            idle: None,
            running: None,
            backfilled: 0,
            left: None,
            not_before: 0,
            seen: 0,
        }
    }

    /// See [`super::Applier::checkpoint_at`].
    pub(super) fn start_at(&mut self, frames: u32) {
        self.start_frames = frames;
    }

    /// Goes on as far as it can without waiting; call it between two batches.
    pub(super) fn advance(&mut self, writer: &mut Writer, options: &Options, beside: bool) -> Result<(), Error> {
        let frames = writer.wal_frames();
        if frames < self.seen {
            self.start_over();
        }
        self.seen = frames;
        self.collect()?;
        if self.running.is_some() || frames < self.start_frames.max(self.not_before) {
            return Ok(());
        }
        let left = frames.saturating_sub(self.backfilled);
        let stuck = self.left.is_some_and(|before| left > before / 2);
        if left <= FINISH_FRAMES_MAX || (stuck && left <= FINISH_ANYWAY_FRAMES_MAX) {
            return self.finish(writer);
        }
        let mut checkpointer = match self.idle.take() {
            Some(checkpointer) => checkpointer,
            None => Checkpointer::open(writer.path(), options)?,
        };
        if beside {
            let thread = std::thread::Builder::new().name("checkpoint".to_owned());
            let running = thread.spawn(move || {
                let done = checkpointer.backfill();
                (checkpointer, done)
            });
            self.running = Some(running.map_err(Error::io("start the checkpoint thread"))?);
            return Ok(());
        }
        let done = checkpointer.backfill()?;
        self.idle = Some(checkpointer);
        self.note(done);
        self.finish(writer)
    }

    /// Waits for what runs beside.
    pub(super) fn join(mut self) -> Result<(), Error> {
        match self.running.take() {
            Some(running) => outcome(running).map(drop),
            None => Ok(()),
        }
    }

    fn collect(&mut self) -> Result<(), Error> {
        if let Some(running) = self.running.take_if(|running| running.is_finished()) {
            let (checkpointer, done) = outcome(running)?;
            self.idle = Some(checkpointer);
            self.note(done);
        }
        Ok(())
    }

    fn note(&mut self, done: Option<Backfill>) {
        if let Some(done) = done {
            self.backfilled = done.backfilled;
            self.left = Some(self.seen.saturating_sub(done.backfilled));
        }
    }

    fn finish(&mut self, writer: &mut Writer) -> Result<(), Error> {
        let done = writer.finish_checkpoint()?;
        self.note(done);
        // Either the next transaction starts the WAL over, or a reader needs it and time must pass.
        self.not_before = self.seen + self.start_frames / RETRY_SHARE;
        self.left = None;
        Ok(())
    }

    fn start_over(&mut self) {
        self.backfilled = 0;
        self.left = None;
        self.not_before = 0;
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            // Its failure has been noted nowhere yet, but nobody is left to tell, and the next start finds the WAL whole.
            drop(outcome(running));
        }
    }
}

fn outcome(running: Running) -> Result<(Checkpointer, Option<Backfill>), Error> {
    let (checkpointer, done) = running.join().map_err(|_| Error::Node {
        what: "checkpoint".to_owned(),
        message: "its thread panicked".to_owned(),
    })?;
    Ok((checkpointer, done?))
}

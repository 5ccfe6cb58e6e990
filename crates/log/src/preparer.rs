//! Segments ahead of need: made, recycled and put away beside the flushes.
//!
//! The [`Shelf`] is where the flusher and the preparer meet: a finished segment to take, unneeded ones to put away. The
//! [`Preparer`] does the slow part, on a thread of its own, or inline when there is none.
//!
//! ```text
//!  unneeded <g>.log ──rename──► <g>.spare ──new head, flush, rename──► <g'>.log ──► ready
//!           └─ too many, or of another size ──► deleted      ▲
//!                              <g'>.new, zeros, flushed ─────┘
//! ```
//!
//! Invariants:
//! * A file is called `.log` only while its head is durable and names the same generation; each rename is durable before
//!   the next step, so that no crash shows a name with the wrong bytes.
//! * A generation is used once. The ready segment's is larger than that of any segment in use.
//! * A segment is not written again while a reader holds it.
//! * A failed flush here is as fatal as in the stream (D5); a failed creation is tried again, with another file, when the
//!   segment is needed.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tracing::{debug, warn};

use crate::codec::SegmentHead;
use crate::segment::{Name, Segment};
use crate::{Disk, Error, File, Options};

/// Where the flusher and the preparer meet. Its mutex is never held over I/O.
#[derive(Default)]
pub(crate) struct Shelf {
    state: Mutex<ShelfState>,
    changed: Condvar,
}

#[derive(Default)]
struct ShelfState {
    ready: Option<Arc<Segment>>,
    /// Size of the segment that is asked for.
    wanted: Option<u64>,
    /// No longer part of the log, oldest first. Bounded by the number of segments.
    retired: Vec<Arc<Segment>>,
    /// Why the segment that was asked for could not be made.
    refused: Option<Error>,
    /// A flush or a rename failed: the log must stop.
    broken: Option<Error>,
    /// Bytes of the files that are kept for later.
    spare_bytes: u64,
    /// A thread of its own tends the shelf.
    tended: bool,
    closed: bool,
}

/// A file that holds nothing of worth.
#[derive(Debug)]
pub(crate) struct Spare {
    /// Generation in its name, `<generation>.spare`.
    pub generation: u64,
    pub bytes: u64,
    /// Its last life, which a reader may still hold.
    pub held: Arc<Segment>,
}

/// Makes segments.
pub(crate) struct Preparer {
    disk: Arc<dyn Disk>,
    shelf: Arc<Shelf>,
    options: Options,
    /// Of the next segment.
    generation: u64,
    spares: Vec<Spare>,
}

impl Shelf {
    pub fn new(ready: Option<Arc<Segment>>, retired: Vec<Arc<Segment>>) -> Shelf {
        let shelf = Shelf::default();
        {
            let mut state = shelf.state();
            state.ready = ready;
            state.retired = retired;
        }
        shelf
    }

    /// Asks for a segment of at least `bytes`, which is needed now.
    pub fn want(&self, bytes: u64) {
        let mut state = self.state();
        // What went wrong ahead of need may go well now.
        state.refused = None;
        if state.ready.as_ref().is_none_or(|ready| ready.head.bytes < bytes) {
            let small = state.ready.take();
            state.retired.extend(small);
            state.wanted = Some(bytes);
            self.changed.notify_all();
        }
    }

    /// Asks for a segment of `bytes` ahead of need, unless one is ready.
    pub fn want_soon(&self, bytes: u64) {
        let mut state = self.state();
        if state.ready.is_none() && state.wanted.is_none() && state.refused.is_none() {
            state.wanted = Some(bytes);
            self.changed.notify_all();
        }
    }

    /// Takes the segment that [`Shelf::want`] asked for; waits for the thread that makes it, if there is one.
    pub fn take(&self, bytes: u64) -> Result<Arc<Segment>, Error> {
        let mut state = self.state();
        loop {
            if let Some(error) = state.broken.as_ref().or(state.refused.as_ref()) {
                return Err(error.clone());
            }
            if let Some(ready) = state.ready.take_if(|ready| ready.head.bytes >= bytes) {
                return Ok(ready);
            }
            if !state.tended {
                return Err(Error::Closed);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts away segments that are no longer part of the log, which is durable.
    pub fn retire(&self, segments: Vec<Arc<Segment>>) {
        self.state().retired.extend(segments);
        self.changed.notify_all();
    }

    /// What must stop the log.
    pub fn broken(&self) -> Option<Error> {
        self.state().broken.clone()
    }

    /// Bytes of all files that are not part of the log.
    pub fn bytes(&self) -> u64 {
        let state = self.state();
        let segments = state.ready.iter().chain(&state.retired);
        segments.map(|segment| segment.head.bytes).sum::<u64>() + state.spare_bytes
    }

    pub fn tended(&self, tended: bool) {
        self.state().tended = tended;
        self.changed.notify_all();
    }

    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, ShelfState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spare {
    /// A spare that was there at start.
    pub fn found(disk: &dyn Disk, generation: u64, bytes: u64, file: Box<dyn File>) -> Spare {
        let head = SegmentHead {
            generation,
            salt: 0,
            bytes,
        };
        Spare {
            generation,
            bytes,
            held: Arc::new(Segment::new(disk, head, file)),
        }
    }
}

impl Preparer {
    pub fn new(
        disk: Arc<dyn Disk>,
        shelf: Arc<Shelf>,
        options: Options,
        generation: u64,
        spares: Vec<Spare>,
    ) -> Preparer {
        Preparer {
            disk,
            shelf,
            options,
            generation,
            spares,
        }
    }

    /// Tends the shelf until it is closed.
    pub fn run(&mut self) {
        loop {
            self.work();
            let idle = |state: &mut ShelfState| {
                !state.closed && state.broken.is_none() && state.wanted.is_none() && state.retired.is_empty()
            };
            let state = self.shelf.state();
            let state = self
                .shelf
                .changed
                .wait_while(state, idle)
                .unwrap_or_else(PoisonError::into_inner);
            if state.closed || state.broken.is_some() {
                return;
            }
        }
    }

    /// Does all that is asked for. Blocks on the disk.
    pub fn work(&mut self) {
        let (retired, wanted) = {
            let mut state = self.shelf.state();
            if state.broken.is_some() {
                return;
            }
            (std::mem::take(&mut state.retired), state.wanted)
        };
        // First what somebody may be waiting for.
        let made = wanted.map(|bytes| self.make(bytes));
        let put_away = if retired.is_empty() {
            Ok(())
        } else {
            self.put_away(retired)
        };
        let mut state = self.shelf.state();
        state.spare_bytes = self.spares.iter().map(|spare| spare.bytes).sum();
        state.broken = put_away.err();
        match made {
            None => {}
            // A larger one was asked for meanwhile.
            Some(Made::Ready(small)) if state.wanted.is_some_and(|wanted| wanted > small.head.bytes) => {
                state.retired.push(small);
            }
            Some(Made::Ready(segment)) => {
                state.ready = Some(segment);
                state.wanted = None;
            }
            Some(Made::Refused(error)) => {
                warn!(cause = %error, source = ?std::error::Error::source(&error), "no segment could be made");
                state.refused = Some(error);
                state.wanted = None;
            }
            Some(Made::Broken(error)) => state.broken = Some(error),
        }
        drop(state);
        self.shelf.changed.notify_all();
    }

    fn make(&mut self, bytes: u64) -> Made {
        let generation = self.generation;
        self.generation += 1;
        let head = SegmentHead {
            generation,
            salt: self.options.salt,
            bytes,
        };
        let usable = |spare: &Spare| spare.bytes == bytes && Arc::strong_count(&spare.held) == 1;
        let spare = self.spares.iter().position(usable).map(|nth| self.spares.remove(nth));
        let (from, file) = match spare.and_then(|spare| Some((spare.generation, Arc::into_inner(spare.held)?.file))) {
            Some((old, file)) => (Name::Spare(old), file),
            None => {
                let name = Name::New(generation);
                match self.disk.create(&name.to_string(), bytes) {
                    Ok(file) => (name, file),
                    Err(error) => {
                        // Half a file may be there; if it cannot go now, the next start removes it.
                        let _ = self.disk.delete(&name.to_string());
                        return Made::Refused(Error::io("create", self.label(name))(error));
                    }
                }
            }
        };
        debug!(
            generation,
            recycled = matches!(from, Name::Spare(_)),
            "segment prepared"
        );
        match self.enter(from, head, file.as_ref()) {
            Ok(()) => Made::Ready(Arc::new(Segment::new(self.disk.as_ref(), head, file))),
            Err(error) => Made::Broken(error),
        }
    }

    /// Makes the head durable, then the name.
    fn enter(&self, from: Name, head: SegmentHead, file: &dyn File) -> Result<(), Error> {
        let to = Name::Log(head.generation);
        file.write_at(&head.encode(), 0)
            .map_err(Error::io("write the head of", self.label(from)))?;
        file.sync().map_err(Error::io("flush the head of", self.label(from)))?;
        self.disk
            .rename(&from.to_string(), &to.to_string())
            .map_err(Error::io("rename", self.label(from)))?;
        self.disk
            .sync_dir()
            .map_err(Error::io("flush the directory of", self.label(to)))
    }

    /// Renames unneeded segments to spares, or deletes them.
    fn put_away(&mut self, retired: Vec<Arc<Segment>>) -> Result<(), Error> {
        for segment in retired {
            let generation = segment.generation();
            let name = Name::Log(generation);
            let bytes = segment.head.bytes;
            if bytes == self.options.segment_bytes && self.spares.len() < self.options.spares_max {
                let to = Name::Spare(generation).to_string();
                self.disk
                    .rename(&name.to_string(), &to)
                    .map_err(Error::io("rename", self.label(name)))?;
                self.spares.push(Spare {
                    generation,
                    bytes,
                    held: segment,
                });
            } else {
                self.disk
                    .delete(&name.to_string())
                    .map_err(Error::io("delete", self.label(name)))?;
            }
        }
        // Before a spare's head is written, no crash may show it under its old name.
        self.disk.sync_dir().map_err(Error::io(
            "flush the directory of",
            self.label(Name::Log(self.generation)),
        ))
    }

    fn label(&self, name: Name) -> String {
        self.disk.describe(&name.to_string())
    }
}

enum Made {
    Ready(Arc<Segment>),
    /// Nothing was harmed.
    Refused(Error),
    /// The log must stop.
    Broken(Error),
}

impl Drop for Preparer {
    fn drop(&mut self) {
        // Nobody waits for a thread that is gone.
        self.shelf.tended(false);
    }
}

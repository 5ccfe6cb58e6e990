//! The flush loop: everything that waits becomes one write and one flush.
//!
//! Owns the segment that is being written. Never looks into a record, never reads.
//!
//! ```text
//!  append, save_vote, … ──► queue ──drain──► one write ──fdatasync──► completions, in order
//!                             ▲                              │
//!                             └────── fills while it runs ◄──┘
//! ```
//!
//! Invariants:
//! * A completion leaves after the flush that covers it (D1). There is no linger: a flush starts as soon as something waits.
//! * A batch never spans segments: the flush before it covers all of the stream, so that one number in each frame says what
//!   must be whole.
//! * After a failed write or flush nothing completes successfully any more, and nothing is written (D5).
//!
//! Source: Raft thesis §10.2.1.

use std::sync::{Arc, PoisonError};
use std::thread;

use tracing::debug;

use crate::book::Item;
use crate::codec::{self, Body, Head, SEGMENT_HEAD_BYTES};
use crate::index::Place;
use crate::log::Shared;
use crate::preparer::{Preparer, Spare};
use crate::segment::{Segment, at};
use crate::{Error, Options, Position};

/// Bytes that one flush may gather; a larger record goes alone. It bounds the buffer, what is written again after a
/// crash, and how long the first in a batch waits for the last. Measured: a flush of 4 KiB takes 0.12 ms, of 128 KiB 0.17,
/// of 512 KiB 0.33; from there on the time grows with the size, and nothing is gained.
pub(crate) const BATCH_BYTES_MAX: u64 = 512 * 1024;

/// What [`Flusher::step`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing waited.
    Idle,
    /// A batch was flushed; more may wait.
    Progress,
    /// The log is closed, or has failed; it will never do anything again.
    Closed,
}

/// The one writer of a log. Its [`Flusher::step`] is synchronous; a thread of its own, or a simulator, runs it.
pub struct Flusher {
    shared: Arc<Shared>,
    active: Option<Active>,
    segment_bytes: u64,
    buffer: Vec<u8>,
    /// Makes segments inline; none while a thread of its own does.
    preparer: Option<Preparer>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub segment: Arc<Segment>,
    /// Stream offset of its first frame.
    pub start: u64,
    /// File offset of the next frame.
    pub offset: u64,
}

/// What one flush covers.
struct Batch {
    items: Vec<Item>,
    /// File offsets of their frames.
    offsets: Vec<u32>,
    committed: Option<Option<Position>>,
}

impl Active {
    /// Stream offset of the next frame.
    pub fn position(&self) -> u64 {
        self.start + self.offset - SEGMENT_HEAD_BYTES
    }

    fn room(&self) -> u64 {
        self.segment.head.bytes - self.offset
    }
}

impl Flusher {
    pub(crate) fn new(
        shared: Arc<Shared>,
        active: Option<Active>,
        options: Options,
        generation: u64,
        spares: Vec<Spare>,
    ) -> Flusher {
        let segment_bytes = options.segment_bytes;
        let preparer = Preparer::new(
            Arc::clone(&shared.disk),
            Arc::clone(&shared.shelf),
            options,
            generation,
            spares,
        );
        Flusher {
            shared,
            active,
            segment_bytes,
            buffer: Vec::new(),
            preparer: Some(preparer),
        }
    }

    /// Drains what waits, up to a batch, into one write and one flush, and calls the completions in order. Blocks on the disk.
    pub fn step(&mut self) -> Step {
        if let Some(error) = self.shared.shelf.broken() {
            return self.fail(error);
        }
        let Some(first_bytes) = self.first_bytes() else {
            return self.rest();
        };
        self.buffer.clear();
        if let Err(error) = self.make_room(first_bytes) {
            return self.fail(error);
        }
        let batch = self.gather();
        if let Err(error) = self.write() {
            self.put_back(batch);
            return self.fail(error);
        }
        self.complete(batch);
        self.look_ahead();
        Step::Progress
    }

    /// Runs until the log is closed or fails, on this thread, with a second one that makes segments ahead of need.
    ///
    /// # Errors
    ///
    /// The failure that stopped the log: the process must stop (D5).
    pub fn run(mut self) -> Result<(), Error> {
        let helper = self.start_preparer();
        while self.step() != Step::Closed {
            self.wait();
        }
        let stop = self.shared.book().stop.clone();
        drop(self);
        if let Some(helper) = helper {
            // It has said so in the shelf if it failed.
            let _ = helper.join();
        }
        match stop {
            Some(error @ Error::Failed { .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs [`Flusher::run`] on a thread of its own.
    ///
    /// # Panics
    ///
    /// If the operating system has no thread to give.
    #[expect(clippy::expect_used, reason = "a process that cannot start its threads cannot run")]
    pub fn spawn(self) -> thread::JoinHandle<Result<(), Error>> {
        let builder = thread::Builder::new().name("log-flusher".to_owned());
        builder
            .spawn(|| self.run())
            .expect("the operating system has a thread for the log")
    }

    /// Bytes that the first waiting operation needs; `None`: nothing waits.
    fn first_bytes(&self) -> Option<u64> {
        let book = self.shared.book();
        if matches!(book.stop, Some(Error::Failed { .. })) {
            return None;
        }
        book.queue.front().map(Item::frame_bytes)
    }

    fn rest(&mut self) -> Step {
        if self.shared.book().stop.is_some() {
            return Step::Closed;
        }
        // Segments retired by a purge, or at start, are worth the idle time.
        self.look_ahead();
        Step::Idle
    }

    /// Sees to it that the active segment has room for `first_bytes`.
    fn make_room(&mut self, first_bytes: u64) -> Result<(), Error> {
        if self.active.as_ref().is_none_or(|active| active.room() < first_bytes) {
            let full = self.active.take();
            self.active = Some(self.switch(full, first_bytes)?);
        }
        Ok(())
    }

    /// Writes the buffer and flushes it. This is the only flush that a completion waits for.
    fn write(&mut self) -> Result<(), Error> {
        let Some(active) = self.active.as_mut().filter(|_| !self.buffer.is_empty()) else {
            return Ok(());
        };
        let segment = &active.segment;
        segment
            .file
            .write_at(&self.buffer, active.offset)
            .map_err(segment.failed("write"))?;
        let flushed = segment.file.sync();
        #[cfg(feature = "mutations")]
        let flushed = flushed.or_else(|error| {
            if mutation::is(mutation::Mutation::IgnoreFailedFlush) {
                return Ok(());
            }
            Err(error)
        });
        flushed.map_err(segment.failed("flush"))?;
        active.offset += self.buffer.len() as u64;
        Ok(())
    }

    /// Goes on in the next segment, which starts with what holds now.
    fn switch(&mut self, full: Option<Active>, first_bytes: u64) -> Result<Active, Error> {
        let marks = self.shared.book().flushed.marks.clone();
        let start = full.as_ref().map_or(0, Active::position);
        let previous = full.as_ref().map_or(0, |active| active.segment.generation());
        let head = Body::Head(Head { start, previous, marks });
        let least = SEGMENT_HEAD_BYTES + codec::frame_bytes(head.payload_bytes()) + first_bytes;
        let segment = self.take_segment(least)?;
        head.encode(&mut self.buffer, segment.seed, at(SEGMENT_HEAD_BYTES), start);
        self.shared.book().segments.push_back(Arc::clone(&segment));
        Ok(Active {
            segment,
            start,
            offset: SEGMENT_HEAD_BYTES,
        })
    }

    fn take_segment(&mut self, least: u64) -> Result<Arc<Segment>, Error> {
        let bytes = self.segment_bytes.max(least.next_multiple_of(SEGMENT_HEAD_BYTES));
        self.shared.shelf.want(bytes);
        if let Some(preparer) = &mut self.preparer {
            preparer.work();
        }
        self.shared.shelf.take(bytes)
    }

    /// Moves what fits from the queue into the buffer, as frames.
    fn gather(&mut self) -> Batch {
        let mut batch = Batch {
            items: Vec::new(),
            offsets: Vec::new(),
            committed: None,
        };
        let Some(active) = &self.active else { return batch };
        let room = active.room().min(BATCH_BYTES_MAX);
        let mut book = self.shared.book();
        let mut bytes = self.buffer.len() as u64;
        let mut last = book.flushed.marks.last;
        while let Some(item) = book.queue.front() {
            let more = item.frame_bytes();
            // The first always goes: there is room for it, whatever its size.
            if bytes + more > room && !batch.items.is_empty() {
                break;
            }
            bytes += more;
            last = item.operation.last_after(last);
            batch.items.extend(book.queue.pop_front());
        }
        if bytes > 0 && bytes + codec::frame_bytes(0) <= active.room() {
            batch.committed = book.take_committed(last);
        }
        drop(book);
        self.encode(&mut batch);
        batch
    }

    fn encode(&mut self, batch: &mut Batch) {
        let Some(active) = &self.active else { return };
        let buffer = &mut self.buffer;
        let (seed, start, flushed) = (active.segment.seed, active.offset, active.position());
        for item in &batch.items {
            let offset = at(start + buffer.len() as u64);
            batch.offsets.push(offset);
            if let Some(body) = item.operation.body() {
                body.encode(buffer, seed, offset, flushed);
            }
        }
        if let Some(committed) = batch.committed {
            Body::Committed(committed).encode(buffer, seed, at(start + buffer.len() as u64), flushed);
        }
    }

    /// Returns a batch whose flush failed to the queue, so that all who wait are told in order.
    fn put_back(&mut self, batch: Batch) {
        let mut book = self.shared.book();
        for item in batch.items.into_iter().rev() {
            book.queue.push_front(item);
        }
    }

    /// Notes what was flushed, then calls the completions.
    fn complete(&mut self, mut batch: Batch) {
        let segment = self.active.as_ref().map_or(0, |active| active.segment.generation());
        let mut book = self.shared.book();
        for (item, offset) in batch.items.iter().zip(&batch.offsets) {
            if let Some(body) = item.operation.body() {
                book.flushed.apply(
                    &body,
                    Place {
                        segment,
                        offset: *offset,
                    },
                );
            }
        }
        if let Some(committed) = batch.committed {
            book.flushed.marks.committed = committed;
        }
        if let Some(last) = batch.items.last() {
            book.settle(last.ticket);
        }
        if !self.buffer.is_empty() {
            book.flushes += 1;
            book.written_bytes += self.buffer.len() as u64;
        }
        let mut unneeded = Vec::new();
        let oldest = book.flushed.oldest_segment().unwrap_or(segment);
        while book.segments.front().is_some_and(|front| front.generation() < oldest) {
            unneeded.extend(book.segments.pop_front());
        }
        drop(book);
        for done in batch.items.iter_mut().filter_map(|item| item.done.take()) {
            done(Ok(()));
        }
        if !unneeded.is_empty() {
            self.shared.shelf.retire(unneeded);
        }
        if self.buffer.capacity() as u64 > 2 * BATCH_BYTES_MAX {
            self.buffer = Vec::new();
        }
    }

    /// Has the next segment made while half of this one is still free, and unneeded ones put away.
    fn look_ahead(&mut self) {
        if self
            .active
            .as_ref()
            .is_none_or(|active| active.room() < active.segment.head.bytes / 2)
        {
            self.shared.shelf.want_soon(self.segment_bytes);
        }
        if let Some(preparer) = &mut self.preparer {
            preparer.work();
        }
    }

    /// Stops the log for good, and tells everybody who waits.
    fn fail(&mut self, error: Error) -> Step {
        let failed = Error::Failed {
            source: Arc::new(error.clone()),
        };
        let mut book = self.shared.book();
        if !matches!(book.stop, Some(Error::Failed { .. })) {
            book.stop = Some(failed.clone());
        }
        drop(book);
        self.active = None;
        self.dismiss(&failed);
        Step::Closed
    }

    /// Answers everybody who still waits with `error`.
    fn dismiss(&mut self, error: &Error) {
        let items = std::mem::take(&mut self.shared.book().queue);
        for done in items.into_iter().filter_map(|item| item.done) {
            done(Err(error.clone()));
        }
    }

    fn start_preparer(&mut self) -> Option<thread::JoinHandle<()>> {
        let mut preparer = self.preparer.take()?;
        self.shared.shelf.tended(true);
        let builder = thread::Builder::new().name("log-preparer".to_owned());
        builder.spawn(move || preparer.run()).ok()
    }

    /// Blocks until something waits, or the log stops.
    fn wait(&self) {
        let idle = |book: &mut crate::book::Book| book.queue.is_empty() && book.stop.is_none();
        let book = self.shared.book();
        drop(
            self.shared
                .work
                .wait_while(book, idle)
                .unwrap_or_else(PoisonError::into_inner),
        );
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        let stop = self.shared.book().stop.get_or_insert(Error::Closed).clone();
        self.dismiss(&stop);
        self.shared.shelf.close();
        debug!("log flusher ended");
    }
}

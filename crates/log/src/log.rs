//! The handle of a log: everything that callers ask of it.
//!
//! No call but [`Log::read`] touches the disk. What changes the log is queued for the flusher, visible to readers at once, and
//! durable when its completion is called.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::book::{Book, Plan, Run};
use crate::codec;
use crate::preparer::Shelf;
use crate::recovery;
use crate::segment;
use crate::{Disk, Error, Flusher, Notify, Options, Position, Record};

/// Called once, when the operation is durable or has failed: by the thread that flushes, without a lock held, in the order
/// of the calls. It must not block.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Bytes between two records up to which they are fetched with one read.
const GAP_BYTES_MAX: u64 = 4096;

/// A handle; clones share one log. When the last is dropped the log closes: the flusher finishes what waits, and ends.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    _open: Arc<Open>,
}

/// What a log knows of itself. Positions are those accepted; of them, `flushed` says what is durable.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// The log starts after this position.
    pub purged: Option<Position>,
    /// The last record, or `purged` when there is none; `None`: the log never held anything.
    pub last: Option<Position>,
    /// Like `last`, in the part of the stream that is flushed. After a truncation it may be ahead until that is flushed.
    pub flushed: Option<Position>,
    /// The committed position, as last saved; after a start, at or before `last`.
    pub committed: Option<Position>,
    /// The vote, as last saved.
    pub vote: Option<Bytes>,
    /// Segments that hold the log.
    pub segments: usize,
    /// Bytes of all files, those kept for later use included.
    pub disk_bytes: u64,
    /// Bytes of records that are accepted and not flushed. Nothing bounds them here: who proposes must.
    pub waiting_bytes: u64,
    /// Flushes of the stream since the start.
    pub flushes: u64,
    /// Bytes written to the stream since the start, frames included.
    pub written_bytes: u64,
    /// What stopped the log, if something did.
    pub failure: Option<Error>,
}

/// Shared by the handles and the flusher.
pub(crate) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub book: Mutex<Book>,
    /// Signalled when the flusher has something to do.
    pub work: Condvar,
    pub shelf: Arc<Shelf>,
    pub notify: Option<Notify>,
}

/// Closes the log when the last handle goes.
struct Open(Arc<Shared>);

/// Opens the log on `disk`, which nobody else uses, or starts an empty one. Blocks: reads all segments.
///
/// What is returned is durable: a torn tail is cut, and the cut is on the disk too. Exactly one [`Flusher`] comes with the
/// log; without somebody who runs it, nothing completes.
///
/// # Errors
///
/// [`Error::Damaged`] or [`Error::Unknown`] when the files are not what this program wrote; nothing was changed then.
/// [`Error::Io`] when the disk fails.
pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Log, Flusher), Error> {
    options.check();
    let recovered = recovery::recover(disk.as_ref(), &options)?;
    let shelf = Arc::new(Shelf::new(recovered.ready, recovered.retired));
    let shared = Arc::new(Shared {
        book: Mutex::new(Book::new(recovered.index, recovered.segments)),
        work: Condvar::new(),
        shelf,
        notify: options.notify.clone(),
        disk,
    });
    let flusher = Flusher::new(
        Arc::clone(&shared),
        recovered.active,
        options,
        recovered.generation,
        recovered.spares,
    );
    Ok((
        Log {
            _open: Arc::new(Open(Arc::clone(&shared))),
            shared,
        },
        flusher,
    ))
}

impl Log {
    /// Appends `records`, which are contiguous and continue the log; an empty log that was never purged starts anywhere.
    ///
    /// Does not block on the disk. The records can be read when this returns; they are durable when `done` is called with
    /// `Ok`. No records at all: `done` is called after everything before.
    ///
    /// # Errors
    ///
    /// Nothing was appended, and `done` is not called: [`Error::OutOfOrder`], [`Error::TooLarge`], or the log has stopped.
    pub fn append(&self, records: Vec<Record>, done: Done) -> Result<(), Error> {
        self.shared.book().append(records, done)?;
        self.shared.wake();
        Ok(())
    }

    /// Saves the vote, in order with the appends. Does not block; durable when `done` is called with `Ok`.
    ///
    /// # Errors
    ///
    /// Nothing was saved, and `done` is not called: [`Error::TooLarge`], or the log has stopped.
    pub fn save_vote(&self, vote: Bytes, done: Done) -> Result<(), Error> {
        self.shared.book().save_vote(vote, done)?;
        self.shared.wake();
        Ok(())
    }

    /// Notes the committed position. Does not block, and causes no flush: it becomes durable with a later one that covers
    /// its record. After a crash an earlier one may come back.
    pub fn save_committed(&self, committed: Option<Position>) {
        self.shared.book().save_committed(committed);
    }

    /// Removes all records after `last`; `None`: all. A `last` at or beyond the tail removes nothing, one before the purged
    /// position counts as that. Does not block; durable when `done` is called with `Ok`. `done` gets
    /// [`Error::OutOfOrder`], at once, if the log holds another record at that index.
    ///
    /// # Panics
    ///
    /// If a record at or before the committed position would go.
    pub fn truncate_after(&self, last: Option<Position>, done: Done) {
        let refused = self.shared.book().truncate_after(last, done).err();
        self.conclude(refused);
    }

    /// Lets the log start after `through`: the records up to it can no longer be read, and their segments are used again
    /// once that is durable, which is when `done` is called with `Ok`. Does not block.
    ///
    /// `through` may be beyond the tail, or name another term than the log's record at that index: then the log is empty
    /// afterwards. One at or before the purged position changes nothing.
    pub fn purge(&self, through: Position, done: Done) {
        let refused = self.shared.book().purge(through, done).err();
        self.conclude(refused);
    }

    /// The records that the log holds in `range`, from the first on, until their bytes would exceed `bytes_max`; at least
    /// one if there is one. Those that are not flushed yet are among them. Blocks on the disk for the others.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a checksum fails: the record is not returned, and the node must stop (D7).
    pub fn read(&self, range: Range<u64>, bytes_max: usize) -> Result<Vec<Record>, Error> {
        let plan = self.shared.book().plan(range, bytes_max);
        read_plan(plan)
    }

    /// The position of the record at `index`, or the purged position if that is its index. Does not block.
    pub fn position_at(&self, index: u64) -> Option<Position> {
        self.shared.book().position_at(index)
    }

    /// What the log knows of itself. Does not block.
    pub fn state(&self) -> State {
        let shelved_bytes = self.shared.shelf.bytes();
        let book = self.shared.book();
        State {
            purged: book.accepted.purged,
            last: book.accepted.last,
            flushed: book.flushed.marks.last,
            committed: book.accepted.committed,
            vote: book.accepted.vote.clone(),
            segments: book.segments.len(),
            disk_bytes: book.segments.iter().map(|segment| segment.head.bytes).sum::<u64>() + shelved_bytes,
            waiting_bytes: book.waiting_bytes(),
            flushes: book.flushes,
            written_bytes: book.written_bytes,
            failure: book.stop.clone().filter(|stop| matches!(stop, Error::Failed { .. })),
        }
    }

    /// Closes the log for all handles: later operations are refused, the flusher finishes what waits, and ends. Does not
    /// block: join the flusher's thread to wait for it.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The first half of a read: where the records are.
    #[cfg(test)]
    pub(crate) fn plan(&self, range: Range<u64>) -> Plan {
        self.shared.book().plan(range, usize::MAX)
    }

    /// Wakes the flusher, or answers an operation that was refused.
    fn conclude(&self, refused: Option<(Error, Done)>) {
        match refused {
            None => self.shared.wake(),
            Some((error, done)) => done(Err(error)),
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.state()).finish()
    }
}

impl Shared {
    /// The book. A panic elsewhere while it was held cannot have left it half changed in a way that matters more than
    /// going on: the flusher closes the log when its thread dies.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wake(&self) {
        self.work.notify_one();
        if let Some(notify) = &self.notify {
            notify();
        }
    }

    pub fn close(&self) {
        self.book().stop.get_or_insert(Error::Closed);
        self.wake();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Fetches what a plan found, without a lock.
pub(crate) fn read_plan(plan: Plan) -> Result<Vec<Record>, Error> {
    let mut records = Vec::new();
    for run in &plan.runs {
        fetch(run, &mut records)?;
    }
    records.extend(plan.records);
    Ok(records)
}

/// Reads the records of `run`: neighbours with one read.
fn fetch(run: &Run, records: &mut Vec<Record>) -> Result<(), Error> {
    let end = |slot: &crate::index::Slot| u64::from(slot.offset) + codec::frame_bytes(slot.length as usize);
    let near = |a: &(u64, _), b: &(u64, crate::index::Slot)| u64::from(b.1.offset) <= end(&a.1) + GAP_BYTES_MAX;
    for group in run.slots.chunk_by(near) {
        let [(_, first), ..] = group else { continue };
        let start = u64::from(first.offset);
        let length = group.last().map_or(0, |(_, last)| end(last) - start);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        run.segment
            .file
            .read_at(&mut bytes, start)
            .map_err(run.segment.failed("read"))?;
        let bytes = Bytes::from(bytes);
        for (index, slot) in group {
            let offset = u64::from(slot.offset);
            let from = usize::try_from(offset - start).unwrap_or(usize::MAX);
            let record = segment::record(&run.segment, &bytes.slice(from..), offset)?;
            if record.position
                != (Position {
                    term: slot.term,
                    index: *index,
                })
            {
                return Err(run
                    .segment
                    .damaged(offset, format!("record {} stands there", record.position)));
            }
            records.push(record);
        }
    }
    Ok(())
}

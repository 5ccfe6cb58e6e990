//! What the log says, in memory: what was accepted, what waits to be flushed, and what was flushed.
//!
//! ```text
//!  stream:   ├─── flushed: index of slots ───┤── in flight ──┤── queue ──┤
//!  reads:    ├─── from the segments ─────────┤── from `waiting` ─────────┤   as the accepted marks say
//! ```
//!
//! Touches memory only; [`crate::Log`] and [`crate::Flusher`] share it behind one mutex that is never held over I/O.
//!
//! Invariants:
//! * Operations have tickets that grow; `waiting` holds the records whose tickets are not flushed and that no later
//!   operation removed, contiguous up to the accepted last.
//! * The accepted marks are the flushed marks plus the queue.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{self, Body, RECORD_BYTES_MAX, VOTE_BYTES_MAX};
use crate::index::{Index, Slot};
use crate::position::Marks;
use crate::segment::Segment;
use crate::{Done, Error, Position, Record};

/// An operation that waits for its flush.
pub(crate) enum Operation {
    Entry(Record),
    Vote(Bytes),
    Truncate(Option<Position>),
    Purge {
        through: Position,
        empties: bool,
    },
    /// Only its completion matters: it leaves after everything before it.
    Nothing,
}

/// An operation, and who waits for it.
pub(crate) struct Item {
    pub ticket: u64,
    pub operation: Operation,
    pub done: Option<Done>,
}

/// Shared between the handles and the flusher.
pub(crate) struct Book {
    pub accepted: Marks,
    pub queue: VecDeque<Item>,
    /// The committed position changed since it was last written; the ticket of its record, after which it may be.
    pub committed_waits: Option<u64>,
    pub flushed: Index,
    /// Segments of the log, oldest first; the last is being written.
    pub segments: VecDeque<Arc<Segment>>,
    /// Set once: no operation is accepted any more.
    pub stop: Option<Error>,
    pub flushes: u64,
    pub written_bytes: u64,
    /// Index of the first accepted record, when there is one.
    first: u64,
    waiting: VecDeque<(u64, Record)>,
    waiting_bytes: u64,
    ticket: u64,
}

/// Where the records of a read are.
#[derive(Default)]
pub(crate) struct Plan {
    /// Those on disk, in order, grouped by segment.
    pub runs: Vec<Run>,
    /// Those in memory, which follow.
    pub records: Vec<Record>,
}

/// Records in one segment.
pub(crate) struct Run {
    pub segment: Arc<Segment>,
    pub slots: Vec<(u64, Slot)>,
}

impl Book {
    pub fn new(flushed: Index, segments: VecDeque<Arc<Segment>>) -> Book {
        Book {
            accepted: flushed.marks.clone(),
            first: flushed.first().unwrap_or(0),
            queue: VecDeque::new(),
            committed_waits: None,
            flushed,
            segments,
            stop: None,
            flushes: 0,
            written_bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ticket: 0,
        }
    }

    pub fn append(&mut self, records: Vec<Record>, done: Done) -> Result<(), Error> {
        self.open()?;
        let mut last = self.accepted.last;
        for record in &records {
            fits(record.bytes.len(), RECORD_BYTES_MAX)?;
            if let Some(last) = last.filter(|last| last.index + 1 != record.position.index) {
                return Err(out_of_order(format!("index {}", last.index + 1), record.position));
            }
            last = Some(record.position);
        }
        if let Some(first) = records.first().filter(|_| self.first().is_none()) {
            self.first = first.position.index;
        }
        self.accepted.last = last;
        let mut done = Some(done);
        let count = records.len();
        for (nth, record) in records.into_iter().enumerate() {
            self.waiting_bytes += record.bytes.len() as u64;
            self.waiting.push_back((self.ticket + 1, record.clone()));
            let done = if nth + 1 == count { done.take() } else { None };
            self.enqueue(Operation::Entry(record), done);
        }
        if done.is_some() {
            self.enqueue(Operation::Nothing, done);
        }
        Ok(())
    }

    pub fn save_vote(&mut self, vote: Bytes, done: Done) -> Result<(), Error> {
        self.open()?;
        fits(vote.len(), VOTE_BYTES_MAX)?;
        self.accepted.vote = Some(vote.clone());
        self.enqueue(Operation::Vote(vote), Some(done));
        Ok(())
    }

    pub fn save_committed(&mut self, committed: Option<Position>) {
        if self.accepted.committed != committed {
            self.accepted.committed = committed;
            self.committed_waits = Some(committed.map_or(0, |committed| self.ticket_of(committed)));
        }
    }

    /// The committed position, if it is to be written at the end of a batch after which the queue is what it is now, and
    /// the stream ends at `last`. Never before its record: the stream may still hold another one at that index, which a
    /// truncation in the queue removes.
    pub fn take_committed(&mut self, last: Option<Position>) -> Option<Option<Position>> {
        let committed = self.accepted.committed;
        let ticket = self.committed_waits?;
        let in_stream = self.queue.front().is_none_or(|next| next.ticket > ticket);
        if !in_stream || committed.map(|committed| committed.index) > last.map(|last| last.index) {
            return None;
        }
        self.committed_waits = None;
        Some(committed)
    }

    /// The completion comes back when it is due at once.
    pub fn truncate_after(&mut self, last: Option<Position>, done: Done) -> Result<(), (Error, Done)> {
        if let Err(error) = self.open() {
            return Err((error, done));
        }
        let last = last.max(self.accepted.purged);
        let beyond = last.map(|last| last.index) >= self.accepted.last.map(|last| last.index);
        if !beyond {
            if let Some(last) = last.filter(|last| self.position_at(last.index) != Some(*last)) {
                let held = self
                    .position_at(last.index)
                    .map_or_else(|| "none".to_owned(), |held| held.to_string());
                return Err((out_of_order(held, last), done));
            }
            assert!(
                last >= self.accepted.committed,
                "a truncation would remove a committed record"
            );
            self.accepted.last = last;
            let keep = |record: &Record| last.is_some_and(|last| record.position.index <= last.index);
            while self.waiting.back().is_some_and(|(_, record)| !keep(record)) {
                self.forget_newest();
            }
        }
        self.enqueue(
            if beyond {
                Operation::Nothing
            } else {
                Operation::Truncate(last)
            },
            Some(done),
        );
        Ok(())
    }

    /// The completion comes back when it is due at once.
    pub fn purge(&mut self, through: Position, done: Done) -> Result<(), (Error, Done)> {
        if let Err(error) = self.open() {
            return Err((error, done));
        }
        if self.accepted.purged.is_some_and(|purged| purged.index >= through.index) {
            self.enqueue(Operation::Nothing, Some(done));
            return Ok(());
        }
        let beyond = self.accepted.last.is_none_or(|last| last.index <= through.index);
        let conflicts = self.position_at(through.index).is_some_and(|held| held != through);
        let empties = beyond || conflicts;
        self.accepted.purged = Some(through);
        self.first = self.first.max(through.index + 1);
        if empties {
            self.accepted.last = Some(through);
            while !self.waiting.is_empty() {
                self.forget_newest();
            }
        }
        self.enqueue(Operation::Purge { through, empties }, Some(done));
        Ok(())
    }

    /// The position of the record at `index`, or of the purged one just before the log.
    pub fn position_at(&self, index: u64) -> Option<Position> {
        if let Some(purged) = self.accepted.purged.filter(|purged| purged.index == index) {
            return Some(purged);
        }
        let (first, last) = (self.first()?, self.accepted.last?);
        if !(first..=last.index).contains(&index) {
            return None;
        }
        match self.waiting_at(index) {
            Some((_, record)) => Some(record.position),
            None => self.flushed.slot(index).map(|slot| Position { term: slot.term, index }),
        }
    }

    /// Index of the first record that can be read, if there is one.
    pub fn first(&self) -> Option<u64> {
        (self.accepted.last != self.accepted.purged).then_some(self.first)
    }

    /// Finds the records of `range`, until their bytes reach `bytes_max`.
    pub fn plan(&self, range: Range<u64>, bytes_max: usize) -> Plan {
        let mut plan = Plan::default();
        let (Some(first), Some(last)) = (self.first(), self.accepted.last) else {
            return plan;
        };
        let mut bytes = 0;
        for index in range.start.max(first)..range.end.min(last.index + 1) {
            let record = self.waiting_at(index).map(|(_, record)| record);
            let slot = if record.is_none() {
                self.flushed.slot(index)
            } else {
                None
            };
            bytes += record.map_or(0, |record| record.bytes.len()) + slot.map_or(0, |slot| slot.length as usize);
            if bytes > bytes_max && !(plan.runs.is_empty() && plan.records.is_empty()) {
                break;
            }
            match (record, slot) {
                (Some(record), _) => plan.records.push(record.clone()),
                (None, Some(slot)) => self.extend(&mut plan.runs, index, slot),
                (None, None) => break,
            }
        }
        plan
    }

    /// Forgets the records whose tickets are `through` or older: they are flushed, or will never be read.
    pub fn settle(&mut self, through: u64) {
        while self.waiting.front().is_some_and(|(ticket, _)| *ticket <= through) {
            if let Some((_, record)) = self.waiting.pop_front() {
                self.waiting_bytes -= record.bytes.len() as u64;
            }
        }
    }

    /// Bytes of records that are not flushed.
    pub fn waiting_bytes(&self) -> u64 {
        self.waiting_bytes
    }

    fn waiting_at(&self, index: u64) -> Option<&(u64, Record)> {
        let (_, first) = self.waiting.front()?;
        let nth = index.checked_sub(first.position.index)?;
        self.waiting.get(usize::try_from(nth).ok()?)
    }

    /// Ticket with which the record at `position` enters the stream; 0: it is there.
    fn ticket_of(&self, position: Position) -> u64 {
        if Some(position) == self.accepted.purged || self.position_at(position.index) != Some(position) {
            // Not a record: everything accepted so far must be there first.
            return self.ticket;
        }
        self.waiting_at(position.index).map_or(0, |(ticket, _)| *ticket)
    }

    fn extend(&self, runs: &mut Vec<Run>, index: u64, slot: Slot) {
        match runs.last_mut() {
            Some(run) if run.segment.generation() == slot.segment => run.slots.push((index, slot)),
            _ => {
                let nth = self
                    .segments
                    .partition_point(|segment| segment.generation() < slot.segment);
                let segment = Arc::clone(&self.segments[nth]);
                runs.push(Run {
                    segment,
                    slots: vec![(index, slot)],
                });
            }
        }
    }

    fn open(&self) -> Result<(), Error> {
        self.stop.clone().map_or(Ok(()), Err)
    }

    fn enqueue(&mut self, operation: Operation, done: Option<Done>) {
        self.ticket += 1;
        self.queue.push_back(Item {
            ticket: self.ticket,
            operation,
            done,
        });
    }

    fn forget_newest(&mut self) {
        if let Some((_, record)) = self.waiting.pop_back() {
            self.waiting_bytes -= record.bytes.len() as u64;
        }
    }
}

impl Operation {
    /// The frame to write, if any.
    pub fn body(&self) -> Option<Body<'_>> {
        match self {
            Operation::Entry(record) => Some(record.into()),
            Operation::Vote(vote) => Some(Body::Vote(vote)),
            Operation::Truncate(last) => Some(Body::Truncate(*last)),
            Operation::Purge { through, empties } => Some(Body::Purge {
                through: *through,
                empties: *empties,
            }),
            Operation::Nothing => None,
        }
    }

    /// The last position after this, when it was `last` before.
    pub fn last_after(&self, last: Option<Position>) -> Option<Position> {
        match self {
            Operation::Entry(record) => Some(record.position),
            Operation::Truncate(last) => *last,
            Operation::Purge { through, empties: true } => Some(*through),
            Operation::Purge { empties: false, .. } | Operation::Vote(_) | Operation::Nothing => last,
        }
    }
}

impl Item {
    /// Bytes that it takes in the file.
    pub fn frame_bytes(&self) -> u64 {
        self.operation
            .body()
            .map_or(0, |body| codec::frame_bytes(body.payload_bytes()))
    }
}

fn fits(bytes: usize, bytes_max: usize) -> Result<(), Error> {
    if bytes > bytes_max {
        Err(Error::TooLarge { bytes, bytes_max })
    } else {
        Ok(())
    }
}

fn out_of_order(expected: String, found: Position) -> Error {
    Error::OutOfOrder {
        expected,
        found: found.to_string(),
    }
}

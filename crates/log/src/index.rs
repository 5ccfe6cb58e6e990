//! What the flushed stream says: the marks, and where each live record stands.
//!
//! The same code follows the stream while it is written and when it is read again at start. Touches memory only.
//!
//! Invariants:
//! * Slots are contiguous and end at `marks.last`; those of surviving records are in stream order, so the first slot
//!   names the oldest segment that is still needed.
//! * A slot is 24 bytes; there is one for each record that was flushed and not purged.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::Position;
use crate::codec::Body;
use crate::position::Marks;

/// Where a flushed record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// Its term.
    pub term: u64,
    /// Generation of its segment.
    pub segment: u64,
    /// Offset of its frame in the file.
    pub offset: u32,
    /// Bytes of the record.
    pub length: u32,
}

/// Place of a frame in the files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub segment: u64,
    pub offset: u32,
}

/// The state of the flushed stream.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub marks: Marks,
    /// Index of the first slot, when there is one.
    first: u64,
    slots: VecDeque<Slot>,
}

impl Index {
    /// An index of a log whose earlier records are elsewhere, or lost.
    pub fn starting(marks: Marks) -> Index {
        Index {
            marks,
            first: 0,
            slots: VecDeque::new(),
        }
    }

    /// Says why `body` cannot follow what came before.
    pub fn refuse(&self, body: &Body<'_>) -> Option<String> {
        match body {
            Body::Entry { position, .. } => match self.marks.last {
                Some(last) if last.index + 1 != position.index => Some(format!("record {position} follows {last}")),
                _ => None,
            },
            Body::Head(_) => Some("a head amid the records".to_owned()),
            Body::Vote(_) | Body::Committed(_) | Body::Truncate(_) | Body::Purge { .. } => None,
        }
    }

    /// Follows the stream by one frame, which stands at `place`.
    pub fn apply(&mut self, body: &Body<'_>, place: Place) {
        match body {
            Body::Head(head) => self.marks = head.marks.clone(),
            Body::Entry { position, bytes } => self.push(*position, bytes.len(), place),
            Body::Vote(vote) => self.marks.vote = Some(Bytes::copy_from_slice(vote)),
            Body::Committed(committed) => self.marks.committed = *committed,
            Body::Truncate(last) => self.truncate(*last),
            Body::Purge { through, empties } => self.purge(*through, *empties),
        }
    }

    /// The slot of the record at `index`.
    pub fn slot(&self, index: u64) -> Option<Slot> {
        let nth = index.checked_sub(self.first)?;
        self.slots.get(usize::try_from(nth).ok()?).copied()
    }

    /// Index of the first record.
    pub fn first(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    /// Generation of the oldest segment that holds a live record.
    pub fn oldest_segment(&self) -> Option<u64> {
        self.slots.front().map(|slot| slot.segment)
    }

    /// Indexes of the records that the marks promise and no slot knows.
    pub fn missing(&self) -> Option<(u64, u64)> {
        let last = self.marks.last.filter(|last| Some(*last) != self.marks.purged)?.index;
        let from = self.marks.purged.map_or(0, |purged| purged.index + 1);
        let through = self.first().map_or(Some(last), |first| first.checked_sub(1))?;
        (from <= through).then_some((from, through))
    }

    fn push(&mut self, position: Position, length: usize, place: Place) {
        if self.slots.is_empty() {
            self.first = position.index;
        }
        assert_eq!(
            self.first + self.slots.len() as u64,
            position.index,
            "records are contiguous"
        );
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.slots.push_back(Slot {
            term: position.term,
            segment: place.segment,
            offset: place.offset,
            length,
        });
        self.marks.last = Some(position);
    }

    fn truncate(&mut self, last: Option<Position>) {
        let keep = last.map_or(0, |last| (last.index + 1).saturating_sub(self.first));
        self.slots.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        self.marks.last = last;
    }

    fn purge(&mut self, through: Position, empties: bool) {
        let gone = if empties {
            u64::MAX
        } else {
            (through.index + 1).saturating_sub(self.first)
        };
        let gone = usize::try_from(gone).unwrap_or(usize::MAX).min(self.slots.len());
        self.slots.drain(..gone);
        self.first += gone as u64;
        self.marks.purged = Some(through);
        if empties {
            self.marks.last = Some(through);
        }
        // A burst of writes must not keep its memory for ever.
        if self.slots.capacity() > 4096 && self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(self.slots.len() * 2);
        }
    }
}

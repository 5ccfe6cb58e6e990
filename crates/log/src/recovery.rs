//! What is on the disk becomes a log again: the stream is replayed, damage refused, a torn tail cut for good.
//!
//! ```text
//!  segments, oldest first:  [head frames…][head frames…][head frames… ✗ leftovers]   [ready]
//!                                                       ├─ flushed ─┤     │
//!                                           every later valid frame knew ─┘ less to be flushed: torn. More: damage
//! ```
//!
//! A frame's `flushed` is the stream offset up to which the stream was flushed when it was written. So the first bad frame
//! is damage if any valid frame after it, in any segment, has a larger one; or if the next segment starts further on.
//! Otherwise nothing at or after it was ever acknowledged.
//!
//! Invariants:
//! * Nothing is written before everything was found sound.
//! * What is returned is durable. The last batch is written again and flushed, since a flush that failed in an earlier life
//!   may have left pages that the kernel believes to be clean (it forgets them: <https://lwn.net/Articles/752063/>).
//! * Valid frames after the cut are destroyed, durably, before anything is written there: they can never come back.
//! * Segments are only ever retired as a prefix; one that is missing in between is damage, unless all that it can have
//!   held is purged.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::{info, warn};

use crate::codec::{Body, FRAME_HEAD_BYTES, Head, SEGMENT_HEAD_BYTES};
use crate::flusher::{Active, BATCH_BYTES_MAX};
use crate::index::{Index, Place};
use crate::preparer::Spare;
use crate::segment::{Name, Scanner, Segment, at};
use crate::{Disk, Error, Options, Position};

/// Bytes that are written again at once.
const REWRITE_BYTES: usize = 256 * 1024;

/// A log that was found on the disk.
pub(crate) struct Recovered {
    pub index: Index,
    /// Those in use, oldest first.
    pub segments: VecDeque<Arc<Segment>>,
    pub active: Option<Active>,
    pub ready: Option<Arc<Segment>>,
    pub retired: Vec<Arc<Segment>>,
    pub spares: Vec<Spare>,
    /// Of the next segment.
    pub generation: u64,
}

/// The stream, as far as it was read.
#[derive(Default)]
pub(crate) struct Replay {
    pub index: Index,
    segments: VecDeque<Arc<Segment>>,
    /// Segments without a valid first frame.
    blanks: Vec<Arc<Segment>>,
    tail: Option<Tail>,
    /// Segments before one that is missing: purged, but for a rename that a crash undid.
    stale: Vec<Arc<Segment>>,
    /// A segment is missing before the first of `segments`.
    gap: bool,
    /// The records of the segment that was followed last, by first and last; what follows may take them back.
    pub records: Option<(Position, Position)>,
}

/// Where the stream ends.
struct Tail {
    active: Active,
    /// Stream offset of the last batch.
    batch: u64,
}

/// Frames after the cut.
pub(crate) type Leftovers = Vec<(Arc<Segment>, Vec<u64>)>;

/// Reads the log on `disk`.
pub(crate) fn recover(disk: &dyn Disk, options: &Options) -> Result<Recovered, Error> {
    let mut names: Vec<Name> = list(disk)?;
    names.sort_by_key(|name| name.generation());
    let mut replay = Replay::default();
    for name in &names {
        if let Name::Log(generation) = name {
            replay.follow(Arc::new(Segment::open(disk, *generation)?))?;
        }
    }
    replay.check_complete()?;
    let leftovers = replay.leftovers()?;
    // Everything is sound: from here on the disk may be changed.
    replay.settle(&leftovers)?;
    let spares = tidy(disk, options, &names)?;
    disk.sync_dir().map_err(Error::io("flush", disk.describe(".")))?;
    let generation = names.last().map_or(1, |name| name.generation() + 1);
    let recovered = replay.conclude(spares, generation);
    let marks = &recovered.index.marks;
    info!(purged = ?marks.purged, last = ?marks.last, segments = recovered.segments.len(), "log opened");
    Ok(recovered)
}

pub(crate) fn list(disk: &dyn Disk) -> Result<Vec<Name>, Error> {
    let names = disk.list().map_err(Error::io("list", disk.describe(".")))?;
    Ok(names.iter().filter_map(|name| Name::parse(name)).collect())
}

/// Removes what an interrupted creation left, and opens the spares.
fn tidy(disk: &dyn Disk, options: &Options, names: &[Name]) -> Result<Vec<Spare>, Error> {
    let mut spares = Vec::new();
    for name in names {
        let text = name.to_string();
        let label = disk.describe(&text);
        let keep = match name {
            Name::Log(_) => continue,
            Name::New(_) => None,
            Name::Spare(_) if spares.len() >= options.spares_max => None,
            Name::Spare(generation) => Some(*generation),
        };
        if let Some(generation) = keep {
            let file = disk.open(&text).map_err(Error::io("open", label.clone()))?;
            let bytes = file.size().map_err(Error::io("read the size of", label.clone()))?;
            if bytes == options.segment_bytes {
                spares.push(Spare::found(disk, generation, bytes, file));
                continue;
            }
        }
        disk.delete(&text).map_err(Error::io("delete", label))?;
    }
    Ok(spares)
}

/// Writes the bytes of `segment` from `from` to `to`, or its end, as they are, and flushes them and all others.
fn rewrite(segment: &Segment, from: u64, to: u64) -> Result<(), Error> {
    let mut scanner = Scanner::new(segment);
    let mut offset = from;
    while offset < to.min(segment.head.bytes) {
        let left = to.min(segment.head.bytes) - offset;
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(REWRITE_BYTES);
        let bytes = scanner.bytes(offset, count)?;
        segment.file.write_at(bytes, offset).map_err(segment.failed("write"))?;
        offset += count as u64;
    }
    segment.file.sync().map_err(segment.failed("flush"))
}

impl Replay {
    /// Goes on with the next segment.
    pub fn follow(&mut self, segment: Arc<Segment>) -> Result<(), Error> {
        self.records = None;
        let mut scanner = Scanner::new(&segment);
        let Some((frame, mut offset)) = scanner.frame(SEGMENT_HEAD_BYTES)? else {
            self.blanks.push(Arc::clone(&segment));
            return Ok(());
        };
        let Body::Head(head) = frame.body else {
            return Err(segment.damaged(SEGMENT_HEAD_BYTES, "the segment does not start with its head frame"));
        };
        self.join(&segment, &head)?;
        let start = head.start;
        let mut batch = start;
        while let Some((frame, next)) = scanner.frame(offset)? {
            if let Some(found) = self.index.refuse(&frame.body) {
                return Err(segment.damaged(offset, found));
            }
            if let Body::Entry { position, .. } = &frame.body {
                self.records = Some((self.records.map_or(*position, |(first, _)| first), *position));
            }
            self.index.apply(
                &frame.body,
                Place {
                    segment: segment.generation(),
                    offset: at(offset),
                },
            );
            batch = frame.flushed;
            offset = next;
        }
        self.segments.push_back(Arc::clone(&segment));
        self.tail = Some(Tail {
            active: Active { segment, start, offset },
            batch,
        });
        Ok(())
    }

    /// Checks that the segment with `head` continues the stream.
    fn join(&mut self, segment: &Segment, head: &Head) -> Result<(), Error> {
        let blank = self.blanks.iter().find(|blank| blank.generation() == head.previous);
        if let Some(blank) = blank {
            return Err(blank.damaged(SEGMENT_HEAD_BYTES, "records that were flushed are gone"));
        }
        match &self.tail {
            Some(tail) if tail.active.segment.generation() == head.previous => {
                if tail.active.position() != head.start {
                    return Err(tail.damaged());
                }
                if self.index.marks != head.marks {
                    return Err(segment.damaged(SEGMENT_HEAD_BYTES, "the head frame contradicts the records before it"));
                }
            }
            // The segment before is gone, as it should be when all that it held is purged; `check_complete` sees to that.
            Some(_) | None => {
                self.gap |= head.previous != 0;
                self.index = Index::starting(head.marks.clone());
                self.stale.extend(self.segments.drain(..));
            }
        }
        Ok(())
    }

    /// Refuses a log whose records are not all there.
    pub fn check_complete(&self) -> Result<(), Error> {
        let Some(oldest) = self.segments.front().filter(|_| self.gap) else {
            return Ok(());
        };
        let Some((from, through)) = self.index.missing() else {
            return Ok(());
        };
        let found = format!("the segment before this one is missing, and with it records {from} to {through}");
        Err(oldest.damaged(0, found))
    }

    /// Finds valid frames after the cut, and refuses them if one was written after something that is not there was flushed.
    pub fn leftovers(&self) -> Result<Leftovers, Error> {
        let mut leftovers = Leftovers::new();
        let cut = self.tail.as_ref().map_or(0, |tail| tail.active.position());
        if let Some(Tail { active, .. }) = &self.tail {
            let found = Scanner::new(&active.segment).search(active.offset, cut)?;
            if let Some((later, _)) = found.iter().find(|(_, flushed)| *flushed > cut) {
                let found = format!("the record is bad, and one at offset {later} was written after it was flushed");
                return Err(active.segment.damaged(active.offset, found));
            }
            leftovers.push((
                Arc::clone(&active.segment),
                found.into_iter().map(|(offset, _)| offset).collect(),
            ));
        }
        for blank in self.later_blanks() {
            let found = Scanner::new(blank).search(SEGMENT_HEAD_BYTES, cut)?;
            if let Some((later, _)) = found.iter().find(|(_, flushed)| *flushed > cut) {
                let found =
                    format!("the head frame is bad, and one at offset {later} was written after it was flushed");
                return Err(blank.damaged(SEGMENT_HEAD_BYTES, found));
            }
            leftovers.push((Arc::clone(blank), found.into_iter().map(|(offset, _)| offset).collect()));
        }
        leftovers.retain(|(_, offsets)| !offsets.is_empty());
        Ok(leftovers)
    }

    /// Makes durable what was read, and destroys what was cut.
    ///
    /// All that the last batch can have covered is written again, whether it holds frames or zeros: a flush that failed in
    /// an earlier life, of the stream or of this very function, may have left pages that look clean and are not on the disk.
    fn settle(&self, leftovers: &Leftovers) -> Result<(), Error> {
        for (segment, offsets) in leftovers {
            warn!(file = segment.label, frames = offsets.len(), "torn tail cut");
            for offset in offsets {
                let zeros = segment.file.write_at(&[0; FRAME_HEAD_BYTES], *offset);
                zeros.map_err(segment.failed("write"))?;
            }
        }
        if let Some(Tail { active, batch }) = &self.tail {
            let from = SEGMENT_HEAD_BYTES + batch.saturating_sub(active.start);
            rewrite(&active.segment, from, active.offset.max(from + BATCH_BYTES_MAX))?;
        }
        for blank in self.later_blanks() {
            rewrite(blank, SEGMENT_HEAD_BYTES, SEGMENT_HEAD_BYTES + BATCH_BYTES_MAX)?;
        }
        Ok(())
    }

    fn conclude(self, spares: Vec<Spare>, generation: u64) -> Recovered {
        let Replay {
            index,
            mut segments,
            blanks,
            tail,
            stale: mut retired,
            ..
        } = self;
        let active = tail.map(|tail| tail.active);
        let newest = active.as_ref().map_or(0, |active| active.segment.generation());
        let oldest = index.oldest_segment().unwrap_or(newest);
        while segments.front().is_some_and(|front| front.generation() < oldest) {
            retired.extend(segments.pop_front());
        }
        let mut ready = None;
        for blank in blanks {
            if blank.generation() > newest && ready.is_none() {
                ready = Some(blank);
            } else {
                retired.push(blank);
            }
        }
        retired.sort_by_key(|segment| segment.generation());
        Recovered {
            index,
            segments,
            active,
            ready,
            retired,
            spares,
            generation,
        }
    }

    /// Blank segments after the last that holds anything, oldest first.
    fn later_blanks(&self) -> impl Iterator<Item = &Arc<Segment>> {
        let newest = self.tail.as_ref().map_or(0, |tail| tail.active.segment.generation());
        self.blanks.iter().filter(move |blank| blank.generation() > newest)
    }
}

impl Tail {
    fn damaged(&self) -> Error {
        self.active.segment.damaged(
            self.active.offset,
            "the record is bad, and the next segment was written after it",
        )
    }
}

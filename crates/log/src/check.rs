//! A look at the log of a stopped node: everything that a start would refuse, and what it would cut. Changes nothing.
//!
//! The stream is replayed as at a start. Where a start stops, this goes on with the next segment, whose head says what
//! holds there: so each damaged segment is named, and what is known of the stream behind it.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{self, SEGMENT_HEAD_BYTES};
use crate::recovery::{self, Replay};
use crate::segment::{self, Name, Scanner, Segment};
use crate::{Disk, Error, Position, Record};

/// What was found.
#[derive(Debug)]
pub struct Checked {
    /// The segments of the log, oldest first, as far as they can be opened.
    pub segments: Vec<CheckedSegment>,
    /// Files that are kept to be written again, and those whose creation was cut short: names.
    pub spares: Vec<String>,
    /// The log starts after this position. This and what follows is what the stream says at its end; behind damage, what
    /// its last whole stretch says.
    pub purged: Option<Position>,
    /// The last record, or `purged` when there is none.
    pub last: Option<Position>,
    /// The committed position, as last saved.
    pub committed: Option<Position>,
    /// The vote, as last saved.
    pub vote: Option<Bytes>,
    /// Runs of one term among the records that count, each by its first position.
    pub terms: Vec<Position>,
    /// What the next start cuts: nothing at or after it was ever acknowledged.
    pub torn: Vec<Torn>,
    /// What keeps the log from being opened, in the order of the stream. Nothing in here is an [`Error::Io`].
    pub damage: Vec<Error>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSegment {
    /// Its file, as [`Disk::describe`] names it.
    pub file: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The node that wrote it: [`crate::Options::salt`] of the time.
    pub salt: u64,
    /// Its first and last record; `None` when it holds none, or was not read through.
    pub records: Option<(Position, Position)>,
}

/// What is shown while the log is read.
#[derive(Debug)]
pub enum Shown<'a> {
    /// A segment was read through.
    Segment(&'a CheckedSegment),
    /// A record that counts, with its file and where its frame stands. These come after all segments.
    Record(&'a str, u64, &'a Record),
}

/// A torn tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// Where its first frame stands that goes.
    pub offset: u64,
    /// How many frames go.
    pub frames: usize,
}

/// Reads every segment on `disk`, and shows them and the records that count.
///
/// No process has the log open. Blocks for as long as reading it all takes.
///
/// # Errors
///
/// [`Error::Io`]: the disk cannot be read. What is damaged stands in the answer.
pub fn check(disk: &dyn Disk, show: &mut dyn FnMut(Shown<'_>)) -> Result<Checked, Error> {
    let mut names = recovery::list(disk)?;
    names.sort_by_key(|name| name.generation());
    let mut damage = Damage::default();
    let mut replay = Replay::default();
    let mut held: Vec<Arc<Segment>> = Vec::new();
    let mut segments = Vec::new();
    for name in &names {
        let Name::Log(generation) = *name else {
            continue;
        };
        let Some(segment) = damage.take(Segment::open(disk, generation).map(Arc::new))? else {
            replay = Replay::default();
            continue;
        };
        if damage.take(replay.follow(Arc::clone(&segment)))?.is_none() {
            // What this segment's own head says holds, whatever was before it.
            replay = Replay::default();
            damage.take(replay.follow(Arc::clone(&segment)))?;
        }
        let checked = CheckedSegment {
            file: segment.label.clone(),
            bytes: segment.head.bytes,
            salt: segment.head.salt,
            records: replay.records,
        };
        show(Shown::Segment(&checked));
        segments.push(checked);
        held.push(segment);
    }
    if damage.found.is_empty() {
        damage.take(replay.check_complete())?;
    }
    let leftovers = damage.take(replay.leftovers())?.unwrap_or_default();
    let torn = leftovers.iter().map(|(segment, offsets)| Torn {
        file: segment.label.clone(),
        offset: offsets.first().copied().unwrap_or(SEGMENT_HEAD_BYTES),
        frames: offsets.len(),
    });
    let torn = torn.collect();
    let terms = show_records(&replay, &held, &mut damage, show)?;
    Ok(Checked {
        segments,
        spares: spares(&names),
        purged: replay.index.marks.purged,
        last: replay.index.marks.last,
        committed: replay.index.marks.committed,
        vote: replay.index.marks.vote.clone(),
        terms,
        torn,
        damage: damage.found,
    })
}

/// The records that count, once more; answers where each run of one term begins.
fn show_records(
    replay: &Replay,
    held: &[Arc<Segment>],
    damage: &mut Damage,
    show: &mut dyn FnMut(Shown<'_>),
) -> Result<Vec<Position>, Error> {
    let mut terms: Vec<Position> = Vec::new();
    let mut scanner: Option<(&Arc<Segment>, Scanner<'_>)> = None;
    let first = replay.index.first().unwrap_or(1);
    for (index, slot) in (first..).map_while(|index| Some((index, replay.index.slot(index)?))) {
        if terms.last().is_none_or(|run| run.term != slot.term) {
            terms.push(Position { term: slot.term, index });
        }
        if scanner
            .as_ref()
            .is_none_or(|(segment, _)| segment.generation() != slot.segment)
        {
            let segment = held.iter().find(|segment| segment.generation() == slot.segment);
            scanner = segment.map(|segment| (segment, Scanner::new(segment)));
        }
        let Some((segment, scanner)) = &mut scanner else {
            continue;
        };
        let offset = u64::from(slot.offset);
        let bytes = Bytes::copy_from_slice(scanner.bytes(offset, frame_bytes(slot.length))?);
        if let Some(record) = damage.take(segment::record(segment, &bytes, offset))? {
            show(Shown::Record(&segment.label, offset, &record));
        }
    }
    Ok(terms)
}

fn frame_bytes(length: u32) -> usize {
    // A frame lies within a file of less than 4 GiB.
    usize::try_from(codec::frame_bytes(length as usize)).unwrap_or(usize::MAX)
}

fn spares(names: &[Name]) -> Vec<String> {
    let others = names.iter().filter(|name| !matches!(name, Name::Log(_)));
    others.map(Name::to_string).collect()
}

/// Damage, gathered.
#[derive(Default)]
struct Damage {
    found: Vec<Error>,
}

impl Damage {
    /// The value; `None` for what is damaged, which is kept once.
    fn take<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>, Error> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error @ (Error::Damaged { .. } | Error::Unknown { .. })) => {
                if !self.found.iter().any(|known| known.to_string() == error.to_string()) {
                    self.found.push(error);
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

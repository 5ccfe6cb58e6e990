//! The bytes of the log, computed here and nowhere else; drawn in `docs/formats.md`, section "Log".
//!
//! Touches memory only. Numbers are little-endian. A segment is a head of 4,096 bytes, then frames, each at a multiple of
//! eight; the first is always [`Body::Head`].
//!
//! Invariants:
//! * A frame's checksum is seeded by its segment's generation and salt: what an earlier life of the file left behind
//!   never passes, since CRCs of equal bytes under different seeds differ.
//! * A frame names its own offset, so that bytes in the wrong place never pass either.

use bytes::Bytes;

use crate::position::Marks;
use crate::{Position, Record};

/// First bytes of a segment.
pub(crate) const MAGIC: [u8; 8] = *b"QLITELOG";
/// Version of everything in this file.
pub(crate) const VERSION: u32 = 1;
/// Bytes before the first frame: a whole page, so that no write of a frame touches the head.
pub(crate) const SEGMENT_HEAD_BYTES: u64 = 4096;
/// Smallest segment: its head, the largest [`Body::Head`], and room for progress.
pub(crate) const SEGMENT_BYTES_LEAST: u64 = 16 * 1024;
/// Largest regular segment: offsets are `u32`, and preparing one must stay a matter of a second.
pub(crate) const SEGMENT_BYTES_LARGEST: u64 = 1024 * 1024 * 1024;
/// Bytes of a frame before its payload.
pub(crate) const FRAME_HEAD_BYTES: usize = 40;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;

/// Bytes of one record. A request of 64 MiB and its envelope fit; more would hold up a flush for too long.
pub const RECORD_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Bytes of a vote: each segment starts with a copy.
pub const VOTE_BYTES_MAX: usize = 1024;

/// Bytes of the fixed part of a [`Body::Head`]'s payload.
const HEAD_FIXED_BYTES: usize = 72;

const HAS_POSITION: u8 = 1;
const EMPTIES: u8 = 2;

const HEAD_PURGED: u8 = 1;
const HEAD_LAST: u8 = 2;
const HEAD_COMMITTED: u8 = 4;
const HEAD_VOTE: u8 = 8;

/// The head of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    /// Grows with each segment of the log and is never used twice; also in the file's name.
    pub generation: u64,
    /// [`crate::Options::salt`] of the time.
    pub salt: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// Why a segment head was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    Magic([u8; 8]),
    Version(u32),
    Checksum,
}

/// Seeds the checksums of one generation's frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed(u32);

/// One frame of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Stream offset up to which everything was flushed when the frame was written.
    pub flushed: u64,
    pub body: Body<'a>,
}

/// What a frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// First in a segment: what holds there.
    Head(Head),
    /// A record.
    Entry { position: Position, bytes: &'a [u8] },
    /// The vote.
    Vote(&'a [u8]),
    /// The committed position.
    Committed(Option<Position>),
    /// No record after this one remains; `None`: none at all.
    Truncate(Option<Position>),
    /// The log starts after `through`; `empties`: and no record remains.
    Purge { through: Position, empties: bool },
}

/// The payload of a segment's first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Stream offset of this frame, which is where the previous segment's part of the stream ends.
    pub start: u64,
    /// Generation of the segment before; 0 in the first.
    pub previous: u64,
    /// What the stream before this frame says.
    pub marks: Marks,
}

/// What was found where a frame may stand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Frame(Frame<'a>),
    /// No frame of this segment: zeros, leftovers, or a damaged one.
    Nothing,
    /// A whole frame of a kind, or in a form, that a later release writes.
    Unknown(u8),
}

impl SegmentHead {
    pub fn seed(&self) -> Seed {
        Seed(low(self.generation) ^ low(self.salt) ^ low(self.salt >> 32))
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SEGMENT_HEAD_BYTES as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        bytes.extend_from_slice(&self.salt.to_le_bytes());
        bytes.extend_from_slice(&self.bytes.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes.resize(SEGMENT_HEAD_BYTES as usize, 0);
        bytes
    }

    /// Reads the head of a segment from its first 44 bytes or more.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHead, HeadError> {
        let magic = array(bytes, 0);
        if magic != MAGIC {
            return Err(HeadError::Magic(magic));
        }
        // The version is read before the checksum: a later one may compute that differently.
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(HeadError::Version(version));
        }
        if u32_at(bytes, 40) != crc32c::crc32c(&bytes[..40]) {
            return Err(HeadError::Checksum);
        }
        Ok(SegmentHead {
            generation: u64_at(bytes, 16),
            salt: u64_at(bytes, 24),
            bytes: u64_at(bytes, 32),
        })
    }
}

/// Bytes that a frame with `payload` bytes takes in the file, padding included.
pub(crate) fn frame_bytes(payload: usize) -> u64 {
    (FRAME_HEAD_BYTES + payload).next_multiple_of(FRAME_ALIGN) as u64
}

impl Body<'_> {
    /// Bytes of the payload.
    pub fn payload_bytes(&self) -> usize {
        match self {
            Body::Head(head) => HEAD_FIXED_BYTES + head.marks.vote.as_ref().map_or(0, Bytes::len),
            Body::Entry { bytes, .. } | Body::Vote(bytes) => bytes.len(),
            Body::Committed(_) | Body::Truncate(_) | Body::Purge { .. } => 0,
        }
    }

    /// Appends this as a frame to `buffer`, to be written at `at` in the file.
    pub fn encode(&self, buffer: &mut Vec<u8>, seed: Seed, at: u32, flushed: u64) {
        let (kind, flags, position) = match self {
            Body::Head(_) => (1, 0, None),
            Body::Entry { position, .. } => (2, 0, Some(*position)),
            Body::Vote(_) => (3, 0, None),
            Body::Committed(position) => (4, 0, *position),
            Body::Truncate(position) => (5, 0, *position),
            Body::Purge { through, empties } => (6, if *empties { EMPTIES } else { 0 }, Some(*through)),
        };
        let flags = flags | if position.is_some() { HAS_POSITION } else { 0 };
        let position = position.unwrap_or(Position { term: 0, index: 0 });
        let start = buffer.len();
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&low(self.payload_bytes() as u64).to_le_bytes());
        buffer.extend_from_slice(&[kind, flags, 0, 0]);
        buffer.extend_from_slice(&at.to_le_bytes());
        buffer.extend_from_slice(&flushed.to_le_bytes());
        buffer.extend_from_slice(&position.term.to_le_bytes());
        buffer.extend_from_slice(&position.index.to_le_bytes());
        match self {
            Body::Head(head) => head.encode(buffer),
            Body::Entry { bytes, .. } | Body::Vote(bytes) => buffer.extend_from_slice(bytes),
            Body::Committed(_) | Body::Truncate(_) | Body::Purge { .. } => {}
        }
        let checksum = crc32c::crc32c_append(seed.0, &buffer[start + 4..]);
        buffer[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
        buffer.resize(start + (buffer.len() - start).next_multiple_of(FRAME_ALIGN), 0);
    }
}

/// What the first [`FRAME_HEAD_BYTES`] say about a frame that may stand at `at`: its payload's length. `None`: there is
/// no frame. Cheap, so that a search can ask it at every place.
pub(crate) fn peek(head: &[u8], at: u32) -> Option<usize> {
    if u32_at(head, 12) != at || head[10..12] != [0; 2] {
        return None;
    }
    let length = u32_at(head, 4) as usize;
    (length <= RECORD_BYTES_MAX).then_some(length)
}

/// Reads the frame at the start of `bytes`, which stand at `at` in the file; `bytes` may go on beyond it.
pub(crate) fn decode(bytes: &[u8], seed: Seed, at: u32) -> Found<'_> {
    if bytes.len() < FRAME_HEAD_BYTES {
        return Found::Nothing;
    }
    let Some(length) = peek(bytes, at) else {
        return Found::Nothing;
    };
    let Some(covered) = bytes.get(4..FRAME_HEAD_BYTES + length) else {
        return Found::Nothing;
    };
    if u32_at(bytes, 0) != crc32c::crc32c_append(seed.0, covered) {
        return Found::Nothing;
    }
    let payload = &bytes[FRAME_HEAD_BYTES..FRAME_HEAD_BYTES + length];
    let (kind, flags) = (bytes[8], bytes[9]);
    let position = Position {
        term: u64_at(bytes, 24),
        index: u64_at(bytes, 32),
    };
    let optional = (flags & HAS_POSITION != 0).then_some(position);
    let body = match kind {
        1 => Head::decode(payload).map(Body::Head),
        2 => optional.map(|position| Body::Entry {
            position,
            bytes: payload,
        }),
        3 => Some(Body::Vote(payload)),
        4 => Some(Body::Committed(optional)),
        5 => Some(Body::Truncate(optional)),
        6 => optional.map(|through| Body::Purge {
            through,
            empties: flags & EMPTIES != 0,
        }),
        _ => None,
    };
    match body {
        Some(body) => Found::Frame(Frame {
            flushed: u64_at(bytes, 16),
            body,
        }),
        None => Found::Unknown(kind),
    }
}

impl Head {
    fn encode(&self, buffer: &mut Vec<u8>) {
        let Marks {
            purged,
            last,
            committed,
            vote,
        } = &self.marks;
        let mut flags = 0;
        for (present, flag) in [
            (purged.is_some(), HEAD_PURGED),
            (last.is_some(), HEAD_LAST),
            (committed.is_some(), HEAD_COMMITTED),
            (vote.is_some(), HEAD_VOTE),
        ] {
            flags |= if present { flag } else { 0 };
        }
        buffer.extend_from_slice(&self.start.to_le_bytes());
        buffer.extend_from_slice(&self.previous.to_le_bytes());
        for position in [purged, last, committed] {
            let position = position.unwrap_or(Position { term: 0, index: 0 });
            buffer.extend_from_slice(&position.term.to_le_bytes());
            buffer.extend_from_slice(&position.index.to_le_bytes());
        }
        buffer.extend_from_slice(&[flags, 0, 0, 0, 0, 0, 0, 0]);
        buffer.extend_from_slice(vote.as_deref().unwrap_or_default());
    }

    fn decode(payload: &[u8]) -> Option<Head> {
        let vote = payload.get(HEAD_FIXED_BYTES..)?;
        let flags = payload[64];
        let position = |at, flag| {
            let position = Position {
                term: u64_at(payload, at),
                index: u64_at(payload, at + 8),
            };
            (flags & flag != 0).then_some(position)
        };
        let marks = Marks {
            purged: position(16, HEAD_PURGED),
            last: position(32, HEAD_LAST),
            committed: position(48, HEAD_COMMITTED),
            vote: (flags & HEAD_VOTE != 0).then(|| Bytes::copy_from_slice(vote)),
        };
        Some(Head {
            start: u64_at(payload, 0),
            previous: u64_at(payload, 8),
            marks,
        })
    }
}

impl<'a> From<&'a Record> for Body<'a> {
    fn from(record: &'a Record) -> Body<'a> {
        Body::Entry {
            position: record.position,
            bytes: &record.bytes,
        }
    }
}

/// The low half of a number: mixed into seeds, or a length that [`RECORD_BYTES_MAX`] keeps small.
fn low(number: u64) -> u32 {
    (number & u64::from(u32::MAX)) as u32
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// Panics if `bytes` ends before `at + N`: callers check the length first.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

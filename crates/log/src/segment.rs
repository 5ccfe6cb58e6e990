//! One segment file: its name, its head, and reading its frames in order.
//!
//! Names tell files apart, so that damage to a file's bytes never does:
//!
//! | name | what it is |
//! | --- | --- |
//! | `<generation>.log` | part of the log; its head was durable before it got this name |
//! | `<generation>.spare` | was part of the log, holds nothing of worth |
//! | `<generation>.new` | being created; removed at start |

use std::fmt;
use std::io;
use std::sync::Arc;

use crate::codec::{self, Body, FRAME_HEAD_BYTES, Found, Frame, HeadError, SEGMENT_HEAD_BYTES, Seed, SegmentHead};
use crate::{Disk, Error, File};

/// Bytes that a scan reads at once.
const SCAN_BYTES: usize = 256 * 1024;

/// A file of the log, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    New(u64),
    Spare(u64),
    Log(u64),
}

/// An open segment.
pub(crate) struct Segment {
    /// Its name, as [`Disk::describe`] gives it to humans.
    pub label: String,
    pub head: SegmentHead,
    pub seed: Seed,
    pub file: Box<dyn File>,
}

/// Reads the frames of a segment, forward.
pub(crate) struct Scanner<'a> {
    segment: &'a Segment,
    buffer: Vec<u8>,
    start: u64,
}

impl Name {
    /// The file's kind; `None`: not one of ours.
    pub fn parse(name: &str) -> Option<Name> {
        let (digits, kind) = name.split_once('.')?;
        if digits.len() != 16 || digits.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let generation = u64::from_str_radix(digits, 16).ok()?;
        match kind {
            "new" => Some(Name::New(generation)),
            "spare" => Some(Name::Spare(generation)),
            "log" => Some(Name::Log(generation)),
            _ => None,
        }
    }

    pub fn generation(self) -> u64 {
        match self {
            Name::New(generation) | Name::Spare(generation) | Name::Log(generation) => generation,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Name::New(_) => "new",
            Name::Spare(_) => "spare",
            Name::Log(_) => "log",
        };
        write!(f, "{:016x}.{kind}", self.generation())
    }
}

impl Segment {
    /// A segment whose head is already on the disk, or about to be.
    pub fn new(disk: &dyn Disk, head: SegmentHead, file: Box<dyn File>) -> Segment {
        Segment {
            label: disk.describe(&Name::Log(head.generation).to_string()),
            head,
            seed: head.seed(),
            file,
        }
    }

    /// Opens `<generation>.log` and checks its head.
    pub fn open(disk: &dyn Disk, generation: u64) -> Result<Segment, Error> {
        let name = Name::Log(generation).to_string();
        let label = disk.describe(&name);
        let file = disk.open(&name).map_err(Error::io("open", label.clone()))?;
        let bytes = file.size().map_err(Error::io("read the size of", label.clone()))?;
        let damaged = |found: &str| Error::Damaged {
            file: label.clone(),
            offset: 0,
            found: format!("the segment head {found}"),
        };
        if bytes < SEGMENT_HEAD_BYTES {
            return Err(damaged("is cut off"));
        }
        let mut first = [0; 64];
        file.read_at(&mut first, 0).map_err(Error::io("read", label.clone()))?;
        let unknown = |what, remedy| Error::Unknown {
            file: label.clone(),
            what,
            version_max: codec::VERSION,
            remedy,
        };
        let head = SegmentHead::decode(&first).map_err(|error| match error {
            HeadError::Checksum => damaged("does not match its checksum"),
            HeadError::Magic([0, 0, 0, 0, 0, 0, 0, 0]) => damaged("is gone"),
            HeadError::Magic(magic) => unknown(
                format!("the unknown magic \"{}\"", magic.escape_ascii()),
                "the file is foreign or damaged; move it out of the data directory if it is not part of the log",
            ),
            HeadError::Version(version) => unknown(
                format!("the unknown version {version}"),
                "start the release that wrote it, or a later one",
            ),
        })?;
        if head.generation != generation {
            return Err(damaged("names another generation than the file does"));
        }
        if head.bytes > bytes {
            return Err(damaged(&format!(
                "promises {} bytes, and the file has {bytes}",
                head.bytes
            )));
        }
        Ok(Segment {
            label,
            head,
            seed: head.seed(),
            file,
        })
    }

    pub fn generation(&self) -> u64 {
        self.head.generation
    }

    /// An [`Error::Damaged`] at `offset` of this file.
    pub fn damaged(&self, offset: u64, found: impl Into<String>) -> Error {
        Error::Damaged {
            file: self.label.clone(),
            offset,
            found: found.into(),
        }
    }

    /// Wraps an I/O error on this file.
    pub fn failed(&self, operation: &'static str) -> impl FnOnce(io::Error) -> Error {
        Error::io(operation, self.label.clone())
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Segment").field(&self.label).finish()
    }
}

impl<'a> Scanner<'a> {
    pub fn new(segment: &'a Segment) -> Scanner<'a> {
        Scanner {
            segment,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The frame at `offset` and the offset after it; `None` when no whole, valid frame of this generation stands there.
    pub fn frame(&mut self, offset: u64) -> Result<Option<(Frame<'_>, u64)>, Error> {
        let segment = self.segment;
        let Some(length) = self.peek(offset)? else {
            return Ok(None);
        };
        let end = offset + codec::frame_bytes(length);
        let bytes = self.bytes(offset, FRAME_HEAD_BYTES + length)?;
        match codec::decode(bytes, segment.seed, at(offset)) {
            Found::Frame(frame) => Ok(Some((frame, end))),
            Found::Nothing => Ok(None),
            Found::Unknown(kind) => Err(Error::Unknown {
                file: segment.label.clone(),
                what: format!("a record of the unknown kind {kind} at offset {offset}"),
                version_max: codec::VERSION,
                remedy: "start the release that wrote it, or a later one",
            }),
        }
    }

    /// Searches for valid frames at every place from `offset` on, and answers where each starts and the position in the
    /// stream that it knew to be flushed. Stops early once one knows more than `enough` to be flushed.
    pub fn search(&mut self, mut offset: u64, enough: u64) -> Result<Vec<(u64, u64)>, Error> {
        let mut found = Vec::new();
        while offset + FRAME_HEAD_BYTES as u64 <= self.segment.head.bytes {
            if self.peek(offset)?.is_some()
                && let Some((frame, _)) = self.frame(offset)?
            {
                found.push((offset, frame.flushed));
                if frame.flushed > enough {
                    break;
                }
            }
            offset += codec::FRAME_ALIGN as u64;
        }
        Ok(found)
    }

    /// The length of the payload of a frame that may stand at `offset`, and ends within the file.
    fn peek(&mut self, offset: u64) -> Result<Option<usize>, Error> {
        if offset + FRAME_HEAD_BYTES as u64 > self.segment.head.bytes {
            return Ok(None);
        }
        let room = self.segment.head.bytes - offset;
        let length = codec::peek(self.bytes(offset, FRAME_HEAD_BYTES)?, at(offset));
        Ok(length.filter(|length| codec::frame_bytes(*length) <= room))
    }

    /// `count` bytes from `offset` on, which must be within the file.
    pub fn bytes(&mut self, offset: u64, count: usize) -> Result<&[u8], Error> {
        let held = self.start..self.start + self.buffer.len() as u64;
        if !held.contains(&offset) || offset + count as u64 > held.end {
            let left = usize::try_from(self.segment.head.bytes - offset).unwrap_or(usize::MAX);
            let wanted = count.max(SCAN_BYTES.min(left));
            // A large record's buffer is not kept for the small ones that follow.
            self.buffer = vec![0; wanted];
            self.start = offset;
            self.segment
                .file
                .read_at(&mut self.buffer, offset)
                .map_err(self.segment.failed("read"))?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        Ok(&self.buffer[from..from + count])
    }
}

/// A file offset as frames hold it. Files are shorter than 4 GiB: see `SEGMENT_BYTES_LARGEST` and `RECORD_BYTES_MAX`.
pub(crate) fn at(offset: u64) -> u32 {
    debug_assert!(offset <= u64::from(u32::MAX));
    offset as u32
}

/// Reads the record whose frame starts at the head of `bytes`, which stand at `offset` of `segment`; its bytes share the
/// buffer.
pub(crate) fn record(segment: &Arc<Segment>, bytes: &bytes::Bytes, offset: u64) -> Result<crate::Record, Error> {
    match codec::decode(bytes, segment.seed, at(offset)) {
        Found::Frame(Frame {
            body: Body::Entry {
                position,
                bytes: payload,
            },
            ..
        }) => Ok(crate::Record {
            position,
            bytes: bytes.slice_ref(payload),
        }),
        Found::Frame(_) | Found::Nothing | Found::Unknown(_) => {
            Err(segment.damaged(offset, "the record does not match its checksum"))
        }
    }
}

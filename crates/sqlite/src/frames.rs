//! The frames of a WAL, as far as SQLite takes them: up to the first whose checksum does not hold.
//!
//! Reads a `-wal` file that no connection writes to. Never changes it.
//!
//! ```text
//!  header 32 bytes │ frame: header 24 bytes, page │ frame │ frame │ … what an earlier life of the file has left
//!                    └ page number, size after a commit, the file's salts, checksum of everything up to here
//! ```
//!
//! Source: <https://sqlite.org/fileformat2.html#the_write_ahead_log>

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// Bytes of a WAL's header.
pub(crate) const HEADER_BYTES: u64 = 32;
/// Bytes of a frame before its page.
pub(crate) const FRAME_HEADER_BYTES: u64 = 24;

/// The first four bytes of a WAL; the lowest bit says how its checksums read what they sum.
const MAGIC: u32 = 0x377f_0682;
const VERSION: u32 = 3_007_000;
/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

/// A WAL that is read from its start.
pub(crate) struct Frames {
    file: BufReader<File>,
    salts: [u8; 8],
    sum: Sum,
    frame: Vec<u8>,
    count: u32,
    committed: u32,
    has_ended: bool,
}

/// The running checksum of a WAL.
#[derive(Clone, Copy)]
struct Sum {
    is_big_endian: bool,
    halves: (u32, u32),
}

impl Frames {
    /// Reads the header of the WAL at `path`; `None` when SQLite would not take a byte of it.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn open(path: &Path) -> io::Result<Option<Self>> {
        let mut file = match File::open(path) {
            Ok(file) => BufReader::with_capacity(READ_BYTES, file),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut header = [0; HEADER_BYTES as usize];
        if !fill(&mut file, &mut header)? {
            return Ok(None);
        }
        let (magic, page_bytes) = (number(&header, 0), number(&header, 8));
        let mut sum = Sum {
            is_big_endian: magic & 1 == 1,
            halves: (0, 0),
        };
        sum.add(&header[..24]);
        let is_page = page_bytes.is_power_of_two() && (512..=65536).contains(&page_bytes);
        if magic & !1 != MAGIC || number(&header, 4) != VERSION || !is_page || !sum.is_at(&header, 24) {
            return Ok(None);
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        Ok(Some(Self {
            file,
            salts,
            sum,
            frame: vec![0; FRAME_HEADER_BYTES as usize + page_bytes as usize],
            count: 0,
            committed: 0,
            has_ended: false,
        }))
    }

    /// What tells this life of the file from every other.
    pub(crate) fn salts(&self) -> [u8; 8] {
        self.salts
    }

    /// Reads on to the end, or until `count_max` frames were good, and answers how many were.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn count(&mut self, count_max: u32) -> io::Result<u32> {
        while self.count < count_max && self.read_next()? {
            self.count += 1;
            // The size of the database, in the last frame of a transaction.
            if number(&self.frame, 4) != 0 {
                self.committed = self.count;
            }
        }
        Ok(self.count)
    }

    /// Of the frames that were good, those up to the last end of a transaction: SQLite takes no others.
    pub(crate) fn committed(&self) -> u32 {
        self.committed
    }

    /// Reads on to the end, after the first frame that was not good, and answers how many there are of this life of the
    /// file, that one included if it is one.
    ///
    /// # Errors
    ///
    /// What the operating system says.
    pub(crate) fn leftovers(&mut self) -> io::Result<u32> {
        let mut leftovers = 0;
        while !self.has_ended {
            leftovers += u32::from(self.frame[8..16] == self.salts);
            self.has_ended = !fill(&mut self.file, &mut self.frame)?;
        }
        Ok(leftovers)
    }

    /// Where the first frame begins that was not good, or not yet read.
    pub(crate) fn offset(&self) -> u64 {
        HEADER_BYTES + u64::from(self.count) * self.frame.len() as u64
    }

    /// Reads one frame: whether it is good.
    fn read_next(&mut self) -> io::Result<bool> {
        if !fill(&mut self.file, &mut self.frame)? {
            self.has_ended = true;
            return Ok(false);
        }
        let (header, page) = self.frame.split_at(FRAME_HEADER_BYTES as usize);
        if header[8..16] != self.salts || number(header, 0) == 0 {
            return Ok(false);
        }
        self.sum.add(&header[..8]);
        self.sum.add(page);
        Ok(self.sum.is_at(header, 16))
    }
}

impl Sum {
    /// `bytes` come in pairs of words.
    fn add(&mut self, bytes: &[u8]) {
        let (mut first, mut second) = self.halves;
        for pair in bytes.chunks_exact(8) {
            let (left, right) = (number(pair, 0), number(pair, 4));
            let (left, right) = match self.is_big_endian {
                true => (left, right),
                false => (left.swap_bytes(), right.swap_bytes()),
            };
            first = first.wrapping_add(left).wrapping_add(second);
            second = second.wrapping_add(right).wrapping_add(first);
        }
        self.halves = (first, second);
    }

    /// It is what stands at `offset` of `bytes`.
    fn is_at(self, bytes: &[u8], offset: usize) -> bool {
        self.halves == (number(bytes, offset), number(bytes, offset + 4))
    }
}

/// Fills `bytes`; false when the file ends before.
fn fill(file: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number at `offset`, big-endian as all of a WAL's own are.
fn number(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..offset + 4]
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests;

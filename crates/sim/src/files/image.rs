//! One file of SQLite as the disk has it: what is flushed, what is only written, and what power loss leaves.
//!
//! Model: data persist by sector of 512 bytes, in any order; the file's size persists in the order of its changes, as a
//! journalled file system does it. Bytes between the two that were never written are zeros.

use crate::chance::Chance;

/// The unit in which unflushed bytes persist.
const SECTOR_BYTES: usize = 512;

/// A file's content and its history since it was last flushed.
#[derive(Debug, Clone, Default)]
pub struct Image {
    flushed: Vec<u8>,
    current: Vec<u8>,
    /// Since `flushed` was true, in order.
    changes: Vec<Change>,
    /// A flush failed: the kernel takes what was written for clean, and no flush writes it any more.
    is_abandoned: bool,
}

#[derive(Debug, Clone)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Size(usize),
}

/// How much of the unflushed changes outlives a power loss.
#[derive(Debug, Clone, Copy)]
enum Survival {
    Nothing,
    Everything,
    /// The first changes do, the rest do not.
    Prefix,
    /// Each sector has some version of its own.
    Torn,
}

impl Image {
    /// A file whose every byte is flushed.
    pub fn flushed(bytes: Vec<u8>) -> Image {
        Image {
            current: bytes.clone(),
            flushed: bytes,
            ..Image::default()
        }
    }

    /// What a reader sees.
    pub fn current(&self) -> &[u8] {
        &self.current
    }

    /// `bytes` are written at `offset`.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        put(&mut self.current, offset, bytes);
        self.changes.push(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        });
    }

    /// The file is cut or grown.
    pub fn resize(&mut self, size: usize) {
        self.current.resize(size, 0);
        self.changes.push(Change::Size(size));
    }

    /// Everything written so far is flushed.
    pub fn flush(&mut self) {
        if self.is_abandoned {
            return;
        }
        self.changes.clear();
        self.flushed.clone_from(&self.current);
    }

    /// A flush fails: what it should have written never will be.
    pub fn abandon(&mut self) {
        self.is_abandoned = !self.changes.is_empty();
    }

    /// Flips a bit, for good; nothing that is not flushed is left.
    pub fn flip(&mut self, offset: usize, bit: u8) {
        self.current[offset] ^= 1 << bit;
        self.flushed.clone_from(&self.current);
        self.changes.clear();
    }

    /// The power fails.
    pub fn lose_power(&mut self, chance: &mut Chance) {
        let kept = chance.weighted(&[
            (3, Survival::Nothing),
            (2, Survival::Everything),
            (2, Survival::Prefix),
            (3, Survival::Torn),
        ]);
        let count = self.changes.len();
        let survivor = match kept {
            Survival::Nothing => std::mem::take(&mut self.flushed),
            Survival::Everything => std::mem::take(&mut self.current),
            Survival::Prefix => {
                let kept = chance.index(count + 1);
                self.replay(kept, &mut |_| kept)
            }
            Survival::Torn => {
                let sizes = chance.index(count + 1);
                self.replay(sizes, &mut |_| chance.index(count + 1))
            }
        };
        *self = Image::flushed(survivor);
    }

    /// The file after `sizes` changes of its size, and in each sector the first `version(sector)` changes of data.
    fn replay(&self, sizes: usize, version: &mut dyn FnMut(usize) -> usize) -> Vec<u8> {
        let mut file = self.flushed.clone();
        let mut versions = std::collections::BTreeMap::new();
        for (at, change) in self.changes.iter().enumerate() {
            match change {
                Change::Size(size) if at < sizes => file.resize(*size, 0),
                Change::Size(_) => {}
                Change::Write { offset, bytes } => {
                    if at < sizes && file.len() < offset + bytes.len() {
                        file.resize(offset + bytes.len(), 0);
                    }
                    for (start, part) in sectors(*offset, bytes) {
                        let sector = start / SECTOR_BYTES;
                        let kept = *versions.entry(sector).or_insert_with(|| version(sector));
                        if at < kept && start < file.len() {
                            let part = &part[..part.len().min(file.len() - start)];
                            file[start..start + part.len()].copy_from_slice(part);
                        }
                    }
                }
            }
        }
        file
    }
}

/// `bytes` at `offset`, cut where sectors begin.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut start = offset;
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let room = SECTOR_BYTES - start % SECTOR_BYTES;
        let (part, after) = rest.split_at(room.min(rest.len()));
        let item = (start, part);
        start += part.len();
        rest = after;
        Some(item)
    })
}

fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests;

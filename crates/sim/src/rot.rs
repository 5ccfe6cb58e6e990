//! Bits that flip on a disk while its machine is down.
//!
//! Only in what is well before the end of the log: whether the last batch was damaged or never flushed, no log can tell.

use log::testing::MemDisk;

use crate::chance::Chance;

/// Bytes at the end of the log that stay as they are: some batches of the workload.
const SOUND_BYTES: usize = 8 * 1024;

/// Bits that flip at once, at most.
pub const BITS_MAX: u64 = 4;

/// Flips some bits in the log on `disk`; false when it is too short for that.
pub fn flip(disk: &MemDisk, chance: &mut Chance) -> bool {
    let segments: Vec<(String, usize)> = disk
        .files()
        .into_iter()
        .filter(|(name, _)| name.ends_with(".log"))
        .map(|(name, _)| {
            let bytes = disk.bytes(&name);
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            (name, used)
        })
        .collect();
    let used: usize = segments.iter().map(|(_, used)| used).sum();
    let Some(open @ 1..) = used.checked_sub(SOUND_BYTES) else {
        return false;
    };
    let start = chance.index(open);
    for _ in 0..=chance.below(BITS_MAX) {
        // Near each other, as a bad spot has them.
        let mut offset = (start + chance.index(64)).min(open - 1);
        for (name, used) in &segments {
            if offset < *used {
                disk.flip(name, offset, u8::try_from(chance.below(8)).unwrap_or(0));
                break;
            }
            offset -= used;
        }
    }
    true
}

#[cfg(test)]
mod tests;

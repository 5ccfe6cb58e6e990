//! Searching, replacing and trimming by the rules of SQLite's functions: in linear time, or with every comparison counted.
//!
//! Plain bytes in and out; NULLs, types and limits are `ffi::strings`' business. Patterns are not empty.
//!
//! Source: memchr's two-way and SIMD substring search.

use std::collections::BTreeSet;

use memchr::memmem;

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

/// Comparisons between two counts of them: some microseconds, but for a set that is longer.
const COMPARISONS: usize = 4096;

/// Where `pattern` first stands in `value`, in bytes from 1; 0 when nowhere.
pub(crate) fn place_in_bytes(value: &[u8], pattern: &[u8]) -> usize {
    memmem::find(value, pattern).map_or(0, |at| at + 1)
}

/// Where `pattern` first stands in `value`, in characters from 1; 0 when nowhere.
///
/// A character begins at the start, and at every byte that continues none: SQLite looks nowhere else.
pub(crate) fn place_in_text(value: &[u8], pattern: &[u8]) -> usize {
    let at = if pattern.first().is_some_and(|first| continues(*first)) {
        value.starts_with(pattern).then_some(0)
    } else {
        memmem::find(value, pattern)
    };
    at.map_or(0, |at| {
        1 + value[..=at].iter().skip(1).filter(|byte| !continues(**byte)).count()
    })
}

/// Bytes of `value` with every `pattern` replaced by `by`.
pub(crate) fn replaced_length(value: &[u8], pattern: &[u8], by: &[u8]) -> usize {
    let count = memmem::find_iter(value, pattern).count();
    value.len() - count * pattern.len() + count * by.len()
}

/// Writes `value` with every `pattern` replaced by `by`; `out` has [`replaced_length`].
pub(crate) fn replace(value: &[u8], pattern: &[u8], by: &[u8], out: &mut [u8]) {
    let (mut from, mut to) = (0, 0);
    let mut put = |bytes: &[u8]| {
        out[to..to + bytes.len()].copy_from_slice(bytes);
        to += bytes.len();
    };
    for at in memmem::find_iter(value, pattern) {
        put(&value[from..at]);
        put(by);
        from = at + pattern.len();
    }
    put(&value[from..]);
}

/// Writes the hexadecimal digits of `bytes`; `out` is twice as long.
pub(crate) fn write_hex(bytes: &[u8], out: &mut [u8]) {
    for (byte, digits) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        digits[0] = HEX_DIGITS[usize::from(byte >> 4)];
        digits[1] = HEX_DIGITS[usize::from(byte & 15)];
    }
}

/// An end of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    First,
    Last,
}

/// Trimming was stopped.
pub(crate) struct Stopped;

/// The characters of a set, as `trim()` takes it: up to its first NUL, each with all the bytes that continue it.
pub(crate) fn characters(set: &[u8]) -> Vec<&[u8]> {
    let end = set.iter().position(|byte| *byte == 0).unwrap_or(set.len());
    let (mut rest, mut characters) = (&set[..end], Vec::new());
    while let Some((first, behind)) = rest.split_first() {
        let continued = if *first < 0xc0 {
            0
        } else {
            behind.iter().take_while(|byte| continues(**byte)).count()
        };
        let (character, behind) = rest.split_at(1 + continued);
        characters.push(character);
        rest = behind;
    }
    characters
}

/// `value` without the characters of `set` at its `end`. `counts` is told of comparisons now and then, and whether they
/// go on.
pub(crate) fn trimmed<'v>(
    mut value: &'v [u8],
    set: &[&[u8]],
    end: End,
    counts: &mut impl FnMut(usize) -> bool,
) -> Result<&'v [u8], Stopped> {
    let mut compared = 0;
    while !value.is_empty() {
        let is_there = |character: &&[u8]| match end {
            End::First => value.starts_with(character),
            End::Last => value.ends_with(character),
        };
        let found = set.iter().position(is_there);
        compared += found.map_or(set.len(), |place| place + 1);
        if compared >= COMPARISONS && !counts(std::mem::take(&mut compared)) {
            return Err(Stopped);
        }
        let Some(length) = found.map(|place| set[place].len()) else {
            break;
        };
        value = match end {
            End::First => &value[length..],
            End::Last => &value[..value.len() - length],
        };
    }
    if counts(compared) { Ok(value) } else { Err(Stopped) }
}

/// The bytes whose digits are in `value`, between which only the characters of `pass` may stand; `None` for another text.
pub(crate) fn read_hex(value: &[u8], pass: &[u8]) -> Option<Vec<u8>> {
    let mut passed = BTreeSet::new();
    let mut rest = pass;
    while !rest.is_empty() {
        passed.insert(read_character(&mut rest));
    }
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    let (mut rest, mut bytes) = (&value[..end], Vec::new());
    while let Some(first) = rest.first() {
        let Some(high) = char::from(*first).to_digit(16) else {
            if passed.contains(&read_character(&mut rest)) {
                continue;
            }
            return None;
        };
        let low = char::from(*rest.get(1)?).to_digit(16)?;
        bytes.push((high << 4 | low) as u8);
        rest = &rest[2..];
    }
    Some(bytes)
}

/// Takes a character off a text that is not empty, as SQLite reads UTF-8: what is none becomes one, too.
fn read_character(text: &mut &[u8]) -> u32 {
    let (first, mut rest) = (text[0], &text[1..]);
    let mut character = u32::from(first);
    if first >= 0xc0 {
        character = match first {
            0xc0..=0xdf => character & 0x1f,
            0xe0..=0xef => character & 0x0f,
            0xf0..=0xf7 => character & 0x07,
            0xf8..=0xfb => character & 0x03,
            0xfc..=0xfd => character & 0x01,
            _ => 0,
        };
        while let Some((next, behind)) = rest.split_first().filter(|(next, _)| continues(**next)) {
            character = (character << 6).wrapping_add(u32::from(next & 0x3f));
            rest = behind;
        }
        if character < 0x80 || character & 0xffff_f800 == 0xd800 {
            character = 0xfffd;
        }
    }
    *text = rest;
    character
}

fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests;

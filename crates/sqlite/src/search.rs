//! Searching and replacing in linear time, by the rules of SQLite's `instr()` and `replace()`.
//!
//! Plain bytes in and out; NULLs, types and limits are `ffi::strings`' business. Patterns are not empty.
//!
//! Source: memchr's two-way and SIMD substring search.

use memchr::memmem;

const HEX_DIGITS: &[u8; 16] = b"0123456789ABCDEF";

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

fn continues(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

#[cfg(test)]
mod tests;

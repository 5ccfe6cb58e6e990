//! The value that belongs to each key, so that an answer can be checked without remembering what was written, and a
//! small generator for picking keys. Both are the same on every run.

#[cfg(test)]
mod tests;

/// Characters of a value; with its eight-byte key a row holds about 50 bytes.
pub const VALUE_BYTES: usize = 40;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The value of `key`: hexadecimal digits, so that it needs no escape in JSON.
pub fn value(key: u64) -> [u8; VALUE_BYTES] {
    let mut text = [0; VALUE_BYTES];
    for (block, digits) in text.chunks_mut(16).enumerate() {
        let mut bits = mix(key.wrapping_add((block as u64) << 56));
        for digit in digits {
            *digit = HEX[(bits & 15) as usize];
            bits >>= 4;
        }
    }
    text
}

/// splitmix64's finisher. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
fn mix(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Picks numbers: good enough for keys, and costs a few instructions.
pub struct Picker(u64);

impl Picker {
    /// A picker whose sequence depends on `seed` alone.
    pub fn new(seed: u64) -> Picker {
        Picker(mix(seed))
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(1);
        // The high half of the product is uniform to within bound / 2^64.
        ((u128::from(mix(self.0)) * u128::from(bound)) >> 64) as u64
    }
}

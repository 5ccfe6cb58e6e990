//! The value that belongs to each key: the same as the load generator's, which checks what the read floor answers.

#[cfg(test)]
mod tests;

/// Characters of a value.
pub const VALUE_BYTES: usize = 40;

/// The value of `key`, as hexadecimal digits.
pub fn value(key: u64) -> Text {
    let mut text = [0; VALUE_BYTES];
    for (block, digits) in text.chunks_mut(16).enumerate() {
        let mut bits = mix(key.wrapping_add((block as u64) << 56));
        for digit in digits {
            *digit = b"0123456789abcdef"[(bits & 15) as usize];
            bits >>= 4;
        }
    }
    Text(text)
}

/// A value, which SQLite stores as text.
pub struct Text([u8; VALUE_BYTES]);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl rusqlite::ToSql for Text {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        (**self).to_sql().map(|_| rusqlite::types::ToSqlOutput::from(&**self))
    }
}

/// splitmix64's finisher. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
fn mix(key: u64) -> u64 {
    let mut bits = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

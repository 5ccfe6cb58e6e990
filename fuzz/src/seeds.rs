//! Writes each target's seeds and dictionary below a folder, for libFuzzer to read.

use std::path::Path;
use std::{fs, io};

use targets::{TARGETS, Target};

/// Writes all of them.
///
/// # Errors
///
/// Whatever the file system says.
pub fn write_all(folder: &Path) -> io::Result<()> {
    TARGETS.iter().try_for_each(|target| write(target, folder))
}

fn write(target: &Target, folder: &Path) -> io::Result<()> {
    let seeds = folder.join(target.name).join("seeds");
    fs::create_dir_all(&seeds)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(seeds.join(number.to_string()), seed)?;
    }
    let words: String = target.words.iter().map(|word| entry(word)).collect();
    fs::write(folder.join(target.name).join("words"), words)
}

/// A line of a dictionary: bytes that could confuse its reader are written as `\xHH`, and a word that is so written
/// already stays.
fn entry(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" -_=+:.,/&%[]{}()".contains(&byte);
    let text: String = if word.starts_with("\\x") {
        word.to_owned()
    } else {
        word.bytes()
            .map(|byte| {
                if plain(byte) {
                    char::from(byte).to_string()
                } else {
                    format!("\\x{byte:02x}")
                }
            })
            .collect()
    };
    format!("\"{text}\"\n")
}

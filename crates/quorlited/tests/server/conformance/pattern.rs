//! Texts with words in angle brackets: what a script writes for a value that it cannot know.
//!
//! In an answer, everything outside angle brackets must be there byte for byte:
//!
//! ```text
//! <int>         an integer                          <any>       whatever stands here, also nothing
//! <float>       a JSON number                       <nl>        a line feed
//! <text>        what may stand inside JSON quotes   <lt>        a literal `<`
//! <duration>    a Go duration such as 412.3µs       <hex:FF00>  those bytes
//! <time>        a time as RFC 3339 writes it        <NAME>      a value of the cluster: leader.raft, here.id, …
//! ```
//!
//! The server writes `<` in JSON as `\u003c`, so no body of its own looks like a word.
//! In a request only `<hex:…>`, `<lt>`, `<nl>` and names are replaced, and other angle brackets stay.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

#[cfg(test)]
mod tests;

/// Values that stand for themselves, by name.
pub type Names = BTreeMap<String, String>;

/// What an answer must look like.
#[derive(Debug)]
pub struct Pattern(Vec<Part>);

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    Kind(Kind),
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Int,
    Float,
    Text,
    Duration,
    Time,
    Any,
}

impl Pattern {
    /// Reads a pattern, with `names` put in.
    ///
    /// # Errors
    ///
    /// A word that means nothing.
    pub fn parse(text: &str, names: &Names) -> Result<Self> {
        let mut parts = Vec::new();
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => push(&mut parts, text.as_bytes()),
                Piece::Word(word) => match (kind(word), bytes(word, names)?) {
                    (Some(kind), _) => parts.push(Part::Kind(kind)),
                    (None, Some(bytes)) => push(&mut parts, &bytes),
                    (None, None) => bail!("<{word}> means nothing"),
                },
            }
        }
        Ok(Self(parts))
    }

    /// Whether the whole of `text` looks like this.
    pub fn matches(&self, text: &[u8]) -> bool {
        matches(&self.0, text)
    }
}

/// A request's text with its words replaced.
///
/// # Errors
///
/// `<hex:…>` with anything but pairs of hex digits.
pub fn fill(text: &str, names: &Names) -> Result<Vec<u8>> {
    let mut filled = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => filled.extend(text.as_bytes()),
            Piece::Word(word) => match bytes(word, names)? {
                Some(bytes) => filled.extend(bytes),
                None => filled.extend(format!("<{word}>").as_bytes()),
            },
        }
    }
    Ok(filled)
}

enum Piece<'a> {
    Text(&'a str),
    Word(&'a str),
}

/// Cuts `text` at its words. A word is short and holds no blank, so `a < b and c > d` is none.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut from = 0;
    while let Some(at) = rest[from..].find('<').map(|at| at + from) {
        let word = rest[at + 1..]
            .split_once('>')
            .map(|(word, _)| word)
            .filter(|word| is_word(word));
        let Some(word) = word else {
            from = at + 1;
            continue;
        };
        found.push(Piece::Text(&rest[..at]));
        found.push(Piece::Word(word));
        rest = &rest[at + word.len() + 2..];
        from = 0;
    }
    found.push(Piece::Text(rest));
    found
}

fn is_word(text: &str) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b':' | b'_' | b'-');
    !text.is_empty() && text.bytes().all(may)
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "int" => Some(Kind::Int),
        "float" => Some(Kind::Float),
        "text" => Some(Kind::Text),
        "duration" => Some(Kind::Duration),
        "time" => Some(Kind::Time),
        "any" => Some(Kind::Any),
        _ => None,
    }
}

/// The bytes that `word` stands for, if it stands for bytes.
fn bytes(word: &str, names: &Names) -> Result<Option<Vec<u8>>> {
    if let Some(digits) = word.strip_prefix("hex:") {
        return Ok(Some(hex(digits)?));
    }
    Ok(match word {
        "nl" => Some(b"\n".to_vec()),
        "lt" => Some(b"<".to_vec()),
        name => names.get(name).map(|value| value.clone().into_bytes()),
    })
}

fn hex(digits: &str) -> Result<Vec<u8>> {
    ensure!(digits.len().is_multiple_of(2), "<hex:{digits}> has half a byte");
    let pairs = (0..digits.len()).step_by(2);
    Ok(pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16))
        .collect::<Result<_, _>>()?)
}

fn push(parts: &mut Vec<Part>, more: &[u8]) {
    match parts.last_mut() {
        Some(Part::Bytes(bytes)) => bytes.extend(more),
        _ if more.is_empty() => {}
        _ => parts.push(Part::Bytes(more.to_vec())),
    }
}

fn matches(parts: &[Part], text: &[u8]) -> bool {
    let Some((part, rest)) = parts.split_first() else {
        return text.is_empty();
    };
    match part {
        Part::Bytes(bytes) => text
            .strip_prefix(bytes.as_slice())
            .is_some_and(|text| matches(rest, text)),
        // The longest first: what stands behind a value may look like a piece of it.
        Part::Kind(kind) => (0..=kind.reach(text))
            .rev()
            .any(|end| kind.accepts(&text[..end]) && matches(rest, &text[end..])),
    }
}

impl Kind {
    /// How far a value of this kind could go at the start of `text`.
    fn reach(self, text: &[u8]) -> usize {
        let may = |byte: &u8| match self {
            Self::Int => byte.is_ascii_digit() || *byte == b'-',
            Self::Float => byte.is_ascii_digit() || b"+-.eE".contains(byte),
            Self::Duration => byte.is_ascii_digit() || "-.hmsnuµ".as_bytes().contains(byte),
            Self::Time => byte.is_ascii_digit() || b"-:.TZ+".contains(byte),
            Self::Text | Self::Any => true,
        };
        text.iter().take_while(|byte| may(byte)).count()
    }

    fn accepts(self, value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(value) else {
            return matches!(self, Self::Any);
        };
        match self {
            Self::Int => text.parse::<i64>().is_ok_and(|value| value.to_string() == text),
            Self::Float => serde_json::from_str::<f64>(text).is_ok(),
            Self::Text => serde_json::from_str::<String>(&format!("\"{text}\"")).is_ok(),
            Self::Duration => is_duration(text),
            Self::Time => is_time(text),
            Self::Any => true,
        }
    }
}

/// One or more numbers, each with its unit.
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut groups = 0;
    while !rest.is_empty() {
        let digits = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, after) = rest.split_at(digits);
        let unit = ["ns", "us", "µs", "ms", "s", "m", "h"]
            .into_iter()
            .find(|unit| after.starts_with(unit));
        let (Some(unit), Ok(_)) = (unit, number.parse::<f64>()) else {
            return false;
        };
        rest = &after[unit.len()..];
        groups += 1;
    }
    groups > 0
}

/// `YYYY-MM-DDTHH:MM:SS[.frac]` and a zone.
fn is_time(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd";
    let (Some(stem), Some(tail)) = (text.get(..shape.len()), text.get(shape.len()..)) else {
        return false;
    };
    let fits = stem.bytes().zip(shape.bytes()).all(|(byte, want)| match want {
        b'd' => byte.is_ascii_digit(),
        want => byte == want,
    });
    let zone = tail.trim_start_matches(|digit: char| digit == '.' || digit.is_ascii_digit());
    fits && (zone == "Z" || (zone.len() == 6 && zone.starts_with(['+', '-'])))
}

//! The query string: read, checked in the specification's order, and asked by name.

use std::borrow::Cow;
use std::time::Duration;

use store::read::Level;

use crate::duration;
use crate::forwarded::Style;

#[cfg(test)]
mod tests;

/// How long anything waits unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a linearizable read waits for the state machine.
const LINEARIZABLE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a linearizable timeout of 0 means.
const LINEARIZABLE_TIMEOUT_LEAST: Duration = Duration::from_secs(1);

/// A query string that is refused; its text is the answer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A `%` that is no escape.
    #[error("invalid URL escape \"{0}\"")]
    Escape(String),
    /// A `;`.
    #[error("invalid semicolon separator in query")]
    Semicolon,
    /// Strict freshness of nothing.
    #[error("freshness_strict requires freshness")]
    Strict,
    /// No Go duration.
    #[error("{0} is not a valid duration")]
    Duration(&'static str),
    /// No decimal integer.
    #[error("{0} is not a valid integer")]
    Integer(&'static str),
    /// An empty `q`.
    #[error("query parameter not set")]
    Query,
    /// Neither true nor false.
    #[error("{0} is not a valid boolean")]
    Boolean(&'static str),
}

/// A checked query string.
#[derive(Clone, Debug, Default)]
pub struct Params {
    /// As they came; the first of a key counts. Requests have one or two, so they are looked through.
    values: Vec<(String, Vec<u8>)>,
}

impl Params {
    /// Reads and checks `query`, the raw text behind `?`.
    ///
    /// # Errors
    ///
    /// The first check that fails.
    pub fn parse(query: &str) -> Result<Self, Invalid> {
        let params = Self { values: pairs(query)? };
        params.check()?;
        Ok(params)
    }

    /// Present, whatever its value.
    pub fn flag(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// A value as text; bytes that are no UTF-8 become U+FFFD.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// A value as it came.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.values.iter();
        values.find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// `timeout`.
    pub fn timeout(&self) -> Duration {
        self.duration("timeout").unwrap_or(TIMEOUT)
    }

    /// `db_timeout`, if it limits anything.
    pub fn db_timeout(&self) -> Option<Duration> {
        self.duration("db_timeout").filter(|timeout| !timeout.is_zero())
    }

    /// `linearizable_timeout`.
    pub fn linearizable_timeout(&self) -> Duration {
        match self.duration("linearizable_timeout") {
            None => LINEARIZABLE_TIMEOUT,
            Some(Duration::ZERO) => LINEARIZABLE_TIMEOUT_LEAST,
            Some(timeout) => timeout,
        }
    }

    /// `freshness`, if it limits anything.
    pub fn freshness(&self) -> Option<Duration> {
        self.duration("freshness").filter(|freshness| !freshness.is_zero())
    }

    /// `level`; whatever it does not know is weak.
    pub fn level(&self) -> Level {
        const LEVELS: [(&str, Level); 4] = [
            ("none", Level::None),
            ("linearizable", Level::Linearizable),
            ("strong", Level::Strong),
            ("auto", Level::Auto),
        ];
        let asked = self.bytes("level").unwrap_or_default();
        let known = LEVELS
            .iter()
            .find(|(name, _)| asked.eq_ignore_ascii_case(name.as_bytes()));
        known.map_or(Level::Weak, |(_, level)| *level)
    }

    /// `min_index`; 0 when absent.
    pub fn min_index(&self) -> u64 {
        self.text("min_index").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// `index`; `None` when absent or no number.
    pub fn index(&self) -> Option<u64> {
        self.text("index").and_then(|text| text.parse().ok())
    }

    /// `atomic`, with its value honoured; present without one it means true.
    pub fn atomic(&self) -> Option<bool> {
        self.text("atomic").and_then(|text| boolean(&text))
    }

    /// `trailing_logs`; 0 and less mean the node's default.
    pub fn trailing_logs(&self) -> Option<u64> {
        let text = self.text("trailing_logs")?;
        text.parse::<i64>()
            .ok()
            .and_then(|count| u64::try_from(count).ok())
            .filter(|count| *count > 0)
    }

    /// How the answer is to look.
    pub fn style(&self) -> Style {
        Style {
            pretty: self.flag("pretty"),
            timings: self.flag("timings"),
            associative: self.flag("associative"),
            blob_array: self.flag("blob_array"),
            qualify_columns: self.flag("qualify_columns"),
            raft_index: self.flag("raft_index"),
        }
    }

    fn duration(&self, name: &str) -> Option<Duration> {
        self.text(name).and_then(|text| duration::parse(&text))
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.flag("freshness_strict") && !self.flag("freshness") {
            return Err(Invalid::Strict);
        }
        for name in ["timeout", "freshness", "db_timeout", "linearizable_timeout"] {
            if self.text(name).is_some_and(|text| duration::parse_ns(&text).is_none()) {
                return Err(Invalid::Duration(name));
            }
        }
        for name in ["retries", "trailing_logs"] {
            if self.text(name).is_some_and(|text| text.parse::<i64>().is_err()) {
                return Err(Invalid::Integer(name));
            }
        }
        if self.bytes("q").is_some_and(<[u8]>::is_empty) {
            return Err(Invalid::Query);
        }
        if self.text("min_index").is_some_and(|text| text.parse::<u64>().is_err()) {
            return Err(Invalid::Integer("min_index"));
        }
        if self.text("atomic").is_some_and(|text| boolean(&text).is_none()) {
            return Err(Invalid::Boolean("atomic"));
        }
        Ok(())
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Keys and values, decoded.
fn pairs(query: &str) -> Result<Vec<(String, Vec<u8>)>, Invalid> {
    let mut values = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return Err(Invalid::Semicolon);
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = String::from_utf8_lossy(&unescape(key)?).into_owned();
        let value = unescape(value)?;
        values.push((key, value));
    }
    Ok(values)
}

/// `%XX` and `+`, as in HTML forms.
fn unescape(text: &str) -> Result<Vec<u8>, Invalid> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let escape = bytes.get(at..at + 2).and_then(hex).ok_or_else(|| {
                    let end = bytes.len().min(at + 2);
                    Invalid::Escape(String::from_utf8_lossy(&bytes[at - 1..end]).into_owned())
                })?;
                at += 2;
                escape
            }
            byte => *byte,
        });
    }
    Ok(out)
}

fn hex(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(pair[0])? << 4 | digit(pair[1])?;
    u8::try_from(value).ok()
}

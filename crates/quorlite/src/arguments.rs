//! Command lines: a table of flags, and the words and values parsed against it.
//!
//! Owns the grammar that all sub-commands share: `--name VALUE`, `--name=VALUE`, `-x VALUE`, `-xVALUE`, `-x=VALUE`,
//! booleans alone or `=false`, single-letter booleans combined, `--` ends the flags. A separate value may not begin
//! with a dash. Knows no flag by name and gives no value a meaning beyond numbers and durations.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::error::Error;

#[cfg(test)]
mod tests;

/// One flag of a command.
pub struct Flag {
    /// Name after two dashes.
    pub long: &'static str,
    /// Letter after one dash.
    pub short: Option<char>,
    /// What the value is called in the usage; `None` for a boolean.
    pub value: Option<&'static str>,
    /// One line of help.
    pub help: &'static str,
}

/// A parsed command line.
#[derive(Debug, Default)]
pub struct Arguments {
    /// What is not a flag, in order.
    pub words: Vec<String>,
    values: BTreeMap<&'static str, String>,
}

impl Arguments {
    /// Parses `line` against `table`; the last one of a repeated flag wins.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] for a flag that is not in the table, or that lacks its value.
    pub fn parse(table: &'static [Flag], line: &[String]) -> Result<Arguments, Error> {
        let mut parsed = Arguments::default();
        let mut rest = line.iter().map(String::as_str);
        while let Some(word) = rest.next() {
            if word == "--" {
                parsed.words.extend(rest.by_ref().map(str::to_owned));
            } else if let Some(long) = word.strip_prefix("--") {
                parsed.long(table, long, &mut rest)?;
            } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
                parsed.short(table, letters, &mut rest)?;
            } else {
                parsed.words.push(word.to_owned());
            }
        }
        Ok(parsed)
    }

    /// The text given for `flag`, if it was given.
    pub fn text(&self, flag: &str) -> Option<&str> {
        self.values.get(flag).map(String::as_str)
    }

    /// Whether the boolean `flag` was given, and not as `=false`.
    pub fn is_set(&self, flag: &str) -> bool {
        self.text(flag).is_some_and(|value| value != "false")
    }

    /// The number given for `flag`.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it is not one, or not of the type asked for.
    pub fn number<T: std::str::FromStr>(&self, flag: &str) -> Result<Option<T>, Error> {
        let Some(text) = self.text(flag) else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|_| Error::Usage(format!("--{flag}: {text:?} is not a number that fits")))
    }

    /// The duration given for `flag`: Go's text (`1m30s`, `250ms`) or plain seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it is neither.
    pub fn duration(&self, flag: &str) -> Result<Option<Duration>, Error> {
        let Some(text) = self.text(flag) else {
            return Ok(None);
        };
        duration(text)
            .map(Some)
            .ok_or_else(|| Error::Usage(format!("--{flag}: {text:?} is not a duration")))
    }

    fn long<'a>(
        &mut self,
        table: &'static [Flag],
        word: &str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let flag = table
            .iter()
            .find(|flag| flag.long == name)
            .ok_or_else(|| undefined(&format!("--{name}")))?;
        self.put(flag, value, rest)
    }

    fn short<'a>(
        &mut self,
        table: &'static [Flag],
        letters: &str,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let mut tail = letters;
        while let Some(letter) = tail.chars().next() {
            tail = &tail[letter.len_utf8()..];
            let flag = table.iter().find(|flag| flag.short == Some(letter));
            let flag = flag.ok_or_else(|| undefined(&format!("-{letter}")))?;
            let attached = tail
                .strip_prefix('=')
                .or((flag.value.is_some() && !tail.is_empty()).then_some(tail));
            let ends = attached.is_some() || flag.value.is_some();
            self.put(flag, attached, rest)?;
            if ends {
                break;
            }
        }
        Ok(())
    }

    fn put<'a>(
        &mut self,
        flag: &'static Flag,
        attached: Option<&str>,
        rest: &mut impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        let value = match (attached, flag.value) {
            (Some(value), _) => value,
            (None, None) => "true",
            (None, Some(_)) => rest
                .next()
                .filter(|value| !value.starts_with('-'))
                .ok_or_else(|| Error::Usage(format!("option --{} needs a value", flag.long)))?,
        };
        self.values.insert(flag.long, value.to_owned());
        Ok(())
    }
}

/// The table as lines of help, one per flag.
pub fn help(table: &[Flag]) -> String {
    let mut text = String::new();
    for flag in table {
        let short = flag
            .short
            .map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
        let name = match flag.value {
            Some(value) => format!("{short}--{} {value}", flag.long),
            None => format!("{short}--{}", flag.long),
        };
        let _ = writeln!(text, "  {name:32} {}", flag.help);
    }
    text
}

fn undefined(flag: &str) -> Error {
    Error::Usage(format!("undefined option {flag}"))
}

/// Go's duration text, without a sign, or plain seconds.
fn duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit())
            .map_or(rest.len(), |at| digits + at);
        let number: f64 = rest[..digits].parse().ok()?;
        let unit = match &rest[digits..unit_end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += Duration::try_from_secs_f64(number * unit).ok()?;
        rest = &rest[unit_end..];
    }
    (!text.is_empty()).then_some(total)
}

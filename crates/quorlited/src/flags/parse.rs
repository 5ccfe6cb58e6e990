//! Words become values: Go's `flag` grammar, read left to right.

use std::collections::BTreeMap;

use crate::duration;
use crate::flags::table::{Flag, Kind, TABLE};

/// A flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// See [`Kind::Bool`].
    Bool(bool),
    /// See [`Kind::Text`].
    Text(String),
    /// See [`Kind::Int`].
    Int(i64),
    /// See [`Kind::Uint`].
    Uint(u64),
    /// Nanoseconds; see [`Kind::Duration`].
    Duration(i64),
}

/// What the words said.
#[derive(Clone, Debug, Default)]
pub struct Parsed {
    given: BTreeMap<&'static str, Value>,
    /// The first word that is no flag, and all that follow it.
    pub positional: Vec<String>,
}

/// Why there is nothing to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// `-h` or `-help`: usage, exit 0.
    Help,
    /// Wrong flags: this line, usage, exit 2.
    Usage(String),
}

/// Reads the words after the program's name.
///
/// # Errors
///
/// [`Misuse`] at the first word that ends it.
pub fn parse<I: IntoIterator<Item = String>>(words: I) -> Result<Parsed, Misuse> {
    let mut words = words.into_iter();
    let mut parsed = Parsed::default();
    while let Some(word) = words.next() {
        if word == "--" {
            break;
        }
        let Some(body) = word.strip_prefix('-').filter(|body| !body.is_empty()) else {
            parsed.positional.push(word);
            break;
        };
        let body = body.strip_prefix('-').unwrap_or(body);
        if body.is_empty() || body.starts_with(['-', '=']) {
            return Err(Misuse::Usage(format!("bad flag syntax: {word}")));
        }
        let (name, attached) = match body.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (body, None),
        };
        let flag = find(name)?;
        let value = match (flag.kind, attached) {
            (_, Some(value)) => value,
            (Kind::Bool, None) => "true".to_owned(),
            (Kind::Text | Kind::Int | Kind::Uint | Kind::Duration, None) => words
                .next()
                .ok_or_else(|| Misuse::Usage(format!("flag needs an argument: -{name}")))?,
        };
        parsed.given.insert(flag.name, value_of(flag, &value)?);
    }
    parsed.positional.extend(words);
    Ok(parsed)
}

impl Parsed {
    /// The value that was given, if one was; an empty text counts as not given.
    pub fn given(&self, name: &str) -> Option<&Value> {
        self.given
            .get(name)
            .filter(|value| **value != Value::Text(String::new()))
    }

    /// A text flag's value.
    pub fn text(&self, name: &str) -> String {
        match self.value(name) {
            Value::Text(text) => text,
            other => unreachable!("-{name} is no text flag but {other:?}"),
        }
    }

    /// A boolean flag's value.
    pub fn bool(&self, name: &str) -> bool {
        match self.value(name) {
            Value::Bool(value) => value,
            other => unreachable!("-{name} is no boolean flag but {other:?}"),
        }
    }

    /// A signed integer flag's value.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Int(value) => value,
            other => unreachable!("-{name} is no integer flag but {other:?}"),
        }
    }

    /// An unsigned integer flag's value.
    pub fn uint(&self, name: &str) -> u64 {
        match self.value(name) {
            Value::Uint(value) => value,
            other => unreachable!("-{name} is no unsigned flag but {other:?}"),
        }
    }

    /// A duration flag's value in nanoseconds.
    pub fn ns(&self, name: &str) -> i64 {
        match self.value(name) {
            Value::Duration(value) => value,
            other => unreachable!("-{name} is no duration flag but {other:?}"),
        }
    }

    /// A list flag's entries, not trimmed; empty when the flag is.
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name);
        if text.is_empty() {
            return Vec::new();
        }
        text.split(',').map(str::to_owned).collect()
    }

    fn value(&self, name: &str) -> Value {
        if let Some(value) = self.given(name) {
            return value.clone();
        }
        match Flag::named(name) {
            Some(flag) => default_of(flag),
            None => unreachable!("-{name} is not in the table"),
        }
    }
}

/// A flag's default as a value.
pub fn default_of(flag: &Flag) -> Value {
    match value_of(flag, flag.default) {
        Ok(value) => value,
        Err(misuse) => unreachable!("the default of -{}: {misuse:?}", flag.name),
    }
}

fn find(name: &str) -> Result<&'static Flag, Misuse> {
    match TABLE.iter().find(|flag| flag.name == name) {
        Some(flag) => Ok(flag),
        None if name == "h" || name == "help" => Err(Misuse::Help),
        None => Err(Misuse::Usage(format!("flag provided but not defined: -{name}"))),
    }
}

fn value_of(flag: &Flag, text: &str) -> Result<Value, Misuse> {
    let name = flag.name;
    let invalid = |reason| Misuse::Usage(format!("invalid value \"{text}\" for flag -{name}: {reason}"));
    match flag.kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Bool => match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(Misuse::Usage(format!(
                "invalid boolean value \"{text}\" for -{name}: parse error"
            ))),
        },
        Kind::Int => signed(text).map(Value::Int).map_err(invalid),
        Kind::Uint => unsigned(text).map(Value::Uint).map_err(invalid),
        Kind::Duration => duration::parse_ns(text)
            .map(Value::Duration)
            .ok_or_else(|| invalid("parse error")),
    }
}

const PARSE_ERROR: &str = "parse error";
const RANGE_ERROR: &str = "value out of range";

fn signed(text: &str) -> Result<i64, &'static str> {
    let (negative, body) = match text.strip_prefix('-') {
        Some(body) => (true, body),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = unsigned(body)?;
    let value = if negative {
        0i64.checked_sub_unsigned(magnitude)
    } else {
        i64::try_from(magnitude).ok()
    };
    value.ok_or(RANGE_ERROR)
}

/// Decimal, or by prefix `0x`, `0o`, `0b` and Go's bare `0`; `_` only between digits or after the prefix.
fn unsigned(text: &str) -> Result<u64, &'static str> {
    let (radix, digits) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &text[2..]),
        [b'0', b'o' | b'O', ..] => (8, &text[2..]),
        [b'0', b'b' | b'B', ..] => (2, &text[2..]),
        [b'0', _, ..] => (8, &text[1..]),
        _ => (10, text),
    };
    let body = if radix == 10 {
        digits
    } else {
        digits.strip_prefix('_').unwrap_or(digits)
    };
    if body
        .split('_')
        .any(|run| run.is_empty() || !run.chars().all(|c| c.is_digit(radix)))
    {
        return Err(PARSE_ERROR);
    }
    u64::from_str_radix(&body.replace('_', ""), radix).map_err(|_| RANGE_ERROR)
}

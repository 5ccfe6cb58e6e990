//! A second reader of bodies: slow, plain, and with serde_json to say what is JSON and what its strings mean.

use command::statement::{Parameter, Statement, Value};
use quorlited::http::body::Malformed;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, Visitor};

/// Deeper texts may be refused.
const DEPTH_FREE: usize = 10_000;

type Read<T> = Result<T, Malformed>;

/// What `text` says; `None` when its first value is no JSON, which must then be refused, for whatever reason.
pub fn statements(text: &str) -> Option<Read<Vec<Statement>>> {
    let (whole, _) = first(text)?;
    let depth_max = whole.bytes().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if depth_max > DEPTH_FREE {
        return None;
    }
    Some(list(whole))
}

fn list(whole: &str) -> Read<Vec<Statement>> {
    if !whole.starts_with('[') {
        return Err(Malformed::Shape);
    }
    let items = items(whole);
    if items.is_empty() {
        return Err(Malformed::Empty);
    }
    items.into_iter().map(statement).collect()
}

fn statement(item: &str) -> Read<Statement> {
    if item.starts_with('"') {
        return Ok(Statement::new(string(item)));
    }
    if !item.starts_with('[') {
        return Err(Malformed::Shape);
    }
    let items = items(item);
    let Some((sql, values)) = items.split_first().filter(|(sql, _)| sql.starts_with('"')) else {
        return Err(Malformed::Shape);
    };
    let mut statement = Statement::new(string(sql));
    for item in values {
        if item.starts_with('{') {
            statement.parameters.extend(named(item)?);
        } else {
            statement.parameters.push(Parameter::positional(value(item)?));
        }
    }
    Ok(statement)
}

/// Of several members of one name the last.
fn named(object: &str) -> Read<Vec<Parameter>> {
    let mut parameters: Vec<Parameter> = Vec::new();
    for (name, item) in members(object) {
        let value = value(item)?;
        let parameter = Parameter::named(string(name), value);
        parameters.retain(|earlier| earlier.name != parameter.name);
        parameters.push(parameter);
    }
    Ok(parameters)
}

fn value(item: &str) -> Read<Option<Value>> {
    Ok(Some(match item.as_bytes()[0] {
        b'n' => return Ok(None),
        b't' => Value::Integer(1),
        b'f' => Value::Integer(0),
        b'"' => text(string(item)),
        b'[' => Value::Blob(blob(item)?.into()),
        b'{' => return Err(Malformed::Unsupported("map[string]interface {}".to_owned())),
        _ => number(item)?,
    }))
}

fn number(literal: &str) -> Read<Value> {
    if !literal.contains(['.', 'e', 'E'])
        && let Ok(value) = literal.parse()
    {
        return Ok(Value::Integer(value));
    }
    let value: f64 = literal.parse().unwrap_or(f64::NAN);
    if value.is_finite() {
        Ok(Value::Real(value))
    } else {
        Err(Malformed::Number(literal.to_owned()))
    }
}

fn text(text: String) -> Value {
    let trimmed = text.trim().as_bytes();
    if let [b'x' | b'X', b'\'', digits @ .., b'\''] = trimmed
        && digits.len() % 2 == 0
        && digits.iter().all(u8::is_ascii_hexdigit)
    {
        let digits = String::from_utf8_lossy(digits);
        let pairs = (0..digits.len()).step_by(2).map(|at| &digits[at..at + 2]);
        let bytes: Vec<u8> = pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or(0)).collect();
        return Value::Blob(bytes.into());
    }
    Value::Text(text)
}

fn blob(array: &str) -> Read<Vec<u8>> {
    let byte = |item: &str| {
        item.parse().map_err(|_| {
            let name = match item.as_bytes()[0] {
                b'"' => "string",
                b't' | b'f' => "bool",
                b'n' => "<nil>",
                b'[' => "[]interface {}",
                b'{' => "map[string]interface {}",
                _ => item,
            };
            Malformed::Unsupported(name.to_owned())
        })
    };
    items(array).into_iter().map(byte).collect()
}

/// The items of an array that is JSON.
fn items(array: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut rest = array[1..].trim_start();
    while !rest.starts_with(']') {
        let (item, tail) = expected(rest.strip_prefix(',').unwrap_or(rest));
        items.push(item);
        rest = tail;
    }
    items
}

/// The members of an object that is JSON.
fn members(object: &str) -> Vec<(&str, &str)> {
    let mut members = Vec::new();
    let mut rest = object[1..].trim_start();
    while !rest.starts_with('}') {
        let (name, tail) = expected(rest.strip_prefix(',').unwrap_or(rest));
        let (item, tail) = expected(tail.strip_prefix(':').unwrap_or(tail));
        members.push((name, item));
        rest = tail;
    }
    members
}

fn expected(text: &str) -> (&str, &str) {
    first(text).unwrap_or_else(|| panic!("serde_json took the whole and refuses a part: {text}"))
}

/// The first value of `text`, and what follows it and white space; `None` if it is no JSON.
fn first(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    let (value, rest) = text.split_at(values.byte_offset());
    Some((value, rest.trim_start_matches([' ', '\t', '\r', '\n'])))
}

/// What a string literal means; half a surrogate pair is U+FFFD.
fn string(literal: &str) -> String {
    let Wide(bytes) = serde_json::from_str(literal).unwrap_or_else(|error| panic!("{literal}: {error}"));
    let mut text = String::new();
    let mut rest = bytes.as_slice();
    // serde_json writes half a pair as the three bytes that UTF-8 would have for it, had it one.
    while let Some(at) = rest
        .windows(3)
        .position(|three| matches!(three, [0xed, 0xa0..=0xbf, _]))
    {
        text.push_str(&String::from_utf8_lossy(&rest[..at]));
        text.push(char::REPLACEMENT_CHARACTER);
        rest = &rest[at + 3..];
    }
    text.push_str(&String::from_utf8_lossy(rest));
    text
}

/// A string that may hold half a surrogate pair.
struct Wide(Vec<u8>);

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Wide;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Wide, E> {
                Ok(Wide(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

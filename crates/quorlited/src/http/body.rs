//! Request bodies: JSON straight into statements.
//!
//! A reader of its own, and not serde's, because the rules look at texts: a number is an integer if its literal is one,
//! an error is judged by the first token, what follows the closing bracket does not count, and half a surrogate pair is
//! U+FFFD rather than an error. No tree is built.
//!
//! ```text
//!  [ "SQL", ["SQL", value, {"name": value}, [0,255]], … ]  anything
//!    └─ Statement::sql    └─ Parameter  └─ BLOB
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use command::statement::{Parameter, Statement, Value};

mod scan;
#[cfg(test)]
mod tests;

use scan::{Kind, Scanner};

/// A body that is no list of statements; its text is the answer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// No JSON.
    #[error("invalid JSON body")]
    Json,
    /// JSON of another shape.
    #[error("invalid request")]
    Shape,
    /// A list of nothing.
    #[error("no statements")]
    Empty,
    /// A parameter of a kind that SQLite has no place for.
    #[error("unsupported type {0}")]
    Unsupported(String),
    /// A number that no double can hold.
    #[error("invalid number {0}")]
    Number(String),
}

/// Reads a JSON body.
///
/// # Errors
///
/// [`Malformed`]: the first thing that is wrong, in the order of the text.
pub fn statements(body: &[u8]) -> Result<Vec<Statement>, Malformed> {
    // Bytes that are no UTF-8 can only stand inside strings, where they become U+FFFD.
    let text = String::from_utf8_lossy(body);
    let mut scanner = Scanner::new(&text);
    if scanner.peek()? != Kind::Array {
        scanner.token()?;
        return Err(Malformed::Shape);
    }
    scanner.open();
    let mut statements = Vec::new();
    while scanner.next_item(b']', statements.is_empty())? {
        statements.push(statement(&mut scanner)?);
    }
    if statements.is_empty() {
        Err(Malformed::Empty)
    } else {
        Ok(statements)
    }
}

fn statement(scanner: &mut Scanner<'_>) -> Result<Statement, Malformed> {
    match scanner.peek()? {
        Kind::String => Ok(Statement::new(scanner.string()?)),
        Kind::Array => with_parameters(scanner),
        Kind::Object | Kind::Number | Kind::Bool | Kind::Null => {
            scanner.skip()?;
            Err(Malformed::Shape)
        }
    }
}

fn with_parameters(scanner: &mut Scanner<'_>) -> Result<Statement, Malformed> {
    scanner.open();
    if !scanner.next_item(b']', true)? || scanner.peek()? != Kind::String {
        return Err(Malformed::Shape);
    }
    let mut statement = Statement::new(scanner.string()?);
    while scanner.next_item(b']', false)? {
        if scanner.peek()? == Kind::Object {
            named(scanner, &mut statement.parameters)?;
        } else {
            statement.parameters.push(Parameter::positional(value(scanner)?));
        }
    }
    Ok(statement)
}

/// The members of an object, each as a named parameter; the last of a name wins.
fn named(scanner: &mut Scanner<'_>, parameters: &mut Vec<Parameter>) -> Result<(), Malformed> {
    let begin = parameters.len();
    scanner.open();
    while scanner.next_item(b'}', parameters.len() == begin)? {
        let name = scanner.member_name()?;
        parameters.push(Parameter::named(name, value(scanner)?));
    }
    drop_overridden(parameters, begin);
    Ok(())
}

/// Of several members with one name only the last stays.
fn drop_overridden(parameters: &mut Vec<Parameter>, begin: usize) {
    let names: std::collections::HashSet<&str> = parameters[begin..]
        .iter()
        .map(|parameter| parameter.name.as_str())
        .collect();
    if names.len() == parameters.len() - begin {
        return;
    }
    let mut seen = std::collections::HashSet::new();
    let mut kept: Vec<Parameter> = parameters
        .drain(begin..)
        .rev()
        .filter(|last| seen.insert(last.name.clone()))
        .collect();
    kept.reverse();
    parameters.append(&mut kept);
}

fn value(scanner: &mut Scanner<'_>) -> Result<Option<Value>, Malformed> {
    Ok(Some(match scanner.peek()? {
        Kind::Null => {
            scanner.skip()?;
            return Ok(None);
        }
        Kind::Bool => Value::Integer(i64::from(scanner.boolean()?)),
        Kind::Number => number(scanner.number()?)?,
        Kind::String => text(scanner.string()?),
        Kind::Array => Value::Blob(bytes(scanner)?),
        Kind::Object => {
            scanner.skip()?;
            return Err(Malformed::Unsupported("map[string]interface {}".to_owned()));
        }
    }))
}

/// An integer if the literal is one, otherwise a double.
fn number(literal: &str) -> Result<Value, Malformed> {
    if let Ok(value) = literal.parse() {
        return Ok(Value::Integer(value));
    }
    match literal.parse::<f64>() {
        Ok(value) if value.is_finite() => Ok(Value::Real(value)),
        Ok(_) | Err(_) => Err(Malformed::Number(literal.to_owned())),
    }
}

/// `x'HEX'` is a BLOB, anything else is text.
fn text(text: Cow<'_, str>) -> Value {
    match blob_literal(&text) {
        Some(bytes) => Value::Blob(bytes.into()),
        None => Value::Text(text.into_owned()),
    }
}

fn blob_literal(text: &str) -> Option<Vec<u8>> {
    let literal = text.trim();
    let hex = literal
        .strip_prefix(['x', 'X'])?
        .strip_prefix('\'')?
        .strip_suffix('\'')?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let pairs = hex.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// An array of integers from 0 to 255.
fn bytes(scanner: &mut Scanner<'_>) -> Result<Bytes, Malformed> {
    scanner.open();
    let mut bytes = Vec::new();
    let mut is_first = true;
    // The array is read to its end before its first wrong item is told: it may yet turn out to be no JSON.
    let mut wrong = None;
    while scanner.next_item(b']', is_first)? {
        is_first = false;
        let kind = scanner.peek()?;
        let item = match kind {
            Kind::Number => {
                let literal = scanner.number()?;
                literal.parse().map_err(|_| literal.to_owned())
            }
            Kind::String | Kind::Bool | Kind::Null | Kind::Array | Kind::Object => {
                scanner.skip()?;
                Err(kind.go_name().to_owned())
            }
        };
        match item {
            Ok(byte) => bytes.push(byte),
            Err(item) => wrong = wrong.or(Some(item)),
        }
    }
    match wrong {
        Some(item) => Err(Malformed::Unsupported(item)),
        None => Ok(bytes.into()),
    }
}

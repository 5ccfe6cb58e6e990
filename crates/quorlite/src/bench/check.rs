//! Whether an answer is right: not only that it says success, but that it names as many rows, or the very value, that
//! must come. A server that acknowledges without doing is caught here or by the count after the run.

use serde::Deserialize;
use serde::de::{IgnoredAny, SeqAccess, Visitor};

use super::failure::Failure;
use super::values::value;

#[cfg(test)]
mod tests;

/// Bytes of a refusal that are kept for the report.
const TEXT_BYTES_MAX: usize = 200;

/// What the answer to a request must say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// So many results, each of which wrote one row.
    Written {
        /// Statements of the request.
        rows: u64,
    },
    /// A queued write's sequence number.
    Queued,
    /// One row with one column: the value of this key.
    ValueOf {
        /// The key asked for.
        key: u64,
    },
    /// The rows of the big table, ids 1 to `rows` in order, five columns each.
    BigRows {
        /// Rows of the table.
        rows: u64,
    },
    /// Success, whatever was done.
    Success,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "E: Deserialize<'de>"))]
struct Envelope<E> {
    #[serde(default = "Vec::new")]
    results: Vec<E>,
    error: Option<String>,
    sequence_number: Option<i64>,
}

#[derive(Deserialize)]
struct Written {
    error: Option<String>,
    rows_affected: Option<u64>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Rows<R> {
    error: Option<String>,
    values: Option<R>,
}

/// Checks an answer.
///
/// # Errors
///
/// What the server refused, or [`Failure::Wrong`] if it says success and that is not true.
pub fn check(expected: Expected, status: u16, body: &[u8]) -> Result<(), Failure> {
    if status != 200 {
        return Err(Failure::Status {
            status,
            text: first_line(body),
        });
    }
    match expected {
        Expected::Written { rows } => written(body, rows),
        Expected::Queued => queued(body),
        Expected::ValueOf { key } => value_of(body, key),
        Expected::BigRows { rows } => big_rows(body, rows),
        Expected::Success => results::<Written>(body, |result| result.error.take()).map(drop),
    }
}

/// The single integer that a query answered.
///
/// # Errors
///
/// What the server refused, or [`Failure::Wrong`] if there is no such integer.
pub fn integers(status: u16, body: &[u8]) -> Result<Vec<u64>, Failure> {
    if status != 200 {
        return Err(Failure::Status {
            status,
            text: first_line(body),
        });
    }
    let results = results::<Rows<Vec<(u64,)>>>(body, |result| result.error.take())?;
    results
        .into_iter()
        .map(|result| match result.values.as_deref() {
            Some([(number,)]) => Ok(*number),
            _ => Err(Failure::Wrong("a count has not one row".to_owned())),
        })
        .collect()
}

fn written(body: &[u8], rows: u64) -> Result<(), Failure> {
    let results = results::<Written>(body, |result| result.error.take())?;
    if results.len() as u64 != rows {
        return Err(Failure::Wrong(format!(
            "{} results for {rows} statements",
            results.len()
        )));
    }
    match results.iter().find(|result| result.rows_affected != Some(1)) {
        Some(result) => Err(Failure::Wrong(format!(
            "rows_affected is {:?} for one row",
            result.rows_affected
        ))),
        None => Ok(()),
    }
}

fn queued(body: &[u8]) -> Result<(), Failure> {
    let envelope = envelope::<Written>(body)?;
    match envelope.sequence_number {
        Some(_) => Ok(()),
        None => Err(Failure::Wrong("a queued write without sequence_number".to_owned())),
    }
}

fn value_of(body: &[u8], key: u64) -> Result<(), Failure> {
    let results = results::<Rows<Vec<(&str,)>>>(body, |result| result.error.take())?;
    match results.as_slice() {
        [Rows { values: Some(rows), .. }] if matches!(rows.as_slice(), [(text,)] if text.as_bytes() == value(key)) => {
            Ok(())
        }
        _ => Err(Failure::Wrong(format!(
            "key {key} has another value: {}",
            first_line(body)
        ))),
    }
}

fn big_rows(body: &[u8], rows: u64) -> Result<(), Failure> {
    let results = results::<Rows<BigRows>>(body, |result| result.error.take())?;
    match results.as_slice() {
        [
            Rows {
                values: Some(BigRows(found)),
                ..
            },
        ] if *found == rows => Ok(()),
        [
            Rows {
                values: Some(BigRows(found)),
                ..
            },
        ] => Err(Failure::Wrong(format!("{found} rows of {rows}"))),
        _ => Err(Failure::Wrong("no rows".to_owned())),
    }
}

/// Counts rows without keeping them; fails at the first that is not what the table holds.
struct BigRows(u64);

impl<'de> Deserialize<'de> for BigRows {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = BigRows;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("rows of five columns in the order of their ids")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<BigRows, A::Error> {
                let mut count = 0;
                while let Some((id, name, ..)) =
                    rows.next_element::<(u64, &str, IgnoredAny, IgnoredAny, IgnoredAny)>()?
                {
                    count += 1;
                    if id != count || !value(id).starts_with(name.as_bytes()) {
                        return Err(serde::de::Error::custom(format_args!("row {count} is {id}, {name}")));
                    }
                }
                Ok(BigRows(count))
            }
        }
        deserializer.deserialize_seq(Count)
    }
}

/// The results of an answer, unless it or one of them is an error.
fn results<'a, E: Deserialize<'a>>(body: &'a [u8], error: fn(&mut E) -> Option<String>) -> Result<Vec<E>, Failure> {
    let mut results = envelope::<E>(body)?.results;
    match results.iter_mut().find_map(error) {
        Some(text) => Err(Failure::Statement(text)),
        None => Ok(results),
    }
}

fn envelope<'a, E: Deserialize<'a>>(body: &'a [u8]) -> Result<Envelope<E>, Failure> {
    let envelope: Envelope<E> =
        serde_json::from_slice(body).map_err(|error| Failure::Wrong(format!("{error} in {}", first_line(body))))?;
    match envelope.error {
        Some(text) => Err(Failure::Request(text)),
        None => Ok(envelope),
    }
}

fn first_line(body: &[u8]) -> String {
    let line = body.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(&line[..line.len().min(TEXT_BYTES_MAX)]).into_owned()
}

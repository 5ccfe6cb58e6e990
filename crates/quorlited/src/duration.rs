//! Go's duration text, which flags, query parameters and `/status` speak.
//!
//! Counts are signed nanoseconds, as in Go: a negative duration is something that a user can write, and each place
//! decides what it means there.

use std::time::Duration;

#[cfg(test)]
mod tests;

const NANOSECOND: u64 = 1;
const MICROSECOND: u64 = 1_000 * NANOSECOND;
const MILLISECOND: u64 = 1_000 * MICROSECOND;
const SECOND: u64 = 1_000 * MILLISECOND;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// The largest magnitude: that of `i64::MIN`.
const MAGNITUDE_MAX: u64 = 1 << 63;

/// Reads `1h30m`, `-1.5s`, `300ms`, `0`; `None` when the text is no duration or does not fit.
pub fn parse_ns(text: &str) -> Option<i64> {
    let (negative, body) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if body == "0" {
        return Some(0);
    }
    let magnitude = parse_groups(body)?;
    match negative {
        true => 0i64.checked_sub_unsigned(magnitude),
        false => i64::try_from(magnitude).ok(),
    }
}

/// As [`parse_ns`], for places where less than nothing means nothing.
pub fn parse(text: &str) -> Option<Duration> {
    parse_ns(text).map(from_ns)
}

/// A count of nanoseconds as a [`Duration`]; a negative one is zero.
pub fn from_ns(ns: i64) -> Duration {
    Duration::from_nanos(u64::try_from(ns).unwrap_or(0))
}

/// Go's text of a duration: `1m30s`, `412.3µs`, `0s`.
pub fn text(duration: Duration) -> String {
    text_ns(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// As [`text`], for a signed count of nanoseconds.
pub fn text_ns(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let magnitude = ns.unsigned_abs();
    let body = match magnitude {
        0 => "0s".to_owned(),
        1..MICROSECOND => format!("{magnitude}ns"),
        MICROSECOND..MILLISECOND => format!("{}µs", decimal(magnitude, MICROSECOND)),
        MILLISECOND..SECOND => format!("{}ms", decimal(magnitude, MILLISECOND)),
        SECOND..MINUTE => format!("{}s", decimal(magnitude, SECOND)),
        MINUTE..HOUR => format!("{}m{}s", magnitude / MINUTE, decimal(magnitude % MINUTE, SECOND)),
        _ => format!(
            "{}h{}m{}s",
            magnitude / HOUR,
            magnitude % HOUR / MINUTE,
            decimal(magnitude % MINUTE, SECOND)
        ),
    };
    format!("{sign}{body}")
}

/// One or more `number unit`, summed.
fn parse_groups(mut rest: &str) -> Option<u64> {
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (group, tail) = parse_group(rest)?;
        total = total.checked_add(group).filter(|sum| *sum <= MAGNITUDE_MAX)?;
        rest = tail;
    }
    Some(total)
}

/// One `number unit`; also gives what follows.
fn parse_group(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let unit_end = rest
        .find(|c: char| c == '.' || c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let unit = unit_ns(unit)?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let whole = whole.checked_mul(unit).filter(|ns| *ns <= MAGNITUDE_MAX)?;
    let total = whole
        .checked_add(fraction_ns(fraction, unit))
        .filter(|ns| *ns <= MAGNITUDE_MAX)?;
    Some((total, rest))
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// `0.fraction` of `unit`, cut to whole nanoseconds; digits that no longer fit 63 bits do not count.
fn fraction_ns(fraction: &str, unit: u64) -> u64 {
    let mut value: u64 = 0;
    let mut scale = 1f64;
    for digit in fraction.bytes() {
        let Some(longer) = value
            .checked_mul(10)
            .and_then(|value| value.checked_add(u64::from(digit - b'0')))
        else {
            break;
        };
        if longer > MAGNITUDE_MAX {
            break;
        }
        value = longer;
        scale *= 10.0;
    }
    (value as f64 * (unit as f64 / scale)) as u64
}

fn unit_ns(unit: &str) -> Option<u64> {
    match unit {
        "ns" => Some(NANOSECOND),
        // U+00B5 and U+03BC: both are in use for micro.
        "us" | "\u{b5}s" | "\u{3bc}s" => Some(MICROSECOND),
        "ms" => Some(MILLISECOND),
        "s" => Some(SECOND),
        "m" => Some(MINUTE),
        "h" => Some(HOUR),
        _ => None,
    }
}

/// `value / unit` as a decimal without trailing zeros.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, part) = (value / unit, value % unit);
    if part == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{part:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

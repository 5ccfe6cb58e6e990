//! Values of columns declared `date`, `datetime` or `timestamp`, as RFC 3339 text.
//!
//! Reads what SQLite users write in such columns, and writes what Go's `time` package would answer.

use std::time::SystemTime;

#[cfg(test)]
mod tests;

/// What an unreadable text becomes.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Integers of a greater magnitude count milliseconds, others seconds.
const SECONDS_MAX: u64 = 1_000_000_000_000;

const SECONDS_PER_DAY: i64 = 86_400;

/// The value lies outside the years that RFC 3339 can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Time.MarshalText: year outside of range [0,9999]")]
pub struct OutOfRange;

/// A count of seconds or milliseconds since 1970.
///
/// # Errors
///
/// [`OutOfRange`].
pub fn from_integer(value: i64) -> Result<String, OutOfRange> {
    let (seconds, nanoseconds) = if value.unsigned_abs() > SECONDS_MAX {
        (value.div_euclid(1000), value.rem_euclid(1000) as u32 * 1_000_000)
    } else {
        (value, 0)
    };
    Ok(moment(seconds, nanoseconds)?.text())
}

/// A moment on this machine's clock, to the nanosecond.
pub fn from_time(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    moment(seconds, since.subsec_nanos()).map_or_else(|_| NEVER.to_owned(), |moment| moment.text())
}

/// A text in one of the forms that SQLite's users write; any other is the year 1.
pub fn from_text(text: &[u8]) -> String {
    let text = text.strip_suffix(b"Z").unwrap_or(text);
    Moment::read(text).map_or_else(|| NEVER.to_owned(), |moment| moment.text())
}

fn moment(seconds: i64, nanosecond: u32) -> Result<Moment, OutOfRange> {
    let (year, month, day) = civil_of(seconds.div_euclid(SECONDS_PER_DAY));
    if !(0..=9999).contains(&year) {
        return Err(OutOfRange);
    }
    let of_day = seconds.rem_euclid(SECONDS_PER_DAY) as u32;
    Ok(Moment {
        year: year as u32,
        month,
        day,
        hour: of_day / 3600,
        minute: of_day / 60 % 60,
        second: of_day % 60,
        nanosecond,
        zone: Zone::Utc,
    })
}

struct Moment {
    year: u32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    nanosecond: u32,
    zone: Zone,
}

enum Zone {
    Utc,
    Offset { sign: u8, hour: u32, minute: u32 },
}

impl Moment {
    fn read(text: &[u8]) -> Option<Self> {
        let mut rest = Rest(text);
        let mut moment = Self {
            year: rest.number(4)?,
            month: rest.after(b"-")?.number(2)?,
            day: rest.after(b"-")?.number(2)?,
            hour: 0,
            minute: 0,
            second: 0,
            nanosecond: 0,
            zone: Zone::Utc,
        };
        if !rest.0.is_empty() {
            moment.read_time(rest.after(b" T")?)?;
        }
        (rest.0.is_empty() && moment.is_valid()).then_some(moment)
    }

    fn read_time(&mut self, rest: &mut Rest<'_>) -> Option<()> {
        self.hour = rest.hour()?;
        self.minute = rest.after(b":")?.number(2)?;
        if rest.0.is_empty() {
            return Some(());
        }
        self.second = rest.after(b":")?.number(2)?;
        self.nanosecond = rest.fraction();
        if let [sign @ (b'+' | b'-'), tail @ ..] = rest.0 {
            *rest = Rest(tail);
            let (hour, minute) = (rest.number(2)?, rest.after(b":")?.number(2)?);
            let is_utc = hour == 0 && minute == 0;
            self.zone = if is_utc {
                Zone::Utc
            } else {
                Zone::Offset {
                    sign: *sign,
                    hour,
                    minute,
                }
            };
        }
        Some(())
    }

    fn is_valid(&self) -> bool {
        let zone_ok = match self.zone {
            Zone::Utc => true,
            Zone::Offset { hour, minute, .. } => hour < 24 && minute < 60,
        };
        (1..=12).contains(&self.month)
            && (1..=days_in(self.year, self.month)).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second < 60
            && zone_ok
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        );
        if self.nanosecond > 0 {
            let digits = format!("{:09}", self.nanosecond);
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        match self.zone {
            Zone::Utc => text.push('Z'),
            Zone::Offset { sign, hour, minute } => {
                text.push(char::from(sign));
                text.push_str(&format!("{hour:02}:{minute:02}"));
            }
        }
        text
    }
}

/// The part of a text that is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Exactly `width` digits.
    fn number(&mut self, width: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        let value = digits.iter().try_fold(0, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(value)
    }

    /// One or two digits.
    fn hour(&mut self) -> Option<u32> {
        self.number(2).or_else(|| self.number(1))
    }

    /// Behind one of `separators`.
    fn after(&mut self, separators: &[u8]) -> Option<&mut Rest<'a>> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        separators.contains(first).then_some(self)
    }

    /// A fraction of a second in nanoseconds, if one stands here; digits beyond the ninth do not count.
    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', tail @ ..] = self.0 else {
            return 0;
        };
        let count = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return 0;
        }
        let (digits, rest) = tail.split_at(count);
        self.0 = rest;
        (0..9).fold(0, |value, at| {
            value * 10 + digits.get(at).map_or(0, |digit| u32::from(digit - b'0'))
        })
    }
}

fn days_in(year: u32, month: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
fn civil_of(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted_month + 2) / 5 + 1) as u32;
    let month = (if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    }) as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

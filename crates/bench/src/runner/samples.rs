//! What the rounds gave, by row: figures, the floor's figures of the same turn, or the reason why there are none.

use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// What is measured of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Measure {
    /// The row's own figure: rows per second of a load, or what its name says.
    Main,
    /// Median latency in milliseconds.
    P50,
    /// 99th percentile in milliseconds.
    P99,
    /// Longest latency in milliseconds.
    Max,
    /// Flushes of the log per row.
    Flushes,
    /// Bytes written to disks per row.
    Bytes,
}

impl Measure {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Main => "value",
            Measure::P50 => "p50_ms",
            Measure::P99 => "p99_ms",
            Measure::Max => "max_ms",
            Measure::Flushes => "flushes_per_row",
            Measure::Bytes => "bytes_per_row",
        }
    }
}

/// Name of a row, and what is measured of it.
type Key = (String, Measure);

/// One figure of one turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// The server's.
    pub value: f64,
    /// The floor's, measured just before it.
    pub floor: Option<f64>,
}

/// Medians over the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Medians {
    /// Of the server's figures.
    pub value: f64,
    /// Of the floor's.
    pub floor: Option<f64>,
    /// Of the ratios within each turn.
    pub ratio: Option<f64>,
    /// How many turns there were.
    pub turns: usize,
}

/// All figures, by row and measure.
#[derive(Debug, Default)]
pub struct Samples {
    turns: BTreeMap<Key, Vec<Turn>>,
    missing: BTreeMap<String, String>,
}

impl Samples {
    /// Adds a figure of a row.
    pub fn add(&mut self, row: &str, measure: Measure, value: f64, floor: Option<f64>) {
        self.turns
            .entry((row.to_owned(), measure))
            .or_default()
            .push(Turn { value, floor });
    }

    /// Notes why a row has no figures; the first reason is kept.
    pub fn miss(&mut self, row: &str, reason: &str) {
        self.missing.entry(row.to_owned()).or_insert_with(|| reason.to_owned());
    }

    /// The medians of a figure.
    pub fn medians(&self, row: &str, measure: Measure) -> Option<Medians> {
        let turns = self.turns(row, measure);
        let floors = turns.iter().filter_map(|turn| turn.floor);
        let ratios = turns.iter().filter_map(|turn| Some(turn.value / turn.floor?));
        Some(Medians {
            value: median(turns.iter().map(|turn| turn.value))?,
            floor: median(floors),
            ratio: median(ratios),
            turns: turns.len(),
        })
    }

    /// Why a row is missing.
    pub fn reason(&self, row: &str) -> Option<&str> {
        self.missing.get(row).map(String::as_str)
    }

    /// Every turn of a figure.
    pub fn turns(&self, row: &str, measure: Measure) -> &[Turn] {
        self.turns.get(&(row.to_owned(), measure)).map_or(&[], Vec::as_slice)
    }

    /// All rows and measures that have figures, in order.
    pub fn measured(&self) -> impl Iterator<Item = (&str, Measure)> {
        self.turns.keys().map(|(row, measure)| (row.as_str(), *measure))
    }

    /// All rows that lack figures, with the reason.
    pub fn missing(&self) -> impl Iterator<Item = (&str, &str)> {
        self.missing.iter().map(|(row, reason)| (row.as_str(), reason.as_str()))
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (
        sorted.get(sorted.len().checked_sub(1)? / 2)?,
        sorted.get(sorted.len() / 2)?,
    );
    Some((low + high) / 2.0)
}

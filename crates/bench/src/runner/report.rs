//! The table, as Markdown for docs/performance.md and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rows::{self, ROWS, Row};
use super::samples::{Measure, Medians, Samples};
use crate::options::Options;

#[cfg(test)]
mod tests;

/// The tables as Markdown: floors, loads beside their floors, cost per row, starts and memory.
pub fn markdown(options: &Options, samples: &Samples) -> String {
    let mut text = format!(
        "{} rounds of {} s a row, medians; {} cores, {}\n\n",
        options.rounds,
        options.time.as_secs_f64(),
        std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        machine(),
    );
    floors(&mut text, samples);
    if options.quorlited.is_some() {
        loads(&mut text, options, samples);
        costs(&mut text, options, samples);
        others(&mut text, samples);
    }
    text
}

/// Every figure of every turn, and what is missing.
pub fn json(options: &Options, samples: &Samples) -> Value {
    let figures = samples.measured().map(|(row, measure)| {
        let medians = samples.medians(row, measure);
        let turns = samples
            .turns(row, measure)
            .iter()
            .map(|turn| json!([turn.value, turn.floor]));
        json!({
            "row": row,
            "measure": measure.name(),
            "median": medians.map(|medians| medians.value),
            "floor": medians.and_then(|medians| medians.floor),
            "ratio": medians.and_then(|medians| medians.ratio),
            "turns": turns.collect::<Vec<_>>(),
        })
    });
    let missing = samples.missing().map(|(row, reason)| (row.to_owned(), json!(reason)));
    json!({
        "rounds": options.rounds,
        "seconds": options.time.as_secs_f64(),
        "machine": machine(),
        "figures": figures.collect::<Vec<_>>(),
        "missing": missing.collect::<serde_json::Map<_, _>>(),
    })
}

fn floors(text: &mut String, samples: &Samples) {
    text.push_str("| floor | per s | p50 ms | p99 ms | max ms | flushes per row | bytes per row |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    let is_shown = |(row, measure): &(&str, Measure)| *measure == Measure::Main && is_floor(row);
    let mut rows: Vec<&str> = samples.measured().filter(is_shown).map(|(row, _)| row).collect();
    rows.sort_by_key(|row| by_clients(row));
    for row in rows {
        let cell = |measure, digits| number(samples.medians(row, measure).map(|medians| medians.value), digits);
        let _ = writeln!(
            text,
            "| {row} | {} | {} | {} | {} | {} | {} |",
            cell(Measure::Main, 0),
            cell(Measure::P50, 3),
            cell(Measure::P99, 3),
            cell(Measure::Max, 1),
            cell(Measure::Flushes, 3),
            cell(Measure::Bytes, 0),
        );
    }
}

fn loads(text: &mut String, options: &Options, samples: &Samples) {
    text.push_str(
        "\n| rows per s | rqlite v10.3 | quorlite | floor | ratio | p50 ms | p99 ms | max ms | floor's p99 |\n",
    );
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for row in wanted(options) {
        let title = row.title();
        let Some(main) = samples.medians(&title, Measure::Main) else {
            let reason = samples.reason(&title).unwrap_or("not measured");
            let _ = writeln!(
                text,
                "| {title} | {} | n/a: {} |",
                grouped(row.reference, 0),
                reason.replace('|', "/")
            );
            continue;
        };
        let value = |measure, digits| number(samples.medians(&title, measure).map(|medians| medians.value), digits);
        let floor_p99 = samples.medians(&title, Measure::P99).and_then(|medians| medians.floor);
        let _ = writeln!(
            text,
            "| {title} | {} | {} | {} | {} | {} | {} | {} | {} |",
            grouped(row.reference, 0),
            grouped(main.value, 0),
            number(main.floor, 0),
            percent(main.ratio),
            value(Measure::P50, 3),
            value(Measure::P99, 3),
            value(Measure::Max, 1),
            number(floor_p99, 3),
        );
    }
}

fn costs(text: &mut String, options: &Options, samples: &Samples) {
    let counted: Vec<&Row> = wanted(options).filter(|row| row.is_counted()).collect();
    if counted.is_empty() {
        return;
    }
    text.push_str("\n| cost of a row | flushes | floor | ratio | bytes written | floor | ratio |\n");
    text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n");
    for row in counted {
        let title = row.title();
        let cells = |measure, digits| match samples.medians(&title, measure) {
            Some(Medians {
                value, floor, ratio, ..
            }) => {
                let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2} x"));
                format!("{} | {} | {ratio}", grouped(value, digits), number(floor, digits))
            }
            None => "n/a: the server does not tell | – | –".to_owned(),
        };
        let _ = writeln!(
            text,
            "| {title} | {} | {} |",
            cells(Measure::Flushes, 3),
            cells(Measure::Bytes, 0)
        );
    }
}

fn others(text: &mut String, samples: &Samples) {
    text.push_str("\n| | rqlite v10.3 | quorlite |\n| --- | ---: | ---: |\n");
    for (name, unit, reference) in rows::OTHERS {
        let value = match samples.medians(name, Measure::Main) {
            Some(medians) => format!("{} {unit}", grouped(medians.value, 1)),
            None => format!("n/a: {}", samples.reason(name).unwrap_or("not measured")),
        };
        let _ = writeln!(text, "| {name} | {reference} {unit} | {value} |");
    }
}

fn wanted(options: &Options) -> impl Iterator<Item = &'static Row> {
    ROWS.iter().filter(|row| options.wants(row.name))
}

/// Whether a name is not that of a load or of another figure of the server.
fn is_floor(name: &str) -> bool {
    ["raw ", "bare ", "HTTP ", "consensus "]
        .iter()
        .any(|start| name.starts_with(start))
}

/// Sorts by name, then by the number of clients.
fn by_clients(title: &str) -> (&str, u32) {
    let Some((name, clients)) = title.rsplit_once(", ") else {
        return (title, 0);
    };
    match clients.split_once(' ').and_then(|(number, _)| number.parse().ok()) {
        Some(number) => (name, number),
        None => (title, 0),
    }
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| grouped(value, digits))
}

/// A number with its thousands apart.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), None), |(whole, part)| (whole, Some(part)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{grouped}.{fraction}"),
        None => grouped,
    }
}

/// The machine's processor and load, since neither can be told from the figures.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let minutes: Vec<&str> = load.split_whitespace().take(3).collect();
    format!(
        "{}; load average at the end {}",
        model.trim_start_matches(['\t', ' ', ':']),
        minutes.join(" ")
    )
}

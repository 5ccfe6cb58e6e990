//! What a run came to, as a table for people and as JSON for programs.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::options::Options;
use super::recorder::{Recorder, WINDOW};
use super::tables::Verified;

#[cfg(test)]
mod tests;

/// A finished run.
pub struct Report<'a> {
    /// What was asked for.
    pub options: &'a Options,
    /// What happened.
    pub recorder: &'a Recorder,
    /// When the run began, so that its times can be laid beside those of other programs.
    pub started: SystemTime,
    /// Rows acknowledged in all, warm-up included.
    pub acknowledged: u64,
    /// How long the queue took to empty after the last queued write.
    pub drain: Option<Duration>,
    /// The count afterwards.
    pub verified: Option<Verified>,
}

const PERCENTILES: &[(&str, f64)] = &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

impl Report<'_> {
    /// Whether the run is a result: something was answered, nothing was wrong, nothing is missing, and nothing failed
    /// unless it was to keep going.
    pub fn is_good(&self) -> bool {
        let failed = if self.options.keep_going {
            self.wrong()
        } else {
            self.recorder.failures_total()
        };
        let complete = self.verified.is_none_or(|verified| verified.is_complete());
        failed == 0 && complete && self.recorder.latencies.count() > 0
    }

    /// The table.
    pub fn table(&self) -> String {
        let (recorder, options) = (self.recorder, self.options);
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:10} {value}");
        };
        line("work", self.title());
        line("requests", rate(recorder.requests, recorder.elapsed()));
        line("rows", rate(recorder.rows, recorder.elapsed()));
        line(
            "bytes",
            format!("{:.2} MB/s", per_s(recorder.bytes, recorder.elapsed()) / 1e6),
        );
        line("latency", self.latencies());
        if let Some(drain) = self.drain {
            let applied = rate(recorder.rows, recorder.elapsed() + drain);
            line(
                "applied",
                format!("{applied}, the queue was empty {} after the end", millis(drain)),
            );
        }
        if recorder.unsent > 0 {
            line(
                "unsent",
                format!("{} requests: the server fell too far behind", recorder.unsent),
            );
        }
        for (kind, failures) in &recorder.failures {
            line("failed", format!("{kind}: {} ({})", failures.count, failures.first));
        }
        if options.failover_trace {
            line("gap", self.gap_text());
        }
        if let Some(verified) = self.verified {
            line("verified", verified_text(verified));
        }
        if options.timeline {
            text.push_str(&self.timeline());
        }
        text
    }

    /// The same as JSON. Latencies are in microseconds, times since the start of the run in milliseconds.
    pub fn json(&self) -> Value {
        let (recorder, options) = (self.recorder, self.options);
        let elapsed = recorder.elapsed();
        let mut latency: serde_json::Map<String, Value> = PERCENTILES
            .iter()
            .map(|(name, share)| ((*name).to_owned(), micros(recorder.latencies.percentile(*share))))
            .collect();
        latency.insert("max".to_owned(), micros(recorder.latencies.max()));
        latency.insert("mean".to_owned(), micros(recorder.latencies.mean()));
        let failures = recorder
            .failures
            .iter()
            .map(|(kind, count)| (kind.clone(), json!({"count": count.count, "first": count.first})));
        let mut report = json!({
            "work": options.name,
            "clients": options.clients,
            "rate": options.rate,
            "good": self.is_good(),
            "started_unix_ms": self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1e3,
            "seconds": elapsed.as_secs_f64(),
            "requests": recorder.requests,
            "requests_per_s": per_s(recorder.requests, elapsed),
            "rows": recorder.rows,
            "rows_per_s": per_s(recorder.rows, elapsed),
            "bytes_per_s": per_s(recorder.bytes, elapsed),
            "latency_us": latency,
            "acknowledged": self.acknowledged,
            "unsent": recorder.unsent,
            "failures": failures.collect::<serde_json::Map<_, _>>(),
        });
        for (name, value) in self.optional() {
            report[name] = value;
        }
        report
    }

    fn optional(&self) -> Vec<(&'static str, Value)> {
        let recorder = self.recorder;
        let mut parts = Vec::new();
        if let Some(drain) = self.drain {
            let applied = per_s(recorder.rows, recorder.elapsed() + drain);
            parts.push((
                "queue",
                json!({"drain_ms": drain.as_secs_f64() * 1e3, "applied_per_s": applied}),
            ));
        }
        if let Some(verified) = self.verified {
            parts.push((
                "verified",
                json!({
                    "acknowledged": verified.acknowledged,
                    "found": verified.found,
                    "unacknowledged_found": verified.unacknowledged_found,
                }),
            ));
        }
        if let (true, Some(gap)) = (self.options.failover_trace, recorder.gap) {
            parts.push((
                "gap",
                json!({
                    "ms": gap.length().as_secs_f64() * 1e3,
                    "from_ms": gap.from.0.as_secs_f64() * 1e3,
                    "from_node": self.options.addresses[gap.from.1],
                    "until_ms": gap.until.0.as_secs_f64() * 1e3,
                    "until_node": self.options.addresses[gap.until.1],
                }),
            ));
        }
        if self.options.timeline {
            let windows = recorder.windows.iter().enumerate().map(|(index, window)| {
                json!({
                    "at_ms": (WINDOW * index as u32).as_millis() as u64,
                    "requests": window.requests,
                    "failures": window.failures,
                    "max_us": window.latency_max.as_secs_f64() * 1e6,
                })
            });
            parts.push(("windows", windows.collect()));
        }
        parts
    }

    fn title(&self) -> String {
        let options = self.options;
        let level = if options.kind.reads() {
            format!(" at level {}", options.level.name())
        } else {
            String::new()
        };
        let pace = match options.rate {
            Some(rate) => format!("open loop at {rate} per s"),
            None => "closed loop".to_owned(),
        };
        let seconds = self.recorder.elapsed().as_secs_f64();
        format!(
            "{}{level}, {} clients, {pace}, {seconds:.2} s",
            options.name, options.clients
        )
    }

    fn latencies(&self) -> String {
        let latencies = &self.recorder.latencies;
        let mut text: String = PERCENTILES
            .iter()
            .map(|(name, share)| format!("{name} {}, ", millis(latencies.percentile(*share))))
            .collect();
        let _ = write!(text, "max {}", millis(latencies.max()));
        text
    }

    fn gap_text(&self) -> String {
        let Some(gap) = self.recorder.gap else {
            return "fewer than two writes were acknowledged".to_owned();
        };
        let addresses = &self.options.addresses;
        let (from, until) = (&addresses[gap.from.1], &addresses[gap.until.1]);
        let at = gap.from.0.as_secs_f64();
        format!(
            "{} without an acknowledgement, from {at:.3} s ({from}) on, ended by {until}",
            millis(gap.length())
        )
    }

    fn timeline(&self) -> String {
        let mut text = String::from("\n     at s  requests  failed    max ms\n");
        for (index, window) in self.recorder.windows.iter().enumerate() {
            let at = (WINDOW * index as u32).as_secs_f64();
            let max_ms = window.latency_max.as_secs_f64() * 1e3;
            let _ = writeln!(
                text,
                "{at:9.1} {:9} {:7} {max_ms:9.3}",
                window.requests, window.failures
            );
        }
        text
    }

    fn wrong(&self) -> u64 {
        self.recorder
            .failures
            .get("wrong answer")
            .map_or(0, |count| count.count)
    }
}

fn verified_text(verified: Verified) -> String {
    let verdict = if verified.is_complete() {
        "all there"
    } else {
        "ROWS ARE MISSING"
    };
    format!(
        "{} rows acknowledged, {} found: {verdict}; {} more were not acknowledged and are there",
        verified.acknowledged, verified.found, verified.unacknowledged_found
    )
}

fn rate(count: u64, elapsed: Duration) -> String {
    format!("{count}, {:.0} per s", per_s(count, elapsed))
}

fn per_s(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() {
        0.0
    } else {
        count as f64 / elapsed.as_secs_f64()
    }
}

fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn micros(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1e7).round() / 10.0)
}

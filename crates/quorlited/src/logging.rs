//! Where events go: standard error, one line each.

use std::io;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// Begins to log, at what `-raft-log-level` asks for.
///
/// State changes are always told, except at `ERROR`. Consensus itself is quieter by one step than everything else: what
/// it reports at each lost connection is routine.
///
/// # Errors
///
/// Something logs already.
pub fn install(level: &str) -> Result<(), TryInitError> {
    let (ours, consensus) = levels(level);
    let filter = Targets::new().with_default(ours).with_target("openraft", consensus);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_filter(filter);
    tracing_subscriber::registry().with(lines).try_init()
}

/// Text that is no level means the default, `WARN`.
fn levels(level: &str) -> (Level, LevelFilter) {
    match level {
        "ERROR" => (Level::ERROR, LevelFilter::OFF),
        "INFO" => (Level::INFO, LevelFilter::WARN),
        "DEBUG" => (Level::DEBUG, LevelFilter::INFO),
        _ => (Level::INFO, LevelFilter::ERROR),
    }
}

//! The usage and version texts.

use std::fmt::Write;

use crate::flags::parse::{Value, default_of};
use crate::flags::table::{Flag, Kind, Support, TABLE};

/// Intro, form, and all flags by name.
pub fn usage() -> String {
    let mut text = String::from(
        "quorlited keeps a SQLite database the same on several machines and serves it over HTTP.\n\n\
         Usage: quorlited [flags] <data directory>\n       \
         quorlited check [--json] <data directory>    looks at the files of a node that does not run\n",
    );
    let mut flags: Vec<&Flag> = TABLE.iter().collect();
    flags.sort_by_key(|flag| flag.name);
    for flag in flags {
        let kind = match flag.kind {
            Kind::Bool => "",
            Kind::Text => " string",
            Kind::Int => " int",
            Kind::Uint => " uint",
            Kind::Duration => " duration",
        };
        let later = match flag.support {
            Support::Works => String::new(),
            Support::NoEffect(reason) => format!(" (no effect: {reason})"),
            Support::Later(_) => " (still to come)".to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "  -{}{kind}\n    \t{}{later}{}",
            flag.name,
            flag.help,
            default_text(flag)
        );
    }
    text
}

/// The line that `-version` prints.
pub fn version_line() -> String {
    format!(
        "quorlited {} {} {} rust sqlite{} (commit {}, compiler rustc)",
        crate::VERSION,
        std::env::consts::OS,
        std::env::consts::ARCH,
        sqlite::version(),
        option_env!("QUORLITE_COMMIT").unwrap_or("unknown"),
    )
}

fn default_text(flag: &Flag) -> String {
    match default_of(flag) {
        Value::Bool(false) | Value::Int(0) | Value::Uint(0) | Value::Duration(0) => String::new(),
        Value::Text(text) if text.is_empty() => String::new(),
        Value::Text(text) => format!(" (default \"{text}\")"),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Duration(_) => format!(" (default {})", flag.default),
    }
}

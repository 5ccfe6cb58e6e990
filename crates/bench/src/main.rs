//! `quorlite-bench`: the floors of this machine, and the server beside them.
//!
//! Without a sub-command it runs the whole table of docs/performance.md. `serve` is how it starts its own bare servers,
//! each in a process of its own, as the product's server is.

mod floors;
mod options;
mod runner;
mod servers;
mod values;

use std::io::Write;
use std::path::Path;

use crate::options::Options;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", "noop"] => servers::noop::run(),
        ["serve", "read", dir] => servers::read::run(Path::new(dir)),
        ["serve", "write", dir] => servers::write::run(Path::new(dir)),
        ["serve", ..] => anyhow::bail!("serve noop, serve read DIR or serve write DIR"),
        ["-h" | "--help", ..] => Ok(std::io::stdout().write_all(options::USAGE.as_bytes())?),
        flags => runner::run(&Options::parse(flags)?),
    }
}

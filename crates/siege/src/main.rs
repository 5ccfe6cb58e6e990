//! The siege: real servers, in a world of their own, under faults, with the simulator's workload and checkers over HTTP.
//!
//! ```text
//!  outside:  siege ── unshare(1) ──┐ stdin: when it ends, the siege ends
//!  inside:   siege ─┬─ topology: a namespace for each node, links, routes and rules that cut them
//!                   ├─ proxy: what is slow, lossy, reset or garbled between two nodes
//!                   ├─ node: process, disk (its own file system, the powerloss library), log
//!                   ├─ nemesis: what goes wrong, and when
//!                   └─ clients ─► history ─► checkers ─► verdict of the round
//! ```
//!
//! Nothing of it is left behind: namespaces, mounts and processes live in the siege's own namespaces and end with it.

mod api;
mod arguments;
mod client;
mod disk;
mod enclosure;
mod http;
mod nemesis;
mod node;
mod peace;
mod plan;
mod proxy;
mod report;
mod round;
mod shell;
mod siege;
mod sql;
mod topology;
mod work;

use std::process::ExitCode;

use anyhow::Result;

use arguments::Arguments;
use enclosure::Enclosure;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

fn start() -> Result<ExitCode> {
    let arguments = Arguments::parse(std::env::args().skip(1))?;
    match Enclosure::current() {
        None => enclosure::enter(),
        Some(enclosure) => report::run(&arguments, enclosure),
    }
}

#[expect(clippy::print_stderr, reason = "the one place where a failed command says why")]
fn complain(error: &anyhow::Error) -> ExitCode {
    eprintln!("quorlite-siege: {error:#}");
    ExitCode::from(2)
}

//! The built `quorlite-bench`: that the bare servers do what they claim, and what the runner makes of bad servers.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod bare;
mod runner;

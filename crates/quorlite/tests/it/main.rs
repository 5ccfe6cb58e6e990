//! The built `quorlite` against servers that the tests own: what it counts, and which lies it catches.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod bench;
mod command;
mod server;

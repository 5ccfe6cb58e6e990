//! The real binary, from outside: its command line, one node, three nodes.

#![allow(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod check;
mod cli;
mod cluster;
mod divergence;
mod documents;
mod node;
mod reads;
mod server;
mod watched;
mod whole;

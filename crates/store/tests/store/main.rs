//! The Ledger at its door: nodes over an in-process transport, on real files.

mod cluster;
mod flags;
mod lone;
mod membership;
mod network;
mod restarts;
mod support;

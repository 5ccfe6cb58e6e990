//! The Ledger at its door: nodes over an in-process transport, on real files.

mod cluster;
mod lone;
mod support;

//! The Ledger at its door: nodes over an in-process transport, on real files.

mod check;
mod cluster;
mod crashes;
mod divergence;
mod flags;
mod load;
mod lone;
mod membership;
mod network;
mod restarts;
mod skip;
mod support;

//! Door: the HTTP API.
//!
//! Owns the surface that clients see: routes, parameters, bodies, the JSON of answers, and which failure has which
//! status. It runs no SQL and knows no consensus: a node stands behind [`ledger::Ledger`], the others behind
//! [`peers::Peers`].
//!
//! ```text
//!  serve ──► route ──► endpoint ──► data ──► sql::run ──► ledger           this node
//!                                    │           ▲  └───► stream, results  rows, as they come
//!                                    │           │
//!                                    └─► peers ══╪══► desk                 the leader
//!                                                └─────┘
//! ```
//!
//! Invariants:
//! * Memory follows chunks and rows, not results (D12).
//! * 503 is answered only for what was certainly not appended (D9); see [`errors`].
//! * A follower hands the leader's bytes on.

pub mod access;
pub mod blocked;
pub mod body;
pub mod call;
pub mod counters;
pub mod desk;
pub mod door;
pub mod endpoint;
pub mod errors;
pub mod json;
pub mod ledger;
pub mod number;
pub mod params;
pub mod peers;
pub mod pieces;
pub mod queries;
pub mod queue;
pub mod reply;
pub mod results;
pub mod route;
pub mod serve;
pub mod slow;
pub mod sql;
pub mod stream;
pub mod timestamp;
pub mod transfer;
pub mod vault;
pub mod watch;

#[cfg(test)]
mod tests;

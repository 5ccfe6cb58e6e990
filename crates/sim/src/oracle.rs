//! The differential oracle: what the cluster did, done again by plain SQLite, entry by entry.
//!
//! ```text
//!  clients ─ random requests ─► cluster, under faults ─┬─ replies ──────────────────┐
//!                                                      ├─ contents, now and in the  │
//!                                                      │  end, by SELECT ─────────┐ │
//!                                                      └─ entries, in log order   ▼ ▼
//!                                                             └──► plain SQLite ──► the same?
//! ```
//!
//! Invariants:
//! * The oracle runs what the log holds, in its order, with its clocks and seeds; not what clients believe to have sent.
//! * It shares SQLite and its clock's VFS with production, and nothing else: no writer, no apply, no content hash.

mod ask;
mod changes;
pub mod client;
mod contents;
mod definitions;
mod expression;
pub mod grammar;
mod model;
mod plain;
mod queries;
mod record;
mod shrink;
mod stream;
mod verdict;

pub use contents::Contents;
pub use record::{Oracle, Sight};

#[cfg(test)]
mod tests;

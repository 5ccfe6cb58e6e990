//! Words: statements, requests, replies, entries and their bytes.
//!
//! Everything that the other rooms say to each other about SQL stands here. This crate touches memory only: it knows
//! no SQLite, no disk, no socket and no JSON.
//!
//! Invariants:
//! * What is encoded here is read by the next release: fields are added, never renumbered (D11).
//! * NULL is the absence of a `Value`, on the wire as in memory.

pub mod entry;
pub mod reply;
pub mod request;
pub mod rows;
pub mod statement;

//! Every line of `unsafe` of the workspace: SQLite's C interface where rusqlite has no safe door.
//!
//! Callers outside this folder see safe functions only.

pub(crate) mod math;
pub(crate) mod statement;

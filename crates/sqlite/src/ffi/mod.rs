//! Every line of `unsafe` of the workspace: SQLite's C interface where rusqlite has no safe door.
//!
//! Callers outside this folder see safe functions only.

mod allocator;
pub(crate) mod extension;
mod file;
pub(crate) mod functions;
pub(crate) mod hooks;
pub(crate) mod math;
pub(crate) mod meter;
pub(crate) mod statement;
mod strings;
pub(crate) mod vfs;

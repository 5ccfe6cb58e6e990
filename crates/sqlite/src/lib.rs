//! Engine: the SQLite boundary.
//!
//! Everything that touches SQLite stands here: opening with the options that make replicas equal, the write side that
//! apply drives, and the read side that streams rows. No consensus, no socket, no JSON. All `unsafe` lives in `ffi`.
//!
//! Invariants:
//! * What a write computes depends on the database and the entry alone, never on this node or this connection (D3).
//! * A failed read, write or sync is seen by our VFS, and stops the node instead of becoming a result (D4, D5).

mod authorizer;
pub mod bind;
mod budget;
pub mod check;
pub mod checkpoint;
mod classify;
pub mod clock;
mod content;
mod context;
mod dump;
mod effect;
mod engine;
mod entry;
pub mod error;
pub mod faults;
mod ffi;
mod floor;
mod frames;
mod gather;
mod guard;
mod home;
mod interrupt;
mod kept;
pub mod keys;
pub mod load;
pub mod meta;
pub mod open;
mod pages;
mod pin;
mod pragma;
mod reader;
mod readers;
mod script;
mod search;
pub mod staging;
mod strip;
pub mod turns;
mod wal;
mod watch;
pub mod writer;

pub use classify::Class;
pub use content::{Content, ContentHash, Verified, content_hash};
pub use dump::Dump;
pub use entry::script::ScriptEnd;
pub use entry::{Care, Conclusion, Ran, Resume};
pub use error::Error;
pub use ffi::hooks::Backfill;
pub use ffi::statement::{Execution, Session, Statement, StatementError, Step};
pub use ffi::vfs::seed_randomness;
pub use guard::Refusal;
pub use home::{Building, Generation, Home};
pub use interrupt::Interrupt;
pub use meta::{Position, State};
pub use open::{Limits, Options};
pub use pages::{Digest, Gathered, Incoming, Journal, PinnedDatabase, Sent, nameless_file};
pub use pin::PinBounds;
pub use reader::{QueryOptions, Reader};
pub use readers::{Lease, Readers, ReadersOptions};
pub use watch::{Cancel, Clock};
pub use writer::Writer;

/// The version of the SQLite inside, such as `3.54.0`.
pub fn version() -> &'static str {
    rusqlite::version()
}

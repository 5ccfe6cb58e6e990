//! Moving the WAL into the database file, beside the writer.
//!
//! ```text
//!  checkpointer:  ── backfill ───────────────┐        (a connection of its own, any thread)
//!  writer:        commit commit commit commit │ finish │ commit…   the next commit starts the WAL over
//! ```
//!
//! Backfilling alone never lets the WAL start over under steady writes, and a truncating checkpoint would hold the
//! writer up for all of it. So the checkpointer does the bulk, and the writer the few frames that came meanwhile,
//! between two batches. Readers are never waited for: while one needs the WAL, it goes on growing.

use std::path::Path;

use rusqlite::Connection;

use crate::error::Error;
use crate::faults;
use crate::ffi::hooks::{self, Backfill};
use crate::open::{self, Options};

/// Backfills the WAL of one database.
pub struct Checkpointer {
    connection: Connection,
}

impl Checkpointer {
    /// Opens a connection to the database at `path`, which exists.
    ///
    /// # Errors
    ///
    /// [`Error::Sqlite`] when it cannot be opened.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        Ok(Self {
            connection: open::open_writer(path, options)?,
        })
    }

    /// Copies what is in the WAL to the database as far as readers allow, and flushes both; blocks on the disk.
    ///
    /// `None` when another checkpoint runs.
    ///
    /// # Errors
    ///
    /// [`Error::Node`]: the disk failed; nothing is retried (D5).
    pub fn backfill(&mut self) -> Result<Option<Backfill>, Error> {
        passive(&self.connection)
    }
}

/// A passive checkpoint on `connection`.
pub(crate) fn passive(connection: &Connection) -> Result<Option<Backfill>, Error> {
    faults::forget();
    let done = hooks::checkpoint_passive(connection);
    faults::check("checkpoint")?;
    done.map_err(|code| Error::Node {
        what: "checkpoint".to_owned(),
        message: rusqlite::ffi::code_to_str(code).to_owned(),
    })
}

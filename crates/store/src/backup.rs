//! Backups: one snapshot of this node's database, as it leaves the node.
//!
//! A snapshot keeps the WAL from being started over, so it is not held for a client that reads slowly: what is left then
//! goes to a file without a name, at the speed of the disk, and the client is served from there.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlite::{Cancel, Dump, Error, Journal, PinBounds, PinnedDatabase};

use crate::node::Node;

/// Bytes handed to the sink at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// How long a client may take before its snapshot is released.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a snapshot may be held at all: reading a large database as text takes its time.
const PIN_AGE_MAX: Duration = Duration::from_secs(3600);

/// What leaves the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// A SQLite file.
    File(Journal),
    /// A SQLite file without free pages, with a rollback journal.
    Compact,
    /// SQL text of these tables; of all when none is named.
    Text(Vec<String>),
}

/// Takes what leaves the node, piece by piece.
pub type Sink<'s> = &'s mut dyn FnMut(&[u8]) -> ControlFlow<()>;

impl Node {
    /// Hands a backup of this node's database, as it is now, to `sink`. Blocks: run it off the runtime.
    ///
    /// # Errors
    ///
    /// [`Error::Interrupted`] once the sink broke off or `cancel` was used. Before the first piece nothing has left.
    pub fn backup(&self, form: &Form, cancel: &Cancel, sink: Sink<'_>) -> Result<(), Error> {
        self.check_quarantine().map_err(|refused| Error::Unsound {
            what: "back up".to_owned(),
            message: refused.to_string(),
        })?;
        let databases = &self.inner.databases;
        let (generation, options) = (databases.current(), databases.options());
        let bounds = PinBounds {
            age_max: PIN_AGE_MAX,
            cancel: cancel.clone(),
        };
        let pin = |journal| {
            let clock = databases.clock();
            PinnedDatabase::pin_stripped(&generation, options, clock, bounds.clone(), journal)
        };
        match form {
            Form::File(journal) => stream(pin(*journal)?, generation.home(), sink),
            Form::Compact => {
                let mut database = pin(Journal::Rollback)?;
                database.vacuum(generation.home(), options, cancel.clone())?;
                stream(database, generation.home(), sink)
            }
            Form::Text(tables) => {
                let dump = Dump::pin(&generation, options, databases.clock(), bounds.clone(), tables)?;
                write_text(dump, generation.home(), sink)
            }
        }
    }
}

fn stream(mut database: PinnedDatabase, folder: &Path, sink: Sink<'_>) -> Result<(), Error> {
    let began = Instant::now();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = database.read_chunk(&mut chunk)?;
        if filled == 0 {
            return Ok(());
        }
        if sink(&chunk[..filled]).is_break() {
            return Err(Error::Interrupted);
        }
        if database.is_pinned() && began.elapsed() > PATIENCE {
            database.spill(folder)?;
        }
    }
}

fn write_text(dump: Dump, folder: &Path, sink: Sink<'_>) -> Result<(), Error> {
    let began = Instant::now();
    let what = || format!("write a dump aside to {}", folder.display());
    let mut aside: Option<File> = None;
    let mut failed = None;
    let ended = dump.write(&mut |piece| {
        if aside.is_none() && began.elapsed() <= PATIENCE {
            return sink(piece);
        }
        match write_aside(&mut aside, folder, piece) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(Error::io(what())(error));
                ControlFlow::Break(())
            }
        }
    });
    if let Some(failed) = failed {
        return Err(failed);
    }
    ended?;
    let Some(mut file) = aside else { return Ok(()) };
    let mut chunk = vec![0; CHUNK_BYTES];
    file.rewind().map_err(Error::io(what()))?;
    loop {
        let filled = file.read(&mut chunk).map_err(Error::io(what()))?;
        if filled == 0 {
            return Ok(());
        }
        if sink(&chunk[..filled]).is_break() {
            return Err(Error::Interrupted);
        }
    }
}

fn write_aside(aside: &mut Option<File>, folder: &Path, piece: &[u8]) -> std::io::Result<()> {
    let file = match aside {
        Some(file) => file,
        None => aside.insert(sqlite::nameless_file(folder)?),
    };
    file.write_all(piece)
}

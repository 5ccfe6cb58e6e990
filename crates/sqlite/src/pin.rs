//! One snapshot of the database, held for long work beside the writer: hashing it, or sending it.
//!
//! Owns a connection of its own, inside a read transaction. The WAL cannot be reset while it is held, so it has a
//! greatest age (D10).

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::Error;
use crate::ffi::statement::{Session, StatementError};
use crate::home::Generation;
use crate::meta::{self, State};
use crate::open::{self, Options};
use crate::reader;
use crate::watch::{Bounds, Cancel, Clock, Cut, Watch};

/// Statements kept: one at a time is in use.
const STATEMENTS_KEPT: usize = 2;

/// What bounds the holding of a snapshot.
#[derive(Clone, Debug)]
pub struct PinBounds {
    /// Longest that it is held.
    pub age_max: Duration,
    /// Ends the work early.
    pub cancel: Cancel,
}

/// A held snapshot.
pub(crate) struct Pin {
    session: Session,
    watch: Arc<Watch>,
    state: State,
    age_max: Duration,
    /// Keeps the folder.
    _generation: Generation,
}

impl Pin {
    /// Takes the snapshot now: it holds what was applied before this was called, and nothing applied after it returned.
    pub(crate) fn take(
        generation: &Generation,
        options: &Options,
        clock: Clock,
        bounds: PinBounds,
    ) -> Result<Self, Error> {
        let mut connection = open::open_reader(&generation.database(), options)?;
        let watch = Watch::install(&mut connection, clock)?;
        watch.begin(Bounds {
            cancel: Some(bounds.cancel),
            age_limit: watch.now().checked_add(bounds.age_max),
            ..Bounds::default()
        });
        connection
            .execute_batch("BEGIN")
            .map_err(Error::sqlite("begin a read transaction"))?;
        // The first read takes the snapshot, so the state is the snapshot's own.
        let state = meta::read(&connection)?;
        Ok(Self {
            session: Session::new(connection, STATEMENTS_KEPT),
            watch,
            state,
            age_max: bounds.age_max,
            _generation: generation.clone(),
        })
    }

    /// Our row in this snapshot.
    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.session.connection()
    }

    /// May the work go on?
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self.watch.check() {
            None => Ok(()),
            Some(Cut::Cancelled) => Err(Error::Interrupted),
            Some(Cut::Age | Cut::Deadline | Cut::Quantum) => Err(Error::Expired { age_max: self.age_max }),
        }
    }

    /// What stopped the work, when SQLite says `error`.
    pub(crate) fn stopped(&self, error: StatementError) -> Error {
        match self.check() {
            Err(stopped) => stopped,
            Ok(()) => reader::node_failure(&error).unwrap_or_else(|| Error::Node {
                what: "read a snapshot".to_owned(),
                message: error.message,
            }),
        }
    }
}

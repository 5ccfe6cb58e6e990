//! Databases that come in through the log (docs/decisions/0003-load.md).
//!
//! ```text
//!  chunk ──► the load's file, and how many of its bytes count ──► with the batch's transaction
//!  load  ──► text: runs in a transaction of its own
//!            file: adopted in the state after this entry, then exchanged for the current database
//! ```
//!
//! Invariants:
//! * What counts of a file depends on the log alone (D3); that a file is sound was the proposer's to see.
//! * A file is removed only once the entry that made it useless is durable.
//! * A file takes the place of the database only if its entry is not to be passed over by then, as any commit.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use command::entry::{Action, Chunk, Form, Load};
use command::reply::Reply;
use sqlite::load;
use sqlite::staging::{self, KeptLoad, Staging};
use sqlite::{Building, Error, Generation, ScriptEnd};

use super::keys::Claim;
use super::{Applier, Body, Entry, indexed};

/// Loads under way at a time; the one that was used least recently makes room for another.
const LOADS_MAX: usize = 2;

const GAP: &str =
    "this piece does not follow on what was gathered of its load: the load was given up, or a piece is missing";
const UNKNOWN: &str = "nothing was gathered under this load, or not all of it: begin it anew";
const NOT_ALONE: &str = "not single-node";

/// The code of a reply that refuses a load.
const REFUSED: &str = "load_refused";

/// Where the databases of a node live.
pub trait Generations: Send + Sync {
    /// The folder of all of them.
    fn home(&self) -> PathBuf;
    /// An empty folder for the next one.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    fn begin(&self) -> Result<Building, Error>;
    /// Makes `building` the current one, durably.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: fatal.
    fn switch(&self, building: Building) -> Result<Generation, Error>;
    /// Whether `membership`, in consensus' own encoding, has one node.
    fn is_lone(&self, membership: &[u8]) -> bool;
}

/// What became of a file that was to take the place of the database.
enum Exchanged {
    Done(Reply),
    /// It cannot; a new transaction runs.
    Refused(Reply),
    /// Its entry is to be passed over.
    Undone,
}

/// What is gathered.
pub(super) struct Loads {
    staging: Staging,
    generations: Arc<dyn Generations>,
    /// Files of no use any more, and the entries that made them so.
    useless: Vec<(u64, u64)>,
}

impl Applier {
    /// Serves chunks and loads from now on, with the databases of `generations`.
    pub fn serve_loads(&mut self, generations: Arc<dyn Generations>) {
        self.loads = Some(Loads {
            staging: Staging::new(&generations.home()),
            generations,
            useless: Vec::new(),
        });
    }

    /// Whether the log must be looked through after a restart: there are files, or loads under way.
    ///
    /// # Errors
    ///
    /// [`Error`].
    pub fn has_loads(&self) -> Result<bool, Error> {
        let files = self.loads.as_ref().map(|loads| loads.staging.is_empty()).transpose()?;
        Ok(files == Some(false) || !self.as_open().writer.loads()?.is_empty())
    }

    /// Gathers a piece once more after a restart: the log still holds it, and its entry is applied.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn gather_again(&mut self, chunk: &Chunk) -> Result<(), Error> {
        let known = self.gathered(chunk.load)?;
        match &mut self.loads {
            Some(loads) if known.is_some_and(|bytes| end(chunk) <= bytes) => {
                loads.staging.write(chunk.load, chunk.offset, &chunk.bytes)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Removes, after a restart, the files of loads that are no longer under way, but for those that are `awaited`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn sweep_loads(&mut self, awaited: &[u64]) -> Result<(), Error> {
        let known = self.as_open().writer.loads()?;
        let kept: Vec<u64> = known
            .iter()
            .map(|load| load.id)
            .chain(awaited.iter().copied())
            .collect();
        self.loads
            .as_mut()
            .map_or(Ok(()), |loads| loads.staging.keep_only(&kept))
    }

    /// Bytes gathered of a load; `None` when it is not under way.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn gathered(&self, load: u64) -> Result<Option<u64>, Error> {
        let loads = self.as_open().writer.loads()?;
        Ok(loads.iter().find(|known| known.id == load).map(|known| known.bytes))
    }

    /// Before the database is made durable, and with it the log below purged.
    pub(super) fn flush_loads(&mut self) -> Result<(), Error> {
        self.loads.as_mut().map_or(Ok(()), |loads| loads.staging.flush())
    }

    /// After the database was made durable through `index`.
    pub(super) fn remove_useless(&mut self, index: u64) -> Result<(), Error> {
        if self.loads.as_ref().is_none_or(|loads| loads.useless.is_empty()) {
            return Ok(());
        }
        let known = self.as_open().writer.loads()?;
        let Some(loads) = &mut self.loads else { return Ok(()) };
        let (gone, left) = loads.useless.drain(..).partition(|(_, since)| *since <= index);
        loads.useless = left;
        let gone: Vec<(u64, u64)> = gone;
        for (load, _) in gone {
            // A late first piece may have begun it again.
            if !known.iter().any(|under_way| under_way.id == load) {
                loads.staging.remove(load)?;
            }
        }
        Ok(())
    }

    /// Gathers a piece, within the running transaction.
    pub(super) fn apply_chunk(&mut self, entry: &Entry, chunk: &Chunk) -> Result<Reply, Error> {
        let index = entry.position.index;
        let mut known = self.as_open().writer.loads()?;
        let gathered = known.iter().find(|load| load.id == chunk.load).map(|load| load.bytes);
        if chunk.offset > gathered.unwrap_or(0) {
            return Ok(Reply::failed(GAP, REFUSED));
        }
        if gathered.is_none() {
            known.sort_by_key(|load| load.used);
            let too_many = (known.len() + 1).saturating_sub(LOADS_MAX);
            for load in &known[..too_many] {
                self.give_up(index, load.id)?;
            }
        }
        let gathered = gathered.unwrap_or(0);
        if end(chunk) > gathered
            && let Some(loads) = &mut self.loads
        {
            loads.staging.write(chunk.load, chunk.offset, &chunk.bytes)?;
        }
        self.as_open().writer.keep_load(&KeptLoad {
            id: chunk.load,
            bytes: end(chunk).max(gathered),
            used: index,
        })?;
        Ok(Reply::default())
    }

    /// Applies the end of a load, in transactions of its own.
    pub(super) fn apply_load(&mut self, entry: &Entry, load: &Load) -> Result<Reply, Error> {
        if self.is_skipped(entry) {
            return self.apply_by_itself(entry, super::Care::Quick, super::Resume::default());
        }
        self.begin()?;
        if let Claim::Answered(reply) = self.claim(entry, load.key.as_ref())? {
            self.give_up(entry.position.index, load.load)?;
            self.arrive(entry);
            return self.commit_load(entry, reply);
        }
        let reply = match load.form() {
            Form::Nothing => Reply::default(),
            Form::File | Form::Text if self.gathered(load.load)? != Some(load.bytes) => Reply::failed(UNKNOWN, REFUSED),
            Form::Boot if !self.is_lone() => Reply::failed(NOT_ALONE, REFUSED),
            Form::Text => self.run_text(load)?,
            Form::File | Form::Boot => match self.exchange(entry, load)? {
                Exchanged::Done(reply) => return Ok(reply),
                Exchanged::Refused(reply) => reply,
                Exchanged::Undone => return self.apply_again(entry),
            },
        };
        if self.skips.has_stopped() {
            return self.apply_again(entry);
        }
        let reply = indexed(reply, entry);
        self.advance_clock(load.clock_us);
        self.give_up(entry.position.index, load.load)?;
        self.keep(entry, load.key.as_ref(), &reply)?;
        self.arrive(entry);
        self.commit_load(entry, reply)
    }

    fn commit_load(&mut self, entry: &Entry, reply: Reply) -> Result<Reply, Error> {
        self.end_alone(entry, reply)
    }

    fn run_text(&mut self, load: &Load) -> Result<Reply, Error> {
        let path = self.path_of(load);
        let file = File::open(&path).map_err(Error::io(format!("open {}", path.display())))?;
        let writer = &mut self.as_open_mut().writer;
        let ran = match writer.run_script(&mut file.take(load.bytes), load.clock_us, load.seed)? {
            ScriptEnd::Done(ran) => ran,
            ScriptEnd::RolledBack(ran) => {
                self.rollback()?;
                self.begin()?;
                ran
            }
        };
        self.as_open_mut().writer.state_mut().effect = ran.effect;
        Ok(ran.reply)
    }

    /// Puts the gathered file in the place of the database, in the state after this entry.
    fn exchange(&mut self, entry: &Entry, load: &Load) -> Result<Exchanged, Error> {
        let Some(loads) = &mut self.loads else {
            return Ok(Exchanged::Refused(Reply::failed(UNKNOWN, REFUSED)));
        };
        // The file becomes the database: closing it later would drop the locks of whoever has that open.
        loads.staging.close(load.load);
        let (path, generations) = (loads.staging.path(load.load), Arc::clone(&loads.generations));
        if !path.is_file() {
            return Err(missing(entry, &path));
        }
        let reply = indexed(Reply::default(), entry);
        self.advance_clock(load.clock_us);
        self.as_open().writer.forget_load(load.load)?;
        self.keep(entry, load.key.as_ref(), &reply)?;
        self.arrive(entry);
        staging::exclusively(&path, |is_used| {
            let building = generations.begin()?;
            load::bring(&path, &building, is_used)?;
            let open = self.as_open();
            open.keys.write(&open.writer)?;
            let adopted = open.writer.adopt(&building.database(), &self.options);
            self.rollback()?;
            match adopted {
                Ok(()) => {}
                Err(Error::Unfit(why)) => {
                    self.begin()?;
                    let text = Error::Unfit(why).to_string();
                    return Ok(Exchanged::Refused(Reply::failed(text, REFUSED)));
                }
                Err(error) => return Err(error),
            }
            if !self.seal(entry.position.index) {
                return Ok(Exchanged::Undone);
            }
            self.replace(|| generations.switch(building))?;
            self.mark();
            self.publish_marks();
            if let Some(loads) = &mut self.loads {
                loads.staging.remove(load.load)?;
            }
            Ok(Exchanged::Done(reply))
        })
    }

    /// Forgets a load, within the running transaction; its file goes later.
    fn give_up(&mut self, index: u64, load: u64) -> Result<(), Error> {
        self.as_open().writer.forget_load(load)?;
        if let Some(loads) = &mut self.loads {
            loads.useless.push((load, index));
        }
        Ok(())
    }

    fn path_of(&self, load: &Load) -> PathBuf {
        let staging = self.loads.as_ref().map(|loads| loads.staging.path(load.load));
        staging.unwrap_or_default()
    }

    fn is_lone(&self) -> bool {
        let membership = &self.as_open().writer.state().membership;
        self.loads
            .as_ref()
            .is_some_and(|loads| loads.generations.is_lone(membership))
    }

    fn advance_clock(&mut self, clock_us: i64) {
        let state = self.as_open_mut().writer.state_mut();
        state.clock_us = state.clock_us.max(clock_us);
    }
}

/// The load whose end an entry is.
pub(super) fn load_of(entry: &Entry) -> Option<&Load> {
    match &entry.body {
        Body::Blank | Body::Membership(_) => None,
        Body::Command(command) => match &command.action {
            Some(Action::Load(load)) => Some(load),
            Some(Action::Write(_) | Action::Skip(_) | Action::Settings(_) | Action::Chunk(_) | Action::Verify(_))
            | None => None,
        },
    }
}

/// The file that an entry needs is gone, or was never here.
fn missing(entry: &Entry, path: &Path) -> Error {
    Error::Unsound {
        what: format!("load entry {}", entry.position.index),
        message: format!(
            "{} is not there: only the node that was asked for /boot has it, or it was removed; this node must have the \
             database of another one",
            path.display()
        ),
    }
}

fn end(chunk: &Chunk) -> u64 {
    chunk.offset.saturating_add(chunk.bytes.len() as u64)
}

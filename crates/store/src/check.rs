//! A look at the data directory of a stopped node: is each file sound, and do they agree? Changes nothing.
//!
//! ```text
//!  lock ─► identity ─► log: segments, records, vote ─► pointer ─► WAL ─► database ─► do they agree? ─► leftovers
//! ```
//!
//! The readers are those of a start, up to where a start changes what it has read. What a start would refuse is damage
//! here; what it would cut, discard or take again is remarked upon.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlite::check as files;
use sqlite::meta::{Found, Position, State};

use crate::consensus::codec;
use crate::error::Error;
use crate::identity;
use crate::member::NodeId;
use crate::reconcile::{self, Pair};

mod log_folder;

const REJOIN: &str = "check the disk, then remove this node from the cluster and let it join again with an empty data \
                      directory; a node that is alone starts with an empty one, and a backup is loaded into it";
const RESTORE_IDENTITY: &str =
    "restore the file from a copy of it, or move the data directory away and let the node join anew";
const RESTORE_BOTH: &str = "restore log and database from one moment, or remove this node from the cluster and let it join \
                            again with an empty data directory";

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Who uses the directory.
    Lock,
    /// Who the node is.
    Identity,
    /// What the node has bound itself to while a cluster is formed.
    Promise,
    /// The segments of the log, its records and its vote.
    Log,
    /// Which database counts.
    Pointer,
    /// What SQLite has not yet copied to the database.
    Wal,
    /// The database itself.
    Database,
    /// Whether log and database are of one node and one moment.
    Agreement,
    /// What the next start removes or takes again.
    Leftovers,
}

impl Part {
    /// Its word in what is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lock => "lock",
            Self::Identity => "identity",
            Self::Promise => "promise",
            Self::Log => "log",
            Self::Pointer => "pointer",
            Self::Wal => "wal",
            Self::Database => "database",
            Self::Agreement => "agreement",
            Self::Leftovers => "leftovers",
        }
    }
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Sound,
    /// As a crash may leave it: the next start deals with it.
    Remark,
    /// The node must not start on it.
    Damaged,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub part: Part,
    /// How it is.
    pub verdict: Verdict,
    /// What was found.
    pub text: String,
    /// The file.
    pub file: Option<String>,
    /// Where in the file the damage begins.
    pub offset: Option<u64>,
    /// The way out of damage.
    pub remedy: Option<String>,
}

/// Whom the check talks to; from the thread that checks alone.
pub trait Listener: Send + Sync + 'static {
    /// Something was looked at.
    fn found(&self, finding: Finding);
    /// The check still reads; called often.
    fn goes_on(&self, what: &str);
}

/// Checks the data directory `dir`, whose node is stopped, and keeps a node from starting there meanwhile.
///
/// Blocks for as long as it takes to read everything.
///
/// # Errors
///
/// What keeps it from being checked: [`Error::Locked`] while a node runs there; [`Error::Foreign`] for the directory of
/// another system, an empty one, and one of a newer release; [`Error::Io`], [`Error::Log`] and [`Error::Sqlite`] when the disk
/// cannot be read.
pub fn check(dir: &Path, listener: Arc<dyn Listener>) -> Result<(), Error> {
    if !dir.is_dir() {
        return Err(foreign(dir, "is not there, or no directory"));
    }
    identity::refuse_foreign(dir)?;
    let lock = identity::lock_unchanged(dir)?;
    let id = match identity::look(dir) {
        Ok(None) => return Err(foreign(dir, "holds nothing of a node")),
        Ok(id) => id,
        Err(Error::Foreign { path, what }) => {
            let damage = damaged(Part::Identity, what, RESTORE_IDENTITY);
            listener.found(damage.at(&path, 0));
            None
        }
        Err(error) => return Err(error),
    };
    let used = match lock {
        Some(_) => "no process uses the directory",
        None => "no node ever started here: there is no lock to hold",
    };
    listener.found(sound(Part::Lock, used));
    if let Some(id) = id {
        listener.found(sound(Part::Identity, format!("node {id}")));
    }
    let log = log_folder::check(dir, id, listener.as_ref())?;
    let database = database(dir, &listener)?;
    agreement(dir, id, &log, database.as_ref(), listener.as_ref())
}

/// The log, as far as the database must agree with it.
struct Log {
    purged: Option<log::Position>,
    last: Option<log::Position>,
    /// The term of the vote; `None` when it does not decode.
    voted: Option<u64>,
    /// Runs of one term, each by its first position.
    terms: Vec<log::Position>,
    is_sound: bool,
}

impl Log {
    /// The term of the record at `index`.
    fn term_at(&self, index: u64) -> Option<u64> {
        if let Some(purged) = self.purged.filter(|purged| purged.index == index) {
            return Some(purged.term);
        }
        self.last.filter(|last| index <= last.index)?;
        let mut runs = self.terms.iter().rev();
        runs.find(|run| run.index <= index).map(|run| run.term)
    }
}

/// Everything about the database; its row, if that can be read.
fn database(dir: &Path, listener: &Arc<dyn Listener>) -> Result<Option<State>, Error> {
    let Some(folder) = take(files::folder(dir), Part::Pointer, listener.as_ref())? else {
        return Ok(None);
    };
    for path in &folder.leftovers {
        let text = "is of no use any more: the next start removes it";
        listener.found(remark(Part::Leftovers, text).of(path));
    }
    let Some((number, path)) = folder.current else {
        listener.found(remark(Part::Pointer, "there is no database yet"));
        return Ok(None);
    };
    listener.found(sound(Part::Pointer, format!("database {number} counts")));
    wal(&path, listener.as_ref())?;
    let ticker = Arc::clone(listener);
    let tick = move || ticker.goes_on("SQLite checks the database");
    let Some(checked) = take(files::database(&path, tick), Part::Database, listener.as_ref())? else {
        return Ok(None);
    };
    for fault in &checked.faults {
        let damage = damaged(Part::Database, fault.text.clone(), REJOIN).of(&path);
        listener.found(Finding {
            offset: fault.offset,
            ..damage
        });
    }
    let size = format!("{} pages of {} bytes", checked.pages, checked.page_bytes);
    if checked.faults.is_empty() {
        listener.found(sound(Part::Database, format!("{size}, integrity_check ok")).of(&path));
    }
    loads(&checked.loads, &folder.loads, listener.as_ref());
    row(&path, checked.found, checked.faults.is_empty(), listener.as_ref())
}

fn wal(database: &Path, listener: &dyn Listener) -> Result<(), Error> {
    let Some(wal) = take(files::wal(database), Part::Wal, listener)? else {
        return Ok(());
    };
    let Some(wal) = wal else {
        listener.found(sound(Part::Wal, "none, and none is needed"));
        return Ok(());
    };
    let text = format!(
        "{} bytes: frames 1 to {} are good, {} of them committed; the first {} must be",
        wal.bytes, wal.frames, wal.committed, wal.floor
    );
    listener.found(sound(Part::Wal, text).of(&wal.path));
    let uncommitted = wal.frames - wal.committed;
    if uncommitted > 0 || wal.behind > 0 {
        let text = format!(
            "{uncommitted} frames of a transaction that did not end, and {} from one that is bad: torn by a crash, or \
             damaged; the log has what they held, unless it disagrees below",
            wal.behind
        );
        let torn = remark(Part::Wal, text);
        listener.found(torn.at(&wal.path, wal.end));
    }
    Ok(())
}

/// What stands in `sqlite_quorlite`.
fn row(path: &Path, found: Found, is_whole: bool, listener: &dyn Listener) -> Result<Option<State>, Error> {
    match found {
        Found::Ours(state) => {
            let applied = state
                .applied
                .map_or("nothing".to_owned(), |at| format!("entry {}.{}", at.term, at.index));
            listener.found(sound(Part::Database, format!("it has applied {applied}")));
            Ok(Some(state))
        }
        Found::Newer(version) => {
            let what = format!("was written by a newer release (version {version}): check it with that one");
            Err(foreign(path, &what))
        }
        Found::Nothing if is_whole => {
            listener.found(remark(Part::Database, "it is empty").of(path));
            Ok(Some(State::default()))
        }
        Found::Nothing => Ok(None),
        Found::Foreign => {
            let text = "sqlite_quorlite is missing or has no row: it is not a database of a node";
            listener.found(damaged(Part::Database, text, REJOIN).of(path));
            Ok(None)
        }
    }
}

/// What is gathered to be loaded, by our tables and in files.
fn loads(kept: &[sqlite::staging::KeptLoad], there: &[files::LoadFile], listener: &dyn Listener) {
    for file in there {
        let text = match kept.iter().find(|load| load.id == file.id) {
            Some(load) if file.bytes < load.bytes => format!(
                "{} bytes of {} that are gathered: the next start takes the rest from the log",
                file.bytes, load.bytes
            ),
            Some(load) => format!("{} bytes are gathered, last by entry {}", load.bytes, load.used),
            None => "is of no load under way: the next start removes it".to_owned(),
        };
        listener.found(remark(Part::Leftovers, text).of(&file.path));
    }
    for load in kept.iter().filter(|load| there.iter().all(|file| file.id != load.id)) {
        let text = format!(
            "load {:016x} has gathered {} bytes and no file: the next start takes them from the log",
            load.id, load.bytes
        );
        listener.found(remark(Part::Leftovers, text));
    }
}

/// Whether a start would take log and database together.
fn agreement(
    dir: &Path,
    id: Option<NodeId>,
    log: &Log,
    state: Option<&State>,
    listener: &dyn Listener,
) -> Result<(), Error> {
    let (Some(id), Some(voted), true) = (id, log.voted, log.is_sound) else {
        listener.found(remark(
            Part::Agreement,
            "not looked at, since what is damaged above decides it",
        ));
        return Ok(());
    };
    let state = match state {
        Some(state) => state,
        None if log.purged.is_none() => return Ok(()),
        None => {
            listener.found(remark(Part::Agreement, "not looked at: there is no readable database"));
            return Ok(());
        }
    };
    let membership = Some(&state.membership[..]).filter(|bytes| !bytes.is_empty());
    let pair = Pair {
        id,
        purged: log.purged,
        voted,
        held: state.applied.and_then(|at| log.term_at(at.index)),
        applied: state.applied,
        membership,
    };
    let found = match reconcile::contradictions(&pair) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::InvalidData => vec![error.to_string()],
        Err(source) => {
            let what = "read the membership".to_owned();
            return Err(Error::Io { what, source });
        }
    };
    if found.is_empty() {
        listener.found(sound(Part::Agreement, ahead(state.applied, log)));
    }
    for text in found {
        listener.found(damaged(Part::Agreement, text, RESTORE_BOTH).of(dir));
    }
    Ok(())
}

/// What a start will do with the log.
fn ahead(applied: Option<Position>, log: &Log) -> String {
    let (applied, last) = (applied.map_or(0, |at| at.index), log.last.map_or(0, |at| at.index));
    if last >= applied {
        format!(
            "the log goes on after the database, {} entries to {last}",
            last - applied
        )
    } else {
        format!("the log ends at entry {last}, and will go on after {applied}, which the database has")
    }
}

/// The value; `None` for what is damaged, which is told.
fn take<T>(result: Result<T, sqlite::Error>, part: Part, listener: &dyn Listener) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(sqlite::Error::Damaged { path, offset, found }) => {
            listener.found(damaged(part, found, REJOIN).at(&path, offset));
            Ok(None)
        }
        Err(sqlite::Error::Foreign { path, reason }) => {
            listener.found(damaged(part, reason, REJOIN).of(&path));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

impl Finding {
    /// One of a part outside this crate.
    pub fn new(part: Part, verdict: Verdict, text: impl Into<String>) -> Self {
        Self {
            part,
            verdict,
            text: text.into(),
            file: None,
            offset: None,
            remedy: None,
        }
    }

    /// The same, of the file at `path`.
    #[must_use]
    pub fn of(self, path: &Path) -> Self {
        Self {
            file: Some(path.display().to_string()),
            ..self
        }
    }

    /// The same, at `offset` of the file at `path`.
    #[must_use]
    pub fn at(self, path: &Path, offset: u64) -> Self {
        Self {
            offset: Some(offset),
            ..self.of(path)
        }
    }
}

fn sound(part: Part, text: impl Into<String>) -> Finding {
    Finding::new(part, Verdict::Sound, text)
}

fn remark(part: Part, text: impl Into<String>) -> Finding {
    Finding::new(part, Verdict::Remark, text)
}

fn damaged(part: Part, text: impl Into<String>, remedy: &str) -> Finding {
    Finding {
        remedy: Some(remedy.to_owned()),
        ..Finding::new(part, Verdict::Damaged, text)
    }
}

fn foreign(path: &Path, what: &str) -> Error {
    Error::Foreign {
        path: PathBuf::from(path),
        what: what.to_owned(),
    }
}

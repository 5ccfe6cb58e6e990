//! A look at the databases of a stopped node. Changes nothing.
//!
//! ```text
//!  folder ──► which generation counts, what is left over
//!  wal ─────► how far its frames hold, and how far they must (the floor)
//!  database ► SQLite's own integrity check over file and WAL; our row
//! ```
//!
//! SQLite opens the database alone and locked, so that it keeps the index of the WAL in memory instead of a file, and
//! every write is refused on the way to the disk. A database without a WAL is opened as one that cannot change.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use crate::error::{self, Error};
use crate::faults::{self, Action, FileFaults};
use crate::ffi;
use crate::floor;
use crate::frames::Frames;
use crate::home::Home;
use crate::meta::{self, Found};
use crate::open::{self, Options};
use crate::pages;
use crate::staging::{self, KeptLoad};
use crate::strip;

/// Rows that the integrity check answers at most: whoever reads more of them learns no more.
const FAULTS_MAX: usize = 100;

/// Steps of SQLite's virtual machine between two words about how it gets on.
const STEPS_PER_TICK: i32 = 100_000;

/// What stands in the folder `db`.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// The number and the file of the database that counts; `None` before there is one.
    pub current: Option<(u64, PathBuf)>,
    /// Databases that do not count, copies that backups worked on, files whose writing was cut short: the next start
    /// removes them.
    pub leftovers: Vec<PathBuf>,
    /// What is gathered to be loaded.
    pub loads: Vec<LoadFile>,
}

/// A file of what is gathered to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadFile {
    /// The load.
    pub id: u64,
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
}

/// A WAL, whose every byte was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wal {
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Frames from its start whose checksums hold.
    pub frames: u32,
    /// Of these, those that SQLite takes: up to the last end of a transaction.
    pub committed: u32,
    /// Frames that it must have, since they were to be copied to the database.
    pub floor: u32,
    /// Where the first frame begins that is not good.
    pub end: u64,
    /// Frames from there on that were written in the same life of the file: cut by a loss of power, or damaged.
    pub behind: u32,
}

/// What SQLite says of a database.
#[derive(Debug)]
pub struct Database {
    /// Bytes of a page.
    pub page_bytes: u64,
    /// Its pages, the WAL's included.
    pub pages: u64,
    /// What stands where our row should be.
    pub found: Found,
    /// The loads under way, by our tables.
    pub loads: Vec<KeptLoad>,
    /// What is wrong with it; [`FAULTS_MAX`] at most.
    pub faults: Vec<Fault>,
}

/// One thing that is wrong with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where in the file the page begins that SQLite names; `None` when it names none.
    pub offset: Option<u64>,
    /// SQLite's text.
    pub text: String,
}

/// Looks at the folder `db` of `data_dir`.
///
/// # Errors
///
/// [`Error::Foreign`] for what is not ours, or is damaged; [`Error::Io`].
pub fn folder(data_dir: &Path) -> Result<Folder, Error> {
    let (current, leftovers) = Home::look(data_dir)?;
    let Some(current) = current else {
        return Ok(Folder::default());
    };
    let mut folder = Folder {
        current: Some((current.number(), current.database())),
        leftovers,
        loads: Vec::new(),
    };
    let home = current.home();
    let what = || format!("list {}", home.display());
    for entry in fs::read_dir(home).map_err(Error::io(what()))? {
        let entry = entry.map_err(Error::io(what()))?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if let Some(id) = staging::number(&name) {
            let bytes = entry.metadata().map_err(Error::io(what()))?.len();
            folder.loads.push(LoadFile { id, path, bytes });
        } else if name.starts_with(strip::SCRATCH) || name.ends_with(".new") {
            folder.leftovers.push(path);
        }
    }
    folder.leftovers.sort();
    folder.loads.sort_by_key(|load| load.id);
    Ok(folder)
}

/// Reads the WAL of the database at `database`; `None` when there is none, and none is needed.
///
/// # Errors
///
/// [`Error::Damaged`] when it lacks what was to be copied to the database, and for a damaged floor; [`Error::Foreign`] for a
/// floor of a newer release; [`Error::Io`].
pub fn wal(database: &Path) -> Result<Option<Wal>, Error> {
    floor::check(database)?;
    let path = pages::beside(database, "-wal");
    let reading = || Error::io(format!("read {}", path.display()));
    let bytes = match fs::metadata(&path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(reading()(error)),
    };
    let Some(mut frames) = Frames::open(&path).map_err(reading())? else {
        // SQLite would not take a byte of it.
        return Ok(Some(Wal {
            path,
            bytes,
            frames: 0,
            committed: 0,
            floor: 0,
            end: 0,
            behind: 0,
        }));
    };
    let floor = floor::read(&pages::beside(database, floor::SUFFIX))?;
    let floor = floor.filter(|floor| floor.salts == frames.salts());
    let count = frames.count(u32::MAX).map_err(reading())?;
    Ok(Some(Wal {
        bytes,
        frames: count,
        committed: frames.committed(),
        floor: floor.map_or(0, |floor| floor.frames),
        end: frames.offset(),
        behind: frames.leftovers().map_err(reading())?,
        path,
    }))
}

/// Lets SQLite check the database at `path`, on which no connection is open, and reads our tables; one that is not there is
/// empty. Calls `tick` now and
/// then while that takes its time.
///
/// # Errors
///
/// What keeps it from being checked: [`Error::Io`], [`Error::Node`], [`Error::Sqlite`]. What is damaged stands in the answer.
pub fn database(path: &Path, tick: impl FnMut() + Send + 'static) -> Result<Database, Error> {
    let nothing = |faults| Database {
        page_bytes: 0,
        pages: 0,
        found: Found::Nothing,
        loads: Vec::new(),
        faults,
    };
    if !path.exists() {
        return Ok(nothing(Vec::new()));
    }
    let folder = path.parent().unwrap_or(path).to_owned();
    faults::install(&folder, Arc::new(Untouched));
    faults::forget();
    let checked = look(path, tick);
    faults::remove(&folder);
    match checked {
        Err(error) if error.is_damage() => Ok(nothing(vec![fault(&reason(&error), 0)])),
        checked => checked,
    }
}

fn look(path: &Path, mut tick: impl FnMut() + Send + 'static) -> Result<Database, Error> {
    let mut connection = connect(path)?;
    connection
        .progress_handler(
            STEPS_PER_TICK,
            Some(move || {
                tick();
                false
            }),
        )
        .map_err(Error::sqlite("watch a check"))?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let page_bytes = number("PRAGMA page_size").map_err(Error::sqlite("read the size of a page"))?;
    let page_bytes = u64::try_from(page_bytes).unwrap_or(0);
    let pages = number("PRAGMA page_count").map_err(Error::sqlite("read the number of pages"))?;
    // Rows that break a CHECK may well be there, by the will of their owner.
    open::pragma(&connection, "ignore_check_constraints", "ON")?;
    let mut faults = integrity(&connection, page_bytes)?;
    let (found, loads) = match meta::find(&connection).and_then(|found| Ok((found, loads(&connection)?))) {
        Err(error) if error.is_damage() => {
            let fault = fault(&reason(&error), page_bytes);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
            (Found::Nothing, Vec::new())
        }
        read => read?,
    };
    Ok(Database {
        page_bytes,
        pages: u64::try_from(pages).unwrap_or(0),
        found,
        loads,
        faults,
    })
}

fn connect(path: &Path) -> Result<Connection, Error> {
    if pages::beside(path, "-wal").exists() {
        return open::open_private(path, &Options::default());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    ffi::vfs::register()?;
    Connection::open_with_flags_and_vfs(immutable(path), flags, ffi::vfs::PLAIN)
        .map_err(Error::sqlite("open a database"))
}

/// The database at `path` as one that nobody can change.
fn immutable(path: &Path) -> OsString {
    let mut name = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => name.extend(format!("%{byte:02x}").bytes()),
            byte => name.push(*byte),
        }
    }
    name.extend(b"?immutable=1");
    OsString::from_vec(name)
}

fn integrity(connection: &Connection, page_bytes: u64) -> Result<Vec<Fault>, Error> {
    let read = || -> rusqlite::Result<Vec<Fault>> {
        let mut statement = connection.prepare(&format!("PRAGMA integrity_check({FAULTS_MAX})"))?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut faults = Vec::new();
        for text in rows {
            let text = text?;
            // A row may hold several lines.
            let lines = text.lines().filter(|line| *line != "ok");
            faults.extend(lines.map(|line| fault(line, page_bytes)));
        }
        Ok(faults)
    };
    match read().map_err(Error::sqlite("check the integrity of a database")) {
        Err(error) if error.is_damage() => Ok(vec![fault(&reason(&error), page_bytes)]),
        read => read,
    }
}

fn loads(connection: &Connection) -> Result<Vec<KeptLoad>, Error> {
    let is_there = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name='sqlite_quorlite_loads'",
            [],
            |row| row.get::<_, i64>(0),
        )
        .map_err(Error::sqlite("read the schema"))?;
    if is_there == 0 {
        return Ok(Vec::new());
    }
    staging::read_loads(connection)
}

/// SQLite names pages by number, from 1.
fn fault(text: &str, page_bytes: u64) -> Fault {
    let lower = text.to_ascii_lowercase();
    let page = lower.split_once("page ").and_then(|(_, rest)| {
        let digits = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
        digits.parse::<u64>().ok()?.checked_sub(1)
    });
    Fault {
        offset: page.and_then(|page| page.checked_mul(page_bytes)),
        text: text.to_owned(),
    }
}

/// What SQLite, or we, said against a file.
fn reason(error: &Error) -> String {
    match error {
        Error::Sqlite { source, .. } => error::text(source),
        other => other.to_string(),
    }
}

/// Keeps SQLite from changing a file.
struct Untouched;

impl FileFaults for Untouched {
    fn on_write(&self, _path: &Path, _offset: u64, _data: &[u8]) -> Action {
        Action::Fail
    }

    fn on_truncate(&self, _path: &Path, _size: u64) -> Action {
        Action::Fail
    }

    fn on_delete(&self, _path: &Path) -> Action {
        Action::Fail
    }
}

#[cfg(test)]
mod tests;

//! A whole database as a stream of bytes, and back (design §4).
//!
//! Owns a snapshot and where the stream stands in it. Never copies a database into memory; never opens the file beside
//! SQLite, which would drop its locks: pages come through `sqlite_dbpage`, out of the snapshot, WAL included.
//!
//! ```text
//!  sender:    pin ──► page, page, page … ──► Digest        too slow a receiver?  spill: the rest goes to a file at disk
//!               └─ released after the last one             speed, the snapshot is released, the stream goes on from there
//!
//!  receiver:  Incoming ──write──► db/8/db.sqlite ──finish(Digest)──► flushed, checked ──► Home::switch
//! ```
//!
//! Invariants:
//! * The bytes are one snapshot: the state at [`PinnedDatabase::position`], which was read in the same transaction.
//! * What arrives is used only if its length and its XXH3 are the sender's, and SQLite's own check finds no fault (D7).

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use command::rows::CellRef;
use xxhash_rust::xxh3::Xxh3;

use crate::error::Error;
use crate::ffi::statement::{Session, StatementError};
use crate::home::{Building, Generation};
use crate::meta::{self, Position, State};
use crate::open::{self, Options};
use crate::pin::{Pin, PinBounds};
use crate::staging::{self, KeptLoad, Use};
use crate::strip::{self, Scratch, Stripped};
use crate::watch::{Cancel, Clock};

/// Where a database's header says how it is written and read: 1 is a rollback journal, 2 is WAL.
const VERSIONS_AT: usize = 18;

const READ_PAGE: &str = "SELECT data FROM sqlite_dbpage WHERE pgno=?1";

/// Steps of SQLite's virtual machine between two looks at whether a VACUUM is to end.
const STEPS_BETWEEN_QUESTIONS: i32 = 10_000;

/// Bytes moved at a time when a snapshot is spilled.
const SPILL_BYTES: usize = 1 << 20;

/// The journal that the streamed file is to be opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journal {
    /// WAL: what a node runs on.
    Wal,
    /// A rollback journal: a backup that any tool opens, also from a read-only folder.
    Rollback,
}

/// What a whole stream amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Its length.
    pub bytes: u64,
    /// XXH3-64 of it.
    pub hash: u64,
}

/// What a sender says of what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// [`PinnedDatabase::digest`].
    pub digest: Digest,
    /// [`PinnedDatabase::position`].
    pub position: Option<Position>,
}

/// A database, pinned, and streamed from its first byte to its last.
pub struct PinnedDatabase {
    source: Source,
    state: State,
    page_size: usize,
    page_count: u64,
    /// Bytes given out.
    offset: u64,
    hasher: Xxh3,
    gathered: Vec<Gathered>,
}

/// What a snapshot says is gathered to be loaded; it travels with the database.
pub struct Gathered {
    /// The load, and how many bytes of its file count.
    pub load: KeptLoad,
    // Before the use, so that it is closed first.
    file: File,
    _use: Use,
}

enum Source {
    /// The snapshot.
    Pinned(Box<Pages>),
    /// What was left of it, in a file without a name.
    Spilled(File),
    /// All of it was given out.
    Drained,
}

/// The pages of a snapshot.
struct Pages {
    pin: Pin,
    /// The pages that differ because our tables are left out.
    stripped: Option<Stripped>,
    journal: Journal,
    page_size: usize,
    /// The page read last; 0 for none.
    number: u64,
    page: Vec<u8>,
}

/// A database that arrives.
pub struct Incoming {
    building: Building,
    file: File,
    bytes: u64,
    hasher: Xxh3,
}

impl PinnedDatabase {
    /// Pins the database as it is now.
    ///
    /// # Errors
    ///
    /// What opening and reading report.
    pub fn pin(
        generation: &Generation,
        options: &Options,
        clock: Clock,
        bounds: PinBounds,
        journal: Journal,
    ) -> Result<Self, Error> {
        let pin = Pin::take(generation, options, clock, bounds)?;
        let page_count = strip::number(pin.connection(), "PRAGMA page_count")?;
        let mut gathered = Vec::new();
        for load in staging::read_loads(pin.connection())? {
            let path = staging::path(generation.home(), load.id);
            let _use = Use::begin(&path);
            let file = File::open(&path).map_err(Error::io(format!("open {}", path.display())))?;
            gathered.push(Gathered { load, file, _use });
        }
        let mut pinned = Self::of(pin, None, page_count, journal)?;
        pinned.gathered = gathered;
        Ok(pinned)
    }

    /// Pins the database as it is now, to be streamed without our tables: what any SQLite takes for a database of its own.
    ///
    /// Needs room beside the generations for the pages of our tables and of the schema; for the whole database if it has
    /// `auto_vacuum`. The files there have no names once this returns.
    ///
    /// # Errors
    ///
    /// What opening, reading and writing report.
    pub fn pin_stripped(
        generation: &Generation,
        options: &Options,
        clock: Clock,
        bounds: PinBounds,
        journal: Journal,
    ) -> Result<Self, Error> {
        let pin = Pin::take(generation, options, clock, bounds)?;
        let stripped = Stripped::of(&pin, generation.home(), options)?;
        let page_count = stripped.page_count();
        Self::of(pin, Some(stripped), page_count, journal)
    }

    fn of(pin: Pin, stripped: Option<Stripped>, page_count: u64, journal: Journal) -> Result<Self, Error> {
        let page_size = strip::number(pin.connection(), "PRAGMA page_size")?;
        Ok(Self {
            state: pin.state().clone(),
            source: Source::Pinned(Box::new(Pages {
                pin,
                stripped,
                journal,
                page_size: page_size as usize,
                number: 0,
                page: Vec::new(),
            })),
            page_size: page_size as usize,
            page_count,
            offset: 0,
            hasher: Xxh3::new(),
            gathered: Vec::new(),
        })
    }

    /// What is gathered beside it, as far as this snapshot says.
    pub fn gathered(&self) -> &[Gathered] {
        &self.gathered
    }

    /// The last entry applied in it.
    pub fn position(&self) -> Option<Position> {
        self.state.applied
    }

    /// Our row in it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Bytes of one page.
    pub fn page_size(&self) -> usize {
        self.page_size
    }

    /// Pages of the database.
    pub fn page_count(&self) -> u64 {
        self.page_count
    }

    /// Length of the whole stream.
    pub fn bytes(&self) -> u64 {
        self.page_count * self.page_size as u64
    }

    /// Still holds its snapshot, which keeps the WAL from being reset.
    pub fn is_pinned(&self) -> bool {
        matches!(self.source, Source::Pinned(_))
    }

    /// Fills `buffer` with the next bytes of the stream and returns how many; 0 only at the end. Reads the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Expired`] and [`Error::Interrupted`]: nothing more will come. What reading reports.
    pub fn read_chunk(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let filled = self.fill(buffer)?;
        self.hasher.update(&buffer[..filled]);
        if self.offset == self.bytes() {
            self.source = Source::Drained;
        }
        Ok(filled)
    }

    /// What the whole stream amounts to; `None` until all of it was given out.
    pub fn digest(&self) -> Option<Digest> {
        let is_drained = self.offset == self.bytes();
        is_drained.then(|| Digest {
            bytes: self.offset,
            hash: self.hasher.digest(),
        })
    }

    /// Copies what is left of the stream into a file without a name in `folder`, at the speed of the disk, and releases
    /// the snapshot. The stream goes on from there. Does nothing when it holds no snapshot any more.
    ///
    /// # Errors
    ///
    /// As [`Self::read_chunk`], and [`Error::Io`]: it then still holds its snapshot, and can be read on or spilled again.
    pub fn spill(&mut self, folder: &Path) -> Result<(), Error> {
        if !self.is_pinned() {
            return Ok(());
        }
        let what = || format!("spill a snapshot to {}", folder.display());
        let mut file = nameless_file(folder).map_err(Error::io(what()))?;
        let resume_at = self.offset;
        let copied = self.copy_rest(&mut file, &what());
        self.offset = resume_at;
        copied?;
        file.rewind().map_err(Error::io(what()))?;
        self.source = Source::Spilled(file);
        Ok(())
    }

    /// Rebuilds the database without free pages, in a file without a name in `folder`; the stream is then that file, in
    /// which the journal is [`Journal::Rollback`]. Releases the snapshot as soon as it is copied, at the speed of the disk.
    ///
    /// Nothing was read of the stream yet. Needs room in `folder` for two copies. Blocks for as long as SQLite takes;
    /// `cancel` ends it.
    ///
    /// # Errors
    ///
    /// As [`Self::read_chunk`], [`Error::Io`] and [`Error::Sqlite`]: it is of no use any more.
    pub fn vacuum(&mut self, folder: &Path, options: &Options, cancel: Cancel) -> Result<(), Error> {
        assert!(self.offset == 0, "a database is rebuilt before it is streamed");
        let scratch = Scratch::new(folder)?;
        let (whole, compact) = (scratch.file("whole.sqlite"), scratch.file("compact.sqlite"));
        let what = "copy a database to rebuild it";
        let mut file = File::create_new(&whole).map_err(Error::io(what))?;
        self.copy_rest(&mut file, what)?;
        drop(file);
        self.source = Source::Drained;
        let mut connection = open::open_private(&whole, options)?;
        let asked = cancel.clone();
        connection
            .progress_handler(STEPS_BETWEEN_QUESTIONS, Some(move || asked.is_cancelled()))
            .map_err(Error::sqlite("watch a VACUUM"))?;
        let done = connection.execute("VACUUM INTO ?1", [compact.to_string_lossy()]);
        if cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        done.map_err(Error::sqlite("rebuild a database"))?;
        let file = File::open(&compact).map_err(Error::io("open a rebuilt database"))?;
        let bytes = file.metadata().map_err(Error::io("measure a rebuilt database"))?.len();
        (self.offset, self.hasher) = (0, Xxh3::new());
        self.page_count = bytes / self.page_size as u64;
        self.source = Source::Spilled(file);
        Ok(())
    }

    fn copy_rest(&mut self, file: &mut File, what: &str) -> Result<(), Error> {
        let mut buffer = vec![0; SPILL_BYTES];
        loop {
            let filled = self.fill(&mut buffer)?;
            if filled == 0 {
                return Ok(());
            }
            file.write_all(&buffer[..filled]).map_err(Error::io(what))?;
        }
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() && self.offset < self.bytes() {
            let read = match &mut self.source {
                Source::Pinned(pages) => pages.read(self.offset, &mut buffer[filled..])?,
                Source::Spilled(file) => file
                    .read(&mut buffer[filled..])
                    .map_err(Error::io("read a spilled snapshot"))?,
                Source::Drained => 0,
            };
            assert!(read > 0, "a snapshot does not end before its length");
            self.offset += read as u64;
            filled += read;
        }
        Ok(filled)
    }
}

impl Gathered {
    /// Fills `buffer` from `offset` on, as far as the load goes, and answers how many bytes. Reads the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let left = self.load.bytes.saturating_sub(offset);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.file
            .read_exact_at(&mut buffer[..length], offset)
            .map_err(Error::io("read what is gathered to be loaded"))?;
        Ok(length)
    }
}

impl Pages {
    /// Reads from `offset` to the end of its page, or as much of that as `buffer` takes.
    fn read(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let number = offset / self.page_size as u64 + 1;
        if self.number != number {
            self.load(number)?;
        }
        let rest = &self.page[(offset % self.page_size as u64) as usize..];
        let taken = rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&rest[..taken]);
        Ok(taken)
    }

    fn load(&mut self, number: u64) -> Result<(), Error> {
        self.pin.check()?;
        self.number = 0;
        let holder = self.stripped.as_ref().and_then(|stripped| stripped.holder_of(number));
        read_page(holder.unwrap_or(self.pin.session()), number, &mut self.page)
            .map_err(|error| self.pin.stopped(error))?;
        assert_eq!(
            self.page.len(),
            self.page_size,
            "all pages of a database are equally long"
        );
        if number == 1 {
            let version = match self.journal {
                Journal::Rollback => 1,
                Journal::Wal => 2,
            };
            self.page[VERSIONS_AT..VERSIONS_AT + 2].fill(version);
        }
        self.number = number;
        Ok(())
    }
}

/// Reads a page of the database that `session` sees.
pub(crate) fn read_page(session: &Session, number: u64, page: &mut Vec<u8>) -> Result<(), StatementError> {
    page.clear();
    meta::visit(session, READ_PAGE, &[CellRef::Integer(number as i64)], |row| {
        if let [CellRef::Blob(bytes)] = row {
            page.extend_from_slice(bytes);
        }
    })?;
    if page.is_empty() {
        return Err(StatementError::new(format!("page {number} is missing")));
    }
    Ok(())
}

impl Incoming {
    /// Begins to receive into `building`, which is empty.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn new(building: Building) -> Result<Self, Error> {
        let path = building.database();
        let file = File::create_new(&path).map_err(Error::io(format!("create {}", path.display())))?;
        Ok(Self {
            building,
            file,
            bytes: 0,
            hasher: Xxh3::new(),
        })
    }

    /// Bytes received so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next bytes of the stream; blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: what was received is of no use any more.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), Error> {
        self.file
            .write_all(chunk)
            .map_err(Error::io("write a received database"))?;
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Checks that what arrived is what was sent, and sound, and flushes it: it can then be switched to.
    ///
    /// Blocks for as long as it takes to read it all. On failure what arrived is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Transfer`] when it is not; [`Error::Io`]; what opening it reports.
    pub fn finish(self, sent: Sent, options: &Options) -> Result<Building, Error> {
        let digest = Digest {
            bytes: self.bytes,
            hash: self.hasher.digest(),
        };
        if digest != sent.digest {
            return Err(Error::Transfer(format!(
                "{digest:?} arrived, {:?} was sent",
                sent.digest
            )));
        }
        self.file.sync_all().map_err(Error::io("flush a received database"))?;
        drop(self.file);
        let database = self.building.database();
        check(&database, sent.position, options)?;
        for suffix in ["-wal", "-shm"] {
            remove_if_there(&beside(&database, suffix))?;
        }
        Ok(self.building)
    }
}

/// SQLite's own check of the whole file, and whether it is the state that it claims to be.
fn check(database: &Path, position: Option<Position>, options: &Options) -> Result<(), Error> {
    let connection = open::open_reader(database, options)?;
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(Error::sqlite("check a received database"))?;
    if verdict != "ok" {
        return Err(Error::Transfer(verdict));
    }
    let found = meta::read(&connection)?.applied;
    if found != position {
        return Err(Error::Transfer(format!("it holds {found:?}, {position:?} was sent")));
    }
    Ok(())
}

pub(crate) fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

pub(crate) fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(Error::io(format!("remove {}", path.display()))),
    }
}

/// Makes a file in `folder` that goes when it is closed, also by a crash of the process.
///
/// # Errors
///
/// The operating system's.
pub fn nameless_file(folder: &Path) -> io::Result<File> {
    for number in 0_u64.. {
        let path = folder.join(format!("spill-{number}"));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            // Another one's, between its creation and its removal; or left by a crash there.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests;

//! A database without our tables, as a backup leaves the node (design §4), without copying it.
//!
//! A snapshot cannot be written to, and copying it to strip the copy would cost its size in disk writes. So SQLite drops
//! our tables in a file that is a hole but for the pages which that takes: those of the schema, of our tables, of the
//! planner's statistics and of the list of free pages. What it changes stays in that file's WAL, over the snapshot.
//!
//! ```text
//!  snapshot   1 2 3 4 5 6 7 8 …          scratch file   1 . . 4 5 . . .     the rest a hole
//!                                          its WAL      1 . . 4 5           after the drop
//!  stream     1'2 3 4'5'6 7 8 …
//! ```
//!
//! In a database with `auto_vacuum` dropping a table moves pages: there the scratch file is a whole copy.
//!
//! Invariants:
//! * The scratch file is private, and has no name once it is stripped: nothing of it is left by a crash after that.
//! * What our tables held is overwritten with zeros: pages that become free carry no client's reply.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use command::rows::CellRef;
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::error::Error;
use crate::ffi::statement::{Session, StatementError};
use crate::meta;
use crate::open::{self, Options};
use crate::pages;
use crate::pin::Pin;

/// What the names of scratch folders begin with.
pub(crate) const SCRATCH: &str = "scratch-";

/// Statements kept: one at a time is in use.
const STATEMENTS_KEPT: usize = 2;

/// Bytes of a WAL's header and of a frame's, which begins with its page's number.
const WAL_HEADER_BYTES: u64 = 32;
const FRAME_HEADER_BYTES: u64 = 24;

/// Pages that dropping our tables may read, but for the free list's. `dbstat` walks only the b-trees that are named.
const B_TREES: &str = "SELECT name FROM sqlite_schema WHERE rootpage>0 AND (name LIKE 'sqlite\\_quorlite%' ESCAPE '\\' \
                       OR tbl_name LIKE 'sqlite\\_quorlite%' ESCAPE '\\' OR tbl_name LIKE 'sqlite\\_stat%' ESCAPE '\\') \
                       UNION SELECT 'sqlite_schema'";
const PAGES: &str = "SELECT pageno FROM dbstat WHERE name=?1";

/// Where the header keeps the first page of the free list.
const FREE_LIST_AT: usize = 32;

/// What is ours, or stands on a table of ours, however it got there.
const OURS: &str = "name LIKE 'sqlite\\_quorlite%' ESCAPE '\\' OR tbl_name LIKE 'sqlite\\_quorlite%' ESCAPE '\\'";

/// The pages of a snapshot that differ once our tables are gone.
pub(crate) struct Stripped {
    session: Session,
    changed: BTreeSet<u64>,
    page_count: u64,
}

/// A folder of this room's own, for files that are of no use after a crash.
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Stripped {
    /// Drops our tables from the snapshot that `pin` holds, in a scratch file within `folder`.
    ///
    /// # Errors
    ///
    /// What reading the snapshot reports; [`Error::Io`] and [`Error::Sqlite`] about the scratch file.
    pub(crate) fn of(pin: &Pin, folder: &Path, options: &Options) -> Result<Self, Error> {
        let scratch = Scratch::new(folder)?;
        let path = scratch.file("stripped.sqlite");
        let page_size = number(pin.connection(), "PRAGMA page_size")?;
        copy_pages(pin, &path, page_size)?;
        let connection = open::open_private(&path, options)?;
        open::pragma(&connection, "journal_mode", "WAL")?;
        open::pragma(&connection, "wal_autocheckpoint", "0")?;
        strip(&connection)?;
        let changed = changed_pages(&scratch.file("stripped.sqlite-wal"), page_size)
            .map_err(Error::io("read the WAL of a stripped database"))?;
        let page_count = number(&connection, "PRAGMA page_count")?;
        Ok(Self {
            session: Session::new(connection, STATEMENTS_KEPT),
            changed,
            page_count,
        })
    }

    /// Pages of the stripped database.
    pub(crate) fn page_count(&self) -> u64 {
        self.page_count
    }

    /// Where to read page `page` if not in the snapshot.
    pub(crate) fn holder_of(&self, page: u64) -> Option<&Session> {
        self.changed.contains(&page).then_some(&self.session)
    }
}

/// Removes our tables from a database that nobody else has open, whatever they look like and whoever made them.
///
/// Each of their b-trees becomes a table by a name that SQLite lets us drop and no user can have, so that its pages are
/// freed properly: SQLite goes by a page's own kind when it frees it, not by the schema.
///
/// # Errors
///
/// [`Error::Sqlite`] when the schema cannot be read or changed.
pub(crate) fn strip(connection: &Connection) -> Result<(), Error> {
    let what = "remove sqlite_quorlite";
    let set = |setting: DbConfig, on: bool| {
        let set = connection.set_db_config(setting, on);
        set.map(drop).map_err(Error::sqlite(what))
    };
    set(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    set(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true)?;
    open::pragma(connection, "secure_delete", "ON")?;
    let roots: Vec<i64> = connection
        .prepare(&format!(
            "SELECT rootpage FROM sqlite_schema WHERE rootpage>0 AND ({OURS})"
        ))
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .map_err(Error::sqlite(what))?;
    let disguise = format!(
        "BEGIN;
         DELETE FROM sqlite_schema WHERE ifnull(rootpage, 0)<=0 AND ({OURS});
         UPDATE sqlite_schema SET type='table', name='sqlite_parameters_' || rootpage,
           tbl_name='sqlite_parameters_' || rootpage, sql='CREATE TABLE sqlite_parameters_' || rootpage || '(x)'
           WHERE {OURS};
         COMMIT;
         PRAGMA writable_schema=RESET"
    );
    connection.execute_batch(&disguise).map_err(Error::sqlite(what))?;
    for root in roots {
        connection
            .execute_batch(&format!("DROP TABLE sqlite_parameters_{root}"))
            .map_err(Error::sqlite(what))?;
    }
    set(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)
}

impl Scratch {
    /// Makes a folder within `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self, Error> {
        for number in 0_u64.. {
            let folder = folder.join(format!("{SCRATCH}{number}"));
            match fs::create_dir(&folder) {
                // Another one's, or left by a crash.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => {
                    result.map_err(Error::io(format!("create {}", folder.display())))?;
                    return Ok(Self { folder });
                }
            }
        }
        Err(Error::io("create a scratch folder")(ErrorKind::AlreadyExists.into()))
    }

    /// The path of a file in it.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "scratch folder not removed");
        }
    }
}

/// Removes the scratch folders in `folder`; nobody may be using one.
pub(crate) fn remove_scratch(folder: &Path) -> Result<(), Error> {
    let remove = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(SCRATCH) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    };
    remove().map_err(Error::io(format!("remove scratch folders of {}", folder.display())))
}

/// Makes the scratch file: as long as the snapshot, with the pages that dropping our tables may read.
fn copy_pages(pin: &Pin, path: &Path, page_size: u64) -> Result<(), Error> {
    let failed = |error| Error::io(format!("write {}", path.display()))(error);
    let page_count = number(pin.connection(), "PRAGMA page_count")?;
    let file = File::create_new(path).map_err(failed)?;
    file.set_len(page_count * page_size).map_err(failed)?;
    let moves_pages = number(pin.connection(), "PRAGMA auto_vacuum")? != 0;
    let wanted = if moves_pages {
        (1..=page_count).collect()
    } else {
        pages_read(pin).map_err(|error| pin.stopped(error))?
    };
    let mut page = Vec::new();
    for number in wanted {
        pin.check()?;
        pages::read_page(pin.session(), number, &mut page).map_err(|error| pin.stopped(error))?;
        file.write_all_at(&page, (number - 1) * page_size).map_err(failed)?;
    }
    Ok(())
}

/// The pages that dropping our tables may read.
fn pages_read(pin: &Pin) -> Result<BTreeSet<u64>, StatementError> {
    let session = pin.session();
    let mut names = Vec::new();
    meta::visit(session, B_TREES, &[], |row| {
        if let [CellRef::Text(name)] = row {
            names.push(name.to_vec());
        }
    })?;
    let mut pages = BTreeSet::new();
    for name in names {
        meta::visit(session, PAGES, &[CellRef::Text(&name)], |row| {
            if let [CellRef::Integer(number)] = row {
                pages.insert(*number as u64);
            }
        })?;
    }
    let mut page = Vec::new();
    pages::read_page(session, 1, &mut page)?;
    let mut trunk = number_at(&page, FREE_LIST_AT);
    while trunk > 0 && pages.insert(trunk) {
        pages::read_page(session, trunk, &mut page)?;
        trunk = number_at(&page, 0);
    }
    Ok(pages)
}

/// The pages that stand in a WAL which was never started over.
fn changed_pages(wal: &Path, page_size: u64) -> io::Result<BTreeSet<u64>> {
    let file = File::open(wal)?;
    let bytes = file.metadata()?.len();
    let mut changed = BTreeSet::new();
    let mut offset = WAL_HEADER_BYTES;
    while offset < bytes {
        let mut number = [0; 4];
        file.read_exact_at(&mut number, offset)?;
        changed.insert(u64::from(u32::from_be_bytes(number)));
        offset += FRAME_HEADER_BYTES + page_size;
    }
    Ok(changed)
}

/// A page number of a page's own, as SQLite writes it; 0 for none.
fn number_at(page: &[u8], at: usize) -> u64 {
    page[at..at + 4]
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

pub(crate) fn number(connection: &Connection, sql: &str) -> Result<u64, Error> {
    connection
        .query_row(sql, [], |row| row.get::<_, i64>(0))
        .map(|number| number as u64)
        .map_err(Error::sqlite("measure a database"))
}

#[cfg(test)]
mod tests;

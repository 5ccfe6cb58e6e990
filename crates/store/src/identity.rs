//! The node's identity and the directory's lock: two small files that decide whether this process may run here.
//!
//! The identity is random and fsynced, with its directory, before its first use; it is never written again. A directory
//! that holds a log or a database without it, or files of another system, is refused by name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::environment::Random;
use crate::error::Error;
use crate::member::NodeId;

const FILE: &str = "identity";
const LOCK: &str = "lock";
const MAGIC: &[u8; 8] = b"QUORLID1";

/// Holds the directory's lock until it is dropped.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

/// Creates the directory if it is absent and takes its lock.
///
/// # Errors
///
/// [`Error::Locked`] when another process holds it; [`Error::Io`].
pub(crate) fn lock(dir: &Path) -> Result<DirectoryLock, Error> {
    fs::create_dir_all(dir).map_err(|source| failed("create data directory", dir, source))?;
    let path = dir.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|source| failed("open", &path, source))?;
    take(dir, &path, file)
}

fn take(dir: &Path, path: &Path, file: File) -> Result<DirectoryLock, Error> {
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(DirectoryLock { _file: file }),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked(dir.to_owned())),
        Err(errno) => Err(failed("lock", path, errno.into())),
    }
}

/// Takes the lock of a stopped node, and changes nothing; `None` when the directory has no lock, because no node ever
/// started in it.
///
/// # Errors
///
/// As [`lock`].
pub(crate) fn lock_unchanged(dir: &Path) -> Result<Option<DirectoryLock>, Error> {
    let path = dir.join(LOCK);
    match File::open(&path) {
        Ok(file) => take(dir, &path, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("open", &path, source)),
    }
}

/// Reads the identity; `None` when the directory is new.
///
/// # Errors
///
/// [`Error::Foreign`] for a directory of another system, and for one that has data but no readable identity.
pub(crate) fn look(dir: &Path) -> Result<Option<NodeId>, Error> {
    refuse_foreign(dir)?;
    let path = dir.join(FILE);
    match File::open(&path) {
        Ok(file) => read(dir, file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if ["log", "db"].iter().any(|name| holds_files(&dir.join(name))) {
                let what = "holds a log or a database but no file \"identity\": restore that file, or move the data \
                            away and let the node join anew";
                return Err(Error::Foreign {
                    path: dir.to_owned(),
                    what: what.to_owned(),
                });
            }
            Ok(None)
        }
        Err(source) => Err(failed("open", &path, source)),
    }
}

/// Reads the identity, or gives the directory one if it is new.
///
/// # Errors
///
/// As [`look`].
pub(crate) fn identity(dir: &Path, random: &dyn Random) -> Result<NodeId, Error> {
    match look(dir)? {
        Some(id) => Ok(id),
        None => create(dir, &dir.join(FILE), random),
    }
}

fn holds_files(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

/// Refuses the directory of another system.
///
/// # Errors
///
/// [`Error::Foreign`].
pub(crate) fn refuse_foreign(dir: &Path) -> Result<(), Error> {
    if dir.join("raft.db").exists() {
        let what = "is an rqlite data directory (raft.db): take a backup there (GET /db/backup), start quorlited on an \
                    empty directory, and load the backup into it";
        return Err(Error::Foreign {
            path: dir.to_owned(),
            what: what.to_owned(),
        });
    }
    if dir.join("raft").join("peers.json").exists() {
        let what = "holds raft/peers.json, but recovery from it is not implemented yet: remove the file to start with \
                    the stored membership";
        return Err(Error::Foreign {
            path: dir.to_owned(),
            what: what.to_owned(),
        });
    }
    Ok(())
}

fn read(dir: &Path, mut file: File) -> Result<NodeId, Error> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)
        .map_err(|source| failed("read", &dir.join(FILE), source))?;
    parse(&bytes).ok_or_else(|| Error::Foreign {
        path: dir.join(FILE),
        what: "is not a node identity of this release: restore it, or move the data directory away and let the node \
               join anew"
            .to_owned(),
    })
}

/// `magic (8) | id (8, little-endian) | the id once more, inverted (8)`.
fn parse(bytes: &[u8]) -> Option<NodeId> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (id, rest) = rest.split_first_chunk::<8>()?;
    let inverse: &[u8; 8] = rest.try_into().ok()?;
    let (id, inverse) = (u64::from_le_bytes(*id), u64::from_le_bytes(*inverse));
    (magic == MAGIC && id == !inverse).then_some(NodeId(id))
}

fn create(dir: &Path, path: &Path, random: &dyn Random) -> Result<NodeId, Error> {
    // Zero is kept free, so that an unset field on the wire is never a node.
    let id = random.next().max(1);
    let mut bytes = MAGIC.to_vec();
    bytes.extend(id.to_le_bytes());
    bytes.extend((!id).to_le_bytes());
    let temporary = dir.join("identity.new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(|source| failed("write", path, source))?;
    Ok(NodeId(id))
}

fn failed(what: &str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        what: format!("{what} {}", path.display()),
        source,
    }
}

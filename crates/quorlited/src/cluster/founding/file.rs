//! The promise file: what an incarnation has bound itself to, durably.
//!
//! Drawn in `docs/formats.md`, section "Promise". Written whole beside the old one, flushed, and moved into its place:
//! a crash leaves the old or the new one, never a mixture.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::Message;

use super::pledge::Record;
use crate::cluster::Error;

const MAGIC: [u8; 8] = *b"QRLTPROM";
const VERSION: u32 = 1;

/// Magic, version, length, checksum.
const HEADER_BYTES: usize = 20;

/// The file's place in a data directory.
pub fn path(dir: &Path) -> PathBuf {
    dir.join("promise")
}

/// Reads the file; one that is absent holds no promise.
///
/// # Errors
///
/// [`Error::Damaged`] with the place, [`Error::Io`].
pub fn read(path: &Path) -> Result<Record, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Record::default()),
        Err(source) => return Err(failed("read", path, source)),
    };
    decode(&bytes).map_err(|what| Error::Damaged {
        path: path.to_owned(),
        what,
    })
}

/// Replaces the file. Durable on return. Blocks for a flush or two.
///
/// # Errors
///
/// [`Error::Io`]: the old record may still be there, or the new one.
pub fn write(path: &Path, record: &Record) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).map_err(|source| failed("create", &beside, source))?;
    file.write_all(&encode(record))
        .map_err(|source| failed("write", &beside, source))?;
    file.sync_all().map_err(|source| failed("flush", &beside, source))?;
    fs::rename(&beside, path).map_err(|source| failed("rename to", path, source))?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| failed("flush the folder of", path, source))
}

/// The bytes of a record.
pub fn encode(record: &Record) -> Vec<u8> {
    let payload = record.encode_to_vec();
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&checksum(VERSION, length, &payload).to_le_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}

/// Reads a record.
///
/// # Errors
///
/// What is wrong, and where.
pub fn decode(bytes: &[u8]) -> Result<Record, String> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(format!("truncated at offset {}", bytes.len()));
    };
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let (version, length) = (word(8), word(12));
    if header[..8] != MAGIC {
        return Err("not a promise file: unknown magic at offset 0".to_owned());
    }
    if version != VERSION {
        return Err(format!(
            "version {version} at offset 8, where this release reads {VERSION}"
        ));
    }
    if payload.len() != length as usize {
        return Err(format!(
            "{} bytes from offset {HEADER_BYTES}, where {length} belong",
            payload.len()
        ));
    }
    if checksum(version, length, payload) != word(16) {
        return Err(format!(
            "checksum mismatch in the {length} bytes from offset {HEADER_BYTES}"
        ));
    }
    Record::decode(payload).map_err(|error| format!("record at offset {HEADER_BYTES}: {error}"))
}

fn checksum(version: u32, length: u32, payload: &[u8]) -> u32 {
    let head = crc32c::crc32c_append(crc32c::crc32c(&version.to_le_bytes()), &length.to_le_bytes());
    crc32c::crc32c_append(head, payload)
}

fn failed(what: &str, path: &Path, source: io::Error) -> Error {
    Error::Io {
        what: format!("{what} {}", path.display()),
        source,
    }
}

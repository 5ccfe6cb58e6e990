//! What a log entry carries, and its bytes.
//!
//! Consensus wraps this with its own entry kinds (blank, membership); see `store::consensus`.

use bytes::Bytes;
use prost::Message;

use crate::request::{Key, Write};

/// The version that this release writes; a newer one in a log is refused by name (D11).
pub const VERSION: u32 = 1;

/// A replicated command.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Command {
    /// Format version of the command, [`VERSION`].
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// What to do; `None` does nothing (a strong read's empty entry).
    #[prost(oneof = "Action", tags = "2, 3, 4, 5, 6, 7")]
    pub action: Option<Action>,
}

/// What a command does to the database.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Action {
    /// Run a write request.
    #[prost(message, tag = "2")]
    Write(Write),
    /// Do not run the entry at this index when it comes to be applied: the operator's way past a poisonous one.
    #[prost(message, tag = "3")]
    Skip(Skip),
    /// Fix the cluster's settings.
    #[prost(message, tag = "4")]
    Settings(Settings),
    /// Gather a piece of what is to be loaded.
    #[prost(message, tag = "5")]
    Chunk(Chunk),
    /// Load what was gathered, or give it up.
    #[prost(message, tag = "6")]
    Load(Load),
    /// Hash the content as it is after this entry, to be compared with that of the other nodes. Changes nothing.
    #[prost(message, tag = "7")]
    Verify(Verify),
}

/// See [`Action::Verify`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Verify {}

/// A piece of what is to be loaded; one that is there already changes nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Chunk {
    /// The load that it belongs to: a random number, drawn by whoever took the load in.
    #[prost(fixed64, tag = "1")]
    pub load: u64,
    /// Where it stands in the whole.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub bytes: Bytes,
}

/// The end of a load.
///
/// `clock_us` and `seed` are as those of a write.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Load {
    /// The load.
    #[prost(fixed64, tag = "1")]
    pub load: u64,
    /// Bytes of the whole: a load that has not as many is refused.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// What was gathered, and what becomes of it.
    #[prost(enumeration = "Form", tag = "3")]
    pub form: i32,
    /// Microseconds since 1970 UTC when it was proposed.
    #[prost(sint64, tag = "4")]
    pub clock_us: i64,
    /// Seed of `random()` and `randomblob()` in SQL text.
    #[prost(fixed64, tag = "5")]
    pub seed: u64,
    /// Makes a retry harmless.
    #[prost(message, optional, tag = "6")]
    pub key: Option<Key>,
}

/// What becomes of what was gathered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Form {
    /// It is given up.
    Nothing = 0,
    /// A SQLite file, validated by the proposer: it replaces the database.
    File = 1,
    /// SQL text: it runs as one unit.
    Text = 2,
    /// A SQLite file that only the one node of the cluster has, validated: it replaces the database (`/boot`).
    Boot = 3,
}

/// See [`Action::Skip`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Skip {
    /// The log index to pass over.
    #[prost(uint64, tag = "1")]
    pub index: u64,
}

/// Flags that change results: cluster state, fixed when the cluster is formed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Settings {
    /// Foreign keys are enforced (`-fk`).
    #[prost(bool, tag = "1")]
    pub foreign_keys: bool,
    /// Names and versions of the loaded extensions, sorted.
    #[prost(string, repeated, tag = "2")]
    pub extensions: Vec<String>,
    /// The SQLite version that the cluster runs.
    #[prost(string, tag = "3")]
    pub sqlite: String,
}

/// Why bytes are not a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are no protobuf message of this shape.
    #[error("decode command: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// Written by a newer release.
    #[error("command has version {found}, this release reads up to {VERSION}: upgrade this node")]
    Version {
        /// The version found.
        found: u32,
    },
}

impl Command {
    /// A command of this release's version.
    pub fn new(action: Option<Action>) -> Self {
        Self {
            version: VERSION,
            action,
        }
    }

    /// The bytes that go into the log.
    pub fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Reads what [`Self::to_bytes`] wrote, without copying blobs.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] and [`Error::Version`].
    pub fn from_bytes(bytes: Bytes) -> Result<Self, Error> {
        let command = Self::decode(bytes)?;
        if command.version > VERSION {
            return Err(Error::Version { found: command.version });
        }
        Ok(command)
    }
}

//! What a follower sends to the leader on behalf of a client, and what comes back.
//!
//! The messages between two nodes' doors. `cluster` carries them and looks at nothing but the shape; `http` makes
//! and reads them. The body that answers is made by the leader's own encoder, so that a follower hands on the same
//! bytes that the leader would have answered.
//!
//! ```text
//!  follower's http ──Forwarded──► cluster ══frames══► cluster ──Forwarded──► leader's http
//!                  ◄──Head, Body──        ◄══════════         ◄──Head, Body──
//! ```
//!
//! Invariants:
//! * Fields are added, never renumbered (D11).
//! * A write carries a key before it leaves, so that sending it twice runs it once (D9).

use bytes::Bytes;
use command::request::Key;
use command::statement::Statement;
use tokio::sync::mpsc;

/// Chunks that wait between the encoder and the socket. A full channel holds the encoder, and thereby the read, back.
pub const CHUNKS_MAX: usize = 4;

/// A request that must run on the leader.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Forwarded {
    /// What to do.
    #[prost(oneof = "Operation", tags = "1, 2, 3, 4, 5, 8, 10, 11, 12, 13")]
    pub operation: Option<Operation>,
    /// Who asks, to be checked again by the leader; `None` is anonymous.
    #[prost(message, optional, tag = "6")]
    pub credentials: Option<Credentials>,
    /// Milliseconds that the client still waits; set by the forwarding node.
    #[prost(uint64, tag = "7")]
    pub timeout_ms: u64,
    /// The forwarding node asks for itself: what its clients were allowed to ask was checked there, when they asked.
    #[prost(bool, tag = "9")]
    pub is_own: bool,
}

/// The operations that go to the leader.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Operation {
    /// `/db/execute`.
    #[prost(message, tag = "1")]
    Execute(Sql),
    /// `/db/query`.
    #[prost(message, tag = "2")]
    Query(Sql),
    /// `/db/request`.
    #[prost(message, tag = "3")]
    Request(Sql),
    /// `/remove`.
    #[prost(message, tag = "4")]
    Remove(Remove),
    /// `POST /leader`.
    #[prost(message, tag = "5")]
    StepDown(StepDown),
    /// `/db/backup`.
    #[prost(message, tag = "8")]
    Backup(Backup),
    /// A piece of a body of `/db/load`.
    #[prost(message, tag = "10")]
    Gather(Gather),
    /// The end of that body.
    #[prost(message, tag = "11")]
    Load(Load),
    /// `/quorlite/skip`.
    #[prost(message, tag = "12")]
    Skip(Skip),
    /// `/quorlite/verify`.
    #[prost(message, tag = "13")]
    Verify(Verify),
}

/// All nodes are to verify what they hold.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Verify {}

/// The way past an entry.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Skip {
    /// Its index.
    #[prost(uint64, tag = "1")]
    pub index: u64,
}

/// Name and password, as the client gave them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct Credentials {
    /// The user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The password.
    #[prost(string, tag = "2")]
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?}, ***)", self.user)
    }
}

/// Statements with everything that decides how they run and how the answer looks.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sql {
    /// The statements.
    #[prost(message, repeated, tag = "1")]
    pub statements: Vec<Statement>,
    /// All of them succeed or fail together.
    #[prost(bool, tag = "2")]
    pub atomic: bool,
    /// Makes a repeated write harmless; set on writes.
    #[prost(message, optional, tag = "3")]
    pub key: Option<Key>,
    /// How fresh a read must be.
    #[prost(message, optional, tag = "4")]
    pub read: Option<Read>,
    /// `db_timeout` in microseconds; 0 = none.
    #[prost(uint64, tag = "5")]
    pub db_timeout_us: u64,
    /// How the answer looks.
    #[prost(message, optional, tag = "6")]
    pub output: Option<Output>,
}

/// How fresh a read must be; the leader's view of `store::read::ReadRequest`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Read {
    /// The level.
    #[prost(enumeration = "Level", tag = "1")]
    pub level: i32,
    /// The index that must be applied first; 0 = none.
    #[prost(uint64, tag = "2")]
    pub min_index: u64,
    /// Bound on every wait before the read may begin, in microseconds; 0 = the request's own timeout.
    #[prost(uint64, tag = "3")]
    pub wait_us: u64,
    /// Greatest age of the leader's last sign, in microseconds; 0 = any. Means nothing on a leader.
    #[prost(uint64, tag = "4")]
    pub freshness_us: u64,
    /// The age of the data counts too.
    #[prost(bool, tag = "5")]
    pub freshness_strict: bool,
}

/// The levels, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Level {
    /// The default.
    Weak = 0,
    /// Never forwarded; kept so that every level has a number.
    None = 1,
    /// By read index.
    Linearizable = 2,
    /// By an empty entry.
    Strong = 3,
    /// Weak, once it has come to a leader.
    Auto = 4,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Indented by four blanks.
    pub pretty: bool,
    /// `time` in every element and at the top.
    pub timings: bool,
    /// Rows as objects.
    pub associative: bool,
    /// BLOBs as arrays of integers.
    pub blob_array: bool,
    /// Columns as `table.column`.
    pub qualify_columns: bool,
    /// `raft_index` at the top.
    pub raft_index: bool,
}

/// [`Style`] on the wire.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Output {
    /// See [`Style::pretty`].
    #[prost(bool, tag = "1")]
    pub pretty: bool,
    /// See [`Style::timings`].
    #[prost(bool, tag = "2")]
    pub timings: bool,
    /// See [`Style::associative`].
    #[prost(bool, tag = "3")]
    pub associative: bool,
    /// See [`Style::blob_array`].
    #[prost(bool, tag = "4")]
    pub blob_array: bool,
    /// See [`Style::qualify_columns`].
    #[prost(bool, tag = "5")]
    pub qualify_columns: bool,
    /// See [`Style::raft_index`].
    #[prost(bool, tag = "6")]
    pub raft_index: bool,
}

/// A copy of the database.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Backup {
    /// Its form.
    #[prost(enumeration = "BackupForm", tag = "1")]
    pub form: i32,
    /// For text: the tables; none means all.
    #[prost(string, repeated, tag = "2")]
    pub tables: Vec<String>,
    /// Compressed with gzip.
    #[prost(bool, tag = "3")]
    pub compress: bool,
}

/// The forms of a backup, by their numbers on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum BackupForm {
    /// A SQLite file in WAL mode.
    Wal = 0,
    /// A SQLite file with a rollback journal.
    Rollback = 1,
    /// The same, without free pages.
    Compact = 2,
    /// SQL text.
    Text = 3,
}

/// A piece of what is to be loaded, to be gathered; sent twice, it changes nothing.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Gather {
    /// The load's number.
    #[prost(fixed64, tag = "1")]
    pub load: u64,
    /// Where the piece stands in the whole.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// The bytes.
    #[prost(bytes = "bytes", tag = "3")]
    pub bytes: Bytes,
}

/// The end of a load.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Load {
    /// The load's number.
    #[prost(fixed64, tag = "1")]
    pub load: u64,
    /// Bytes of the whole.
    #[prost(uint64, tag = "2")]
    pub bytes: u64,
    /// What it is, and what becomes of it.
    #[prost(enumeration = "command::entry::Form", tag = "3")]
    pub form: i32,
    /// Makes a repeated load harmless.
    #[prost(message, optional, tag = "4")]
    pub key: Option<Key>,
    /// How the answer looks.
    #[prost(message, optional, tag = "5")]
    pub output: Option<Output>,
}

/// Removes a node.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Remove {
    /// Its user-given id.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// Hands leadership over.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct StepDown {
    /// To whom, by user-given id; empty = the most up-to-date voter.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Answer only after the hand-over.
    #[prost(bool, tag = "2")]
    pub wait: bool,
}

/// How the leader answered: what stands before the body.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Head {
    /// The HTTP status; 0 when `not_leader` is set.
    #[prost(uint32, tag = "1")]
    pub status: u32,
    /// The HTTP content type; empty for none.
    #[prost(string, tag = "2")]
    pub content_type: String,
    /// The log index of a write, for session reads; 0 = none.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Seconds for `Retry-After`; 0 = none. Set only when the request was certainly not appended.
    #[prost(uint32, tag = "4")]
    pub retry_after_s: u32,
    /// The answering node no longer leads, and the request was certainly not appended: it may be sent elsewhere.
    #[prost(message, optional, tag = "5")]
    pub not_leader: Option<NotLeader>,
    /// The request was certainly not appended to the log, though the status does not say so.
    #[prost(bool, tag = "6")]
    pub not_appended: bool,
}

impl Head {
    /// It says that nothing was done, which is true of the try that it answers.
    pub fn is_refusal(&self) -> bool {
        self.not_appended || self.retry_after_s > 0
    }
}

/// See [`Head::not_leader`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct NotLeader {
    /// Identity of the leader in consensus.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// The leader's user-given id.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The leader's inter-node address; empty when none is known.
    #[prost(string, tag = "3")]
    pub address: String,
}

/// A body as it is made: chunks, then the end of the channel. An `Err` before it says that the rest will not come,
/// and whoever hands the body on must break its stream rather than end it.
pub type Body = mpsc::Receiver<Result<Bytes, Broken>>;

/// The rest of a body will not come.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off: {0}")]
pub struct Broken(pub String);

/// An answer: its head, and the body as it comes.
#[derive(Debug)]
pub struct Answer {
    /// What stands before the body.
    pub head: Head,
    /// The body.
    pub body: Body,
}

impl From<Style> for Output {
    fn from(style: Style) -> Self {
        let Style {
            pretty,
            timings,
            associative,
            blob_array,
            qualify_columns,
            raft_index,
        } = style;
        Self {
            pretty,
            timings,
            associative,
            blob_array,
            qualify_columns,
            raft_index,
        }
    }
}

impl From<Output> for Style {
    fn from(output: Output) -> Self {
        let Output {
            pretty,
            timings,
            associative,
            blob_array,
            qualify_columns,
            raft_index,
        } = output;
        Self {
            pretty,
            timings,
            associative,
            blob_array,
            qualify_columns,
            raft_index,
        }
    }
}

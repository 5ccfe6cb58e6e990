//! What travels on the service channel: one request and its reply at a time, on each connection.
//!
//! ```text
//!  Describe, Join, Notify, Promise, Release ──► one Reply
//!  Forward ──► Opening, Chunk…, then End or Broken; or everything in the Opening
//! ```
//!
//! Invariants:
//! * Fields and variants are added, never renumbered; what is unknown is skipped, and an unknown request is refused by
//!   name rather than ignored (D11).

use bytes::Bytes;
use command::entry::Settings;
use prost::Message;
use store::member::{NodeId, Peer};

use crate::forwarded::{Credentials, Forwarded, Head};

/// The version that this release writes into each request.
pub const VERSION: u32 = 1;

/// A request to another node's cluster service.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// The sender's [`VERSION`]; never 0.
    #[prost(uint32, tag = "1")]
    pub version: u32,
    /// Who asks, as a user of the auth file; forwarded requests carry the client's own inside.
    #[prost(message, optional, tag = "2")]
    pub credentials: Option<Credentials>,
    /// What is asked; `None` when this release does not know it.
    #[prost(oneof = "Ask", tags = "3, 4, 5, 6, 7, 8")]
    pub ask: Option<Ask>,
}

/// What can be asked.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// Who are you?
    #[prost(message, tag = "3")]
    Describe(Describe),
    /// Add me to your cluster.
    #[prost(message, tag = "4")]
    Join(Join),
    /// I am here, and wait for a cluster to be formed.
    #[prost(message, tag = "5")]
    Notify(Notify),
    /// Promise that you will be a founding voter of this set and of no other.
    #[prost(message, tag = "6")]
    Promise(Attempt),
    /// You coordinate this attempt: give it up.
    #[prost(message, tag = "7")]
    Release(Release),
    /// Run this for my client.
    #[prost(message, tag = "8")]
    Forward(Forwarded),
}

/// Asks for a [`Description`].
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Describe {}

/// A node, in messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, prost::Message)]
pub struct PeerRecord {
    /// Its incarnation.
    #[prost(fixed64, tag = "1")]
    pub id: u64,
    /// The user's node id.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The advertised inter-node address.
    #[prost(string, tag = "3")]
    pub address: String,
}

/// A wish to join.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Join {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub peer: Option<PeerRecord>,
    /// As a voter; a read replica otherwise.
    #[prost(bool, tag = "2")]
    pub voter: bool,
    /// Its flags that change results; absent from a node of an earlier release.
    #[prost(message, optional, tag = "3")]
    pub settings: Option<Settings>,
}

/// A node that waits for a cluster to be formed.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Notify {
    /// Who.
    #[prost(message, optional, tag = "1")]
    pub peer: Option<PeerRecord>,
    /// Its `-bootstrap-expect`.
    #[prost(uint64, tag = "2")]
    pub expect: u64,
}

/// A set of founding voters that one node tries to bring together.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Attempt {
    /// The incarnation that alone may initialize this set: the smallest in it.
    #[prost(fixed64, tag = "1")]
    pub coordinator: u64,
    /// Counts the coordinator's attempts, from 1; never used twice.
    #[prost(uint64, tag = "2")]
    pub round: u64,
    /// The set, in order of incarnation.
    #[prost(message, repeated, tag = "3")]
    pub voters: Vec<PeerRecord>,
}

/// Asks a coordinator to give up an attempt.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Release {
    /// The attempt's coordinator.
    #[prost(fixed64, tag = "1")]
    pub coordinator: u64,
    /// The attempt's round.
    #[prost(uint64, tag = "2")]
    pub round: u64,
    /// The coordinator in whose favour; 0 = of a cluster that already has a leader.
    #[prost(fixed64, tag = "3")]
    pub rival: u64,
}

/// The answer to a [`Request`], or a part of it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The answer; `None` when this release does not know it.
    #[prost(oneof = "Tell", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10")]
    pub tell: Option<Tell>,
}

/// What can be answered.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Tell {
    /// No, and why; nothing was done.
    #[prost(message, tag = "1")]
    Refused(Refused),
    /// Ask the leader.
    #[prost(message, tag = "2")]
    Redirect(PeerRecord),
    /// Who this node is.
    #[prost(message, tag = "3")]
    Description(Description),
    /// Joined, noted or promised.
    #[prost(message, tag = "4")]
    Done(Done),
    /// What became of an attempt.
    #[prost(message, tag = "5")]
    Released(Released),
    /// The answer to a forwarded request begins.
    #[prost(message, tag = "6")]
    Opening(Opening),
    /// More of the body.
    #[prost(bytes = "bytes", tag = "7")]
    Chunk(Bytes),
    /// The body is complete.
    #[prost(message, tag = "8")]
    End(Done),
    /// The rest of the body will not come.
    #[prost(string, tag = "9")]
    Broken(String),
    /// There is no leader to ask.
    #[prost(message, tag = "10")]
    NoLeader(Done),
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Refused {
    /// Why, for a person.
    #[prost(string, tag = "1")]
    pub message: String,
}

/// Nothing more to say.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Done {}

/// Who a node is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Description {
    /// The node.
    #[prost(message, optional, tag = "1")]
    pub peer: Option<PeerRecord>,
    /// Its HTTP API, with scheme.
    #[prost(string, tag = "2")]
    pub api_url: String,
    /// Its release.
    #[prost(string, tag = "3")]
    pub version: String,
    /// The last index that it knows to be committed.
    #[prost(uint64, tag = "4")]
    pub commit_index: u64,
    /// It leads.
    #[prost(bool, tag = "5")]
    pub is_leader: bool,
    /// The leader, when it knows one.
    #[prost(message, optional, tag = "6")]
    pub leader: Option<PeerRecord>,
    /// It is or was part of a cluster.
    #[prost(bool, tag = "7")]
    pub initialized: bool,
    /// Why it is in quarantine; empty when it is not.
    #[prost(string, tag = "8")]
    pub quarantine: String,
}

/// What became of an attempt whose release was asked for.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Released {
    /// The incarnation that answers; another one than the attempt's coordinator means that that one is gone.
    #[prost(fixed64, tag = "1")]
    pub by: u64,
    /// The coordinator has given it up, durably: it never will be initialized.
    #[prost(bool, tag = "2")]
    pub released: bool,
}

/// The head of an answer, with as much of the body as was there at once.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Opening {
    /// What stands before the body.
    #[prost(message, optional, tag = "1")]
    pub head: Option<Head>,
    /// The first part of the body, possibly empty.
    #[prost(bytes = "bytes", tag = "2")]
    pub body: Bytes,
    /// There is no more.
    #[prost(bool, tag = "3")]
    pub complete: bool,
}

impl Request {
    /// A request of this release.
    pub fn new(ask: Ask, credentials: Option<Credentials>) -> Self {
        Self {
            version: VERSION,
            credentials,
            ask: Some(ask),
        }
    }

    /// Its frame.
    pub fn encode_frame(&self) -> Bytes {
        self.encode_to_vec().into()
    }
}

impl Reply {
    /// The frame of an answer.
    pub fn frame(tell: Tell) -> Bytes {
        Self { tell: Some(tell) }.encode_to_vec().into()
    }
}

impl Tell {
    /// A refusal.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::Refused(Refused {
            message: message.into(),
        })
    }
}

impl From<&Peer> for PeerRecord {
    fn from(peer: &Peer) -> Self {
        Self {
            id: peer.id.0,
            name: peer.name.clone(),
            address: peer.address.clone(),
        }
    }
}

impl From<&PeerRecord> for Peer {
    fn from(record: &PeerRecord) -> Self {
        Self {
            id: NodeId(record.id),
            name: record.name.clone(),
            address: record.address.clone(),
        }
    }
}

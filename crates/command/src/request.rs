//! A write request, stamped with everything that its execution may depend on.

use crate::statement::Statement;

/// Which endpoint's rules the statements follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// `/db/execute`: a write result per statement, rows only for RETURNING.
    Execute = 0,
    /// `/db/request`: reads answer rows and take part in the unit.
    Request = 1,
}

/// A write, as it is proposed and stored in the log.
///
/// `clock_us` and `seed` are stamped by the node that proposes, once; every replica computes from them (D3).
#[derive(Clone, PartialEq, prost::Message)]
pub struct Write {
    /// The statements, in order.
    #[prost(message, repeated, tag = "1")]
    pub statements: Vec<Statement>,
    /// All statements succeed or fail together.
    #[prost(bool, tag = "2")]
    pub atomic: bool,
    /// The endpoint's rules.
    #[prost(enumeration = "Kind", tag = "3")]
    pub kind: i32,
    /// Microseconds since 1970 UTC when it was proposed; apply never lets the entry clock run backwards.
    #[prost(sint64, tag = "4")]
    pub clock_us: i64,
    /// Seed of `random()` and `randomblob()`.
    #[prost(fixed64, tag = "5")]
    pub seed: u64,
    /// Virtual-machine steps that the request may take; 0 means the cluster's limit.
    #[prost(uint64, tag = "6")]
    pub steps_max: u64,
    /// Makes a retry harmless.
    #[prost(message, optional, tag = "7")]
    pub key: Option<Key>,
}

/// The identity of a write among its retries.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Key {
    /// Who gave it.
    #[prost(oneof = "KeyOrigin", tags = "1, 2")]
    pub origin: Option<KeyOrigin>,
}

/// Who gave a [`Key`].
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum KeyOrigin {
    /// The client, by `Idempotency-Key`.
    #[prost(message, tag = "1")]
    Client(ClientKey),
    /// A node that forwards to the leader.
    #[prost(message, tag = "2")]
    Forward(ForwardKey),
}

/// A client's `Idempotency-Key`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ClientKey {
    /// The header's value.
    #[prost(string, tag = "1")]
    pub key: String,
    /// XXH3 of the request body: the same key with another body is refused.
    #[prost(fixed64, tag = "2")]
    pub body_hash: u64,
}

/// The automatic key of a forwarded write, remembered as a window per forwarding node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, prost::Message)]
pub struct ForwardKey {
    /// The forwarding node's incarnation.
    #[prost(fixed64, tag = "1")]
    pub incarnation: u64,
    /// Random per process start.
    #[prost(fixed64, tag = "2")]
    pub boot: u64,
    /// Counts from 1 within a boot.
    #[prost(uint64, tag = "3")]
    pub sequence: u64,
    /// The log index that the forwarding node had applied when it issued the key; one older than the horizon is refused.
    #[prost(uint64, tag = "4")]
    pub issued_at: u64,
}

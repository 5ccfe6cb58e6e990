//! What can go wrong between nodes, told apart by what the caller does next.

use std::io;
use std::path::PathBuf;

/// A failure of the cluster service's client.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No leader is known; certain: the request went nowhere.
    #[error("leader not found")]
    NoLeader,
    /// Certain: the request did not reach the leader.
    #[error("cannot reach leader at {address}: {cause}")]
    Unsent {
        /// Where it was to go.
        address: String,
        /// The cause.
        cause: io::Error,
    },
    /// The outcome is unknown: the request may have reached a leader, and no answer came.
    #[error("no answer from leader at {address}, the request may or may not have taken effect: {cause}")]
    Unknown {
        /// Where it went last.
        address: String,
        /// The cause.
        cause: io::Error,
    },
    /// A peer was asked and did not answer: it may have done what was asked.
    #[error("no answer from {address}: {cause}")]
    Unanswered {
        /// The peer.
        address: String,
        /// The cause.
        cause: io::Error,
    },
    /// A peer could not be asked.
    #[error("cannot reach {address}: {cause}")]
    Unreachable {
        /// The peer.
        address: String,
        /// The cause.
        cause: io::Error,
    },
    /// A peer refused, in its own words.
    #[error("{address} refused: {message}")]
    Refused {
        /// The peer.
        address: String,
        /// Why.
        message: String,
    },
    /// A peer answered with something that this release does not understand.
    #[error("{0} gave an answer that this release does not understand")]
    Puzzled(String),
    /// A `-join` address belongs to an HTTP API.
    #[error("{0} is an HTTP address: -join takes the inter-node addresses of nodes (-raft-addr)")]
    HttpAddress(String),
    /// A one-node cluster cannot be merged into another.
    #[error("this node is a cluster of its own and cannot join another: use an empty data directory")]
    Alone,
    /// A read replica needs somebody to replicate.
    #[error("a read replica cannot form a cluster: give it nodes to join")]
    ReplicaAlone,
    /// All attempts to join failed.
    #[error("failed to join through {targets}: {last}")]
    NotJoined {
        /// The addresses tried.
        targets: String,
        /// The last failure.
        last: Box<Error>,
    },
    /// This node is still in its cluster.
    #[error("cannot leave the cluster: {0}")]
    NotLeft(String),
    /// No cluster was formed or joined in time.
    #[error("no cluster within {seconds} s: {heard} of {expect} nodes announced themselves")]
    NotFormed {
        /// The limit.
        seconds: u64,
        /// Nodes heard of, this one included.
        heard: usize,
        /// `-bootstrap-expect`.
        expect: usize,
    },
    /// This node has promised to found a cluster, and whoever coordinates that did not release it.
    #[error(
        "this node has promised to found a cluster with {coordinator}, which {why}; \
         bring that node up, or, if it is gone for good, delete {path}"
    )]
    Promised {
        /// The coordinator's address.
        coordinator: String,
        /// What was heard of it.
        why: String,
        /// The promise file.
        path: PathBuf,
    },
    /// This node may have joined a cluster.
    #[error(
        "this node asked a cluster to take it in and does not know whether it did: join it again; \
         if that cluster is gone for good, delete {0}"
    )]
    Joining(PathBuf),
    /// The promise file is damaged.
    #[error("{path}: {what}; if no cluster was ever formed with this data directory, delete the file")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        what: String,
    },
    /// A file operation failed.
    #[error("{what}")]
    Io {
        /// Operation and object.
        what: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The node failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

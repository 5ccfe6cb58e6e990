//! How nodes reach each other: ordered streams of frames, by channel.
//!
//! A duplex carries whole frames in order until it breaks; what is lost with it is lost silently, as with TCP. The
//! production transport is TCP in `quorlited::net`; the simulator has its own. Neither looks into a frame.

use std::future::Future;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::member::Peer;

/// Frames that wait in one direction of a duplex. A full queue holds the sender back.
pub const FRAMES_MAX: usize = 64;

/// The largest frame, in bytes: one that is longer breaks the duplex.
pub const FRAME_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What a duplex is for. Each has connections of its own, so that bulk never delays a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Channel {
    /// Votes, pre-votes, heartbeats, transfers, read indexes: one request, one reply, in order.
    Control = 1,
    /// Appends: pipelined, replies in request order.
    Append = 2,
    /// Snapshots.
    Bulk = 3,
    /// The cluster service: forwarded requests, joins, node information. The store does not know it.
    Service = 4,
}

/// Both ends of a stream of frames, as one side holds them. Dropping either half breaks the stream, for both sides.
#[derive(Debug)]
pub struct Duplex {
    /// Frames to the other side.
    pub tx: mpsc::Sender<Bytes>,
    /// Frames from the other side; `None` once the stream is broken.
    pub rx: mpsc::Receiver<Bytes>,
}

/// A future that can be kept in a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens duplexes to peers.
pub trait Transport: Send + Sync + 'static {
    /// Connects to `peer`; the other side sees the channel and a [`Duplex`] of its own.
    ///
    /// # Errors
    ///
    /// Whatever kept the connection from being made; the caller decides whether and when to try again.
    fn connect(&self, peer: &Peer, channel: Channel) -> BoxFuture<'static, io::Result<Duplex>>;
}

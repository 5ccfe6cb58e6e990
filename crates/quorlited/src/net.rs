//! The one inter-node port: what listens on it, what dials it, and the frames that pass through.
//!
//! Owns sockets and bytes. It never looks into a frame and knows no sibling.
//!
//! ```text
//!  dialler ──hello(channel)──► listener ──► accept(channel, duplex, peer)
//!          ◄──hello───────────
//!          ══frames, both ways, each with its checksum══
//! ```
//!
//! Invariants:
//! * A frame that fails its checksum, or is longer than its channel allows, breaks the connection; nothing of it is
//!   handed on (D7).
//! * Memory follows the bytes that came, never a length that was merely claimed (D12).
//! * Garbage costs its sender the connection, and this node one line at debug.

pub mod counters;
pub mod frame;
pub mod listener;
pub mod stream;
pub mod transport;

#[cfg(test)]
mod tests;

pub use counters::Counters;
pub use frame::Broken;
pub use listener::Listener;
pub use transport::TcpTransport;

//! The server: Wire, Door and Porch.
//!
//! A library so that each room can be tested at its door; the binary is `main.rs`, and nothing else depends on it.

pub mod cluster;
pub mod forwarded;
pub mod net;

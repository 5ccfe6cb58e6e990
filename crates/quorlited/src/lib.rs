//! The server: Wire, Door and Porch.
//!
//! A library so that each room can be tested at its door; the binary is `main.rs`, and nothing else depends on it.

pub mod check;
pub mod cluster;
pub mod config;
pub mod duration;
pub mod flags;
pub mod forwarded;
pub mod http;
pub mod logging;
pub mod machine;
pub mod metrics;
pub mod net;
pub mod server;
pub mod signals;

/// This release, as it is told to clients and operators.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

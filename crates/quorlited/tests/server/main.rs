//! The server at its door: the built binary, asked over HTTP.
//!
//! Owns the processes that it starts. Never looks inside the server.

mod conformance;
mod nodes;
mod wire;

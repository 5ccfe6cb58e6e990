//! Door: the HTTP API.

pub mod json;
pub mod number;
pub mod results;
pub mod timestamp;

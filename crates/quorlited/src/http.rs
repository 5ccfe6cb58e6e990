//! Door: the HTTP API.

pub mod body;
pub mod json;
pub mod number;
pub mod params;
pub mod results;
pub mod timestamp;

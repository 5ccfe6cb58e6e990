//! Door: the HTTP API.

pub mod access;
pub mod blocked;
pub mod body;
pub mod call;
pub mod desk;
pub mod door;
pub mod endpoint;
pub mod errors;
pub mod json;
pub mod ledger;
pub mod number;
pub mod params;
pub mod peers;
pub mod reply;
pub mod results;
pub mod route;
pub mod serve;
pub mod sql;
pub mod stream;
pub mod timestamp;

#[cfg(test)]
mod tests;

//! One file for each endpoint: from a checked call to an answer.

pub mod analyze;
pub mod backup;
pub mod boot;
pub mod console;
pub mod data;
pub mod debug;
pub mod execute;
pub mod hash;
pub mod leader;
pub mod licenses;
pub mod load;
pub mod metrics;
pub mod nodes;
pub mod openapi;
pub mod queries;
pub mod query;
pub mod queued;
pub mod readyz;
pub mod reap;
pub mod remove;
pub mod request;
pub mod skip;
pub mod snapshot;
pub mod status;
pub mod verify;

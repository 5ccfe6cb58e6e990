//! `POST /reap`: snapshots are no files here, so there are none to remove.

use crate::http::call::Call;
use crate::http::errors;
use crate::http::reply::Reply;

/// What it answers: a node's only snapshot is its database.
const NOTHING: &str = "{\"snapshots_reaped\":0,\"wals_checkpointed\":0}\n";

/// Answers it.
pub fn post(call: &Call) -> Reply {
    match call.door.opened() {
        Some(_) => Reply::json(NOTHING.as_bytes().to_vec().into()),
        None => errors::cluster_operation("", &store::Error::NotOpen),
    }
}

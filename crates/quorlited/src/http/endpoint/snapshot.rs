//! `POST /snapshot`: makes the applied index durable and drops the log below it, on this node.

use hyper::StatusCode;

use crate::http::call::Call;
use crate::http::errors;
use crate::http::reply::Reply;

/// Answers it.
pub async fn post(call: &Call) -> Reply {
    let Some(opened) = call.door.opened() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    match opened.ledger.snapshot(call.params.trailing_logs()).await {
        Ok(true) => Reply::empty(StatusCode::OK),
        Ok(false) => Reply::empty(StatusCode::NO_CONTENT),
        Err(error) => errors::cluster_operation("", &error),
    }
}

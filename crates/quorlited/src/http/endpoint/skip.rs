//! `POST /quorlite/skip?index=N`: the operator's way past an entry that holds up all others.

use hyper::StatusCode;
use serde_json::json;

use crate::forwarded::{self, Forwarded};
use crate::http::call::Call;
use crate::http::door::{Opened, Place};
use crate::http::errors;
use crate::http::reply::Reply;

const NO_INDEX: &str = "missing index: the log index of the entry to pass over, which /status tells as \
                        store.raft.applying_index";
const MEANING: &str = "the entry has had no effect, and whoever still waits for it is told so; whoever gave up waiting, or \
                       asked with a key, was told that its outcome is unknown. A node that had run it before it heard of \
                       this goes into quarantine and is re-seeded";

/// Answers it.
pub async fn post(call: &Call) -> Reply {
    let Some(index) = call.params.index() else {
        return Reply::failure(StatusCode::BAD_REQUEST, NO_INDEX);
    };
    let Some(opened) = call.door.opened() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    match opened.place() {
        Place::Here => match opened.ledger.skip(index, call.params.timeout()).await {
            Ok(skipped) => done(index, &skipped).served_by(&call.door.options.advertised),
            Err(store::Error::NotLeader { leader }) => match opened.place_of(leader) {
                Place::There(_) => forward(call, opened, index).await,
                Place::Here | Place::Nowhere => errors::no_leader(),
            },
            Err(error) => errors::cluster_operation("", &error),
        },
        Place::There(_) => forward(call, opened, index).await,
        Place::Nowhere => errors::no_leader(),
    }
}

/// It is done, and what that means.
pub fn done(index: u64, skipped: &command::reply::Reply) -> Reply {
    let answer = json!({ "skipped": index, "by": skipped.index, "meaning": MEANING });
    Reply::json(answer.to_string().into_bytes().into())
}

async fn forward(call: &Call, opened: &Opened, index: u64) -> Reply {
    let forwarded = Forwarded {
        operation: Some(forwarded::Operation::Skip(forwarded::Skip { index })),
        credentials: call.credentials(),
        ..Forwarded::default()
    };
    match opened.peers.forward(forwarded, call.params.timeout()).await {
        Ok(served) => Reply::from(served.answer).served_by(&served.by),
        Err(error) => errors::cluster_forwarded("", &error),
    }
}

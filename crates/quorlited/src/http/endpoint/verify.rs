//! `POST /quorlite/verify`: all nodes hash and check what they hold, at one index, and compare.

use serde_json::json;

use crate::forwarded::{self, Forwarded};
use crate::http::call::Call;
use crate::http::door::{Opened, Place};
use crate::http::errors;
use crate::http::reply::Reply;

const MEANING: &str = "each node hashes and checks its database as it is after this entry of the log, while writes go on; \
                       what it finds is under store.divergence in its /status, and nodes compare it: one that differs \
                       from a majority goes into quarantine and is re-seeded";

/// Answers it.
pub async fn post(call: &Call) -> Reply {
    let Some(opened) = call.door.opened() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    match opened.place() {
        Place::Here => match opened.ledger.verify(call.params.timeout()).await {
            Ok(asked) => begun(&asked).served_by(&call.door.options.advertised),
            Err(store::Error::NotLeader { leader }) => match opened.place_of(leader) {
                Place::There(_) => forward(call, opened).await,
                Place::Here | Place::Nowhere => errors::no_leader(),
            },
            Err(store::Error::Transferring) => forward(call, opened).await,
            Err(error) => errors::cluster_operation("", &error),
        },
        Place::There(_) => forward(call, opened).await,
        Place::Nowhere => errors::no_leader(),
    }
}

/// It is asked for, and what that means.
pub fn begun(asked: &command::reply::Reply) -> Reply {
    let answer = json!({ "index": asked.index, "meaning": MEANING });
    Reply::json(answer.to_string().into_bytes().into())
}

async fn forward(call: &Call, opened: &Opened) -> Reply {
    let forwarded = Forwarded {
        operation: Some(forwarded::Operation::Verify(forwarded::Verify {})),
        credentials: call.credentials(),
        ..Forwarded::default()
    };
    match opened.peers.forward(forwarded, call.params.timeout()).await {
        Ok(served) => Reply::from(served.answer).served_by(&served.by),
        Err(error) => errors::cluster_forwarded("", &error),
    }
}

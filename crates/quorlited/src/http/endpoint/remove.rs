//! `DELETE /remove`: takes a node out of the cluster.

use std::collections::HashMap;

use hyper::StatusCode;

use crate::forwarded::{self, Forwarded};
use crate::http::call::Call;
use crate::http::door::{Opened, Place};
use crate::http::errors;
use crate::http::reply::Reply;

/// Answers it.
pub async fn delete(mut call: Call) -> Reply {
    let body = match call.read_body().await {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let Some(name) = name(&body) else {
        return Reply::empty(StatusCode::BAD_REQUEST);
    };
    let Some(opened) = call.door.opened() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    match opened.place_once_elected(call.params.timeout()).await {
        Place::Here => match opened.ledger.remove(&name).await {
            Ok(()) => done().served_by(&call.door.options.advertised),
            Err(store::Error::NotLeader { leader }) => match opened.place_of(leader) {
                Place::There(_) => forward(&call, opened, name).await,
                Place::Here | Place::Nowhere => errors::no_leader(),
            },
            Err(error) => errors::cluster_operation("", &error),
        },
        Place::There(leader) if call.params.flag("redirect") => opened.redirect(&leader, &call).await,
        Place::There(_) => forward(&call, opened, name).await,
        Place::Nowhere if call.params.flag("redirect") => errors::no_leader_to_redirect_to(),
        Place::Nowhere => errors::no_leader(),
    }
}

async fn forward(call: &Call, opened: &Opened, name: String) -> Reply {
    let forwarded = Forwarded {
        operation: Some(forwarded::Operation::Remove(forwarded::Remove { name })),
        credentials: call.credentials(),
        timeout_ms: 0,
        is_own: false,
    };
    match opened.peers.forward(forwarded, call.params.timeout()).await {
        Ok(served) => Reply::from(served.answer).served_by(&served.by),
        Err(error) => errors::cluster_forwarded("", &error),
    }
}

fn done() -> Reply {
    Reply::empty(StatusCode::OK)
}

/// The id in `{"id":"…"}`, and nothing but that.
fn name(body: &[u8]) -> Option<String> {
    let mut members: HashMap<String, String> = serde_json::from_slice(body).ok()?;
    let name = members.remove("id")?;
    members.is_empty().then_some(name)
}

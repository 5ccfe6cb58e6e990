//! `/leader`: who leads, and the request to hand over.

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::forwarded::{self, Forwarded};
use crate::http::call::Call;
use crate::http::door::{Opened, Place};
use crate::http::endpoint::nodes;
use crate::http::json::{Pretty, Writer};
use crate::http::reply::Reply;
use crate::http::{desk, errors};

/// The body of a step-down.
#[derive(Debug, Default, Deserialize)]
struct Target {
    #[serde(default)]
    id: String,
}

/// Answers it.
pub async fn answer(call: Call) -> Reply {
    if call.method == Method::GET {
        get(&call).await
    } else {
        post(call).await
    }
}

async fn get(call: &Call) -> Reply {
    let leader = call
        .door
        .opened()
        .and_then(|opened| Some((opened, opened.ledger.leader()?)));
    let Some((opened, leader)) = leader else {
        return errors::no_leader();
    };
    let members = opened.ledger.status().members;
    let voter = members
        .iter()
        .find(|member| member.peer.id == leader.id)
        .is_none_or(|member| member.voter);
    let node = nodes::ask(opened.clone(), leader, voter, call.params.timeout()).await;
    let mut json = Writer::new(Pretty::from(call.params.flag("pretty")));
    node.write(&mut json);
    Reply::json(json.out.into())
}

async fn post(mut call: Call) -> Reply {
    let name = match target(&mut call).await {
        Ok(name) => name,
        Err(reply) => return reply,
    };
    let Some(opened) = call.door.opened() else {
        return Reply::failure(StatusCode::SERVICE_UNAVAILABLE, "stepdown: store not open");
    };
    let wait = call.params.flag("wait");
    match opened.place_once_elected(call.params.timeout()).await {
        Place::Here => {
            let step_down = forwarded::StepDown { name, wait };
            match desk::step_down(&opened.ledger, step_down, call.params.timeout()).await {
                Ok(reply) => reply.served_by(&call.door.options.advertised),
                Err(leader) => match opened.place_of(leader) {
                    // Somebody else has come to lead meanwhile, which is what was asked for.
                    Place::There(_) => Reply::empty(StatusCode::OK),
                    Place::Here | Place::Nowhere => errors::no_leader(),
                },
            }
        }
        Place::There(leader) if call.params.flag("redirect") => opened.redirect(&leader, &call).await,
        Place::There(_) => forward(&call, opened, forwarded::StepDown { name, wait }).await,
        Place::Nowhere if call.params.flag("redirect") => errors::no_leader_to_redirect_to(),
        Place::Nowhere if wait => errors::no_leader(),
        // Nobody leads, so nobody has to step down.
        Place::Nowhere => Reply::empty(StatusCode::OK),
    }
}

async fn forward(call: &Call, opened: &Opened, step_down: forwarded::StepDown) -> Reply {
    let forwarded = Forwarded {
        operation: Some(forwarded::Operation::StepDown(step_down)),
        credentials: call.credentials(),
        timeout_ms: 0,
        is_own: false,
    };
    match opened.peers.forward(forwarded, call.params.timeout()).await {
        Ok(served) => Reply::from(served.answer).served_by(&served.by),
        Err(error) => errors::cluster_forwarded("stepdown: ", &error),
    }
}

/// Whom to hand over to; empty for whoever is ready. Read only when a JSON body is declared with its length.
async fn target(call: &mut Call) -> Result<String, Reply> {
    let is_json = call.header(CONTENT_TYPE) == Some("application/json");
    let length: u64 = call
        .header(CONTENT_LENGTH)
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    if !is_json || length == 0 {
        return Ok(String::new());
    }
    let body = call.read_body().await?;
    match serde_json::from_slice::<Option<Target>>(&body) {
        Ok(target) => Ok(target.unwrap_or_default().id),
        Err(error) => Err(Reply::failure(
            StatusCode::BAD_REQUEST,
            format!("invalid JSON: {error}"),
        )),
    }
}

//! `POST /db/execute?queue`: writes that are answered before they are done.

use std::borrow::Cow;

use bytes::Bytes;
use command::statement::Statement;
use hyper::StatusCode;
use tokio::time::Instant;

use crate::http::body::{self, Malformed};
use crate::http::call::Call;
use crate::http::counters::count;
use crate::http::queue::{BODY_BYTES_MAX, Done, Queued};
use crate::http::reply::Reply;
use crate::http::results::{Form, Results, Tail, Whole};
use crate::http::{blocked, errors};

/// What a request is told whose batch takes too long.
const WAIT_TIMEOUT: &str = "queue wait timeout";

/// What a request is told for which there is no room.
const FULL: &str = "too many queued writes; try again later";

/// Answers it.
pub async fn post(mut call: Call) -> Reply {
    count(&call.door.counters.http.queued_executions);
    if !call.params.flag("noleader") && !has_leader(&call) {
        count(&call.door.counters.http.leader_not_found);
        return errors::no_leader();
    }
    let body = match call.read_body().await {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    if body.len() > BODY_BYTES_MAX {
        let text = format!("a queued write is longer than {BODY_BYTES_MAX} bytes: split it into several");
        return Reply::failure(StatusCode::PAYLOAD_TOO_LARGE, text);
    }
    let Some(room) = call.door.queue.room(body.len()) else {
        return errors::retry_later(FULL);
    };
    let statements = match statements(&call, &body) {
        Ok(statements) => statements,
        Err(reply) => return *reply,
    };
    drop(body);
    let deadline = Instant::now() + call.params.timeout();
    match tokio::time::timeout_at(deadline, call.door.queue.push(statements, room)).await {
        Ok(Some(queued)) if call.params.flag("wait") => wait(&call, queued, deadline).await,
        Ok(Some(queued)) => {
            let mut reply = envelope(&call, queued.sequence, None);
            reply.is_volatile = true;
            reply
        }
        Ok(None) => errors::no_leader(),
        Err(_) => errors::retry_later(FULL),
    }
}

fn has_leader(call: &Call) -> bool {
    call.door
        .opened()
        .is_some_and(|opened| opened.ledger.leader().is_some())
}

/// With `wait`, a body without statements marks a place in the queue.
fn statements(call: &Call, body: &Bytes) -> Result<Vec<Statement>, Box<Reply>> {
    let statements = match body::statements(body) {
        Ok(statements) => statements,
        Err(Malformed::Empty) if call.params.flag("wait") => Vec::new(),
        Err(Malformed::Shape) if call.params.flag("wait") && body.trim_ascii() == b"null" => Vec::new(),
        Err(malformed) => return Err(Box::new(Reply::failure(StatusCode::BAD_REQUEST, malformed))),
    };
    if blocked::any(&statements) {
        let refused = errors::request_failed(call.params.style(), blocked::MESSAGE, None);
        return Err(Box::new(refused));
    }
    Ok(statements)
}

async fn wait(call: &Call, queued: Queued, deadline: Instant) -> Reply {
    let http = &call.door.counters.http;
    count(&http.queued_executions_wait);
    match tokio::time::timeout_at(deadline, queued.done).await {
        Ok(Ok(Done::Applied(index))) => {
            let mut reply = envelope(call, queued.sequence, None);
            reply.head.index = index;
            reply
        }
        Ok(Ok(Done::GivenUp { message, code })) => envelope(call, queued.sequence, Some((message, code))),
        // The flusher ends with the process, and leaves what it cannot carry through.
        Ok(Err(_)) => errors::request_failed(call.params.style(), "node is stopping", Some(errors::OUTCOME_UNKNOWN)),
        Err(_) => {
            count(&http.queued_executions_wait_timeout);
            Reply::failure(StatusCode::REQUEST_TIMEOUT, WAIT_TIMEOUT)
        }
    }
}

fn envelope(call: &Call, sequence: u64, failed: Option<(String, String)>) -> Reply {
    let (error, code) = failed.unzip();
    let tail = Tail {
        error,
        code: code.filter(|code| !code.is_empty()).map(Cow::Owned),
        elapsed: call.began.elapsed(),
        sequence,
        ..Tail::default()
    };
    let results = Results::new(call.params.style(), Form::Mixed, Whole);
    match results.finish(&tail) {
        Ok((bytes, _)) => Reply::json(bytes.into()),
        Err((unencodable, _)) => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, unencodable),
    }
}

//! What the three data endpoints share: from statements to the node that runs them, and back.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use command::request::{ClientKey, Key, KeyOrigin};
use command::statement::Statement;
use hyper::StatusCode;
use store::member::Peer;
use store::read::Level;
use xxhash_rust::xxh3::xxh3_64;

use crate::forwarded::{self, Forwarded, Sql};
use crate::http::call::Call;
use crate::http::counters::{add, count};
use crate::http::door::{Opened, Place};
use crate::http::reply::Reply;
use crate::http::sql::{self, Detour, Job, Operation};
use crate::http::{blocked, body, errors};

/// The header that makes a retry harmless.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The longest idempotency key, in bytes: it is kept by every node.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// What a text that is no UTF-8 answers.
const INVALID_TEXT: &str = "string field contains invalid UTF-8";

/// Where the statements of a call stand.
pub enum Source {
    /// A JSON body.
    Json(Bytes),
    /// One text; empty means no statement at all.
    Text(Bytes),
    /// Nothing was given.
    Nothing,
}

impl Source {
    /// Reads the statements; may be called again.
    ///
    /// # Errors
    ///
    /// The answer.
    fn statements(&self, call: &Call) -> Result<Vec<Statement>, Box<Reply>> {
        match self {
            Self::Json(bytes) => body::statements(bytes)
                .map_err(|malformed| Box::new(Reply::failure(StatusCode::BAD_REQUEST, malformed))),
            Self::Text(bytes) if bytes.is_empty() => Ok(Vec::new()),
            Self::Text(bytes) => match String::from_utf8_lossy(bytes) {
                Cow::Borrowed(text) => Ok(vec![Statement::new(text)]),
                Cow::Owned(_) => {
                    let style = call.params.style();
                    Err(Box::new(errors::request_failed(style, INVALID_TEXT, None)))
                }
            },
            Self::Nothing => Ok(Vec::new()),
        }
    }
}

/// Runs a call's statements wherever they must run.
pub async fn answer(call: Call, operation: Operation, source: Source) -> Reply {
    let job = match prepare(&call, operation, &source) {
        Ok(job) => job,
        Err(reply) => return *reply,
    };
    let Some(opened) = call.door.opened() else {
        return errors::sql(call.params.style(), &store::Error::NotOpen);
    };
    if job.sql.statements.is_empty() {
        return errors::nothing_to_do(call.params.style(), call.began);
    }
    count_statements(&call, &job);
    call.door.watch.parse.observe(call.began.elapsed());
    match place(&call, opened, operation).await {
        Place::Here => match sql::run(&opened.ledger, &call.door.watch, job).await {
            Ok(reply) => served(reply, &call.door.options.advertised),
            // Nothing was appended here, so the statements are read once more and go where they must.
            Err(detour) => match prepare(&call, operation, &source) {
                Ok(job) => Box::pin(elsewhere(&call, opened, detour, job)).await,
                Err(reply) => *reply,
            },
        },
        Place::There(leader) => Box::pin(there(&call, opened, &leader, job)).await,
        Place::Nowhere => nowhere(&call),
    }
}

fn count_statements(call: &Call, job: &Job) {
    let http = &call.door.counters.http;
    let counter = match job.operation {
        Operation::Execute => &http.execute_stmts_rx,
        Operation::Query => &http.query_stmts_rx,
        Operation::Request => &http.request_stmts_rx,
    };
    add(counter, job.sql.statements.len());
}

/// Where to begin: a read that this node may be able to answer by itself begins here.
async fn place(call: &Call, opened: &Opened, operation: Operation) -> Place {
    if opened.ledger.leads() {
        return Place::Here;
    }
    match (operation, call.params.level()) {
        (Operation::Query | Operation::Request, Level::None | Level::Auto | Level::Linearizable) => Place::Here,
        (Operation::Query | Operation::Request, Level::Weak | Level::Strong) | (Operation::Execute, _) => {
            Box::pin(opened.place_once_elected(call.params.timeout())).await
        }
    }
}

async fn elsewhere(call: &Call, opened: &Opened, detour: Detour, job: Job) -> Reply {
    let place = match detour {
        Detour::Leader(None) => opened.place_once_elected(job.timeout).await,
        Detour::Leader(leader) => opened.place_of(leader),
        Detour::Transferring => opened.place_after_handover(job.timeout).await,
    };
    match place {
        Place::There(leader) => there(call, opened, &leader, job).await,
        // A leader that has lost its lease names itself or nobody: it must not be asked again at once.
        Place::Here | Place::Nowhere => nowhere(call),
    }
}

async fn there(call: &Call, opened: &Opened, leader: &Peer, job: Job) -> Reply {
    if call.params.flag("redirect") {
        return opened.redirect(leader, call).await;
    }
    let operation = match job.operation {
        Operation::Execute => forwarded::Operation::Execute(job.sql),
        Operation::Query => forwarded::Operation::Query(job.sql),
        Operation::Request => forwarded::Operation::Request(job.sql),
    };
    let forwarded = Forwarded {
        operation: Some(operation),
        credentials: call.credentials(),
        timeout_ms: millis(job.timeout),
        is_own: false,
    };
    match opened.peers.forward(forwarded, job.timeout).await {
        Ok(answered) => served(Reply::from(answered.answer), &answered.by),
        Err(error) => errors::forwarded(call.params.style(), &error),
    }
}

fn nowhere(call: &Call) -> Reply {
    count(&call.door.counters.http.leader_not_found);
    if call.params.flag("redirect") {
        errors::no_leader_to_redirect_to()
    } else {
        errors::no_leader()
    }
}

/// With a word on whose work it was, if it was done.
pub fn served(reply: Reply, by: &str) -> Reply {
    if reply.status() == StatusCode::OK {
        reply.served_by(by)
    } else {
        reply
    }
}

/// A call as a job; may be done again.
fn prepare(call: &Call, operation: Operation, source: &Source) -> Result<Job, Box<Reply>> {
    let statements = source.statements(call)?;
    if blocked::any(&statements) {
        return Err(Box::new(errors::request_failed(
            call.params.style(),
            blocked::MESSAGE,
            None,
        )));
    }
    let params = &call.params;
    Ok(Job {
        operation,
        sql: Sql {
            statements,
            atomic: atomic(call, operation),
            key: key(call, operation, source)?,
            read: Some(read(call)),
            db_timeout_us: params.db_timeout().map_or(0, micros),
            output: Some(params.style().into()),
        },
        began: call.began,
        timeout: params.timeout(),
        client: call.client,
    })
}

/// Writes are atomic by the request's word, or the server's; reads see one snapshot if they ask for it.
fn atomic(call: &Call, operation: Operation) -> bool {
    let transaction = call.params.flag("transaction");
    match operation {
        Operation::Query => transaction,
        Operation::Execute | Operation::Request => {
            transaction || call.params.atomic().unwrap_or(call.door.options.atomic_requests)
        }
    }
}

fn read(call: &Call) -> forwarded::Read {
    let params = &call.params;
    let level = params.level();
    forwarded::Read {
        level: sql::level_on_wire(level).into(),
        min_index: params.min_index(),
        wait_us: match level {
            Level::Linearizable => micros(params.linearizable_timeout()),
            Level::None | Level::Weak | Level::Strong | Level::Auto => 0,
        },
        freshness_us: params.freshness().map_or(0, micros),
        freshness_strict: params.flag("freshness_strict"),
    }
}

/// The client's key, on writes.
fn key(call: &Call, operation: Operation, source: &Source) -> Result<Option<Key>, Box<Reply>> {
    let body_hash = match source {
        Source::Json(bytes) | Source::Text(bytes) => xxh3_64(bytes),
        Source::Nothing => xxh3_64(&[]),
    };
    let key = client_key(call, body_hash)?;
    Ok(key.filter(|_| operation != Operation::Query))
}

/// The client's own key, for a body with this hash.
///
/// # Errors
///
/// The answer, when the header is no key.
pub fn client_key(call: &Call, body_hash: u64) -> Result<Option<Key>, Box<Reply>> {
    let Some(value) = call.headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    let key = value.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let text = format!("Idempotency-Key must be 1 to {IDEMPOTENCY_KEY_BYTES_MAX} visible ASCII characters");
        return Err(Box::new(Reply::failure(StatusCode::BAD_REQUEST, text)));
    }
    let origin = KeyOrigin::Client(ClientKey {
        key: key.to_owned(),
        body_hash,
    });
    Ok(Some(Key { origin: Some(origin) }))
}

fn micros(duration: Duration) -> u64 {
    // A wait of less than a microsecond is a wait, and not none.
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! Failures become answers here and nowhere else: which status, which text, which machine-readable word.
//!
//! The rule that decides (D9): 503, on which clients resend, only for what was certainly not appended to the log. What
//! may have happened is told with status 200, as the specification has it, and the code `outcome_unknown`.

use std::borrow::Cow;
use std::time::Instant;

use hyper::StatusCode;
use store::error::Outcome;

use super::reply::Reply;
use super::results::{Form, Results, Tail, Whole};
use super::stream::Failed;
use crate::cluster;
use crate::forwarded::Style;

/// The write may or may not have taken effect.
pub const OUTCOME_UNKNOWN: &str = "outcome_unknown";

/// The write has certainly not taken effect.
pub const NOT_APPENDED: &str = "not_appended";

/// The codes of replies that are not 200: an idempotency key that came back with another body.
const KEY_REUSED: &str = "key_reused";

/// Seconds after which to try again, where that makes sense.
const RETRY_AFTER_S: u32 = 1;

/// No leader is known; certainly not appended.
pub fn no_leader() -> Reply {
    retry_later("leader not found")
}

/// As [`no_leader`], for a request that wants a redirect.
pub fn no_leader_to_redirect_to() -> Reply {
    Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, "leader not found")
}

/// A request-level failure: status 200, an empty list of results, and the error.
pub fn request_failed(style: Style, message: impl Into<String>, code: Option<&'static str>) -> Reply {
    let tail = Tail {
        error: Some(message.into()),
        code: code.map(Cow::Borrowed),
        ..Tail::default()
    };
    let mut reply = finished(style, &tail);
    reply.head.not_appended = code == Some(NOT_APPENDED);
    reply
}

/// A request without statements.
pub fn nothing_to_do(style: Style, began: Instant) -> Reply {
    let tail = Tail {
        elapsed: began.elapsed(),
        ..Tail::default()
    };
    finished(style, &tail)
}

/// A write request that the state machine answered with a failure of the whole.
pub fn reply_failed(style: Style, failure: &command::reply::Failure) -> Reply {
    let tail = Tail {
        error: Some(failure.message.clone()),
        code: Some(failure.code.clone().into()).filter(|code: &Cow<'_, str>| !code.is_empty()),
        ..Tail::default()
    };
    let mut reply = finished(style, &tail);
    if failure.code == KEY_REUSED {
        reply.head.status = u32::from(StatusCode::UNPROCESSABLE_ENTITY.as_u16());
    }
    reply
}

/// A data operation that the store refused or lost.
pub fn sql(style: Style, error: &store::Error) -> Reply {
    use store::Error as E;
    match error {
        E::NotLeader { .. } => no_leader(),
        E::Overloaded(_) | E::Quarantined(_) => retry_later(error),
        E::TooLarge { .. } => Reply::failure(StatusCode::PAYLOAD_TOO_LARGE, error),
        // A read can fail so as well: it says nothing of an append.
        E::NotOpen | E::NotReady => request_failed(style, error.to_string(), None),
        error => {
            let code = match error.outcome() {
                Outcome::NotAppended => Some(NOT_APPENDED),
                Outcome::Unknown => Some(OUTCOME_UNKNOWN),
                Outcome::Refused => None,
            };
            request_failed(style, told(error), code)
        }
    }
}

/// A read that gave no answer.
pub fn read(style: Style, failed: &Failed) -> Reply {
    match failed {
        Failed::Unencodable(unencodable) => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, unencodable),
        Failed::Sqlite(sqlite::Error::Busy) => retry_later("too many reads in progress"),
        Failed::Sqlite(error) => {
            tracing::error!(%error, "read failed");
            request_failed(style, error.to_string(), None)
        }
        Failed::Late | Failed::Ended | Failed::TooLong(_) => request_failed(style, failed.to_string(), None),
        Failed::Lost => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, failed),
    }
}

/// A data operation that did not come through to the leader.
pub fn forwarded(style: Style, error: &cluster::Error) -> Reply {
    use cluster::Error as E;
    match error {
        E::NoLeader => no_leader(),
        E::Unknown { .. } | E::Unanswered { .. } => request_failed(style, error.to_string(), Some(OUTCOME_UNKNOWN)),
        E::Unsent { address, cause } | E::Unreachable { address, cause } => {
            let message = format!("dial tcp {address}: connect: {}", plain(cause));
            request_failed(style, message, Some(NOT_APPENDED))
        }
        E::Refused { message, .. } => request_failed(style, message.clone(), Some(NOT_APPENDED)),
        E::Puzzled(_)
        | E::HttpAddress(_)
        | E::Alone
        | E::ReplicaAlone
        | E::NotJoined { .. }
        | E::NotFormed { .. }
        | E::Promised { .. }
        | E::Joining(_)
        | E::Damaged { .. }
        | E::NotLeft(_)
        | E::Io { .. }
        | E::Store(_) => request_failed(style, error.to_string(), None),
    }
}

/// A cluster operation that the store refused, as one line of text behind `prefix`.
pub fn cluster_operation(prefix: &str, error: &store::Error) -> Reply {
    match error {
        store::Error::NotLeader { .. } => no_leader(),
        store::Error::Overloaded(_) | store::Error::Quarantined(_) => retry_later(error),
        store::Error::Unskippable { .. } => Reply::failure(StatusCode::CONFLICT, error),
        _ => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, format!("{prefix}{}", told(error))),
    }
}

/// A cluster operation that did not come through to the leader.
pub fn cluster_forwarded(prefix: &str, error: &cluster::Error) -> Reply {
    match error {
        cluster::Error::NoLeader => no_leader(),
        _ => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, format!("{prefix}{error}")),
    }
}

/// A feature that this release does not have.
pub fn still_to_come(what: &str) -> Reply {
    Reply::failure(StatusCode::NOT_IMPLEMENTED, format!("{what} is not implemented yet"))
}

/// The error with its cause, which [`store::Error`] keeps apart.
pub fn told(error: &store::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// An answer without results.
fn finished(style: Style, tail: &Tail) -> Reply {
    match Results::new(style, Form::Mixed, Whole).finish(tail) {
        Ok((bytes, _)) => Reply::json(bytes.into()),
        Err((unencodable, _)) => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, unencodable),
    }
}

/// The node has too much to do; certainly not done.
pub fn retry_later(message: impl std::fmt::Display) -> Reply {
    let mut reply = Reply::failure(StatusCode::SERVICE_UNAVAILABLE, message);
    reply.head.retry_after_s = RETRY_AFTER_S;
    reply
}

/// As the operating system's libraries elsewhere say it: lower case and without the number.
fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    let mut letters = text.chars();
    letters
        .next()
        .map_or(text.clone(), |first| first.to_lowercase().chain(letters).collect())
}

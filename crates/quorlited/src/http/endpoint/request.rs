//! `POST /db/request`: reads and writes together.

use crate::http::call::Call;
use crate::http::endpoint::data::{self, Source};
use crate::http::reply::Reply;
use crate::http::sql::Operation;

/// Answers it. Text bodies are read as JSON, and `queue` does not count (spec §10.4).
pub async fn post(mut call: Call) -> Reply {
    match call.read_body().await {
        Ok(body) => data::answer(call, Operation::Request, Source::Json(body)).await,
        Err(reply) => reply,
    }
}

//! `POST /db/execute`: writes.

use crate::http::call::Call;
use crate::http::endpoint::data::{self, Source};
use crate::http::endpoint::queued;
use crate::http::reply::Reply;
use crate::http::sql::Operation;

/// Answers it.
pub async fn post(mut call: Call) -> Reply {
    if call.params.flag("queue") {
        return queued::post(call).await;
    }
    let body = match call.read_body().await {
        Ok(body) => body,
        Err(reply) => return reply,
    };
    let source = if call.is_plain_text() {
        Source::Text(body)
    } else {
        Source::Json(body)
    };
    data::answer(call, Operation::Execute, source).await
}

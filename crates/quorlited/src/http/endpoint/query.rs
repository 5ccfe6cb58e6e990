//! `GET` and `POST /db/query`: reads.

use hyper::Method;

use crate::http::call::Call;
use crate::http::endpoint::data::{self, Source};
use crate::http::reply::Reply;
use crate::http::sql::Operation;

/// Answers it.
pub async fn answer(mut call: Call) -> Reply {
    let source = if call.method == Method::GET {
        match call.params.bytes("q") {
            Some(text) => Source::Text(text.to_vec().into()),
            None => Source::Nothing,
        }
    } else {
        match call.read_body().await {
            Ok(body) if call.is_plain_text() => Source::Text(body),
            Ok(body) => Source::Json(body),
            Err(reply) => return reply,
        }
    };
    data::answer(call, Operation::Query, source).await
}

//! `/quorlite/queries`: the reads that run on this node, and the end of one.

use hyper::{Method, StatusCode};

use crate::http::call::Call;
use crate::http::json::{Pretty, Writer};
use crate::http::number;
use crate::http::reply::Reply;

/// Answers it.
pub fn answer(call: &Call) -> Reply {
    if call.method == Method::DELETE {
        return end(call);
    }
    let mut json = Writer::new(Pretty::from(call.params.flag("pretty")));
    json.begin_object();
    json.key("queries");
    json.begin_array();
    for query in call.door.watch.queries.all() {
        json.begin_object();
        json.key("id");
        json.integer(query.id);
        json.key("sql");
        json.string(query.text());
        json.key("age");
        json.value(|out| number::push(out, number::seconds(query.began.elapsed())));
        json.key("client");
        match query.client {
            Some(client) => json.string(client.to_string()),
            None => json.null(),
        }
        json.end_object();
    }
    json.end_array();
    json.end_object();
    Reply::json(json.out.into())
}

fn end(call: &Call) -> Reply {
    let Some(id) = call.params.text("id").and_then(|id| id.parse().ok()) else {
        return Reply::failure(StatusCode::BAD_REQUEST, "id is not a valid integer");
    };
    if call.door.watch.queries.end(id) {
        Reply::empty(StatusCode::OK)
    } else {
        Reply::failure(StatusCode::NOT_FOUND, format!("no query {id} runs here"))
    }
}

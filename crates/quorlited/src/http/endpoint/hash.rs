//! `GET /quorlite/hash`: the content hash of this node's database, at the index that it names.

use crate::http::call::Call;
use crate::http::errors;
use crate::http::json::{Pretty, Writer};
use crate::http::reply::Reply;

/// Answers it.
pub async fn get(call: &Call) -> Reply {
    let Some(opened) = call.door.opened() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    match opened.ledger.content_hash().await {
        Ok(content) => {
            let mut json = Writer::new(Pretty::from(call.params.flag("pretty")));
            json.begin_object();
            json.key("index");
            json.integer(content.index);
            json.key("hash");
            json.string(format!("{:016x}", content.hash));
            json.end_object();
            Reply::json(json.out.into())
        }
        Err(error) => errors::cluster_operation("", &error),
    }
}

//! `/openapi.yaml`: the API as a document for machines.

use hyper::StatusCode;

use crate::http::reply::Reply;

/// The document.
const DOCUMENT: &str = include_str!("../openapi.yaml");

/// Its content type (RFC 9512).
const YAML: &str = "application/yaml";

/// Answers it.
pub fn get() -> Reply {
    let mut reply = Reply::text(StatusCode::OK, DOCUMENT);
    reply.head.content_type = YAML.to_owned();
    reply
}

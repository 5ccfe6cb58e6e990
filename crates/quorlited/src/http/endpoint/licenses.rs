//! `/licenses`: the terms under which this program may be used.

use hyper::StatusCode;

use crate::http::reply::Reply;

const MIT: &str = include_str!("../../../../../LICENSE-MIT");
const APACHE: &str = include_str!("../../../../../LICENSE-APACHE");
const HEAD: &str = "Quorlite is licensed under either of the MIT License or the Apache License 2.0, at your choice.
SQLite, which it contains, is in the public domain. The crates that it is built from are named in its Cargo.lock; each
is under one of the licences that deny.toml lists.\n\n";

/// Answers it.
pub fn get() -> Reply {
    Reply::text(StatusCode::OK, format!("{HEAD}{MIT}\n\n{APACHE}"))
}

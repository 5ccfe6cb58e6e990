//! `/` and `/console`: the way to the web console, which is still to come.

use hyper::StatusCode;

use crate::http::call::Call;
use crate::http::reply::Reply;

const CONSOLE: &str = "/console/";

/// `/`
pub fn root() -> Reply {
    redirect(StatusCode::FOUND)
}

/// `/console` and all below it.
pub fn console(call: &Call) -> Reply {
    let path = call.uri.path();
    if path == "/console" {
        return redirect(StatusCode::MOVED_PERMANENTLY);
    }
    Reply::failure(StatusCode::NOT_FOUND, "the web console is still to come")
}

fn redirect(status: StatusCode) -> Reply {
    let mut reply = Reply::empty(status);
    reply.location = Some(CONSOLE.to_owned());
    reply
}

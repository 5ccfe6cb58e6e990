//! Which endpoint answers, and what is checked before it does.
//!
//! ```text
//!  OPTIONS? ─► query string ─► route ─► permission ─► method ─► endpoint
//!    200          400           404        401          405
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, StatusCode};

use super::access::{self, Permission};
use super::call::Call;
use super::counters::{self, count};
use super::door::Door;
use super::endpoint;
use super::params::Params;
use super::reply::Reply;

#[cfg(test)]
mod tests;

/// A row of the table.
struct Route {
    path: &'static str,
    matched: Matched,
    methods: Methods,
    permission: Permission,
    announces: Announces,
    endpoint: Endpoint,
}

#[derive(Clone, Copy)]
enum Matched {
    Exactly,
    Prefix,
}

#[derive(Clone, Copy)]
enum Methods {
    Get,
    GetHead,
    GetPost,
    Post,
    Delete,
    GetDelete,
    Any,
}

/// What an empty 401 or 405 says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announces {
    Json,
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Root,
    Console,
    Execute,
    Query,
    Request,
    Backup,
    Load,
    Boot,
    Reap,
    Remove,
    Status,
    Nodes,
    Leader,
    Readyz,
    Snapshot,
    Hash,
    Skip,
    Verify,
    Metrics,
    Openapi,
    Queries,
    Analyze,
    Licenses,
    Vars,
    Profiles,
}

use Announces::{Json, Nothing};
use Matched::{Exactly, Prefix};

const fn route(
    path: &'static str,
    matched: Matched,
    methods: Methods,
    permission: Permission,
    announces: Announces,
    endpoint: Endpoint,
) -> Route {
    Route {
        path,
        matched,
        methods,
        permission,
        announces,
        endpoint,
    }
}

/// Tested in this order.
#[rustfmt::skip]
static TABLE: &[Route] = &[
    route("/", Exactly, Methods::Any, Permission::None, Nothing, Endpoint::Root),
    route("/console", Exactly, Methods::Any, Permission::None, Nothing, Endpoint::Console),
    route("/console", Prefix, Methods::GetHead, Permission::Ui, Nothing, Endpoint::Console),
    route("/db/execute", Prefix, Methods::Post, Permission::Execute, Json, Endpoint::Execute),
    route("/db/query", Prefix, Methods::GetPost, Permission::Query, Json, Endpoint::Query),
    route("/db/request", Prefix, Methods::Post, Permission::Request, Json, Endpoint::Request),
    route("/db/backup", Prefix, Methods::Get, Permission::Backup, Nothing, Endpoint::Backup),
    route("/db/load", Prefix, Methods::Post, Permission::Load, Json, Endpoint::Load),
    route("/db/sql", Prefix, Methods::GetPost, Permission::Query, Json, Endpoint::Analyze),
    route("/boot", Exactly, Methods::Post, Permission::Load, Nothing, Endpoint::Boot),
    route("/snapshot", Exactly, Methods::Post, Permission::Snapshot, Nothing, Endpoint::Snapshot),
    route("/reap", Exactly, Methods::Post, Permission::Snapshot, Json, Endpoint::Reap),
    route("/remove", Prefix, Methods::Delete, Permission::Remove, Nothing, Endpoint::Remove),
    route("/status", Prefix, Methods::Get, Permission::Status, Json, Endpoint::Status),
    route("/nodes", Prefix, Methods::Get, Permission::Status, Json, Endpoint::Nodes),
    route("/leader", Exactly, Methods::GetPost, Permission::LeaderOps, Json, Endpoint::Leader),
    route("/readyz", Prefix, Methods::Get, Permission::Ready, Nothing, Endpoint::Readyz),
    route("/licenses", Exactly, Methods::Get, Permission::Status, Nothing, Endpoint::Licenses),
    route("/debug/vars", Exactly, Methods::Any, Permission::Status, Json, Endpoint::Vars),
    route("/debug/pprof", Prefix, Methods::Any, Permission::Status, Nothing, Endpoint::Profiles),
    route("/metrics", Exactly, Methods::Get, Permission::Status, Nothing, Endpoint::Metrics),
    route("/openapi.yaml", Exactly, Methods::Get, Permission::None, Nothing, Endpoint::Openapi),
    route("/quorlite/queries", Exactly, Methods::GetDelete, Permission::Status, Json, Endpoint::Queries),
    route("/quorlite/hash", Exactly, Methods::Get, Permission::Status, Json, Endpoint::Hash),
    route("/quorlite/skip", Exactly, Methods::Post, Permission::Load, Json, Endpoint::Skip),
    route("/quorlite/verify", Exactly, Methods::Post, Permission::Snapshot, Json, Endpoint::Verify),
];

impl Route {
    fn find(path: &str) -> Option<&'static Self> {
        let path = if path.is_empty() { "/" } else { path };
        TABLE.iter().find(|route| match route.matched {
            Exactly => path == route.path,
            Prefix => path.starts_with(route.path),
        })
    }

    fn refuses(&self, method: &Method) -> bool {
        !match self.methods {
            Methods::Get => method == Method::GET,
            Methods::GetHead => method == Method::GET || method == Method::HEAD,
            Methods::GetPost => method == Method::GET || method == Method::POST,
            Methods::Post => method == Method::POST,
            Methods::Delete => method == Method::DELETE,
            Methods::GetDelete => method == Method::GET || method == Method::DELETE,
            Methods::Any => true,
        }
    }

    fn bare(&self, status: StatusCode) -> Reply {
        let reply = Reply::empty(status);
        if self.announces == Json {
            reply.announce_json()
        } else {
            reply
        }
    }
}

/// Answers one request.
pub async fn answer(door: Arc<Door>, request: Request<Incoming>, client: Option<SocketAddr>) -> Reply {
    let began = Instant::now();
    if request.method() == Method::OPTIONS {
        return Reply::empty(StatusCode::OK);
    }
    let params = match Params::parse(request.uri().query().unwrap_or_default()) {
        Ok(params) => params,
        Err(invalid) => return Reply::failure(StatusCode::BAD_REQUEST, invalid),
    };
    let Some(route) = Route::find(request.uri().path()) else {
        return Reply::empty(StatusCode::NOT_FOUND);
    };
    if !access::is_allowed(route.permission) {
        return route.bare(StatusCode::UNAUTHORIZED);
    }
    if route.refuses(request.method()) {
        return route.bare(StatusCode::METHOD_NOT_ALLOWED);
    }
    let (head, body) = request.into_parts();
    let call = Call {
        door,
        uri: head.uri,
        method: head.method,
        headers: head.headers,
        params,
        began,
        body: (!body.is_end_stream()).then_some(body),
        room: None,
        client,
    };
    dispatch(route, call).await
}

/// What counts the requests of a route.
fn counter<'a>(http: &'a counters::Http, route: &Route) -> Option<&'a AtomicU64> {
    Some(match route.path {
        "/console" => &http.ui,
        "/db/execute" => &http.executions,
        "/db/query" => &http.queries,
        "/db/request" => &http.requests,
        "/db/backup" => &http.backups,
        "/db/load" => &http.loads,
        "/db/sql" => &http.sql_analyze,
        "/boot" => &http.boot,
        "/snapshot" => &http.user_snapshots,
        "/reap" => &http.user_reaps,
        "/status" => &http.num_status,
        "/readyz" => &http.num_readyz,
        _ => return None,
    })
}

async fn dispatch(route: &Route, call: Call) -> Reply {
    if let Some(counter) = counter(&call.door.counters.http, route) {
        count(counter);
    }
    match route.endpoint {
        Endpoint::Execute => endpoint::execute::post(call).await,
        Endpoint::Query => endpoint::query::answer(call).await,
        Endpoint::Request => endpoint::request::post(call).await,
        // In a box of its own: every request is moved about with room for the largest of its futures.
        endpoint => Box::pin(dispatch_rare(endpoint, call)).await,
    }
}

async fn dispatch_rare(endpoint: Endpoint, call: Call) -> Reply {
    match endpoint {
        Endpoint::Execute => endpoint::execute::post(call).await,
        Endpoint::Query => endpoint::query::answer(call).await,
        Endpoint::Request => endpoint::request::post(call).await,
        Endpoint::Root => endpoint::console::root(),
        Endpoint::Console => endpoint::console::console(&call),
        Endpoint::Backup => endpoint::backup::get(call).await,
        Endpoint::Load => endpoint::load::post(call).await,
        Endpoint::Boot => endpoint::boot::post(call).await,
        Endpoint::Reap => endpoint::reap::post(&call),
        Endpoint::Remove => endpoint::remove::delete(call).await,
        Endpoint::Status => endpoint::status::get(&call).await,
        Endpoint::Nodes => endpoint::nodes::get(&call).await,
        Endpoint::Leader => endpoint::leader::answer(call).await,
        Endpoint::Readyz => endpoint::readyz::get(&call).await,
        Endpoint::Snapshot => endpoint::snapshot::post(&call).await,
        Endpoint::Hash => endpoint::hash::get(&call).await,
        Endpoint::Skip => endpoint::skip::post(&call).await,
        Endpoint::Verify => endpoint::verify::post(&call).await,
        Endpoint::Metrics => endpoint::metrics::get(&call).await,
        Endpoint::Openapi => endpoint::openapi::get(),
        Endpoint::Queries => endpoint::queries::answer(&call),
        Endpoint::Analyze => endpoint::analyze::answer(call).await,
        Endpoint::Licenses => endpoint::licenses::get(),
        Endpoint::Vars => endpoint::debug::vars(&call),
        Endpoint::Profiles => endpoint::debug::pprof(),
    }
}

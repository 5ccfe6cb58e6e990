//! The listener: connections in, answers out, and the bounded drain at the end.
//!
//! ```text
//!  accept ──► connection ──► route::answer ──► headers ──► client
//!                 ▲
//!  drain ─────────┘  no new connections; those at rest close; those at work finish, for a bounded time
//! ```

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use store::transport::BoxFuture;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::door::Door;
use super::reply::{JSON, Payload, Reply, TEXT};
use super::route;
use crate::VERSION;

#[cfg(test)]
mod tests;

/// Headers and request line together may be this long; beyond it the answer is 431.
const HEAD_BYTES_MAX: usize = 1024 * 1024;

/// Accepting pauses this long when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static X_RQLITE_VERSION: HeaderName = HeaderName::from_static("x-rqlite-version");

static X_RQLITE_SERVED_BY: HeaderName = HeaderName::from_static("x-rqlite-served-by");

/// The bound HTTP port.
pub struct Listener {
    socket: TcpListener,
}

/// Asks a running listener to drain.
pub struct Stopper(watch::Sender<()>);

/// What a listener waits on.
pub type Stop = watch::Receiver<()>;

/// A pair that connects whoever stops with whoever is stopped.
pub fn stop() -> (Stopper, Stop) {
    let (tx, rx) = watch::channel(());
    (Stopper(tx), rx)
}

impl Stopper {
    /// No new connections from now on, and none that rest.
    pub fn stop(self) {
        drop(self.0);
    }
}

impl Listener {
    /// Binds `address`, `host:port`.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved, or is in use.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self { socket })
    }

    /// The address that was bound.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop`, then until the last request is answered. Dropping the future cuts what is left.
    pub async fn serve(self, door: Arc<Door>, mut stop: Stop) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.socket.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                // Only the sender's end wakes it: nothing is ever sent.
                _ = stop.changed() => break,
            };
            match accepted {
                Ok((socket, _)) => drop(connections.spawn(connection(Arc::clone(&door), socket, stop.clone()))),
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.socket);
        while connections.join_next().await.is_some() {}
    }
}

async fn connection(door: Arc<Door>, socket: TcpStream, mut stop: Stop) {
    // Answers are written whole; waiting for more would only delay them.
    socket.set_nodelay(true).ok();
    let client = socket.peer_addr().ok();
    let service = service_fn(move |request| answer(Arc::clone(&door), request, client));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .title_case_headers(true)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let finished = tokio::select! {
        finished = connection.as_mut() => finished,
        _ = stop.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = finished {
        tracing::debug!(%error, "connection ended");
    }
}

/// Boxed, since the compiler cannot see through to the end of it that it is `Send`.
fn answer(
    door: Arc<Door>,
    request: Request<Incoming>,
    client: Option<SocketAddr>,
) -> BoxFuture<'static, Result<Response<Payload>, Infallible>> {
    Box::pin(async move {
        let reply = route::answer(Arc::clone(&door), request, client).await;
        Ok(respond(&door, reply))
    })
}

/// An answer as HTTP, with the headers that every answer has.
pub fn respond(door: &Door, reply: Reply) -> Response<Payload> {
    let status = reply.status();
    let mut response = Response::new(reply.payload);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(X_RQLITE_VERSION.clone(), HeaderValue::from_static(VERSION));
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("OPTIONS, GET, POST"),
    );
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Content-Type"),
    );
    set(
        headers,
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        door.options.allow_origin.as_deref(),
    );
    set_content_type(headers, &reply.head.content_type);
    set(headers, X_RQLITE_SERVED_BY.clone(), reply.served_by.as_ref());
    set(headers, header::LOCATION, reply.location.as_ref());
    if reply.head.content_type == TEXT && (status.is_client_error() || status.is_server_error()) {
        headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    }
    if reply.head.index > 0 {
        headers.insert("x-quorlite-index", HeaderValue::from(reply.head.index));
    }
    if reply.is_volatile {
        headers.insert("x-quorlite-durable", HeaderValue::from_static("false"));
    }
    if reply.head.retry_after_s > 0 {
        headers.insert("retry-after", HeaderValue::from(reply.head.retry_after_s));
    }
    response
}

/// Sets the kind of the body, if it has one; the usual one costs nothing.
fn set_content_type(headers: &mut HeaderMap, kind: &str) {
    match kind {
        "" => {}
        JSON => drop(headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON))),
        kind => set(headers, CONTENT_TYPE, Some(kind)),
    }
}

/// Sets a header whose value comes from outside; one that HTTP cannot carry is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<impl AsRef<str>>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_str(value.as_ref()).ok()) {
        headers.insert(name, value);
    }
}

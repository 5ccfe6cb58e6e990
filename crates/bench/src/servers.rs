//! The bare servers: hyper on one thread, and next to nothing behind it. Frozen, since the product is measured by them.

pub mod noop;
pub mod read;
pub mod write;

use std::io::Write;
use std::net::TcpListener;
use std::rc::Rc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// What a server does with a request.
pub trait Handler: 'static {
    /// Answers the body of a request to `path` with the body of a reply.
    fn answer(&self, path: &str, body: Bytes) -> impl Future<Output = anyhow::Result<Bytes>>;
}

/// Listens on a free port of the loopback, prints `listening ADDRESS`, and serves until the process ends.
///
/// # Errors
///
/// If there is no port, or no runtime.
pub fn serve<H: Handler>(make: impl FnOnce() -> anyhow::Result<H>) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(tokio::task::LocalSet::new().run_until(async {
        let handler = Rc::new(make()?);
        let address = listener.local_addr()?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        writeln!(std::io::stdout(), "listening {address}")?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let handler = Rc::clone(&handler);
            let service = service_fn(move |request| exchange(Rc::clone(&handler), request));
            tokio::task::spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    }))
}

async fn exchange<H: Handler>(handler: Rc<H>, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let reply = handler.answer(head.uri.path(), body).await?;
    let content_type = hyper::header::HeaderValue::from_static("application/json; charset=utf-8");
    let mut response = Response::new(Full::new(reply));
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, content_type);
    Ok(response)
}

//! An answer before it is HTTP: a head, and a body that is whole or streams.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Frame, SizeHint};
use sqlite::Cancel;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use super::json::{Pretty, Writer};
use crate::forwarded::{self, Answer, Broken, CHUNKS_MAX, Head};

/// The content type of JSON.
pub const JSON: &str = "application/json; charset=utf-8";

/// The content type of text.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// What stands before the body.
    pub head: Head,
    /// The body.
    pub payload: Payload,
    /// Whose work it was, where that is told.
    pub served_by: Option<String>,
    /// Where a redirect points.
    pub location: Option<String>,
    /// What it acknowledges is in this node's memory alone: the exception to D1.
    pub is_volatile: bool,
}

/// A body.
#[derive(Debug)]
pub enum Payload {
    /// All of it.
    Whole(Bytes),
    /// As it is made.
    Stream(Stream),
}

/// A body that is being made; dropping it cancels the query that makes it.
#[derive(Debug)]
pub struct Stream {
    /// A chunk that was taken out already.
    pub first: Option<Result<Bytes, Broken>>,
    /// Its chunks.
    pub chunks: forwarded::Body,
    /// The query behind it.
    pub query: Running,
}

/// A query that is cancelled when nobody holds this any more.
#[derive(Debug)]
pub struct Running(pub Cancel);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Reply {
    /// A status and nothing else.
    pub fn empty(status: StatusCode) -> Self {
        Self {
            head: Head {
                status: u32::from(status.as_u16()),
                ..Head::default()
            },
            payload: Payload::Whole(Bytes::new()),
            served_by: None,
            location: None,
            is_volatile: false,
        }
    }

    /// JSON that was made with success.
    pub fn json(payload: Payload) -> Self {
        let mut reply = Self::empty(StatusCode::OK);
        reply.head.content_type = JSON.to_owned();
        reply.payload = payload;
        reply
    }

    /// A tree as JSON.
    pub fn tree(tree: &serde_json::Value, pretty: bool) -> Self {
        let mut json = Writer::new(Pretty::from(pretty));
        json.tree(tree);
        Self::json(json.out.into())
    }

    /// Text as it is.
    pub fn text(status: StatusCode, text: impl Into<String>) -> Self {
        let mut reply = Self::empty(status);
        reply.head.content_type = TEXT.to_owned();
        reply.payload = Payload::Whole(text.into().into());
        reply
    }

    /// A protocol-level failure: one line.
    pub fn failure(status: StatusCode, text: impl std::fmt::Display) -> Self {
        Self::text(status, format!("{text}\n"))
    }

    /// As [`Self::empty`], with JSON announced: what JSON endpoints answer before they have begun.
    pub fn announce_json(mut self) -> Self {
        self.head.content_type = JSON.to_owned();
        self
    }

    /// With `prefix` before a body of one line.
    pub async fn with_prefix(mut self, prefix: &str) -> Self {
        let body = match self.payload.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(broken) => broken.to_string().into(),
        };
        self.payload = Payload::Whole([prefix.as_bytes(), &body].concat().into());
        self
    }

    /// With a word on whose work it was.
    pub fn served_by(mut self, address: &str) -> Self {
        self.served_by = Some(address.to_owned());
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        let status = u16::try_from(self.head.status)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok());
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// For another node's client.
    pub fn into_answer(self) -> Answer {
        let (tx, body) = mpsc::channel(CHUNKS_MAX);
        match self.payload {
            // The channel is new, and has room for one.
            Payload::Whole(bytes) if !bytes.is_empty() => drop(tx.try_send(Ok(bytes))),
            Payload::Whole(_) => {}
            Payload::Stream(stream) => drop(tokio::spawn(relay(stream, tx))),
        }
        Answer { head: self.head, body }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            head: answer.head,
            payload: Payload::from(answer.body),
            served_by: None,
            location: None,
            is_volatile: false,
        }
    }
}

impl From<forwarded::Body> for Payload {
    /// Whole if all of it is there already.
    fn from(mut chunks: forwarded::Body) -> Self {
        let first = match chunks.try_recv() {
            Ok(Ok(first)) if chunks.is_closed() && chunks.is_empty() => return Self::Whole(first),
            Ok(first) => Some(first),
            Err(TryRecvError::Disconnected) => return Self::Whole(Bytes::new()),
            Err(TryRecvError::Empty) => None,
        };
        Self::Stream(Stream {
            first,
            chunks,
            // The query runs on another node, which sees for itself that nobody reads any more.
            query: Running(Cancel::new()),
        })
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Whole(bytes.into())
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(stream) => {
                let chunk = match stream.first.take() {
                    Some(first) => Some(first),
                    None => ready!(stream.chunks.poll_recv(ctx)),
                };
                Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Hands chunks on until either side has had enough; the query ends with this.
async fn relay(mut stream: Stream, tx: mpsc::Sender<Result<Bytes, Broken>>) {
    let mut first = stream.first.take();
    loop {
        let chunk = match first.take() {
            Some(first) => Some(first),
            None => tokio::select! {
                chunk = stream.chunks.recv() => chunk,
                () = tx.closed() => return,
            },
        };
        let Some(chunk) = chunk else { return };
        if tx.send(chunk).await.is_err() {
            return;
        }
    }
}

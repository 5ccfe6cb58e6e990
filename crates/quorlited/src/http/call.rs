//! A request, once its query string has been checked and its route found.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use hyper::{HeaderMap, Method, StatusCode, Uri};

use tokio::sync::OwnedSemaphorePermit;

use super::door::Door;
use super::errors;
use super::params::Params;
use super::reply::Reply;
use crate::forwarded::Credentials;

/// What a request is told whose body finds no room.
const NO_ROOM: &str = "too many request bodies in memory; try again later";

/// A request.
pub struct Call {
    /// The API.
    pub door: Arc<Door>,
    /// The method.
    pub method: Method,
    /// Path and query string.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The query string.
    pub params: Params,
    /// When it came.
    pub began: Instant,
    /// The body; taken by whoever reads it.
    pub body: Option<Incoming>,
    /// What the body takes of the room for bodies.
    pub room: Option<OwnedSemaphorePermit>,
    /// Who asks.
    pub client: Option<SocketAddr>,
}

impl Call {
    /// Path and query string, as they came.
    pub fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }

    /// Reads the whole body.
    ///
    /// # Errors
    ///
    /// The answer, when it is too long or breaks off.
    pub async fn read_body(&mut self) -> Result<Bytes, Reply> {
        let Some(mut body) = self.body.take() else {
            return Ok(Bytes::new());
        };
        let most = self.door.options.limits.body_bytes_max;
        let mut first = Bytes::new();
        let mut more: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| Reply::failure(StatusCode::BAD_REQUEST, format!("read body: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + more.len() + data.len() > most {
                let text = format!("request body is longer than {most} bytes");
                return Err(Reply::failure(StatusCode::PAYLOAD_TOO_LARGE, text));
            }
            let Some(room) = self.door.body_room(data.len()) else {
                return Err(errors::retry_later(NO_ROOM));
            };
            match &mut self.room {
                Some(held) => held.merge(room),
                None => self.room = Some(room),
            }
            if first.is_empty() && more.is_empty() {
                // All of it, most of the time: then nothing is copied.
                first = data;
                continue;
            }
            if more.is_empty() {
                more.reserve(self.length().unwrap_or(0).min(most));
                more.extend_from_slice(&std::mem::take(&mut first));
            }
            more.extend_from_slice(&data);
        }
        Ok(if more.is_empty() { first } else { more.into() })
    }

    /// The length that the client declares.
    fn length(&self) -> Option<usize> {
        self.header(CONTENT_LENGTH)?.parse().ok()
    }

    /// A header's value, if it is text.
    pub fn header(&self, name: impl hyper::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The body is one SQL text.
    pub fn is_plain_text(&self) -> bool {
        self.header(CONTENT_TYPE)
            .is_some_and(|kind| kind.starts_with("text/plain"))
    }

    /// Name and password of Basic authentication; anything malformed is anonymous.
    pub fn credentials(&self) -> Option<Credentials> {
        use base64::Engine;
        let (scheme, encoded) = self.header(AUTHORIZATION)?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credentials {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

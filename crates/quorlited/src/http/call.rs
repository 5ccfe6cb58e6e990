//! A request, once its query string has been checked and its route found.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{HeaderMap, Method, StatusCode, Uri};

use super::door::Door;
use super::params::Params;
use super::reply::Reply;
use crate::forwarded::Credentials;

/// The largest body, in bytes: what fits a node's memory several times over. Beyond it the answer is 413.
pub const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;

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
        let Some(body) = self.body.take() else {
            return Ok(Bytes::new());
        };
        match Limited::new(body, BODY_BYTES_MAX).collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Reply::failure(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("request body is longer than {BODY_BYTES_MAX} bytes"),
            )),
            Err(error) => Err(Reply::failure(StatusCode::BAD_REQUEST, format!("read body: {error}"))),
        }
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

//! A body as pieces of one size, and whether they are UTF-8 together.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::Incoming;

use crate::http::reply::Reply;

/// Bytes of one piece: a log entry that is flushed in about the time of a small one, so that other writes hardly wait.
pub const PIECE_BYTES: usize = 128 * 1024;

/// A body, cut.
pub struct Pieces {
    body: Option<Incoming>,
    buffer: BytesMut,
}

impl Pieces {
    /// Cuts `body`.
    pub fn new(body: Option<Incoming>) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
        }
    }

    /// The next piece; the last one may be shorter.
    ///
    /// # Errors
    ///
    /// The answer, when the body breaks off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Box<Reply>> {
        while self.buffer.len() < PIECE_BYTES {
            let Some(body) = &mut self.body else { break };
            match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    let text = format!("read body: {error}");
                    return Err(Box::new(Reply::failure(StatusCode::BAD_REQUEST, text)));
                }
                None => self.body = None,
            }
        }
        let length = self.buffer.len().min(PIECE_BYTES);
        Ok((length > 0).then(|| self.buffer.split_to(length).freeze()))
    }

    /// Reads what is left and forgets it: a client that is still sending when its connection ends hears no answer.
    pub async fn drain(&mut self) {
        self.buffer.clear();
        if let Some(mut body) = self.body.take() {
            while let Some(Ok(_)) = body.frame().await {}
        }
    }
}

/// Whether a text that comes in pieces is UTF-8.
#[derive(Default)]
pub struct Utf8 {
    /// A character that the last piece ended within.
    begun: Vec<u8>,
}

impl Utf8 {
    /// Goes on with `piece`; false once the text is none.
    pub fn takes(&mut self, piece: &[u8]) -> bool {
        let mut rest = piece;
        while !self.begun.is_empty() {
            let Some((next, behind)) = rest.split_first() else {
                return true;
            };
            self.begun.push(*next);
            rest = behind;
            match str::from_utf8(&self.begun) {
                Ok(_) => self.begun.clear(),
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return false,
            }
        }
        match str::from_utf8(rest) {
            Ok(_) => true,
            Err(error) if error.error_len().is_none() => {
                self.begun.extend_from_slice(&rest[error.valid_up_to()..]);
                true
            }
            Err(_) => false,
        }
    }

    /// The text may end here.
    pub fn is_whole(&self) -> bool {
        self.begun.is_empty()
    }
}

#[cfg(test)]
mod tests;

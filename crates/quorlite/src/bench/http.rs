//! HTTP/1.1 as the load generator needs it: requests into a buffer, answers out of one. Touches no socket.
//!
//! Why not hyper's client: the generator shares its cores with the server that it measures, and a request that is
//! formatted into a reused buffer and an answer that is read in place cost half the user time of hyper's connection
//! task, header map and body channel (measured: docs/performance.md).
//!
//! ```text
//!  Head ──content-length──► Fixed ──────────────────────────► Done
//!    ├────chunked─────────► ChunkSize ⇄ Chunk, ChunkEnd ─► Trailer ─► Done
//!    └────neither─────────► UntilClose ──end of stream──────► Done
//! ```

use super::failure::Failure;

#[cfg(test)]
mod tests;

/// Bytes that the head of an answer may take; a server that sends more is not one of ours.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// What to send: a path and a JSON body.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Request {
    /// Path and query string.
    pub path: &'static str,
    /// JSON text.
    pub body: Vec<u8>,
}

impl Request {
    /// Writes the request to `out`, which is emptied first.
    pub fn write(&self, host: &str, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(self.path.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        out.extend_from_slice(host.as_bytes());
        out.extend_from_slice(b"\r\nContent-Type: application/json\r\nContent-Length: ");
        out.extend_from_slice(self.body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Fixed { left: usize },
    ChunkSize,
    Chunk { left: usize },
    ChunkEnd,
    Trailer,
    UntilClose,
    Done,
}

/// Reads one answer from bytes as they come.
pub struct Decoder {
    stage: Stage,
    status: u16,
    closes: bool,
    body: Vec<u8>,
}

impl Decoder {
    /// A decoder that waits for the first byte of an answer.
    pub fn new() -> Decoder {
        Decoder {
            stage: Stage::Head,
            status: 0,
            closes: false,
            body: Vec::new(),
        }
    }

    /// Forgets the last answer; its body buffer is kept for the next.
    pub fn reset(&mut self) {
        self.stage = Stage::Head;
        self.closes = false;
        self.body.clear();
    }

    /// Takes what it can from `input` and answers how many bytes that was; the caller keeps the rest and adds to it.
    ///
    /// # Errors
    ///
    /// [`Failure::Protocol`] if this is not an HTTP answer.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Failure> {
        let mut used = 0;
        while self.stage != Stage::Done {
            let rest = &input[used..];
            let taken = match self.stage {
                Stage::Head => self.head(rest)?,
                Stage::Fixed { left } | Stage::Chunk { left } => self.take(rest, left),
                Stage::ChunkSize => self.chunk_size(rest)?,
                Stage::ChunkEnd | Stage::Trailer => self.line_end(rest),
                Stage::UntilClose => self.take(rest, usize::MAX),
                Stage::Done => 0,
            };
            used += taken;
            if taken == 0 {
                break;
            }
        }
        Ok(used)
    }

    /// Tells that the stream has ended, which is the end of an answer that has no length.
    ///
    /// # Errors
    ///
    /// [`Failure::Lost`] if an answer was promised or begun and is not complete.
    pub fn end(&mut self) -> Result<(), Failure> {
        match self.stage {
            Stage::UntilClose | Stage::Done => {
                self.stage = Stage::Done;
                self.closes = true;
                Ok(())
            }
            Stage::Head
            | Stage::Fixed { .. }
            | Stage::ChunkSize
            | Stage::Chunk { .. }
            | Stage::ChunkEnd
            | Stage::Trailer => Err(Failure::Lost("closed before the answer was complete".to_owned())),
        }
    }

    /// Whether the answer is complete.
    pub fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether the server will close the connection after this answer.
    pub fn closes(&self) -> bool {
        self.closes
    }

    /// The status of a complete answer.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body of a complete answer.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    fn head(&mut self, input: &[u8]) -> Result<usize, Failure> {
        let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
            return if input.len() > HEAD_BYTES_MAX {
                Err(Failure::Protocol("endless head"))
            } else {
                Ok(0)
            };
        };
        let head = std::str::from_utf8(&input[..end]).map_err(|_| Failure::Protocol("head is not text"))?;
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let (version, rest) = status_line.split_once(' ').ok_or(Failure::Protocol("no status line"))?;
        let status = rest.get(..3).and_then(|digits| digits.parse().ok());
        self.status = status
            .filter(|_| version.starts_with("HTTP/1."))
            .ok_or(Failure::Protocol("no status line"))?;
        self.closes = version == "HTTP/1.0";
        self.stage = self.framing(lines)?;
        Ok(end + 4)
    }

    fn framing<'a>(&mut self, headers: impl Iterator<Item = &'a str>) -> Result<Stage, Failure> {
        let (mut length, mut chunked) = (None, false);
        for header in headers {
            let (name, value) = header
                .split_once(':')
                .ok_or(Failure::Protocol("header without a colon"))?;
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(
                    value
                        .parse()
                        .map_err(|_| Failure::Protocol("content-length is not a number"))?,
                );
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunked = value.eq_ignore_ascii_case("chunked");
            } else if name.eq_ignore_ascii_case("connection") {
                self.closes = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(match (self.status, chunked, length) {
            (100..=199, _, _) => Stage::Head,
            (204 | 304, _, _) | (_, false, Some(0)) => Stage::Done,
            (_, true, _) => Stage::ChunkSize,
            (_, false, Some(left)) => Stage::Fixed { left },
            (_, false, None) => Stage::UntilClose,
        })
    }

    fn take(&mut self, input: &[u8], left: usize) -> usize {
        let taken = input.len().min(left);
        self.body.extend_from_slice(&input[..taken]);
        self.stage = match self.stage {
            Stage::Fixed { .. } if taken == left => Stage::Done,
            Stage::Fixed { .. } => Stage::Fixed { left: left - taken },
            Stage::Chunk { .. } if taken == left => Stage::ChunkEnd,
            Stage::Chunk { .. } => Stage::Chunk { left: left - taken },
            other => other,
        };
        taken
    }

    fn chunk_size(&mut self, input: &[u8]) -> Result<usize, Failure> {
        let Some(end) = line(input) else {
            return Ok(0);
        };
        let text = std::str::from_utf8(&input[..end]).unwrap_or_default();
        let digits = text.split(';').next().unwrap_or_default().trim();
        let left = usize::from_str_radix(digits, 16).map_err(|_| Failure::Protocol("chunk without a size"))?;
        self.stage = if left == 0 {
            Stage::Trailer
        } else {
            Stage::Chunk { left }
        };
        Ok(end + 2)
    }

    /// The line after a chunk, or one of the trailer; an empty one ends the answer.
    fn line_end(&mut self, input: &[u8]) -> usize {
        let Some(end) = line(input) else {
            return 0;
        };
        self.stage = match self.stage {
            Stage::Trailer if end == 0 => Stage::Done,
            Stage::Trailer => Stage::Trailer,
            _ => Stage::ChunkSize,
        };
        end + 2
    }
}

/// Where the first line ends.
fn line(input: &[u8]) -> Option<usize> {
    input.windows(2).position(|two| two == b"\r\n")
}

//! As much of HTTP as the siege needs: one request after the other on a connection, with a deadline.
//!
//! What a client may conclude from a failure depends on whether the request may have arrived: see [`Failure`].

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_millis(1000);

/// Longest body that is taken.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// There was no connection: nothing was sent.
    Unsent,
    /// Something was sent, and no whole answer came.
    Unanswered,
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The header `X-Quorlite-Index`.
    pub index: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// The method.
    pub method: &'r str,
    /// Path and query.
    pub path: &'r str,
    /// The body.
    pub body: &'r str,
    /// The idempotency key.
    pub key: Option<&'r str>,
}

/// A connection to one address, opened when it is needed.
pub struct Connection {
    address: SocketAddrV4,
    stream: Option<BufReader<TcpStream>>,
}

impl Connection {
    /// None yet.
    pub fn new(address: SocketAddrV4) -> Connection {
        Connection { address, stream: None }
    }

    /// Sends a request and waits for its answer, for `patience` at most.
    ///
    /// # Errors
    ///
    /// [`Failure`]; the next request has a new connection.
    pub fn send(&mut self, request: Request<'_>, patience: Duration) -> Result<Response, Failure> {
        let deadline = Instant::now() + patience;
        let mut stream = match self.stream.take() {
            // One that the node has closed meanwhile would look like a request without an answer.
            Some(stream) if is_open(stream.get_ref()) => stream,
            Some(_) | None => BufReader::new(self.connect().map_err(|_| Failure::Unsent)?),
        };
        let (response, is_last) = exchange(&mut stream, self.address, request, deadline).ok_or(Failure::Unanswered)?;
        if !is_last {
            self.stream = Some(stream);
        }
        Ok(response)
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address.into(), CONNECT_MAX)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// The other side has not closed it.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let looked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut byte));
    let is_waiting = looked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
    is_waiting && stream.set_nonblocking(false).is_ok()
}

/// The answer, and whether the connection ends with it.
fn exchange(
    stream: &mut BufReader<TcpStream>,
    address: SocketAddrV4,
    request: Request<'_>,
    deadline: Instant,
) -> Option<(Response, bool)> {
    let Request {
        method,
        path,
        body,
        key,
    } = request;
    let key = key.map(|key| format!("Idempotency-Key: {key}\r\n")).unwrap_or_default();
    let length = body.len();
    let text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{key}Content-Length: {length}\r\n\r\n{body}");
    let socket = stream.get_mut();
    socket.set_write_timeout(Some(left(deadline)?)).ok()?;
    socket.write_all(text.as_bytes()).ok()?;
    let status = line(stream, deadline)?.split(' ').nth(1)?.parse().ok()?;
    let mut head = Head::default();
    loop {
        let line = line(stream, deadline)?;
        if line.is_empty() {
            break;
        }
        head.take(&line);
    }
    let body = if head.is_chunked {
        chunks(stream, deadline)?
    } else {
        bytes(stream, head.length, deadline)?
    };
    let response = Response {
        status,
        index: head.index,
        body,
    };
    Some((response, head.is_last))
}

/// What the headers say.
#[derive(Default)]
struct Head {
    length: usize,
    is_chunked: bool,
    is_last: bool,
    index: Option<u64>,
}

impl Head {
    fn take(&mut self, line: &str) {
        let Some((name, value)) = line.split_once(':') else {
            return;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => self.length = value.parse().unwrap_or(0),
            "transfer-encoding" => self.is_chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => self.is_last = value.eq_ignore_ascii_case("close"),
            "x-quorlite-index" => self.index = value.parse().ok(),
            _ => {}
        }
    }
}

fn left(deadline: Instant) -> Option<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
}

/// A line without its end.
fn line(stream: &mut BufReader<TcpStream>, deadline: Instant) -> Option<String> {
    let mut line = Vec::new();
    stream.get_ref().set_read_timeout(Some(left(deadline)?)).ok()?;
    let length = stream.read_until(b'\n', &mut line).ok()?;
    let text = line[..length].strip_suffix(b"\r\n")?;
    String::from_utf8(text.to_vec()).ok()
}

fn bytes(stream: &mut BufReader<TcpStream>, length: usize, deadline: Instant) -> Option<Vec<u8>> {
    let mut bytes = vec![0; Some(length).filter(|length| *length <= BODY_BYTES_MAX)?];
    let mut filled = 0;
    while filled < length {
        stream.get_ref().set_read_timeout(Some(left(deadline)?)).ok()?;
        let more @ 1.. = stream.read(&mut bytes[filled..]).ok()? else {
            return None;
        };
        filled += more;
    }
    Some(bytes)
}

fn chunks(stream: &mut BufReader<TcpStream>, deadline: Instant) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let length = usize::from_str_radix(&line(stream, deadline)?, 16).ok()?;
        let chunk = bytes(stream, length, deadline)?;
        line(stream, deadline)?;
        if length == 0 {
            return Some(body);
        }
        body.extend(chunk);
        if body.len() > BODY_BYTES_MAX {
            return None;
        }
    }
}

#[cfg(test)]
mod tests;

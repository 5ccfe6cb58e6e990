//! One HTTP/1.1 exchange, byte for byte: what a request carries is exactly what was given.
//!
//! Never follows a redirect, never retries, never normalises a path.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// No answer of this suite takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Debug, Default)]
pub struct Request<'a> {
    /// GET, POST, …
    pub method: &'a str,
    /// Path and query, raw.
    pub target: &'a str,
    /// Sent as given, before `Host`, `Content-Length` and `Connection`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The body without its chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A GET without a body.
///
/// # Errors
///
/// As [`ask`].
pub fn get(addr: &str, target: &str) -> Result<Response> {
    ask(
        addr,
        &Request {
            method: "GET",
            target,
            ..Request::default()
        },
    )
}

/// Sends `request` to `addr` on a connection of its own and reads the answer to its end.
///
/// # Errors
///
/// No connection, no answer within a minute, or one that is not HTTP.
pub fn ask(addr: &str, request: &Request<'_>) -> Result<Response> {
    let mut stream = TcpStream::connect(addr).with_context(|| format!("connect to {addr}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!(
        "Host: {addr}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        request.body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&request.body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).context("read the answer")?;
    parse(&answer, request.method == "HEAD")
}

fn parse(answer: &[u8], is_bare: bool) -> Result<Response> {
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .context("an answer without an end of headers")?;
    let head = std::str::from_utf8(&answer[..end]).context("headers that are no text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .context("no status line")?;
    let headers = lines
        .map(|line| {
            line.split_once(':')
                .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        })
        .collect::<Option<_>>()
        .context("a header without a colon")?;
    let mut response = Response {
        status: status.parse().context("no status")?,
        headers,
        body: Vec::new(),
    };
    let rest = &answer[end + 4..];
    response.body = match response.header("Transfer-Encoding") {
        _ if is_bare => rest.to_vec(),
        Some("chunked") => unchunk(rest)?,
        _ => rest.to_vec(),
    };
    if let (false, Some(length)) = (is_bare, response.header("Content-Length")) {
        ensure!(
            length == response.body.len().to_string(),
            "{length} bytes promised, {} sent",
            response.body.len()
        );
    }
    Ok(response)
}

fn unchunk(mut rest: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let at = rest
            .windows(2)
            .position(|window| window == b"\r\n")
            .context("the body ends before its last chunk")?;
        let size = std::str::from_utf8(&rest[..at]).context("a chunk size that is no text")?;
        let size = usize::from_str_radix(size, 16).context("a chunk size that is no number")?;
        let chunk = rest.get(at + 2..at + 2 + size).context("a chunk that is cut short")?;
        if size == 0 {
            return Ok(body);
        }
        body.extend(chunk);
        rest = rest.get(at + 2 + size + 2..).context("a chunk without its end")?;
    }
}

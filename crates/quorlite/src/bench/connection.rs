//! One client's connection: kept alive, made anew after a failure, on the next node if this one is to blame.
//!
//! Owns the socket and its buffers. Never retries a request: whether to is its caller's business.

use std::future::Future;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::failure::Failure;
use super::http::{Decoder, Request};

/// Room for reading: a small answer takes one read, a big one few.
const READ_BYTES: usize = 64 * 1024;

/// A complete answer, valid until the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// HTTP status.
    pub status: u16,
    /// Body, decoded from its framing.
    pub body: &'a [u8],
}

/// Something that answers requests: a connection, or a test's idea of one.
pub trait Exchange {
    /// Sends `request` and waits for the answer.
    fn call(&mut self, request: &Request) -> impl Future<Output = Result<Answer<'_>, Failure>>;

    /// Which of the nodes the next request goes to.
    fn node(&self) -> usize;
}

/// A keep-alive connection to one of several nodes.
pub struct Connection {
    addresses: Vec<String>,
    node: usize,
    timeout: Duration,
    stream: Option<TcpStream>,
    output: Vec<u8>,
    input: Vec<u8>,
    decoder: Decoder,
}

impl Connection {
    /// A connection that is made at the first request, to `addresses[node % addresses.len()]`.
    pub fn new(addresses: &[String], node: usize, timeout: Duration) -> Connection {
        assert!(!addresses.is_empty(), "a connection needs an address");
        Connection {
            addresses: addresses.to_vec(),
            node: node % addresses.len(),
            timeout,
            stream: None,
            output: Vec::new(),
            input: Vec::new(),
            decoder: Decoder::new(),
        }
    }

    async fn attempt(&mut self, request: &Request) -> Result<(), Failure> {
        let address = &self.addresses[self.node];
        let stream = match &mut self.stream {
            Some(stream) => stream,
            empty => empty.insert(connect(address).await?),
        };
        request.write(address, &mut self.output);
        stream.write_all(&self.output).await.map_err(lost)?;
        self.decoder.reset();
        loop {
            let used = self.decoder.feed(&self.input)?;
            self.input.drain(..used);
            if self.decoder.is_done() {
                return Ok(());
            }
            self.input.reserve(READ_BYTES);
            if stream.read_buf(&mut self.input).await.map_err(lost)? == 0 {
                self.decoder.end()?;
            }
        }
    }

    fn close(&mut self) {
        self.stream = None;
        self.input.clear();
    }
}

impl Exchange for Connection {
    async fn call(&mut self, request: &Request) -> Result<Answer<'_>, Failure> {
        let timeout = self.timeout;
        let outcome = match tokio::time::timeout(timeout, self.attempt(request)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Timeout(timeout)),
        };
        if let Err(failure) = outcome {
            self.close();
            if failure.blames_node() {
                self.node = (self.node + 1) % self.addresses.len();
            }
            return Err(failure);
        }
        if self.decoder.closes() {
            self.close();
        }
        if self.decoder.status() >= 500 && self.addresses.len() > 1 {
            self.close();
            self.node = (self.node + 1) % self.addresses.len();
        }
        Ok(Answer {
            status: self.decoder.status(),
            body: self.decoder.body(),
        })
    }

    fn node(&self) -> usize {
        self.node
    }
}

async fn connect(address: &str) -> Result<TcpStream, Failure> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| Failure::Connect(error.to_string()))?;
    stream.set_nodelay(true).map_err(lost)?;
    Ok(stream)
}

fn lost(error: std::io::Error) -> Failure {
    Failure::Lost(error.to_string())
}

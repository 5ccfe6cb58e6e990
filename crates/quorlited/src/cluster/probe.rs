//! A guard against HTTP addresses in `-join`: asks each address whether it speaks HTTP.
//!
//! An inter-node port closes such a connection without a word. HTTPS is not recognised yet: that needs TLS.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::Error;

/// How long an address may take to answer.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);

/// Checks that no address answers HTTP.
///
/// # Errors
///
/// [`Error::HttpAddress`].
pub async fn refuse_http(addresses: &[String]) -> Result<(), Error> {
    let asked = addresses.iter().map(async |address| {
        let answered = tokio::time::timeout(PROBE_TIME_MAX, speaks_http(address)).await;
        answered.unwrap_or(false).then_some(address)
    });
    match join_all(asked).await.into_iter().flatten().next() {
        Some(address) => Err(Error::HttpAddress(address.clone())),
        None => Ok(()),
    }
}

async fn speaks_http(address: &str) -> bool {
    let Ok(mut socket) = TcpStream::connect(address).await else {
        return false;
    };
    let request = format!("GET /status HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    if socket.write_all(request.as_bytes()).await.is_err() {
        return false;
    }
    let mut answer = [0; 5];
    socket.read_exact(&mut answer).await.is_ok() && answer == *b"HTTP/"
}

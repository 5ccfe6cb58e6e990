//! Dialling peers: the store's transport over TCP.
//!
//! Names are resolved each time, so that a peer may change its address behind its name.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use store::member::Peer;
use store::transport::{BoxFuture, Channel, Duplex, Transport};
use tokio::net::TcpStream;
use tracing::debug;

use super::frame::{Broken, Hello};
use super::stream;

/// A silent connection is probed after this, and then this often, three times.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Bytes that the peer's machine does not acknowledge for this long break the connection.
const UNACKNOWLEDGED_TIME_MAX: Duration = Duration::from_secs(15);

/// Opens connections to other nodes.
#[derive(Clone, Debug)]
pub struct TcpTransport {
    dial_timeout: Duration,
}

impl TcpTransport {
    /// A transport whose connections must stand, hello included, within `dial_timeout`.
    pub fn new(dial_timeout: Duration) -> Self {
        Self { dial_timeout }
    }

    /// Connects to the inter-node port at `address`, `host:port`.
    ///
    /// # Errors
    ///
    /// Whatever kept the connection from being made, or the peer from answering as a node of this kind.
    pub fn dial(&self, address: &str, channel: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        let address = address.to_owned();
        let dial_timeout = self.dial_timeout;
        Box::pin(async move {
            match tokio::time::timeout(dial_timeout, open(&address, channel)).await {
                Ok(opened) => opened,
                Err(_) => Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("dial {address}: timed out"),
                )),
            }
        })
    }
}

impl Transport for TcpTransport {
    fn connect(&self, peer: &Peer, channel: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        self.dial(&peer.address, channel)
    }
}

/// Sets what every connection between nodes has: no delay, and an end when the peer's machine is gone.
///
/// # Errors
///
/// The socket's.
pub fn tune(socket: &TcpStream) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_INTERVAL)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(3);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIME_MAX))?;
    Ok(())
}

async fn open(address: &str, channel: Channel) -> io::Result<Duplex> {
    let mut socket = TcpStream::connect(address).await?;
    tune(&socket)?;
    stream::send_hello(&mut socket, Hello::new(channel)).await?;
    let hello = stream::read_hello(&mut socket).await?;
    hello.version()?;
    if hello.channel()? != channel {
        return Err(Broken::Channel(hello.channel).into());
    }
    let (duplex, queues) = stream::pair(channel);
    let address = address.to_owned();
    tokio::spawn(async move {
        let (reader, writer) = socket.into_split();
        if let Err(error) = stream::run(reader, writer, channel, queues).await {
            debug!(peer = %address, ?channel, %error, "connection broken");
        }
    });
    Ok(duplex)
}

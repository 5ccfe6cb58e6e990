//! The listener: one port, every channel.
//!
//! ```text
//!  accept ──► more than 512? close ──► hello within 5 s ──► ours back ──► hand on ──► frames until it breaks
//! ```

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::transport::{Channel, Duplex};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::counters::{Counters, count};
use super::frame::{Broken, Hello};
use super::{stream, transport};

/// Connections that are open at once; further ones are closed at once and counted.
pub const CONNECTIONS_MAX: usize = 512;

/// A peer that has not sent its hello by then is closed.
const HELLO_TIME_MAX: Duration = Duration::from_secs(5);

/// Accepting pauses this long when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bound inter-node port.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    connections_max: usize,
    counters: Arc<Counters>,
}

impl Listener {
    /// Binds `address`, `host:port`.
    ///
    /// # Errors
    ///
    /// The address cannot be resolved, or is in use.
    pub async fn bind(address: &str, counters: Arc<Counters>) -> io::Result<Self> {
        let socket = TcpListener::bind(address).await?;
        Ok(Self {
            socket,
            connections_max: CONNECTIONS_MAX,
            counters,
        })
    }

    /// The same, with room for fewer connections or more.
    pub fn with_connections_max(mut self, connections_max: usize) -> Self {
        self.connections_max = connections_max;
        self
    }

    /// The address that was bound.
    ///
    /// # Errors
    ///
    /// The socket's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves connections for ever. `accept` must not block; it hands the duplex to whoever serves the channel.
    ///
    /// Dropping the future closes the port and every connection that came through it.
    pub async fn serve(self, accept: impl Fn(Channel, Duplex, SocketAddr) + Send + Sync + 'static) {
        let accept = Arc::new(accept);
        let slots = Arc::new(Semaphore::new(self.connections_max));
        let mut connections = JoinSet::new();
        loop {
            let (socket, peer) = tokio::select! {
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        warn!(%error, "accept failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
                Some(_) = connections.join_next() => continue,
            };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                count(&self.counters.conn_rejected);
                debug!(%peer, "connection refused: too many");
                continue;
            };
            connections.spawn(self.connection(slot, socket, peer, Arc::clone(&accept)));
        }
    }

    fn connection<A>(
        &self,
        slot: OwnedSemaphorePermit,
        socket: TcpStream,
        peer: SocketAddr,
        accept: Arc<A>,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        A: Fn(Channel, Duplex, SocketAddr) + Send + Sync + 'static,
    {
        let counters = Arc::clone(&self.counters);
        async move {
            let _slot = slot;
            if let Err(error) = handle(socket, peer, &counters, &*accept).await {
                debug!(%peer, %error, "connection broken");
            }
        }
    }
}

async fn handle(
    mut socket: TcpStream,
    peer: SocketAddr,
    counters: &Counters,
    accept: &impl Fn(Channel, Duplex, SocketAddr),
) -> Result<(), Broken> {
    transport::tune(&socket)?;
    let channel = match tokio::time::timeout(HELLO_TIME_MAX, greet(&mut socket)).await {
        Ok(greeted) => greeted,
        Err(_) => Err(Broken::Slow),
    };
    if let Err(Broken::Channel(_)) = &channel {
        count(&counters.unregistered_handlers);
    }
    let channel = channel?;
    count(&counters.connections_handled);
    let (duplex, queues) = stream::pair(channel);
    accept(channel, duplex, peer);
    let (reader, writer) = socket.into_split();
    stream::run(reader, writer, channel, queues).await
}

/// Answers before it judges the version, so that the other side can tell its user what this one speaks.
async fn greet(socket: &mut TcpStream) -> Result<Channel, Broken> {
    let theirs = stream::read_hello(socket).await?;
    let ours = Hello {
        channel: theirs.channel,
        ..Hello::new(Channel::Service)
    };
    stream::send_hello(socket, ours).await?;
    theirs.version()?;
    theirs.channel()
}

//! Listener and transport against each other and against garbage, over loopback.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::transport::{Channel, Duplex, FRAME_BYTES_MAX};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::net::counters::{Counters, read};
use crate::net::frame::{self, CONTROL_BYTES_MAX, Hello};
use crate::net::listener::CONNECTIONS_MAX;
use crate::net::{Listener, TcpTransport};

const DEADLINE: Duration = Duration::from_secs(20);

struct Port {
    address: String,
    counters: Arc<Counters>,
    accepted: mpsc::UnboundedReceiver<(Channel, Duplex, SocketAddr)>,
    serving: JoinHandle<()>,
}

impl Port {
    async fn open() -> Self {
        Self::with_connections_max(CONNECTIONS_MAX).await
    }

    async fn with_connections_max(connections_max: usize) -> Self {
        let counters = Arc::new(Counters::default());
        let listener = Listener::bind("127.0.0.1:0", Arc::clone(&counters)).await.unwrap();
        let listener = listener.with_connections_max(connections_max);
        let address = listener.local_addr().unwrap().to_string();
        let (tx, accepted) = mpsc::unbounded_channel();
        let serving = tokio::spawn(listener.serve(move |channel, duplex, peer| {
            tx.send((channel, duplex, peer)).ok();
        }));
        Self {
            address,
            counters,
            accepted,
            serving,
        }
    }

    async fn dial(&mut self, channel: Channel) -> (Duplex, Duplex) {
        let ours = transport().dial(&self.address, channel).await.unwrap();
        let (named, theirs, _) = soon(self.accepted.recv()).await.unwrap();
        assert_eq!(named, channel);
        (ours, theirs)
    }
}

fn transport() -> TcpTransport {
    TcpTransport::new(DEADLINE)
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// What the peer answers to raw bytes, until it closes.
async fn shout(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as any.
    soon(socket.read_to_end(&mut answer)).await.ok();
    answer
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_both_ways() {
    let mut port = Port::open().await;
    let (mut ours, mut theirs) = port.dial(Channel::Append).await;
    let frames: Vec<Bytes> = (0..300_u32)
        .map(|n| Bytes::from(vec![n as u8; (n as usize * 977) % 200_000]))
        .collect();
    let sent = frames.clone();
    let sending = tokio::spawn(async move {
        for frame in sent {
            ours.tx.send(frame).await.unwrap();
        }
        ours
    });
    for frame in &frames {
        assert_eq!(&soon(theirs.rx.recv()).await.unwrap(), frame);
    }
    ours = sending.await.unwrap();
    theirs.tx.send(Bytes::from_static(b"done")).await.unwrap();
    assert_eq!(soon(ours.rx.recv()).await.unwrap(), "done");
}

#[tokio::test]
async fn a_long_frame_arrives() {
    let mut port = Port::open().await;
    let (ours, mut theirs) = port.dial(Channel::Bulk).await;
    let frame = Bytes::from((0..9_000_000_u32).map(|n| (n >> 3) as u8).collect::<Vec<u8>>());
    ours.tx.send(frame.clone()).await.unwrap();
    assert_eq!(soon(theirs.rx.recv()).await.unwrap(), frame);
}

#[tokio::test]
async fn what_nobody_takes_stays_with_its_sender() {
    let mut port = Port::open().await;
    let (ours, mut theirs) = port.dial(Channel::Append).await;
    let frame = Bytes::from(vec![7; 1024 * 1024]);
    let mut sent = 0;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(300), ours.tx.send(frame.clone())).await {
        sent += 1;
        assert!(sent < 400, "held back");
    }
    assert!(theirs.rx.len() <= 4, "{} frames wait", theirs.rx.len());
    for _ in 0..sent {
        assert_eq!(soon(theirs.rx.recv()).await.unwrap(), frame);
    }
}

#[tokio::test]
async fn what_was_queued_leaves_before_a_dropped_duplex_closes() {
    let mut port = Port::open().await;
    let (ours, mut theirs) = port.dial(Channel::Service).await;
    for n in 0..50_u8 {
        ours.tx.send(Bytes::from(vec![n; 10_000])).await.unwrap();
    }
    drop(ours);
    for n in 0..50_u8 {
        assert_eq!(soon(theirs.rx.recv()).await.unwrap()[0], n);
    }
    assert!(soon(theirs.rx.recv()).await.is_none());
    soon(theirs.tx.closed()).await;
}

#[tokio::test]
async fn dropping_the_sending_half_breaks_the_stream() {
    let mut port = Port::open().await;
    let (ours, mut theirs) = port.dial(Channel::Control).await;
    let Duplex { tx, mut rx } = ours;
    drop(tx);
    assert!(soon(theirs.rx.recv()).await.is_none());
    assert!(soon(rx.recv()).await.is_none());
}

#[tokio::test]
async fn a_frame_over_its_channels_limit_breaks_the_stream() {
    let mut port = Port::open().await;
    let (mut ours, mut theirs) = port.dial(Channel::Control).await;
    ours.tx.send(Bytes::from(vec![0; CONTROL_BYTES_MAX + 1])).await.unwrap();
    assert!(soon(theirs.rx.recv()).await.is_none());
    assert!(soon(ours.rx.recv()).await.is_none());
}

#[tokio::test]
async fn garbage_costs_its_sender_the_connection_only() {
    let mut port = Port::open().await;
    assert!(shout(&port.address, b"GET /status HTTP/1.1\r\n\r\n").await.is_empty());
    assert!(shout(&port.address, &[0xff; 4000]).await.is_empty());
    let (ours, mut theirs) = port.dial(Channel::Service).await;
    ours.tx.send(Bytes::from_static(b"still here")).await.unwrap();
    assert_eq!(soon(theirs.rx.recv()).await.unwrap(), "still here");
    assert_eq!(read(&port.counters.connections_handled), 1);
}

#[tokio::test]
async fn garbage_after_a_good_hello_is_not_handed_on() {
    let mut port = Port::open().await;
    let mut socket = TcpStream::connect(&port.address).await.unwrap();
    socket.write_all(&Hello::new(Channel::Append).encode()).await.unwrap();
    let good = b"whole";
    socket
        .write_all(&frame::header(good, FRAME_BYTES_MAX).unwrap())
        .await
        .unwrap();
    socket.write_all(good).await.unwrap();
    socket.write_all(&[0x55; 100]).await.unwrap();
    let (_, mut theirs, _) = soon(port.accepted.recv()).await.unwrap();
    assert_eq!(soon(theirs.rx.recv()).await.unwrap(), &good[..]);
    assert!(soon(theirs.rx.recv()).await.is_none());
}

#[tokio::test]
async fn an_unknown_channel_is_closed_and_counted() {
    let port = Port::open().await;
    let hello = Hello {
        channel: 99,
        ..Hello::new(Channel::Control)
    };
    assert_eq!(shout(&port.address, &hello.encode()).await, hello.encode());
    assert_eq!(read(&port.counters.unregistered_handlers), 1);
}

#[tokio::test]
async fn an_unknown_version_is_told_ours_and_closed() {
    let port = Port::open().await;
    let hello = Hello {
        oldest: 200,
        newest: 201,
        channel: Channel::Control as u8,
    };
    let answer = shout(&port.address, &hello.encode()).await;
    assert_eq!(answer, Hello::new(Channel::Control).encode());
    assert_eq!(read(&port.counters.connections_handled), 0);
}

#[tokio::test]
async fn a_peer_of_another_version_is_named_in_the_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let hello = Hello {
            oldest: 200,
            newest: 201,
            channel: Channel::Control as u8,
        };
        socket.write_all(&hello.encode()).await.unwrap();
        socket
    });
    let error = transport().dial(&address, Channel::Control).await.unwrap_err();
    assert!(error.to_string().contains("speaks 200 to 201"), "{error}");
}

#[tokio::test]
async fn a_silent_peer_fails_the_dial_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let transport = TcpTransport::new(Duration::from_millis(50));
    let error = soon(transport.dial(&address, Channel::Control)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_counted() {
    let port = Port::with_connections_max(4).await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(transport().dial(&port.address, Channel::Service).await.unwrap());
    }
    assert!(transport().dial(&port.address, Channel::Service).await.is_err());
    assert_eq!(read(&port.counters.conn_rejected), 1);
}

#[tokio::test]
async fn a_closed_port_closes_its_connections() {
    let mut port = Port::open().await;
    let (mut ours, _theirs) = port.dial(Channel::Service).await;
    port.serving.abort();
    assert!(soon(ours.rx.recv()).await.is_none());
    assert!(transport().dial(&port.address, Channel::Service).await.is_err());
}

//! One connection at work: frames from a queue to the socket, and from the socket to a queue.
//!
//! Knows halves of a socket, not which kind: TLS comes in as other halves.
//!
//! ```text
//!  tx ──queue──► write: all that waits in one vectored write ──► socket
//!  rx ◄──queue── read: one large buffer, cut without copying ◄── socket
//! ```

use std::io::{self, IoSlice};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use store::transport::{Channel, Duplex, FRAMES_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frame::{self, Broken, Hello, Splitter};

/// How long frames that were queued before the reading half was dropped may take to leave.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// The queues of one connection, as the socket's side holds them.
#[derive(Debug)]
pub struct Queues {
    incoming: mpsc::Sender<Bytes>,
    outgoing: mpsc::Receiver<Bytes>,
}

/// Why reading ended without a fault.
enum ReadEnd {
    /// The peer closed the connection, between two frames.
    Peer,
    /// Nobody here reads any more.
    Local,
}

/// A duplex and the queues behind it.
pub fn pair() -> (Duplex, Queues) {
    let (incoming, rx) = mpsc::channel(FRAMES_MAX);
    let (tx, outgoing) = mpsc::channel(FRAMES_MAX);
    (Duplex { tx, rx }, Queues { incoming, outgoing })
}

/// Moves frames until one side is done; then the connection is closed.
///
/// # Errors
///
/// What broke it.
pub async fn run<R, W>(reader: R, writer: W, channel: Channel, queues: Queues) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let bytes_max = frame::frame_bytes_max(channel);
    let mut reading = pin!(read(reader, bytes_max, queues.incoming));
    let mut writing = pin!(write(writer, bytes_max, queues.outgoing));
    tokio::select! {
        end = &mut reading => match end? {
            ReadEnd::Peer => Ok(()),
            ReadEnd::Local => tokio::time::timeout(DRAIN_TIME_MAX, writing).await.unwrap_or(Ok(())),
        },
        end = &mut writing => end,
    }
}

/// Sends this side's hello.
///
/// # Errors
///
/// The socket's.
pub async fn send_hello<W: AsyncWrite + Unpin>(writer: &mut W, hello: Hello) -> Result<(), Broken> {
    Ok(writer.write_all(&hello.encode()).await?)
}

/// Reads the other side's hello.
///
/// # Errors
///
/// Those of [`Hello::decode`] and the socket's.
pub async fn read_hello<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Hello, Broken> {
    let mut bytes = [0; frame::HELLO_BYTES];
    reader.read_exact(&mut bytes).await?;
    Hello::decode(&bytes)
}

async fn read<R>(mut reader: R, bytes_max: usize, incoming: mpsc::Sender<Bytes>) -> Result<ReadEnd, Broken>
where
    R: AsyncRead + Unpin,
{
    let mut splitter = Splitter::new(bytes_max);
    loop {
        while let Some(frame) = splitter.split()? {
            if incoming.send(frame).await.is_err() {
                return Ok(ReadEnd::Local);
            }
        }
        tokio::select! {
            got = reader.read_buf(splitter.room()) => if got? == 0 {
                splitter.finish()?;
                return Ok(ReadEnd::Peer);
            },
            () = incoming.closed() => return Ok(ReadEnd::Local),
        }
    }
}

async fn write<W>(mut writer: W, bytes_max: usize, mut outgoing: mpsc::Receiver<Bytes>) -> Result<(), Broken>
where
    W: AsyncWrite + Unpin,
{
    let mut payloads = Vec::with_capacity(FRAMES_MAX);
    while outgoing.recv_many(&mut payloads, FRAMES_MAX).await > 0 {
        let headers: Result<Vec<_>, Broken> = payloads
            .iter()
            .map(|payload| frame::header(payload, bytes_max))
            .collect();
        write_all(&mut writer, &mut frame::slices(&headers?, &payloads)).await?;
        payloads.clear();
    }
    Ok(writer.shutdown().await?)
}

async fn write_all<W: AsyncWrite + Unpin>(writer: &mut W, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    while !slices.is_empty() {
        let written = writer.write_vectored(slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut slices, written);
    }
    writer.flush().await
}

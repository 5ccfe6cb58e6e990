//! One connection at work: frames from a queue to the socket, and from the socket to a queue.
//!
//! Knows halves of a socket, not which kind: TLS comes in as other halves.
//!
//! ```text
//!  tx ──queue──► write: all that waits in one vectored write ──► socket
//!  rx ◄──queue── read: one large buffer, cut without copying ◄── socket
//! ```
//!
//! Invariant: what waits is bounded in bytes as well as in frames (D12); a reader that does not keep up holds the
//! sender back through the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use store::transport::{Channel, Duplex, FRAMES_MAX};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frame::{self, Broken, Hello, Splitter};

/// Bytes of frames that wait to be taken from a duplex; one longer frame may wait alone. Beyond it nothing is read.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes after which a write gathers no further frames: system calls are cheap beside it.
const GATHERED_BYTES_MAX: usize = 256 * 1024;

/// Frames of the bulk channel that wait to be sent. They are large, and no system call is worth gathering them.
const BULK_FRAMES_MAX: usize = 4;

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
pub fn pair(channel: Channel) -> (Duplex, Queues) {
    let frames_max = match channel {
        Channel::Bulk => BULK_FRAMES_MAX,
        Channel::Control | Channel::Append | Channel::Service => FRAMES_MAX,
    };
    let (incoming, rx) = mpsc::channel(frames_max);
    let (tx, outgoing) = mpsc::channel(frames_max);
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

/// The lengths of the frames that were queued last: as many as the queue can hold.
struct Backlog {
    frames_max: usize,
    lengths: VecDeque<usize>,
}

impl Backlog {
    fn new(frames_max: usize) -> Self {
        Self {
            frames_max,
            lengths: VecDeque::with_capacity(frames_max),
        }
    }

    /// How many places of the queue must be free before a frame of `length` bytes may join it; counts it as queued.
    fn free_for(&mut self, length: usize) -> usize {
        let mut bytes = length;
        let fits = self.lengths.iter().rev().take_while(|queued| {
            bytes = bytes.saturating_add(**queued);
            bytes <= WAITING_BYTES_MAX
        });
        let stay = fits.count().min(self.frames_max - 1);
        if self.lengths.len() == self.frames_max {
            self.lengths.pop_front();
        }
        self.lengths.push_back(length);
        self.frames_max - stay
    }
}

async fn read<R>(mut reader: R, bytes_max: usize, incoming: mpsc::Sender<Bytes>) -> Result<ReadEnd, Broken>
where
    R: AsyncRead + Unpin,
{
    let mut splitter = Splitter::new(bytes_max);
    let mut backlog = Backlog::new(incoming.max_capacity());
    loop {
        while let Some(frame) = splitter.split()? {
            let free = backlog.free_for(frame.len());
            let Ok(mut places) = incoming.reserve_many(free).await else {
                return Ok(ReadEnd::Local);
            };
            if let Some(place) = places.next() {
                place.send(frame);
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
    while let Some(payload) = outgoing.recv().await {
        let mut gathered = payload.len();
        payloads.push(payload);
        while gathered < GATHERED_BYTES_MAX
            && payloads.len() < FRAMES_MAX
            && let Ok(payload) = outgoing.try_recv()
        {
            gathered += payload.len();
            payloads.push(payload);
        }
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

//! Bytes between nodes: the hello that opens a connection, and the frames that follow. The one place that computes them.
//!
//! Touches memory only. Drawn in `docs/formats.md`, section "Frames".
//!
//! ```text
//!  hello   magic "QRLT" │ oldest u8 │ newest u8 │ channel u8 │ 0 u8 │ crc32c u32          12 bytes, once each way
//!  frame   length u32 │ crc32c u32 │ payload                                               little-endian throughout
//! ```
//!
//! Invariants:
//! * The checksum of a frame covers its length too, so that a run of zeros is not a run of empty frames.
//! * [`Splitter`] asks for no more memory than twice what has come, whatever the length says.

use std::io::{self, IoSlice};

use bytes::{Bytes, BytesMut};
use store::transport::{Channel, FRAME_BYTES_MAX};

/// Bytes of a hello.
pub const HELLO_BYTES: usize = 12;

/// Bytes before the payload of a frame.
pub const HEADER_BYTES: usize = 8;

/// The oldest version of this protocol that this release speaks.
pub const VERSION_OLDEST: u8 = 1;

/// The newest one.
pub const VERSION_NEWEST: u8 = 1;

/// The largest frame on the control channel: votes and heartbeats are a few hundred bytes, a membership some thousand.
pub const CONTROL_BYTES_MAX: usize = 1024 * 1024;

const MAGIC: [u8; 4] = *b"QRLT";

/// Room that each read finds in the buffer. Larger reads save little; every connection holds one such buffer.
const READ_BYTES: usize = 64 * 1024;

/// With less room than this a new buffer is cheaper than another read.
const ROOM_BYTES_MIN: usize = 4 * 1024;

/// Why a connection was broken.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The other side does not speak this protocol.
    #[error("no hello: the first bytes are {0:02x?}")]
    Magic([u8; 4]),
    /// The hello fails its checksum.
    #[error("hello fails its checksum")]
    Hello,
    /// No version in common.
    #[error(
        "no common protocol version: the peer speaks {oldest} to {newest}, this node {VERSION_OLDEST} to {VERSION_NEWEST}"
    )]
    Version {
        /// The peer's oldest.
        oldest: u8,
        /// The peer's newest.
        newest: u8,
    },
    /// The hello names a channel that this release does not know.
    #[error("unknown channel {0}")]
    Channel(u8),
    /// A frame is longer than its channel allows.
    #[error("frame of {bytes} bytes, where {bytes_max} are the limit")]
    TooLong {
        /// Its length, as claimed or as given.
        bytes: usize,
        /// The channel's limit.
        bytes_max: usize,
    },
    /// A frame fails its checksum.
    #[error("frame of {0} bytes fails its checksum")]
    Checksum(usize),
    /// The connection ended within a frame.
    #[error("connection ended within a frame, after {0} of its bytes")]
    Truncated(usize),
    /// The hello did not come in time.
    #[error("no hello in time")]
    Slow,
    /// The socket failed.
    #[error("socket: {0}")]
    Io(#[from] io::Error),
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        match broken {
            Broken::Io(error) => error,
            Broken::Slow => io::Error::new(io::ErrorKind::TimedOut, broken),
            Broken::Magic(_)
            | Broken::Hello
            | Broken::Version { .. }
            | Broken::Channel(_)
            | Broken::TooLong { .. }
            | Broken::Checksum(_)
            | Broken::Truncated(_) => io::Error::new(io::ErrorKind::InvalidData, broken),
        }
    }
}

/// What opens a connection, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest version of the protocol that the sender speaks.
    pub oldest: u8,
    /// The newest one.
    pub newest: u8,
    /// What the connection is for, as [`Channel`] numbers it; the listener repeats it.
    pub channel: u8,
}

impl Hello {
    /// This release's hello.
    pub fn new(channel: Channel) -> Self {
        Self {
            oldest: VERSION_OLDEST,
            newest: VERSION_NEWEST,
            channel: channel as u8,
        }
    }

    /// Its bytes.
    pub fn encode(self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = self.oldest;
        bytes[5] = self.newest;
        bytes[6] = self.channel;
        let checksum = crc32c::crc32c(&bytes[..8]);
        bytes[8..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`Broken::Magic`], [`Broken::Hello`].
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Self, Broken> {
        let [m0, m1, m2, m3, oldest, newest, channel, _, c0, c1, c2, c3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(Broken::Magic([m0, m1, m2, m3]));
        }
        if crc32c::crc32c(&bytes[..8]) != u32::from_le_bytes([c0, c1, c2, c3]) {
            return Err(Broken::Hello);
        }
        Ok(Self {
            oldest,
            newest,
            channel,
        })
    }

    /// The newest version that both sides speak.
    ///
    /// # Errors
    ///
    /// [`Broken::Version`] when there is none.
    pub fn version(self) -> Result<u8, Broken> {
        let newest = self.newest.min(VERSION_NEWEST);
        if newest < self.oldest.max(VERSION_OLDEST) {
            return Err(Broken::Version {
                oldest: self.oldest,
                newest: self.newest,
            });
        }
        Ok(newest)
    }

    /// What the connection is for.
    ///
    /// # Errors
    ///
    /// [`Broken::Channel`] when this release does not know it.
    pub fn channel(self) -> Result<Channel, Broken> {
        match self.channel {
            1 => Ok(Channel::Control),
            2 => Ok(Channel::Append),
            3 => Ok(Channel::Bulk),
            4 => Ok(Channel::Service),
            other => Err(Broken::Channel(other)),
        }
    }
}

/// The largest frame that a channel carries.
pub fn frame_bytes_max(channel: Channel) -> usize {
    match channel {
        Channel::Control => CONTROL_BYTES_MAX,
        Channel::Append | Channel::Bulk | Channel::Service => FRAME_BYTES_MAX,
    }
}

/// The bytes that go before `payload`.
///
/// # Errors
///
/// [`Broken::TooLong`].
pub fn header(payload: &[u8], bytes_max: usize) -> Result<[u8; HEADER_BYTES], Broken> {
    let bytes = payload.len();
    let too_long = Broken::TooLong { bytes, bytes_max };
    if bytes > bytes_max {
        return Err(too_long);
    }
    let Ok(length) = u32::try_from(bytes) else {
        return Err(too_long);
    };
    let length = length.to_le_bytes();
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&length);
    header[4..].copy_from_slice(&checksum(length, payload).to_le_bytes());
    Ok(header)
}

/// Headers and payloads in the order in which they are written, empty payloads left out.
pub fn slices<'a>(headers: &'a [[u8; HEADER_BYTES]], payloads: &'a [Bytes]) -> Vec<IoSlice<'a>> {
    let pairs = headers.iter().zip(payloads);
    pairs
        .flat_map(|(header, payload)| [&header[..], &payload[..]])
        .filter(|part| !part.is_empty())
        .map(IoSlice::new)
        .collect()
}

/// Cuts a stream of bytes into frames, without copying them.
#[derive(Debug)]
pub struct Splitter {
    bytes_max: usize,
    buffer: BytesMut,
}

impl Splitter {
    /// A splitter for frames of up to `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            buffer: BytesMut::new(),
        }
    }

    /// The buffer, with room for the next read.
    pub fn room(&mut self) -> &mut BytesMut {
        let held = self.buffer.len();
        let spare = self.buffer.capacity() - held;
        let missing = self
            .length()
            .map_or(0, |length| (HEADER_BYTES + length).saturating_sub(held));
        if spare < ROOM_BYTES_MIN.max(missing.min(READ_BYTES)) {
            // A long frame doubles what it holds, so that copying stays linear and a lying length gains nothing.
            self.buffer.reserve(missing.min(held).max(READ_BYTES));
        }
        &mut self.buffer
    }

    /// The next whole frame, if it has come.
    ///
    /// # Errors
    ///
    /// [`Broken::TooLong`], [`Broken::Checksum`]; the splitter is of no use afterwards.
    pub fn split(&mut self) -> Result<Option<Bytes>, Broken> {
        let Some(length) = self.length() else {
            return Ok(None);
        };
        if length > self.bytes_max {
            return Err(Broken::TooLong {
                bytes: length,
                bytes_max: self.bytes_max,
            });
        }
        if self.buffer.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        let header = self.buffer.split_to(HEADER_BYTES);
        let payload = self.buffer.split_to(length).freeze();
        let expected = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if checksum([header[0], header[1], header[2], header[3]], &payload) != expected {
            return Err(Broken::Checksum(length));
        }
        Ok(Some(payload))
    }

    /// Checks that the stream may end here.
    ///
    /// # Errors
    ///
    /// [`Broken::Truncated`].
    pub fn finish(&self) -> Result<(), Broken> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(Broken::Truncated(self.buffer.len()))
        }
    }

    fn length(&self) -> Option<usize> {
        let bytes = self.buffer.first_chunk::<4>()?;
        // All of a header is needed before its length means anything.
        (self.buffer.len() >= HEADER_BYTES).then(|| u32::from_le_bytes(*bytes) as usize)
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&length), payload)
}

//! What nodes say to each other: hellos, frames, and the messages in them.
//!
//! ```text
//!  first byte: which reading of [`READINGS`]      rest: its bytes
//! ```
//!
//! Each message is read through to what the server works with, and written again; what was written is read as the same.

use bytes::{BufMut, Bytes};
use command::entry::Command;
use prost::Message;
use quorlited::cluster::message::{Reply, Request};
use quorlited::net::Broken;
use quorlited::net::frame::{self, HEADER_BYTES, HELLO_BYTES, Hello, Splitter};
use store::reread::{Kind, reread};
use store::transport::Channel;

use crate::{Meter, bounded};

/// Frames longer than this break the streams of this target.
const FRAME_BYTES_MAX: usize = 1024;

type Reading = fn(&[u8], &dyn Meter);

/// What the first byte chooses; the last is for every byte beyond. Kept corpora count on the order.
pub const READINGS: [Reading; 16] = [
    hello,
    stream,
    damaged,
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::Open, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::ControlAsk, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::ControlAnswer, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::AppendAsk, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::StreamAnswer, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::BulkAsk, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::SnapshotAnswer, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::Entry, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::Vote, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| peers(Kind::Membership, bytes)),
    |bytes, meter| message(bytes, meter, |bytes| Some(Request::decode(bytes).ok()?.encode_frame())),
    |bytes, meter| message(bytes, meter, |bytes| written(Reply::decode(bytes).ok()?)),
    |bytes, meter| message(bytes, meter, stored),
];

/// Reads `data` as its first byte says.
pub fn run(data: &[u8], meter: &dyn Meter) {
    if let Some((which, bytes)) = data.split_first() {
        let which = usize::from(*which).min(READINGS.len() - 1);
        READINGS[which](bytes, meter);
    }
}

fn hello(bytes: &[u8], _: &dyn Meter) {
    let Some(bytes) = bytes.first_chunk::<HELLO_BYTES>() else {
        return;
    };
    if let Ok(hello) = Hello::decode(bytes) {
        let again = Hello::decode(&hello.encode());
        assert!(matches!(again, Ok(again) if again == hello));
        if let Ok(version) = hello.version() {
            assert!((hello.oldest..=hello.newest).contains(&version));
        }
        assert!(hello.channel().is_ok_and(|channel| channel as u8 == hello.channel) || hello.channel().is_err());
    }
}

/// Any bytes as a stream: what comes out as frames is what went in.
fn stream(bytes: &[u8], meter: &dyn Meter) {
    let Some((step, bytes)) = bytes.split_first() else {
        return;
    };
    let (frames, end) = bounded(meter, bytes.len(), || split(bytes, usize::from(*step)));
    let written = joined(&frames);
    assert!(bytes.starts_with(&written), "frames that were never sent");
    assert!(end.is_err() || written.len() == bytes.len(), "an end within a frame");
}

/// Frames of our own, with one bit flipped or none: the frames before it come out, and that one never does.
fn damaged(bytes: &[u8], meter: &dyn Meter) {
    let [step, low, high, payloads @ ..] = bytes else {
        return;
    };
    let mut frames = Vec::new();
    let mut rest = payloads;
    while let Some((length, tail)) = rest.split_first() {
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        frames.push(Bytes::copy_from_slice(payload));
        rest = tail;
    }
    let mut sent = joined(&frames);
    let bit = usize::from(u16::from_le_bytes([*low, *high]));
    let place = (bit / 8 < sent.len()).then_some(bit / 8);
    if let Some(place) = place {
        sent[place] ^= 1 << (bit % 8);
    }
    let (came, end) = bounded(meter, sent.len(), || split(&sent, usize::from(*step)));
    assert!(frames.starts_with(&came), "frames that were never sent");
    match place {
        None => assert!(end.is_ok() && came.len() == frames.len(), "{end:?}"),
        Some(place) => {
            let whole: usize = came.iter().map(|frame| HEADER_BYTES + frame.len()).sum();
            assert!(end.is_err() && whole <= place, "a flipped bit passed");
        }
    }
}

fn joined(payloads: &[Bytes]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        match frame::header(payload, FRAME_BYTES_MAX) {
            Ok(header) => bytes.extend_from_slice(&header),
            Err(error) => panic!("write a frame of {} bytes: {error}", payload.len()),
        }
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// The frames before the first fault, and the fault. The stream arrives `step` bytes at a time.
fn split(bytes: &[u8], step: usize) -> (Vec<Bytes>, Result<(), Broken>) {
    let mut splitter = Splitter::new(FRAME_BYTES_MAX);
    let mut frames = Vec::new();
    for piece in bytes.chunks(step + 1) {
        let room = splitter.room();
        assert!(room.capacity() - room.len() >= piece.len());
        room.put_slice(piece);
        loop {
            match splitter.split() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(broken) => return (frames, Err(broken)),
            }
        }
    }
    let end = splitter.finish();
    (frames, end)
}

/// `rewrite` reads a message and writes it again, or says that it is none.
fn message(bytes: &[u8], meter: &dyn Meter, rewrite: impl Fn(Bytes) -> Option<Bytes>) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Some(written) = bounded(meter, bytes.len(), || rewrite(bytes.clone())) else {
        return;
    };
    let again = rewrite(written.clone());
    assert_eq!(
        again.as_ref(),
        Some(&written),
        "what was read of {bytes:?} is written otherwise the second time"
    );
}

fn peers(kind: Kind, bytes: Bytes) -> Option<Bytes> {
    reread(kind, bytes).ok()
}

/// What the log and the database hold of a request: the command, and the reply that is kept for a retry.
fn stored(bytes: Bytes) -> Option<Bytes> {
    if let Ok(command) = Command::from_bytes(bytes.clone()) {
        let written = command.to_bytes();
        let again = Command::from_bytes(written.clone());
        assert_eq!(again.map(|command| command.to_bytes()).ok(), Some(written));
    }
    written(command::reply::Reply::decode(bytes).ok()?)
}

fn written(message: impl Message) -> Option<Bytes> {
    Some(message.encode_to_vec().into())
}

/// The hello that opens a channel, for the seeds.
pub fn opening(channel: Channel) -> [u8; HELLO_BYTES] {
    Hello::new(channel).encode()
}

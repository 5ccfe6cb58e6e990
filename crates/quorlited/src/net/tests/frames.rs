//! The codec, driven with bytes only.

use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use store::transport::Channel;

use crate::net::frame::{self, Broken, CONTROL_BYTES_MAX, HEADER_BYTES, Hello, Splitter, VERSION_NEWEST};

fn encode(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in payloads {
        bytes.extend_from_slice(&frame::header(payload, CONTROL_BYTES_MAX).unwrap());
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// Feeds `bytes` in pieces whose lengths repeat `steps`; the frames before the first fault, and the fault.
fn split(bytes: &[u8], steps: &[usize]) -> (Vec<Bytes>, Result<(), Broken>) {
    let mut splitter = Splitter::new(CONTROL_BYTES_MAX);
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut steps = steps.iter().cycle();
    while !rest.is_empty() {
        let step = rest.len().min(*steps.next().unwrap());
        splitter.room().put_slice(&rest[..step]);
        rest = &rest[step..];
        loop {
            match splitter.split() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, splitter.finish())
}

fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12)
}

proptest! {
    #[test]
    fn frames_survive_any_split(payloads in payloads(), steps in prop::collection::vec(1_usize..700, 1..8)) {
        let (frames, end) = split(&encode(&payloads), &steps);
        prop_assert!(end.is_ok());
        prop_assert_eq!(frames, payloads);
    }

    #[test]
    fn a_cut_stream_yields_whole_frames_and_says_so(payloads in payloads(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&payloads);
        let cut = cut.index(bytes.len() + 1);
        let (frames, end) = split(&bytes[..cut], &[97]);
        prop_assert_eq!(&frames[..], &payloads[..frames.len()]);
        let whole: usize = frames.iter().map(|frame| HEADER_BYTES + frame.len()).sum();
        prop_assert_eq!(end.is_ok(), whole == cut);
    }

    #[test]
    fn a_flipped_bit_never_passes(
        payloads in payloads().prop_filter("needs a frame", |payloads| !payloads.is_empty()),
        place in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let mut bytes = encode(&payloads);
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let (frames, end) = split(&bytes, &[1024]);
        prop_assert!(end.is_err());
        prop_assert_eq!(&frames[..], &payloads[..frames.len()]);
    }

    #[test]
    fn garbage_is_an_error_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (frames, end) = split(&bytes, &[13, 500]);
        prop_assert!(frames.is_empty());
        prop_assert_eq!(end.is_ok(), bytes.is_empty());
    }

    #[test]
    fn a_damaged_hello_is_refused(place in 0_usize..12, bit in 0_u8..8) {
        let mut bytes = Hello::new(Channel::Bulk).encode();
        bytes[place] ^= 1 << bit;
        prop_assert!(Hello::decode(&bytes).is_err());
    }
}

#[test]
fn hellos_name_their_channel() {
    for channel in [Channel::Control, Channel::Append, Channel::Bulk, Channel::Service] {
        let hello = Hello::decode(&Hello::new(channel).encode()).unwrap();
        assert_eq!(hello.channel().unwrap(), channel);
        assert_eq!(hello.version().unwrap(), VERSION_NEWEST);
    }
}

#[test]
fn versions_meet_at_the_newest_common_one() {
    let hello = |oldest, newest| Hello {
        oldest,
        newest,
        channel: 1,
    };
    assert_eq!(hello(0, VERSION_NEWEST + 3).version().unwrap(), VERSION_NEWEST);
    assert!(hello(VERSION_NEWEST + 1, VERSION_NEWEST + 3).version().is_err());
    assert!(hello(0, 0).version().is_err());
}

#[test]
fn zeros_are_not_empty_frames() {
    let (frames, end) = split(&[0; 64], &[64]);
    assert!(frames.is_empty());
    assert!(matches!(end, Err(Broken::Checksum(0))));
}

#[test]
fn a_frame_over_the_limit_is_refused_by_both_sides() {
    assert!(matches!(
        frame::header(&[0; 11], 10),
        Err(Broken::TooLong { bytes: 11, .. })
    ));
    let mut splitter = Splitter::new(10);
    splitter.room().put_slice(&frame::header(&[0; 11], 11).unwrap());
    assert!(matches!(splitter.split(), Err(Broken::TooLong { bytes: 11, .. })));
}

#[test]
fn a_lying_length_costs_no_memory() {
    let mut splitter = Splitter::new(frame::frame_bytes_max(Channel::Append));
    let mut header = [0; HEADER_BYTES];
    header[..4].copy_from_slice(&(100_u32 << 20).to_le_bytes());
    splitter.room().put_slice(&header);
    assert!(splitter.split().unwrap().is_none());
    assert!(splitter.room().capacity() <= 256 * 1024);
    splitter.room().put_slice(&[7; 50_000]);
    assert!(splitter.split().unwrap().is_none());
    assert!(splitter.room().capacity() <= 512 * 1024);
}

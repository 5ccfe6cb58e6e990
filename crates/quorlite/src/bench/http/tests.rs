//! Tests of the request's bytes and of answers in all framings, cut at every byte.

use super::*;

const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;ext=1\r\n, world\r\n0\r\n\r\n";
const FIXED: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 16\r\nX-A: b: c\r\n\r\nleader not found";

/// Feeds `text` in two parts, cut at `cut`, as a connection would.
fn decode(text: &str, cut: usize) -> Result<(Decoder, Vec<u8>), Failure> {
    let mut decoder = Decoder::new();
    let mut input = Vec::new();
    for part in [&text.as_bytes()[..cut], &text.as_bytes()[cut..]] {
        input.extend_from_slice(part);
        let used = decoder.feed(&input)?;
        input.drain(..used);
    }
    Ok((decoder, input))
}

#[test]
fn a_request_is_complete_and_reuses_its_buffer() {
    let mut out = b"left over".to_vec();
    Request {
        path: "/db/execute?queue",
        body: b"[1]".to_vec(),
    }
    .write("127.0.0.1:4001", &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "POST /db/execute?queue HTTP/1.1\r\nHost: 127.0.0.1:4001\r\nContent-Type: application/json\r\nContent-Length: 3\r\n\r\n[1]"
    );
}

#[test]
fn answers_are_read_whatever_the_packets() {
    for (text, status, body) in [(CHUNKED, 200, "hello, world"), (FIXED, 503, "leader not found")] {
        for cut in 0..=text.len() {
            let (decoder, rest) = decode(text, cut).unwrap();
            assert!(decoder.is_done() && rest.is_empty(), "{text:?} cut at {cut}");
            assert_eq!(
                (decoder.status(), decoder.body()),
                (status, body.as_bytes()),
                "{text:?} cut at {cut}"
            );
            assert!(!decoder.closes());
        }
    }
}

#[test]
fn bytes_after_an_answer_belong_to_the_next() {
    let two = format!("{FIXED}{CHUNKED}");
    let (mut decoder, mut rest) = decode(&two, 10).unwrap();
    assert_eq!(rest, CHUNKED.as_bytes());
    decoder.reset();
    let used = decoder.feed(&rest).unwrap();
    rest.drain(..used);
    assert_eq!((decoder.body(), rest.len()), (&b"hello, world"[..], 0));
}

#[test]
fn trailers_empty_bodies_and_interim_answers_are_passed_over() {
    let trailer = "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n";
    let empty = "HTTP/1.1 204 No Content\r\n\r\n";
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (text, status, body, closes) in [
        (trailer, 200, "x", false),
        (empty, 204, "", false),
        (interim, 200, "", true),
    ] {
        let (decoder, rest) = decode(text, 3).unwrap();
        assert!(decoder.is_done() && rest.is_empty(), "{text:?}");
        assert_eq!(
            (decoder.status(), decoder.body(), decoder.closes()),
            (status, body.as_bytes(), closes)
        );
    }
}

#[test]
fn an_answer_without_a_length_ends_with_the_stream() {
    let (mut decoder, _) = decode("HTTP/1.0 200 OK\r\n\r\npartial", 20).unwrap();
    assert!(!decoder.is_done());
    decoder.end().unwrap();
    assert_eq!((decoder.body(), decoder.closes()), (&b"partial"[..], true));
}

#[test]
fn a_stream_that_ends_inside_an_answer_is_lost() {
    for cut in [0, 5, FIXED.len() - 1] {
        let mut decoder = Decoder::new();
        decoder.feed(&FIXED.as_bytes()[..cut]).unwrap();
        assert!(matches!(decoder.end(), Err(Failure::Lost(_))), "cut at {cut}");
    }
    let mut decoder = Decoder::new();
    decoder.feed(&CHUNKED.as_bytes()[..CHUNKED.len() - 2]).unwrap();
    assert!(matches!(decoder.end(), Err(Failure::Lost(_))));
}

#[test]
fn what_is_not_http_is_refused() {
    for text in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ] {
        assert!(
            matches!(decode(text, text.len()), Err(Failure::Protocol(_))),
            "{text:?}"
        );
    }
    let endless = "x".repeat(HEAD_BYTES_MAX + 1);
    assert!(matches!(decode(&endless, 1), Err(Failure::Protocol(_))));
}

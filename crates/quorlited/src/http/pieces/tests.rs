//! Bodies that are refused are still read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Utf8;
use crate::http::tests::World;

/// More than sockets hold between two processes.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// Sends all of a body before it reads the answer, as simple clients do.
async fn send_then_read(world: &World, target: &str, first: &[u8]) -> String {
    let mut socket = TcpStream::connect(world.address().await).await.unwrap();
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut body = first.to_vec();
    body.resize(BODY_BYTES, b' ');
    socket.write_all(&body).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_listens_hears_why_it_was_refused() {
    let world = World::leading();
    let answer = send_then_read(&world, "/boot", b"SQLite format 3\0").await;
    assert!(answer.ends_with("not leader\n"), "{answer}");
    let answer = send_then_read(&world, "/db/load", b"\x1f\x8b\x08").await;
    assert!(answer.contains("string field contains invalid UTF-8"), "{answer}");
    let nowhere = World::without_leader();
    let answer = send_then_read(&nowhere, "/db/load", b"SELECT 1").await;
    assert!(answer.ends_with("leader not found\n"), "{answer}");
}

#[test]
fn a_character_may_be_cut_between_two_pieces() {
    let text = "aé€😀z".as_bytes();
    for cut in 0..=text.len() {
        for second in cut..=text.len() {
            let mut utf8 = Utf8::default();
            for piece in [&text[..cut], &text[cut..second], &text[second..]] {
                assert!(utf8.takes(piece));
            }
            assert!(utf8.is_whole());
        }
    }
    for bad in [&b"\xff"[..], b"\xc3\x28", b"\xe2\x82\x28"] {
        for cut in 0..=bad.len() {
            let mut utf8 = Utf8::default();
            assert!(!(utf8.takes(&bad[..cut]) && utf8.takes(&bad[cut..])));
        }
    }
    let mut cut_off = Utf8::default();
    assert!(cut_off.takes(b"\xe2\x82") && !cut_off.is_whole());
}

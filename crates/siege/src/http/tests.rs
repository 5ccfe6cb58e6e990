//! The client against servers that say one thing each.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::time::Duration;

use super::{Connection, Failure, Request, Response};

const PATIENCE: Duration = Duration::from_secs(30);

const REQUEST: Request<'_> = Request {
    method: "POST",
    path: "/db/execute",
    body: "[]",
    key: Some("k"),
};

/// A connection to a server that answers each connection's first request with one of `answers`, and hangs up.
fn server(answers: &'static [&'static str]) -> Connection {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
        unreachable!("it is bound to v4")
    };
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 1000];
            let length = stream.read(&mut request).unwrap();
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            assert!(
                text.starts_with("POST /db/execute HTTP/1.1\r\n") && text.contains("Idempotency-Key: k\r\n"),
                "{text}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    Connection::new(address)
}

fn answered(answer: &'static [&'static str]) -> Result<Response, Failure> {
    server(answer).send(REQUEST, PATIENCE)
}

#[test]
fn a_body_of_known_length_is_read_with_its_index() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nX-Quorlite-Index: 17\r\ncontent-length: 5\r\n\r\nhello";
    let response = answered(&[ANSWER]).unwrap();
    assert_eq!((response.status, response.index), (200, Some(17)));
    assert_eq!(response.body, b"hello");
}

#[test]
fn chunks_are_put_together() {
    const ANSWER: &str =
        "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    let response = answered(&[ANSWER]).unwrap();
    assert_eq!((response.status, response.index), (503, None));
    assert_eq!(response.body, b"abc0123456789");
}

#[test]
fn half_an_answer_is_none() {
    for answer in [
        &[""],
        &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"],
        &["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"],
    ] {
        assert!(matches!(answered(answer), Err(Failure::Unanswered)), "{answer:?}");
    }
}

#[test]
fn where_nobody_listens_nothing_was_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut connection = Connection::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    assert!(matches!(connection.send(REQUEST, PATIENCE), Err(Failure::Unsent)));
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_opened_again() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    let mut connection = server(&[ANSWER, ANSWER]);
    assert_eq!(connection.send(REQUEST, PATIENCE).unwrap().body, b"x");
    // Nothing is sent on it before it is known to be open, so this is certain.
    while super::is_open(connection.stream.as_ref().unwrap().get_ref()) {
        std::thread::yield_now();
    }
    assert_eq!(connection.send(REQUEST, PATIENCE).unwrap().body, b"x");
}

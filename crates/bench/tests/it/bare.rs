//! A floor is only one if the work is done: rows are in the database and in the log before the answer.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;

/// A bare server, killed when dropped.
struct Bare {
    child: Child,
    address: String,
}

impl Bare {
    fn start(name: &str, dir: Option<&Path>) -> Bare {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorlite-bench"));
        let mut child = command
            .args(["serve", name])
            .args(dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().strip_prefix("listening ").unwrap().to_owned();
        Bare { child, address }
    }

    /// Posts a body and answers status line and body of the reply.
    fn post(&self, path: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), body.to_owned())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn an_answered_write_is_in_the_log_and_in_the_database() {
    let dir = tempfile::tempdir().unwrap();
    let server = Bare::start("write", Some(dir.path()));
    for row in 1..=3 {
        let body = format!(r#"[["INSERT",{row},"some text"]]"#);
        let (status, reply) = server.post("/db/execute", &body);
        assert!(
            status.contains("200") && reply.contains(r#""rows_affected":1"#),
            "{status} {reply}"
        );
        let db = Connection::open(dir.path().join("write.db")).unwrap();
        let stored: String = db
            .query_row("SELECT v FROM bench_write ORDER BY k DESC", [], |row| row.get(0))
            .unwrap();
        assert_eq!(stored, body);
        let log = std::fs::read(dir.path().join("log")).unwrap();
        assert!(
            log.windows(body.len()).any(|bytes| bytes == body.as_bytes()),
            "row {row} is not in the log"
        );
    }
    assert_eq!(server.post("/status", "").1, r#"{"rows":3,"flushes":3}"#);
}

#[test]
fn a_read_answers_the_value_of_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Bare::start("read", Some(dir.path()));
    let (status, reply) = server.post("/db/query?level=none", r#"[["SELECT v FROM bench_read WHERE k=?",1]]"#);
    assert!(status.contains("200"), "{status}");
    let value = r#""values":[["1cc52098ced2a0192cea8ea9b59e7faf75c82a73"]]"#;
    assert!(reply.contains(value), "{reply}");
    let (_, reply) = server.post("/db/query", r#"["SELECT v FROM bench_read WHERE k=10001"]"#);
    assert!(!reply.contains("values"), "a key that is not there has no row: {reply}");
}

#[test]
fn a_noop_answers() {
    let (status, reply) = Bare::start("noop", None).post("/db/execute?queue", "[]");
    assert!(
        status.contains("200") && reply.contains("sequence_number"),
        "{status} {reply}"
    );
}

//! A server process on free ports, and a client for it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const PACE: Duration = Duration::from_millis(10);

/// A process; killed when dropped.
pub struct Server {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
    pub http: String,
    pub raft: String,
}

/// Two addresses that were free a moment ago.
pub struct Addresses {
    pub http: String,
    pub raft: String,
}

impl Addresses {
    pub fn free() -> Self {
        let bind = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // Both are held until both are known, so that they differ.
        let (http, raft) = (bind(), bind());
        Self {
            http: http.local_addr().unwrap().to_string(),
            raft: raft.local_addr().unwrap().to_string(),
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Runs the binary to its end.
pub fn run(words: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_quorlited"))
        .args(words)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

impl Server {
    /// Starts one on free ports, and waits until it is ready.
    pub async fn start(dir: &Path, words: &[&str]) -> Self {
        let server = Self::launch(dir, &Addresses::free(), words);
        server.until_ready().await;
        server
    }

    /// Starts one without waiting.
    pub fn launch(dir: &Path, addresses: &Addresses, words: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quorlited"))
            .args(["-http-addr", &addresses.http, "-raft-addr", &addresses.raft])
            .args(words)
            .arg(dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut kept = kept.lock().unwrap();
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        Self {
            child,
            log,
            reader: Some(reader),
            http: addresses.http.clone(),
            raft: addresses.raft.clone(),
        }
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits for its end.
    pub async fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        let mut pace = tokio::time::interval(PACE);
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last words have been written; they only have to arrive.
                self.reader.take().map(std::thread::JoinHandle::join);
                return status;
            }
            assert!(Instant::now() < deadline, "still running:\n{}", self.log());
            pace.tick().await;
        }
    }

    /// SIGTERM, and a clean end.
    pub async fn stop(mut self) {
        self.signal("TERM");
        let status = self.exit().await;
        assert!(status.success(), "{status}\n{}", self.log());
    }

    pub async fn until_ready(&self) {
        self.until("/readyz", |answer| answer.status == 200).await;
    }

    /// Asks until the answer is as it should be.
    pub async fn until(&self, target: &str, is_so: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE;
        let mut pace = tokio::time::interval(PACE);
        let mut last = None;
        while Instant::now() < deadline {
            match self.try_send(Method::GET, target, &[], "").await {
                Ok(answer) if is_so(&answer) => return answer,
                Ok(answer) => last = Some(answer),
                Err(_) => {}
            }
            pace.tick().await;
        }
        panic!("{target} never came to it: {last:?}\n{}", self.log());
    }

    pub async fn get(&self, target: &str) -> Answer {
        self.send(Method::GET, target, &[], "").await
    }

    pub async fn post(&self, target: &str, body: &str) -> Answer {
        self.send(Method::POST, target, &[], body).await
    }

    /// The body of a POST.
    pub async fn say(&self, target: &str, body: &str) -> String {
        self.post(target, body).await.body
    }

    /// What a GET answers, as bytes; it must succeed.
    pub async fn fetch(&self, target: &str) -> Bytes {
        let answer = self.exchange(Method::GET, target, &[], Bytes::new()).await;
        let (status, _, body) = answer.unwrap_or_else(|error| panic!("{target}: {error}\n{}", self.log()));
        assert_eq!(status, 200, "{target}");
        body
    }

    /// Posts bytes.
    pub async fn post_bytes(&self, target: &str, body: Bytes) -> (u16, String) {
        let answer = self.exchange(Method::POST, target, &[], body).await;
        let (status, _, body) = answer.unwrap_or_else(|error| panic!("{target}: {error}\n{}", self.log()));
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    pub async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        match self.try_send(method, target, headers, body).await {
            Ok(answer) => answer,
            Err(error) => panic!("{target}: {error}\n{}", self.log()),
        }
    }

    async fn try_send(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Box<dyn std::error::Error>> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let (status, headers, body) = self.exchange(method, target, headers, body).await?;
        Ok(Answer {
            status,
            headers,
            body: String::from_utf8(body.to_vec())?,
        })
    }

    async fn exchange(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<(u16, HeaderMap, Bytes), Box<dyn std::error::Error>> {
        let socket = TcpStream::connect(&self.http).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header("host", &self.http);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body))?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok((head.status.as_u16(), head.headers, body))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A folder of its own, for as long as it is kept.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let held = tempfile::tempdir().unwrap();
    let dir = held.path().join("data");
    (held, dir)
}

//! Fixed work for `scripts/instructions` to count: `fixed_work WORK REQUESTS`.
//!
//! A whole node, from the socket to SQLite and back, in one thread: flushes of the log and apply run inline, so that how
//! threads meet does not show in the count. The client is a few lines, and the same for every work.
//!
//! ```text
//!  prepared requests ──► loopback socket ──► hyper ──► route ──► consensus ──► log ──► SQLite ──► answers, read and checked
//! ```

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use command::request::Key;
use quorlited::cluster::forward::Served;
use quorlited::cluster::message::Description;
use quorlited::cluster::pool::Usage;
use quorlited::cluster::{self};
use quorlited::forwarded::Forwarded;
use quorlited::http::door::{Door, Opened, Options};
use quorlited::http::peers::{Counted, Peers};
use quorlited::http::queue;
use quorlited::http::serve::{self, Listener};
use quorlited::http::watch::Limits;
use store::Node;
use store::config::Config;
use store::environment::{Clock, Environment, Random, Runner, log_disk};
use store::member::Peer;
use store::transport::{BoxFuture, Channel, Duplex, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Rows that the reads find.
const ROWS: u64 = 1000;

/// Rows of a bulk request, and of a scan.
const BULK_ROWS: u64 = 500;

/// Clients of the work that has many.
const CLIENTS: u64 = 64;

/// One answer of so many is looked through for an error.
const CHECKED: u64 = 16;

/// Nobody: the node is alone.
struct Nobody;

fn alone<T: Send + 'static>() -> BoxFuture<'static, Result<T, cluster::Error>> {
    Box::pin(std::future::ready(Err(cluster::Error::NoLeader)))
}

impl Peers for Nobody {
    fn forward(&self, _: Forwarded, _: Duration) -> BoxFuture<'_, Result<Served, cluster::Error>> {
        alone()
    }

    fn forward_again<'a>(&'a self, _: &'a mut Forwarded, _: Duration) -> BoxFuture<'a, Result<Served, cluster::Error>> {
        alone()
    }

    fn key(&self) -> Key {
        Key::default()
    }

    fn counters(&self) -> Counted {
        Counted::default()
    }

    fn connections(&self) -> Vec<(String, Usage)> {
        Vec::new()
    }

    fn describe<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Result<Description, cluster::Error>> {
        alone()
    }
}

impl Transport for Nobody {
    fn connect(&self, _: &Peer, _: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        Box::pin(std::future::ready(Err(io::ErrorKind::ConnectionRefused.into())))
    }
}

/// The same moments in each run; a flush takes none.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now_us(&self) -> i64 {
        1_700_000_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed) as i64
    }

    fn flush_time(&self, _: u64) -> Duration {
        Duration::ZERO
    }
}

/// The same numbers in each run.
struct Steps(AtomicU64);

impl Random for Steps {
    fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// A kind of work.
#[derive(Clone, Copy)]
struct Work {
    target: &'static str,
    /// The body of the request with that number.
    body: fn(u64) -> String,
    clients: u64,
}

fn work(name: &str) -> Result<Work> {
    let read = |target| Work {
        target,
        body: |number| format!("[[\"SELECT v FROM bench WHERE k = ?\", {}]]", number * 7919 % ROWS),
        clients: 1,
    };
    let write = |clients| Work {
        target: "/db/execute",
        body: |number| insert(1_000_000 + number, 1),
        clients,
    };
    Ok(match name {
        "write" => write(1),
        "writes" => write(CLIENTS),
        "bulk" => Work {
            target: "/db/execute",
            body: |number| insert(1_000_000 + number * BULK_ROWS, BULK_ROWS),
            clients: 1,
        },
        "read-none" => read("/db/query?level=none"),
        "read-weak" => read("/db/query"),
        "read-linearizable" => read("/db/query?level=linearizable"),
        "scan" => Work {
            target: "/db/query?level=none",
            body: |_| format!("[\"SELECT k, v, k, v, k FROM bench LIMIT {BULK_ROWS}\"]"),
            clients: 1,
        },
        _ => bail!("no such work: {name}"),
    })
}

fn insert(first: u64, rows: u64) -> String {
    let row =
        |k| format!("[\"INSERT INTO bench(k, v) VALUES(?, ?)\", {k}, \"forty characters of text, more or less..\"]");
    let rows: Vec<String> = (first..first + rows).map(row).collect();
    format!("[{}]", rows.join(","))
}

async fn open(dir: &std::path::Path) -> Result<Node> {
    let environment = Environment {
        transport: Arc::new(Nobody),
        disk: log_disk(dir)?,
        clock: Arc::new(Ticks(AtomicU64::new(0))),
        random: Arc::new(Steps(AtomicU64::new(1))),
        runner: Runner::Inline,
    };
    let config = Config::new(dir.to_owned(), "n1".to_owned(), "n1".to_owned());
    let node = Node::open(config, environment).await?;
    node.initialize(vec![node.peer().clone()]).await?;
    node.ready(TIMEOUT).await?;
    Ok(node)
}

/// As the server's flags have it by default.
fn options(dir: &std::path::Path) -> Options {
    Options {
        bind: "localhost:4001".to_owned(),
        advertised: "localhost:4001".to_owned(),
        inter_node_bind: "localhost:4002".to_owned(),
        allow_origin: None,
        atomic_requests: true,
        queue: queue::Options {
            capacity: 1024,
            batch_size: 128,
            timeout: Duration::from_millis(50),
            transaction: false,
        },
        limits: Limits {
            body_bytes_max: 128 << 20,
            result_bytes_max: 0,
            reads_max: 1024,
            readers_max: 32,
            stall_max: Duration::from_secs(30),
            slow: Duration::ZERO,
        },
        store: Config::new(dir.to_owned(), "n1".to_owned(), "n1".to_owned()),
        connect_timeout: Duration::from_secs(30),
        log_level: "WARN".to_owned(),
        is_in_kubernetes: false,
    }
}

/// A connection that sends prepared bytes and reads answers.
///
/// All answers of a connection have one form; its first one tells which.
struct Client {
    socket: TcpStream,
    buffer: Vec<u8>,
    answers: u64,
    is_chunked: bool,
}

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(1 << 20),
            answers: 0,
            is_chunked: false,
        })
    }

    async fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.socket.write_all(request).await?;
        self.buffer.clear();
        while !self.is_complete() {
            ensure!(
                self.socket.read_buf(&mut self.buffer).await? > 0,
                "the connection ended"
            );
            if self.answers == 0 {
                self.is_chunked = contains(&self.buffer, b"chunked");
            }
        }
        // To look through every answer would be a part of what is counted.
        self.answers += 1;
        let is_checked = self.answers.is_multiple_of(CHECKED);
        let is_fine = self.buffer.starts_with(b"HTTP/1.1 200") && !(is_checked && contains(&self.buffer, b"\"error\""));
        ensure!(is_fine, "{}", String::from_utf8_lossy(&self.buffer));
        Ok(())
    }

    /// Every answer of this work ends with its outermost brace, and in chunks also with the last of them.
    fn is_complete(&self) -> bool {
        let body = self.buffer.strip_suffix(b"\r\n0\r\n\r\n").unwrap_or(&self.buffer);
        body.ends_with(b"]}") && (!self.is_chunked || body.len() < self.buffer.len())
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn request(target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {target} HTTP/1.1\r\nhost: localhost:4001\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

async fn run(work: Work, requests: u64) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let node = open(dir.path()).await?;
    let door = Arc::new(Door::new(options(dir.path())));
    door.open(Opened {
        ledger: Arc::new(node.clone()),
        peers: Arc::new(Nobody),
        vault: Arc::new(node.clone()),
    });
    let listener = Listener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (_stopper, stop) = serve::stop();
    let server = tokio::spawn(listener.serve(door, stop));

    let mut client = Client::connect(address).await?;
    client
        .ask(&request(
            "/db/execute",
            r#"["CREATE TABLE bench(k INTEGER PRIMARY KEY, v TEXT)"]"#,
        ))
        .await?;
    client.ask(&request("/db/execute", &insert(0, ROWS))).await?;
    let tasks: Vec<_> = (0..work.clients)
        .map(|client| {
            tokio::spawn(async move {
                let mut connection = Client::connect(address).await?;
                for number in (client..requests).step_by(work.clients as usize) {
                    connection.ask(&request(work.target, &(work.body)(number))).await?;
                }
                Ok::<(), anyhow::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    server.abort();
    node.shutdown().await;
    Ok(())
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, requests] = words.as_slice() else {
        bail!("usage: fixed_work WORK REQUESTS");
    };
    let (work, requests) = (work(name)?, requests.parse().context("REQUESTS")?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run(work, requests))
}

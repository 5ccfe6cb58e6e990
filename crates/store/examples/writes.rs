//! What a node does without HTTP: `writes [--memory] [--empty] [--nodes N] CLIENTS SECONDS`.
//!
//! `--memory` puts the log into memory: what is left is consensus, our adapter and apply. `--empty` proposes entries that
//! do nothing. Prints entries per second and the median latency; a line of docs/performance.md.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use command::request::Kind;
use command::statement::{Parameter, Statement, Value};
use store::config::Config;
use store::environment::{Clock, Environment, Random, Runner};
use store::member::Peer;
use store::read::{Level, ReadRequest};
use store::transport::{BoxFuture, Channel, Duplex, FRAMES_MAX, Transport};
use store::{Error, Node};
use tokio::sync::mpsc;

const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
struct Wire(Arc<Mutex<HashMap<String, Node>>>);

impl Transport for Wire {
    fn connect(&self, peer: &Peer, channel: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        let node = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&peer.address)
            .cloned();
        Box::pin(async move {
            let node = node.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
            let (to, from_here) = mpsc::channel(FRAMES_MAX);
            let (from_there, back) = mpsc::channel(FRAMES_MAX);
            tokio::spawn(async move {
                node.accept(
                    channel,
                    Duplex {
                        tx: from_there,
                        rx: from_here,
                    },
                )
                .await
            });
            Ok(Duplex { tx: to, rx: back })
        })
    }
}

struct WallClock;

impl Clock for WallClock {
    fn now_us(&self) -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as i64)
    }
}

struct Steps(AtomicU64);

impl Random for Steps {
    fn next(&self) -> u64 {
        self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

struct Choice {
    memory: bool,
    empty: bool,
    nodes: usize,
    clients: usize,
    seconds: u64,
}

fn choice() -> Result<Choice, String> {
    let mut choice = Choice {
        memory: false,
        empty: false,
        nodes: 1,
        clients: 0,
        seconds: 0,
    };
    let mut numbers = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--memory" => choice.memory = true,
            "--empty" => choice.empty = true,
            "--nodes" => {
                choice.nodes = words
                    .next()
                    .and_then(|n| n.parse().ok())
                    .ok_or("--nodes needs a number")?
            }
            number => numbers.push(number.parse::<u64>().map_err(|_| format!("not a number: {number}"))?),
        }
    }
    let [clients, seconds] = numbers[..] else {
        return Err("usage: writes [--memory] [--empty] [--nodes N] CLIENTS SECONDS".to_owned());
    };
    choice.clients = clients as usize;
    choice.seconds = seconds;
    Ok(choice)
}

async fn open(choice: &Choice, name: &str, dir: &std::path::Path, wire: &Wire) -> Result<Node, Error> {
    let config = Config::new(dir.to_owned(), name.to_owned(), name.to_owned());
    let disk: Arc<dyn log::Disk> = if choice.memory {
        Arc::new(log::testing::MemDisk::new())
    } else {
        let disk = log::FsDisk::new(dir.join("log"));
        Arc::new(disk.map_err(|source| Error::Io {
            what: "open the log directory".to_owned(),
            source,
        })?)
    };
    let seed = u64::from(std::process::id()) << 20 | wire.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
    let environment = Environment {
        transport: Arc::new(wire.clone()),
        disk,
        clock: Arc::new(WallClock),
        random: Arc::new(Steps(AtomicU64::new(seed))),
        runner: Runner::Threads,
    };
    let node = Node::open(config, environment).await?;
    wire.0
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(name.to_owned(), node.clone());
    Ok(node)
}

async fn client(node: Node, first: u64, empty: bool, until: Instant) -> Result<Vec<u32>, Error> {
    let mut latencies = Vec::new();
    let mut id = first;
    while Instant::now() < until {
        let began = Instant::now();
        if empty {
            let read = ReadRequest {
                level: Level::Strong,
                freshness: None,
                freshness_strict: false,
                min_index: 0,
                timeout: TIMEOUT,
            };
            node.confirm(read).await?;
        } else {
            let statement = Statement {
                sql: "INSERT INTO bench(id, v) VALUES(?, ?)".to_owned(),
                parameters: vec![
                    Parameter::positional(Value::Integer(id as i64)),
                    Parameter::positional(Value::Text("forty characters of text, more or less.".to_owned())),
                ],
            };
            node.write(node.stamp(vec![statement], Kind::Execute, true), TIMEOUT)
                .await?;
        }
        id += 1;
        latencies.push(began.elapsed().as_micros() as u32);
    }
    Ok(latencies)
}

async fn run(choice: Choice) -> Result<String, Error> {
    let wire = Wire::default();
    let dirs: Vec<_> = (0..choice.nodes).filter_map(|_| tempfile::tempdir().ok()).collect();
    let mut nodes = Vec::new();
    for (place, dir) in dirs.iter().enumerate() {
        nodes.push(open(&choice, &format!("n{place}"), dir.path(), &wire).await?);
    }
    nodes[0]
        .initialize(nodes.iter().map(|node| node.peer().clone()).collect())
        .await?;
    nodes[0].ready(TIMEOUT).await?;
    let leader = nodes.iter().find(|node| node.is_leader()).unwrap_or(&nodes[0]).clone();
    let create = vec![Statement::new("CREATE TABLE bench(id INTEGER PRIMARY KEY, v TEXT)")];
    leader.write(leader.stamp(create, Kind::Execute, true), TIMEOUT).await?;
    let began = Instant::now();
    let until = began + Duration::from_secs(choice.seconds);
    let tasks: Vec<_> = (0..choice.clients)
        .map(|place| tokio::spawn(client(leader.clone(), (place as u64) << 32, choice.empty, until)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.map_err(|error| Error::Stopped(error.to_string()))??);
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies
            .get((latencies.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(0)
    };
    Ok(format!(
        "{:.0}/s, p50 {} us, p99 {} us, {} flushes",
        latencies.len() as f64 / seconds,
        at(0.5),
        at(0.99),
        leader.status().log_flushes
    ))
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
#[tokio::main]
async fn main() -> std::process::ExitCode {
    match choice() {
        Ok(choice) => match run(choice).await {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("{error}");
                return std::process::ExitCode::FAILURE;
            }
        },
        Err(usage) => {
            eprintln!("{usage}");
            return std::process::ExitCode::FAILURE;
        }
    }
    std::process::ExitCode::SUCCESS
}

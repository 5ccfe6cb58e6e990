//! A make-believe node and its peers, and a client that speaks real HTTP to the listener.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use command::reply::{Outcome, Reply};
use command::request::{ForwardKey, Key, KeyOrigin, Kind, Write};
use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use sqlite::{Cancel, QueryOptions};
use store::Error;
use store::member::{Member, NodeId, Peer};
use store::metrics::Metrics;
use store::node::ContentHash;
use store::prepared::Prepared;
use store::read::{Confirmed, ReadRequest};
use store::status::{Role, Status};
use store::transport::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::Notify;

pub mod vault;

use super::door::{Door, Opened, Options};
use super::ledger::{Ledger, Need, Syntax};
use super::peers::{Counted, Peers};
use super::queue;
use super::serve::{Listener, Stopper, stop};
use super::vault::Vault;
use super::watch::Limits;
use crate::cluster;
use crate::cluster::forward::Served;
use crate::cluster::message::Description;
use crate::cluster::pool::Usage;
use crate::forwarded::{Answer, Broken, Forwarded, Head};

/// A node of the make-believe cluster: its inter-node address is `NAME:4002`.
pub fn peer(id: u64, name: &str) -> Peer {
    Peer {
        id: NodeId(id),
        name: name.to_owned(),
        address: format!("{name}:4002"),
    }
}

/// A node that does as it is told. `rows N` answers N rows, `break N` fails after them, `fail` cannot be prepared,
/// `infinity` answers one, `endless` never ends, `wait` waits to be released.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    cancelled: AtomicBool,
    cancel_seen: Notify,
    waits: Notify,
    released: AtomicBool,
}

#[derive(Default)]
struct State {
    leader: Option<Peer>,
    elected: Option<Peer>,
    unready: bool,
    writes: Vec<Write>,
    replies: VecDeque<Result<Reply, Error>>,
    hand_over: Option<Peer>,
    reads: Vec<ReadRequest>,
    confirm_at: u64,
    confirm_error: Option<Error>,
    transfer_error: Option<Error>,
    removed: Vec<String>,
    snapshots: u64,
}

impl Fake {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    pub fn reads(&self) -> Vec<ReadRequest> {
        self.state().reads.clone()
    }

    pub fn removed(&self) -> Vec<String> {
        self.state().removed.clone()
    }

    pub fn reply(&self, index: u64, outcomes: Vec<Outcome>) {
        self.state().replies.push_back(Ok(Reply {
            outcomes,
            error: None,
            index,
        }));
    }

    pub fn fail_reply(&self, message: &str, code: &str) {
        self.state().replies.push_back(Ok(Reply::failed(message, code)));
    }

    pub fn fail_write(&self, error: Error) {
        self.state().replies.push_back(Err(error));
    }

    /// An election runs, which `leader` wins as soon as somebody waits for it.
    pub fn elect(&self, leader: Peer) {
        self.state().elected = Some(leader);
    }

    pub fn hand_over_on_write(&self, to: Peer) {
        self.state().hand_over = Some(to);
    }

    pub fn confirm_at(&self, index: u64) {
        self.state().confirm_at = index;
    }

    pub fn fail_confirm(&self, error: Error) {
        self.state().confirm_error = Some(error);
    }

    pub fn fail_transfer(&self, error: Error) {
        self.state().transfer_error = Some(error);
    }

    pub fn unready(&self) {
        self.state().unready = true;
    }

    pub async fn until_cancelled(&self) {
        while !self.cancelled.load(Ordering::Acquire) {
            self.cancel_seen.notified().await;
        }
    }

    /// Until a `wait` has begun.
    pub async fn until_waiting(&self) {
        self.waits.notified().await;
    }

    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    pub fn leads(&self, leader: Peer) {
        self.state().leader = Some(leader);
    }

    fn wait(&self) {
        self.waits.notify_one();
        while !self.released.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn endless(&self, cancel: &Cancel) -> Result<(), sqlite::Error> {
        while !cancel.is_cancelled() {
            std::thread::yield_now();
        }
        self.cancelled.store(true, Ordering::Release);
        self.cancel_seen.notify_one();
        Err(sqlite::Error::Interrupted)
    }
}

fn rows(sink: &mut dyn RowSink, count: i64, end: End) -> ControlFlow<()> {
    sink.columns(&Columns {
        names: vec!["n".to_owned()],
        types: vec![String::new()],
        tables: Vec::new(),
    })?;
    for n in 0..count {
        sink.row(&[CellRef::Integer(n)])?;
    }
    sink.end(end, Duration::from_micros(5))
}

fn infinity(sink: &mut dyn RowSink) -> ControlFlow<()> {
    sink.columns(&Columns {
        names: vec!["9e999".to_owned()],
        ..Columns::default()
    })?;
    sink.row(&[CellRef::Real(f64::INFINITY)])?;
    sink.end(End::Complete, Duration::ZERO)
}

impl Ledger for Fake {
    fn peer(&self) -> Peer {
        peer(1, "here")
    }

    fn leader(&self) -> Option<Peer> {
        self.state().leader.clone()
    }

    fn expects_leader(&self) -> bool {
        let mut state = self.state();
        let elected = state.elected.take();
        let expects = elected.is_some();
        state.leader = elected.or_else(|| state.leader.take());
        expects
    }

    fn status(&self) -> Status {
        let state = self.state();
        let leads = state.leader.as_ref().is_some_and(|leader| leader.id == NodeId(1));
        let member = |id, name, voter| Member {
            peer: peer(id, name),
            voter,
            catching_up: false,
        };
        Status {
            peer: peer(1, "here"),
            leader: state.leader.clone(),
            role: if leads { Role::Leader } else { Role::Follower },
            voter: true,
            ready: !state.unready,
            term: 2,
            last_log: (10, 2),
            flushed: 10,
            committed: 9,
            applied: (8, 2),
            snapshot: (4, 1),
            purged: 3,
            members: vec![
                member(1, "here", true),
                member(2, "there", true),
                member(3, "replica", false),
            ],
            membership_index: 1,
            last_contact: None,
            database: PathBuf::from("/nowhere/db.sqlite"),
            log_bytes: 0,
            log_flushes: 0,
            applying: None,
            matched: vec![("there".to_owned(), 7)],
            snapshots: 0,
            restores: 0,
        }
    }

    fn stamp(&self, statements: Vec<Statement>, kind: Kind, atomic: bool) -> Write {
        Write {
            statements,
            atomic,
            kind: kind.into(),
            clock_us: 1,
            seed: 1,
            steps_max: 0,
            key: None,
        }
    }

    fn write(&self, write: Write, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let mut state = self.state();
        state.writes.push(write);
        let answer = match state.hand_over.take() {
            Some(leader) => {
                state.leader = Some(leader);
                Err(Error::Transferring)
            }
            None => state.replies.pop_front().unwrap_or_else(|| Ok(Reply::default())),
        };
        Box::pin(std::future::ready(answer))
    }

    fn write_prepared<'a>(&'a self, prepared: &'a Prepared, timeout: Duration) -> BoxFuture<'a, Result<Reply, Error>> {
        self.write(prepared.clone().into_write(), timeout)
    }

    fn confirm(&self, read: ReadRequest) -> BoxFuture<'_, Result<Confirmed, Error>> {
        let mut state = self.state();
        state.reads.push(read);
        let answer = match state.confirm_error.take() {
            Some(error) => Err(error),
            None => Ok(Confirmed {
                index: state.confirm_at,
            }),
        };
        Box::pin(std::future::ready(answer))
    }

    fn query(
        &self,
        statements: &[Statement],
        _options: &QueryOptions,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<(), sqlite::Error> {
        for statement in statements.iter().filter(|statement| !statement.sql.is_empty()) {
            let (verb, count) = statement.sql.split_once(' ').unwrap_or((&statement.sql, "0"));
            let count = count.parse().unwrap_or(0);
            let flow = match verb {
                "rows" => rows(sink, count, End::Complete),
                "break" => rows(sink, count, End::Failed("broke off".to_owned())),
                "fail" => sink.end(End::Failed("no such table: fail".to_owned()), Duration::ZERO),
                "infinity" => infinity(sink),
                "endless" => return self.endless(cancel),
                "wait" => {
                    self.wait();
                    rows(sink, 1, End::Complete)
                }
                _ => rows(sink, 0, End::Complete),
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn need(&self, statements: &[Statement]) -> Result<Need, sqlite::Error> {
        let is_read = |statement: &Statement| statement.sql != "unprepared";
        Ok(if statements.iter().all(is_read) {
            Need::Readers
        } else {
            Need::Log
        })
    }

    fn syntax(&self, statements: &[Statement]) -> Result<Vec<Syntax>, sqlite::Error> {
        let syntax = |statement: &Statement| match statement.sql.as_str() {
            "" => Syntax::Nothing,
            "SLECT 1" => Syntax::Wrong("near \"SLECT\": syntax error".to_owned()),
            _ => Syntax::Sound,
        };
        Ok(statements.iter().map(syntax).collect())
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::default()
    }

    fn readers_open(&self) -> (usize, usize) {
        (2, 256)
    }

    fn content_hash(&self) -> BoxFuture<'_, Result<ContentHash, Error>> {
        Box::pin(std::future::ready(Ok(ContentHash { index: 5, hash: 255 })))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.state().removed.push(name.to_owned());
        Box::pin(std::future::ready(Ok(())))
    }

    fn transfer<'a>(&'a self, _target: Option<&'a str>, _timeout: Duration) -> BoxFuture<'a, Result<(), Error>> {
        let answer = self.state().transfer_error.take().map_or(Ok(()), Err);
        Box::pin(std::future::ready(answer))
    }

    fn snapshot(&self, trailing: Option<u64>) -> BoxFuture<'_, Result<bool, Error>> {
        let mut state = self.state();
        state.snapshots += 1;
        let is_new = state.snapshots == 1 && trailing == Some(5);
        Box::pin(std::future::ready(Ok(is_new)))
    }

    fn skip(&self, index: u64, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let what = "has been applied already";
        let answer = if index <= 8 {
            Err(Error::Unskippable { index, what })
        } else {
            Ok(Reply {
                index: 11,
                ..Reply::default()
            })
        };
        Box::pin(std::future::ready(answer))
    }
}

/// The other nodes.
#[derive(Default)]
pub struct Others {
    state: Mutex<OthersState>,
}

#[derive(Default)]
struct OthersState {
    forwarded: Vec<Forwarded>,
    answer: Option<(Head, String)>,
    breaks_off: bool,
    keys: u64,
    silent: bool,
}

impl Others {
    pub fn forwarded(&self) -> Vec<Forwarded> {
        self.state.lock().unwrap().forwarded.clone()
    }

    pub fn answer(&self, head: Head, body: &str) {
        self.state.lock().unwrap().answer = Some((head, body.to_owned()));
    }

    /// The answer breaks off behind its first half.
    pub fn break_off(&self) {
        self.state.lock().unwrap().breaks_off = true;
    }

    pub fn refuse(&self) {
        self.state.lock().unwrap().answer = None;
    }

    pub fn silence(&self) {
        self.state.lock().unwrap().silent = true;
    }
}

fn refused(address: &str) -> cluster::Error {
    cluster::Error::Unsent {
        address: address.to_owned(),
        cause: io::Error::from_raw_os_error(111),
    }
}

impl Peers for Others {
    fn forward(&self, forwarded: Forwarded, _timeout: Duration) -> BoxFuture<'_, Result<Served, cluster::Error>> {
        let mut state = self.state.lock().unwrap();
        state.forwarded.push(forwarded);
        let answer = match state.answer.clone() {
            Some((head, body)) => {
                let (tx, rx) = tokio::sync::mpsc::channel(4);
                // Two chunks, so that more than one is seen.
                let (first, second) = body.split_at(body.len() / 2);
                tx.try_send(Ok(Bytes::copy_from_slice(first.as_bytes()))).unwrap();
                tx.try_send(if state.breaks_off {
                    Err(Broken("the connection to the leader broke".to_owned()))
                } else {
                    Ok(Bytes::copy_from_slice(second.as_bytes()))
                })
                .unwrap();
                Ok(Served {
                    answer: Answer { head, body: rx },
                    by: "there:4002".to_owned(),
                })
            }
            None => Err(refused("there:4002")),
        };
        Box::pin(std::future::ready(answer))
    }

    fn forward_again<'a>(
        &'a self,
        forwarded: &'a mut Forwarded,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<Served, cluster::Error>> {
        self.forward(forwarded.clone(), timeout)
    }

    fn key(&self) -> Key {
        let mut state = self.state.lock().unwrap();
        state.keys += 1;
        let key = ForwardKey {
            incarnation: 1,
            boot: 1,
            sequence: state.keys,
            issued_at: 0,
        };
        Key {
            origin: Some(KeyOrigin::Forward(key)),
        }
    }

    fn counters(&self) -> Counted {
        Counted {
            cluster: vec![("num_join_req", 3)],
            ..Counted::default()
        }
    }

    fn connections(&self) -> Vec<(String, Usage)> {
        vec![("there:4002".to_owned(), Usage { idle: 1, in_use: 2 })]
    }

    fn describe<'a>(
        &'a self,
        address: &'a str,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<Description, cluster::Error>> {
        let silent = self.state.lock().unwrap().silent;
        let host = address.split(':').next().unwrap();
        let answer = if silent {
            Err(refused(address))
        } else {
            Ok(Description {
                api_url: format!("http://{host}:4001"),
                version: "v9".to_owned(),
                commit_index: 9,
                is_leader: host == "there",
                ..Description::default()
            })
        };
        Box::pin(std::future::ready(answer))
    }
}

/// An answer, read to its end.
pub struct Answered {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    pub bytes: Bytes,
}

impl Answered {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// A listener on a free port, and the make-believe behind it.
pub struct World {
    pub fake: Arc<Fake>,
    pub others: Arc<Others>,
    pub vault: Arc<vault::Fake>,
    door: Arc<Door>,
    address: std::sync::OnceLock<std::net::SocketAddr>,
    stopper: Mutex<Option<Stopper>>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

impl World {
    pub fn with(fake: Arc<Fake>, change: impl FnOnce(&mut Options)) -> Self {
        let world = Self::shut(fake, change);
        let (ledger, peers) = (Arc::clone(&world.fake), Arc::clone(&world.others));
        let vault = Arc::clone(&world.vault) as Arc<dyn Vault>;
        world.door.open(Opened { ledger, peers, vault });
        world
    }

    pub fn leading() -> Self {
        Self::leading_with(true)
    }

    pub fn leading_with(atomic_requests: bool) -> Self {
        let world = Self::with(Arc::default(), |options| options.atomic_requests = atomic_requests);
        world.fake.state().leader = Some(peer(1, "here"));
        world
    }

    pub fn following() -> Self {
        let world = Self::without_leader();
        world.fake.state().leader = Some(peer(2, "there"));
        world
    }

    pub fn without_leader() -> Self {
        Self::with(Arc::default(), |_| {})
    }

    pub fn closed() -> Self {
        Self::shut(Arc::default(), |_| {})
    }

    fn shut(fake: Arc<Fake>, change: impl FnOnce(&mut Options)) -> Self {
        let store = store::config::Config::new("/nowhere".into(), "here".to_owned(), "here:4002".to_owned());
        let mut options = Options {
            bind: "here:4001".to_owned(),
            advertised: "here:4001".to_owned(),
            inter_node_bind: "here:4002".to_owned(),
            allow_origin: None,
            atomic_requests: true,
            queue: queue::Options {
                capacity: 1024,
                batch_size: 128,
                timeout: Duration::from_millis(5),
                transaction: false,
            },
            limits: Limits {
                body_bytes_max: 128 * 1024 * 1024,
                result_bytes_max: 0,
                reads_max: 16,
                readers_max: 4,
                stall_max: Duration::from_secs(30),
                slow: Duration::ZERO,
            },
            store,
            connect_timeout: Duration::from_secs(30),
            log_level: "WARN".to_owned(),
            is_in_kubernetes: false,
        };
        change(&mut options);
        Self {
            fake,
            others: Arc::default(),
            vault: Arc::default(),
            door: Arc::new(Door::new(options)),
            address: std::sync::OnceLock::new(),
            stopper: Mutex::default(),
            task: Mutex::default(),
        }
    }

    pub async fn send(&self, method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Answered {
        let response = self.request(method, target, headers, body).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answered {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    }

    /// Posts bytes that need not be text.
    pub async fn send_bytes(&self, target: &str, body: &[u8]) -> Answered {
        let socket = TcpStream::connect(self.address().await).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = Request::builder()
            .method(Method::POST)
            .uri(target)
            .header("host", "here");
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answered {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8_lossy(&bytes).into_owned(),
            bytes,
        }
    }

    /// The answer breaks off: in its body, or before as much of it as the server holds back was sent.
    pub async fn breaks_off(&self, target: &str) -> bool {
        match self.request(Method::GET, target, &[], "").await {
            Ok(response) => response.into_body().collect().await.is_err(),
            Err(error) => error.is_incomplete_message(),
        }
    }

    /// Whether the body of a POST's answer comes to its end.
    pub async fn is_whole(&self, target: &str, body: &str) -> bool {
        match self.request(Method::POST, target, &[], body).await {
            Ok(response) => response.into_body().collect().await.is_ok(),
            Err(_) => false,
        }
    }

    /// Asks the listener to drain.
    pub fn stop(&self) {
        self.stopper.lock().unwrap().take().unwrap().stop();
    }

    /// Until the listener has ended.
    pub async fn until_stopped(&self) {
        let task = self.task.lock().unwrap().take().unwrap();
        task.await.unwrap();
    }

    /// Somebody still listens.
    pub async fn is_listening(&self) -> bool {
        TcpStream::connect(self.address().await).await.is_ok()
    }

    /// Sends a request and goes away without waiting for the answer.
    pub async fn abandon(&self, target: &str) {
        use tokio::io::AsyncWriteExt;
        let mut socket = TcpStream::connect(self.address().await).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: here\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
    }

    async fn request(
        &self,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> hyper::Result<hyper::Response<hyper::body::Incoming>> {
        let socket = TcpStream::connect(self.address().await).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
            .await
            .unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(target).header("host", "here");
        let headers: HashMap<&str, &str> = headers.iter().copied().collect();
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap();
        sender.send_request(request).await
    }

    pub async fn address(&self) -> std::net::SocketAddr {
        if let Some(address) = self.address.get() {
            return *address;
        }
        let listener = Listener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stopper, stop) = stop();
        let task = tokio::spawn(listener.serve(Arc::clone(&self.door), stop));
        *self.task.lock().unwrap() = Some(task);
        *self.stopper.lock().unwrap() = Some(stopper);
        *self.address.get_or_init(|| address)
    }
}

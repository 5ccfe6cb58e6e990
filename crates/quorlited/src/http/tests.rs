//! A make-believe node and its peers, and a client that speaks real HTTP to the listener.

use crate::http::door::{Door, Opened, Options};
use crate::http::queue;
use crate::http::serve::{Listener, Stopper, stop};
use crate::http::vault::Vault;
use crate::http::watch::Limits;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::member::{NodeId, Peer};
use tokio::net::TcpStream;

mod fake;
mod others;
pub mod vault;

pub use fake::Fake;
pub use others::Others;

/// A node of the make-believe cluster: its inter-node address is `NAME:4002`.
pub fn peer(id: u64, name: &str) -> Peer {
    Peer {
        id: NodeId(id),
        name: name.to_owned(),
        address: format!("{name}:4002"),
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

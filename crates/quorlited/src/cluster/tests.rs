//! Tests of the cluster: rules as pure machines, and nodes with a make-believe store over loopback.

mod bootstrap;
mod forward;
mod gathering;
mod joining;
mod pledge;
mod promise_file;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use command::entry::Settings;
use store::environment::Random;
use store::member::Joined;
use store::member::{Member, NodeId, Peer};
use store::transport::{BoxFuture, Channel};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counters::Counters;
use super::ledger::Ledger;
use super::service::{Handler, Identity, Service};
use super::{Client, Forwarder, Founding};
use crate::forwarded::{Answer, Broken, Forwarded, Head, NotLeader};
use crate::net::{self, Listener, TcpTransport};

const DEADLINE: Duration = Duration::from_secs(20);

fn peer(id: u64, name: &str, address: &str) -> Peer {
    Peer {
        id: NodeId(id),
        name: name.to_owned(),
        address: address.to_owned(),
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// A store that only remembers what it was told.
struct Fake {
    me: Peer,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    leader: Option<Peer>,
    elected: Option<Peer>,
    members: Vec<Member>,
    initialized: Option<Vec<Peer>>,
    added: Vec<(Peer, bool)>,
    applied: u64,
    settings: Settings,
}

impl Fake {
    fn told<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        change(&mut self.told.lock().unwrap())
    }

    fn follow(&self, leader: Option<&Peer>) {
        self.told(|told| told.leader = leader.cloned());
    }

    /// An election runs, which `leader` wins as soon as somebody waits for it.
    fn elect(&self, leader: &Peer) {
        self.told(|told| told.elected = Some(leader.clone()));
    }

    fn lead(&self) {
        self.follow(Some(&self.me));
    }

    fn has_member(&self, peer: Peer) {
        let member = Member {
            peer,
            voter: true,
            catching_up: false,
        };
        self.told(|told| told.members.push(member));
    }
}

impl Ledger for Fake {
    fn peer(&self) -> Peer {
        self.me.clone()
    }

    fn leader(&self) -> Option<Peer> {
        self.told(|told| told.leader.clone())
    }

    fn expects_leader(&self) -> bool {
        self.told(|told| {
            let elected = told.elected.take();
            let expects = elected.is_some();
            told.leader = elected.or_else(|| told.leader.take());
            expects
        })
    }

    fn is_initialized(&self) -> bool {
        self.told(|told| told.initialized.is_some())
    }

    fn members(&self) -> Vec<Member> {
        self.told(|told| told.members.clone())
    }

    fn committed(&self) -> u64 {
        self.applied()
    }

    fn applied(&self) -> u64 {
        self.told(|told| told.applied)
    }

    fn initialize(&self, voters: Vec<Peer>) -> BoxFuture<'_, Result<(), store::Error>> {
        self.told(|told| {
            assert!(told.initialized.is_none(), "initialized twice");
            told.leader = Some(self.me.clone());
            told.initialized = Some(voters);
        });
        Box::pin(async { Ok(()) })
    }

    fn settings(&self) -> Settings {
        self.told(|told| told.settings.clone())
    }

    fn check_joiner(&self, settings: &Settings) -> Result<(), store::Error> {
        if *settings == Ledger::settings(self) {
            Ok(())
        } else {
            Err(store::Error::Membership("other flags".to_owned()))
        }
    }

    fn add(&self, peer: Peer, voter: bool) -> BoxFuture<'_, Result<Joined, store::Error>> {
        self.told(|told| told.added.push((peer, voter)));
        Box::pin(async { Ok(Joined::Added) })
    }
}

/// Plays the leader's door: one scripted turn for each request, and the requests for the test to see.
#[derive(Default)]
struct Script {
    turns: Mutex<VecDeque<Turn>>,
    seen: Mutex<Vec<Forwarded>>,
}

/// What the door does with a request.
enum Turn {
    /// Answers with these chunks.
    Chunks(Vec<&'static str>),
    /// Answers with what comes through the channel.
    Stream(mpsc::Receiver<Result<Bytes, Broken>>),
    /// Does not lead, and names a leader.
    Elsewhere(Option<Peer>),
    /// Has too much to do, and says that nothing was done.
    Overloaded,
    /// Never answers.
    Hang,
}

impl Script {
    fn turn(&self, turn: Turn) {
        self.turns.lock().unwrap().push_back(turn);
    }

    fn seen(&self) -> Vec<Forwarded> {
        self.seen.lock().unwrap().clone()
    }
}

impl Handler for Script {
    fn handle(&self, forwarded: Forwarded) -> BoxFuture<'static, Answer> {
        self.seen.lock().unwrap().push(forwarded);
        let turn = self.turns.lock().unwrap().pop_front();
        Box::pin(async move {
            let head = Head {
                status: 200,
                ..Head::default()
            };
            let (tx, empty) = mpsc::channel(16);
            match turn.expect("a turn for each request") {
                Turn::Chunks(chunks) => {
                    for chunk in chunks {
                        tx.try_send(Ok(Bytes::from(chunk))).unwrap();
                    }
                    Answer { head, body: empty }
                }
                Turn::Stream(body) => Answer { head, body },
                Turn::Elsewhere(leader) => {
                    let leader = leader.unwrap_or_else(|| peer(0, "", ""));
                    let not_leader = Some(NotLeader {
                        id: leader.id.0,
                        name: leader.name,
                        address: leader.address,
                    });
                    let head = Head {
                        not_leader,
                        ..Head::default()
                    };
                    Answer { head, body: empty }
                }
                Turn::Overloaded => {
                    let head = Head {
                        status: 503,
                        retry_after_s: 1,
                        ..Head::default()
                    };
                    Answer { head, body: empty }
                }
                Turn::Hang => std::future::pending().await,
            }
        })
    }
}

/// A node that is real but for its store.
struct Node {
    ledger: Arc<Fake>,
    script: Arc<Script>,
    founding: Arc<Founding>,
    service: Service,
    client: Client,
    forwarder: Arc<Forwarder>,
    address: String,
    serving: JoinHandle<()>,
    _dir: Option<TempDir>,
}

impl Node {
    async fn start(id: u64, name: &str) -> Self {
        Self::start_with(id, name, 0).await
    }

    async fn start_with(id: u64, name: &str, expect: usize) -> Self {
        let dir = TempDir::new().unwrap();
        let mut node = Self::start_at("127.0.0.1:0", id, name, expect, &dir).await;
        node._dir = Some(dir);
        node
    }

    async fn start_at(bind: &str, id: u64, name: &str, expect: usize, dir: &TempDir) -> Self {
        let net = Arc::new(net::Counters::default());
        let listener = Listener::bind(bind, Arc::clone(&net)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let me = peer(id, name, &address);
        let ledger = Arc::new(Fake {
            me: me.clone(),
            told: Mutex::default(),
        });
        let script = Arc::new(Script::default());
        let counters = Arc::new(Counters::new(net));
        let client = Client::new(TcpTransport::new(Duration::from_secs(5)), None, counters);
        let founding = Arc::new(Founding::open(dir.path(), me, expect, client.clone()).unwrap());
        let identity = Identity {
            api_url: format!("http://api-of-{name}"),
            version: "test".to_owned(),
        };
        let service = Service::new(
            ledger.clone(),
            script.clone(),
            founding.clone(),
            client.clone(),
            identity,
        );
        let served = service.clone();
        let serving = tokio::spawn(listener.serve(move |channel, duplex, from| {
            assert_eq!(channel, Channel::Service);
            let service = served.clone();
            tokio::spawn(async move { service.serve(duplex, from).await });
        }));
        let forwarder = Forwarder::new(ledger.clone(), script.clone(), client.clone(), 77);
        Self {
            forwarder: Arc::new(forwarder),
            ledger,
            script,
            founding,
            service,
            client,
            address,
            serving,
            _dir: None,
        }
    }

    fn peer(&self) -> &Peer {
        &self.ledger.me
    }

    fn counter(&self, name: &str) -> u64 {
        let all = self.client.counters().cluster();
        all.iter().find(|(key, _)| *key == name).expect("a known counter").1
    }

    /// Closes the port and every connection through it.
    async fn stop(&mut self) {
        self.serving.abort();
        (&mut self.serving).await.ok();
    }
}

/// Counts up; which numbers come does not matter here.
struct Counting(std::sync::atomic::AtomicU64);

impl Random for Counting {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

fn random() -> Arc<dyn Random> {
    Arc::new(Counting(0.into()))
}

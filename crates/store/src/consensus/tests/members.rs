//! A lone node from inside: changes of membership that a leader left half-way, and who counts as heard.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::metrics::SerdeInstant;
use openraft::type_config::TypeConfigExt;
use openraft::{EntryPayload, ServerState};
use sqlite::meta::Position;
use tempfile::TempDir;

use crate::config::Config;
use crate::consensus::codec::VoteMessage;
use crate::consensus::types::{Membership, Record, StoredMembership, Types, log_id};
use crate::consensus::wire::{self, AppendAsk, ControlAnswer, ControlAsk, ControlAskKind, Open};
use crate::consensus::{Metrics, membership};
use crate::environment::{Clock, Environment, Random, Runner};
use crate::member::Peer;
use crate::node::Node;
use crate::transport::{BoxFuture, Channel, Duplex, Transport};

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Nobody can be reached.
struct Nowhere;

impl Transport for Nowhere {
    fn connect(&self, _peer: &Peer, _channel: Channel) -> BoxFuture<'static, io::Result<Duplex>> {
        Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
    }
}

struct Zero;

impl Clock for Zero {
    fn now_us(&self) -> i64 {
        0
    }
}

struct Counter(AtomicU64);

impl Random for Counter {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A cluster of one, which leads.
pub(super) async fn lone() -> (TempDir, Node) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let config = Config::new(dir.path().to_owned(), "a".to_owned(), "a:4002".to_owned());
    let environment = Environment {
        transport: Arc::new(Nowhere),
        disk: Arc::new(log::FsDisk::new(dir.path().join("log")).expect("a log directory")),
        clock: Arc::new(Zero),
        random: Arc::new(Counter(AtomicU64::new(7))),
        runner: Runner::Threads,
    };
    let node = Node::open(config, environment).await.expect("a new node");
    node.initialize(vec![node.peer().clone()]).await.expect("a new cluster");
    node.ready(PATIENCE).await.expect("ready");
    (dir, node)
}

fn record(name: &str, voter: bool) -> Record {
    Record {
        name: name.to_owned(),
        address: format!("{name}:4002"),
        voter,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_a_leader_left_half_way_is_finished() {
    let (_dir, node) = lone().await;
    let me = node.peer().id.0;
    let core = &node.inner.core;
    let both = vec![BTreeSet::from([me]), BTreeSet::from([me])];
    let joint = Membership::new(both, BTreeMap::from([(me, record("a", true))])).expect("valid");
    core.raft()
        .append_membership(joint, EntryPayload::Blank, [])
        .await
        .expect("a joint membership");
    let uniform = core.until(|metrics| {
        let sets = metrics.membership_config.membership().get_joint_config().len();
        (sets == 1 && metrics.membership_config == metrics.committed_membership_config).then_some(())
    });
    tokio::time::timeout(PATIENCE, uniform).await.expect("finished in time");
    assert_eq!(node.members().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_of_a_term_that_is_over_is_not_heard() {
    let (_dir, node) = lone().await;
    let (to, ask) = tokio::sync::mpsc::channel(4);
    let (answer, mut from) = tokio::sync::mpsc::channel(4);
    let serving = node.clone();
    tokio::spawn(async move { serving.accept(Channel::Control, Duplex { tx: answer, rx: ask }).await });
    let open = Open {
        version: wire::VERSION,
        from: 99,
        to: node.peer().id.0,
    };
    to.send(wire::frame(&open)).await.expect("open");
    let heartbeat = AppendAsk {
        vote: Some(VoteMessage {
            term: 0,
            node: 99,
            committed: true,
        }),
        prev: None,
        committed: None,
        entries: Vec::new(),
        acknowledged: 0,
    };
    let kind = Some(ControlAskKind::Heartbeat(heartbeat));
    to.send(wire::frame(&ControlAsk { sequence: 1, kind }))
        .await
        .expect("open");
    let refused: ControlAnswer = wire::read(from.recv().await.expect("an answer")).expect("readable");
    assert_eq!(refused.sequence, 1);
    assert!(node.inner.core.last_heard().at.is_none());
}

/// What a leader with one voter and one learner that is to vote knows.
fn metrics(matched: Option<u64>, answered: Option<Duration>) -> Metrics {
    let at = |index| log_id(Position { term: 1, index });
    let nodes = BTreeMap::from([(1, record("a", true)), (2, record("b", true))]);
    let members = Membership::new(vec![BTreeSet::from([1])], nodes).expect("valid");
    let mut metrics = Metrics::new_initial(1);
    metrics.state = ServerState::Leader;
    metrics.current_leader = Some(1);
    metrics.last_log_index = Some(10_000);
    metrics.membership_config = Arc::new(StoredMembership::new(Some(at(3)), members));
    metrics.replication = Some(BTreeMap::from([(2, matched.map(at))]));
    let then = answered.map(|ago| SerdeInstant::new(Types::now() - ago));
    metrics.heartbeat = Some(BTreeMap::from([(2, then)]));
    metrics
}

#[test]
fn a_learner_is_promoted_once_it_has_caught_up_and_answers() {
    let now = Some(Duration::ZERO);
    assert_eq!(membership::promotable(&metrics(Some(9_999), now)), Some(2));
    assert_eq!(membership::promotable(&metrics(Some(100), now)), None, "it lags");
    assert_eq!(membership::promotable(&metrics(None, now)), None, "it has nothing");
    assert_eq!(membership::promotable(&metrics(Some(9_999), None)), None);
    let silent = Some(Duration::from_secs(5));
    assert_eq!(
        membership::promotable(&metrics(Some(9_999), silent)),
        None,
        "it is gone"
    );
}

#[test]
fn a_leader_that_its_log_removes_changes_no_membership() {
    let mut metrics = metrics(None, None);
    assert!(membership::may_change(&metrics));
    // It was elected all the same, and will lead until its removal is committed.
    metrics.id = 2;
    metrics.current_leader = Some(2);
    assert!(!membership::may_change(&metrics));
}

//! Forwarding: keys, retries, streams that break, and connections that have gone stale.

use std::time::Duration;

use bytes::Bytes;
use command::request::{Key, KeyOrigin};
use command::statement::Statement;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::{DEADLINE, Node, Turn, soon};
use crate::cluster::Error;
use crate::forwarded::{Body, Broken, Forwarded, Operation, Sql, StepDown};

fn sql() -> Sql {
    Sql {
        statements: vec![Statement::new("INSERT INTO t VALUES(1)")],
        ..Sql::default()
    }
}

fn forwarded(operation: Operation) -> Forwarded {
    Forwarded {
        operation: Some(operation),
        ..Forwarded::default()
    }
}

fn execute() -> Forwarded {
    forwarded(Operation::Execute(sql()))
}

fn key(forwarded: &Forwarded) -> Option<Key> {
    match forwarded.operation.as_ref().unwrap() {
        Operation::Execute(sql) | Operation::Query(sql) | Operation::Request(sql) => sql.key.clone(),
        Operation::Load(load) => load.key.clone(),
        Operation::Remove(_)
        | Operation::StepDown(_)
        | Operation::Backup(_)
        | Operation::Gather(_)
        | Operation::Skip(_)
        | Operation::Verify(_) => None,
    }
}

async fn text(mut body: Body) -> String {
    let mut text = String::new();
    while let Some(chunk) = soon(body.recv()).await {
        text += std::str::from_utf8(&chunk.unwrap()).unwrap();
    }
    text
}

async fn pair() -> (Node, Node) {
    let (leader, follower) = (Node::start(1, "n1").await, Node::start(2, "n2").await);
    leader.ledger.lead();
    follower.ledger.follow(Some(leader.peer()));
    (leader, follower)
}

#[tokio::test]
async fn a_write_runs_on_the_leader_under_a_key() {
    let (leader, follower) = pair().await;
    follower.ledger.told(|told| told.applied = 42);
    for sequence in 1..=2 {
        leader.script.turn(Turn::Chunks(vec!["{\"results\":", "[]}"]));
        let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
        assert_eq!(
            (served.by.as_str(), served.answer.head.status),
            (leader.address.as_str(), 200)
        );
        assert_eq!(text(served.answer.body).await, "{\"results\":[]}");
        let seen = leader.script.seen().pop().unwrap();
        let Some(KeyOrigin::Forward(key)) = key(&seen).unwrap().origin else {
            panic!("an automatic key");
        };
        assert_eq!(
            (key.incarnation, key.boot, key.sequence, key.issued_at),
            (2, 77, sequence, 42)
        );
        assert!(seen.timeout_ms > 0 && u128::from(seen.timeout_ms) <= DEADLINE.as_millis());
    }
    assert_eq!(leader.counter("num_execute_req"), 2);
    assert_eq!(leader.client.counters().net.mux()[0].1, 1, "one connection serves both");
}

#[tokio::test]
async fn a_read_needs_no_key_and_a_client_keeps_its_own() {
    let (leader, follower) = pair().await;
    leader.script.turn(Turn::Chunks(vec!["a"]));
    soon(follower.forwarder.forward(forwarded(Operation::Query(sql())), DEADLINE))
        .await
        .unwrap();
    assert_eq!(key(&leader.script.seen()[0]), None);
    let own = Key {
        origin: Some(KeyOrigin::Client(Default::default())),
    };
    let request = Sql {
        key: Some(own.clone()),
        ..sql()
    };
    leader.script.turn(Turn::Chunks(vec!["a"]));
    soon(
        follower
            .forwarder
            .forward(forwarded(Operation::Request(request)), DEADLINE),
    )
    .await
    .unwrap();
    assert_eq!(key(&leader.script.seen()[1]), Some(own));
}

#[tokio::test]
async fn without_a_leader_nothing_is_sent() {
    let follower = Node::start(2, "n2").await;
    let error = follower.forwarder.forward(execute(), DEADLINE).await.unwrap_err();
    assert!(matches!(error, Error::NoLeader));
}

#[tokio::test]
async fn a_node_that_no_longer_leads_names_the_one_that_does() {
    let (former, follower) = pair().await;
    let leader = Node::start(3, "n3").await;
    former.script.turn(Turn::Elsewhere(Some(leader.peer().clone())));
    leader.script.turn(Turn::Chunks(vec!["done"]));
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    assert_eq!(served.by, leader.address);
    assert_eq!(text(served.answer.body).await, "done");
    assert_eq!(key(&former.script.seen()[0]), key(&leader.script.seen()[0]));
}

#[tokio::test]
async fn a_node_that_has_become_leader_runs_it_itself() {
    let (former, follower) = pair().await;
    former.script.turn(Turn::Elsewhere(Some(follower.peer().clone())));
    follower.script.turn(Turn::Chunks(vec!["here"]));
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    assert_eq!(served.by, follower.address);
    assert_eq!(text(served.answer.body).await, "here");
}

#[tokio::test]
async fn a_write_whose_leader_dies_is_sent_to_the_next_under_the_same_key() {
    let (mut former, follower) = pair().await;
    let leader = Node::start(3, "n3").await;
    former.script.turn(Turn::Hang);
    leader.script.turn(Turn::Chunks(vec!["done"]));
    let forwarder = follower.forwarder.clone();
    let forwarding = tokio::spawn(async move { forwarder.forward(execute(), DEADLINE).await });
    arrived(&former, 1).await;
    former.stop().await;
    follower.ledger.follow(None);
    follower.ledger.follow(Some(leader.peer()));
    let served = soon(forwarding).await.unwrap().unwrap();
    assert_eq!(served.by, leader.address);
    assert_eq!(key(&former.script.seen()[0]), key(&leader.script.seen()[0]));
}

#[tokio::test]
async fn a_write_that_may_have_arrived_ends_in_an_unknown_outcome() {
    let (mut leader, follower) = pair().await;
    leader.script.turn(Turn::Hang);
    let forwarder = follower.forwarder.clone();
    let forwarding = tokio::spawn(async move { forwarder.forward(execute(), Duration::from_millis(400)).await });
    arrived(&leader, 1).await;
    leader.stop().await;
    follower.ledger.follow(None);
    let error = soon(forwarding).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_leader_that_refuses_a_write_says_nothing_of_the_one_that_died_with_it() {
    let (mut former, follower) = pair().await;
    let leader = Node::start(3, "n3").await;
    former.script.turn(Turn::Hang);
    leader.script.turn(Turn::Overloaded);
    let forwarder = follower.forwarder.clone();
    let forwarding = tokio::spawn(async move { forwarder.forward(execute(), DEADLINE).await });
    arrived(&former, 1).await;
    former.stop().await;
    follower.ledger.follow(Some(leader.peer()));
    let error = soon(forwarding).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");

    // What has gone to this leader alone certainly did not happen.
    leader.script.turn(Turn::Overloaded);
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    assert_eq!(served.answer.head.status, 503);
}

#[tokio::test]
async fn a_restarted_leader_that_refuses_a_write_says_nothing_of_its_former_life() {
    let dir = TempDir::new().unwrap();
    let (mut leader, follower) = pair().await;
    leader.script.turn(Turn::Chunks(vec!["first"]));
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    assert_eq!(text(served.answer.body).await, "first");
    leader.script.turn(Turn::Hang);
    let forwarder = follower.forwarder.clone();
    let forwarding = tokio::spawn(async move { forwarder.forward(execute(), DEADLINE).await });
    arrived(&leader, 2).await;
    leader.stop().await;
    let restarted = Node::start_at(&leader.address, 1, "n1", 0, &dir).await;
    restarted.script.turn(Turn::Overloaded);
    let error = soon(forwarding).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
}

#[tokio::test]
async fn a_write_that_was_never_sent_ends_in_a_certain_one() {
    let (mut leader, follower) = pair().await;
    leader.stop().await;
    let error = soon(follower.forwarder.forward(execute(), Duration::from_millis(200)))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unsent { .. }), "{error}");
}

#[tokio::test]
async fn a_hand_over_is_not_sent_twice() {
    let (mut former, follower) = pair().await;
    let leader = Node::start(3, "n3").await;
    former.script.turn(Turn::Hang);
    let forwarder = follower.forwarder.clone();
    let step_down = forwarded(Operation::StepDown(StepDown::default()));
    let forwarding = tokio::spawn(async move { forwarder.forward(step_down, DEADLINE).await });
    arrived(&former, 1).await;
    follower.ledger.follow(Some(leader.peer()));
    former.stop().await;
    let error = soon(forwarding).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
    assert!(leader.script.seen().is_empty());
}

#[tokio::test]
async fn a_restarted_leader_costs_one_new_connection_and_no_error() {
    let dir = TempDir::new().unwrap();
    let (mut leader, follower) = pair().await;
    for _ in 0..3 {
        leader.script.turn(Turn::Chunks(vec!["before"]));
    }
    let requests = (0..3).map(|_| follower.forwarder.forward(execute(), DEADLINE));
    for served in soon(futures_util::future::join_all(requests)).await {
        served.unwrap();
    }
    leader.stop().await;
    let restarted = Node::start_at(&leader.address, 1, "n1", 0, &dir).await;
    restarted.script.turn(Turn::Chunks(vec!["after"]));
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    assert_eq!(text(served.answer.body).await, "after");
    assert_eq!(follower.counter("num_client_force_new_conn"), 1);
}

#[tokio::test]
async fn a_long_answer_streams() {
    let (leader, follower) = pair().await;
    let (tx, body) = mpsc::channel(1);
    leader.script.turn(Turn::Stream(body));
    let query = forwarded(Operation::Query(sql()));
    let served = soon(follower.forwarder.forward(query, DEADLINE)).await.unwrap();
    let mut body = served.answer.body;
    for n in 0..200_u32 {
        tx.send(Ok(Bytes::from(vec![n as u8; 30_000]))).await.unwrap();
        let chunk = soon(body.recv()).await.unwrap().unwrap();
        assert_eq!((chunk.len(), chunk[0]), (30_000, n as u8));
    }
    drop(tx);
    assert!(soon(body.recv()).await.is_none());
}

#[tokio::test]
async fn a_slow_reader_holds_the_leader_back() {
    let (leader, follower) = pair().await;
    let (tx, body) = mpsc::channel(1);
    leader.script.turn(Turn::Stream(body));
    let served = soon(follower.forwarder.forward(forwarded(Operation::Query(sql())), DEADLINE))
        .await
        .unwrap();
    let mut sent = 0;
    // Sockets and queues take some; nobody reads, so at some point nothing more is taken.
    let chunk = Bytes::from(vec![0; 1024 * 1024]);
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(300), tx.send(Ok(chunk.clone()))).await {
        sent += 1;
        assert!(sent < 400, "held back");
    }
    drop(served);
    soon(tx.closed()).await;
}

#[tokio::test]
async fn a_stream_that_breaks_in_the_middle_is_an_error_not_an_end() {
    let (mut leader, follower) = pair().await;
    let (tx, body) = mpsc::channel(1);
    leader.script.turn(Turn::Stream(body));
    let served = soon(follower.forwarder.forward(forwarded(Operation::Query(sql())), DEADLINE))
        .await
        .unwrap();
    let mut body = served.answer.body;
    tx.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    assert_eq!(soon(body.recv()).await.unwrap().unwrap(), "half");
    leader.stop().await;
    assert!(soon(body.recv()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_leader_that_cannot_finish_says_why() {
    let (leader, follower) = pair().await;
    let (tx, body) = mpsc::channel(4);
    leader.script.turn(Turn::Stream(body));
    tx.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
    tx.send(Err(Broken("disk I/O error".to_owned()))).await.unwrap();
    drop(tx);
    let served = soon(follower.forwarder.forward(forwarded(Operation::Query(sql())), DEADLINE))
        .await
        .unwrap();
    let mut body = served.answer.body;
    assert_eq!(soon(body.recv()).await.unwrap().unwrap(), "half");
    assert_eq!(soon(body.recv()).await.unwrap().unwrap_err().0, "disk I/O error");
}

#[tokio::test]
async fn a_client_that_goes_away_stops_the_leader() {
    let (leader, follower) = pair().await;
    leader.script.turn(Turn::Hang);
    let forwarder = follower.forwarder.clone();
    let forwarding = tokio::spawn(async move { forwarder.forward(execute(), DEADLINE).await });
    arrived(&leader, 1).await;
    forwarding.abort();
    let (tx, body) = mpsc::channel(1);
    leader.script.turn(Turn::Stream(body));
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    drop(served.answer.body);
    soon(tx.closed()).await;
}

#[tokio::test]
async fn many_requests_share_a_bounded_number_of_connections() {
    let (leader, follower) = pair().await;
    for _ in 0..300 {
        leader.script.turn(Turn::Chunks(vec!["ok"]));
    }
    let requests = (0..300).map(|_| follower.forwarder.forward(execute(), DEADLINE));
    for served in soon(futures_util::future::join_all(requests)).await {
        assert_eq!(text(served.unwrap().answer.body).await, "ok");
    }
    let connections = leader.client.counters().net.mux()[0].1;
    assert!(connections <= 64, "{connections} connections");
}

async fn arrived(node: &Node, requests: usize) {
    let all = async {
        while node.script.seen().len() < requests {
            tokio::task::yield_now().await;
        }
    };
    soon(all).await;
}

#[tokio::test]
async fn during_an_election_a_request_waits_for_the_leader() {
    let (leader, follower) = pair().await;
    follower.ledger.follow(None);
    let refused = soon(follower.forwarder.forward(execute(), DEADLINE)).await;
    assert!(matches!(refused, Err(Error::NoLeader)), "{refused:?}");
    follower.ledger.elect(leader.peer());
    leader.script.turn(Turn::Chunks(vec!["{}"]));
    let served = soon(follower.forwarder.forward(execute(), DEADLINE)).await.unwrap();
    assert_eq!(served.by, leader.address);
}

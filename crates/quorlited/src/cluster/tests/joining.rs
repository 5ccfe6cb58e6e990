//! Joining: redirects, attempts, and who may not.

use std::sync::Arc;
use std::time::Duration;

use store::member::{NodeId, Peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Node, Turn, peer, soon};
use crate::cluster::Error;
use crate::cluster::form::{Formation, Plan};
use crate::cluster::join::{self, Attempts};
use crate::cluster::leave;
use crate::cluster::message::{Ask, Join, Request, Tell};
use crate::cluster::pool::Pool;
use crate::cluster::probe;
use crate::forwarded::Operation;
use crate::net::{self, TcpTransport};

fn attempts(targets: &[&Node]) -> Attempts {
    Attempts {
        targets: targets.iter().map(|node| node.address.clone()).collect(),
        passes: 1,
        interval: Duration::from_millis(1),
    }
}

async fn join(joiner: &Node, attempts: &Attempts) -> Result<(), Error> {
    soon(join::join(
        &*joiner.ledger,
        &joiner.founding,
        &joiner.client,
        true,
        attempts,
    ))
    .await
}

fn wish(peer: &Peer) -> Join {
    Join {
        peer: Some(peer.into()),
        voter: true,
        settings: None,
    }
}

/// A leader with one other member.
async fn leader(member: Peer) -> Node {
    let leader = Node::start(1, "n1").await;
    leader.ledger.lead();
    leader.ledger.has_member(leader.peer().clone());
    leader.ledger.has_member(member);
    leader
}

#[tokio::test]
async fn a_node_with_other_flags_is_refused_before_it_is_a_member() {
    let (leader, joiner) = (Node::start(1, "n1").await, Node::start(2, "n2").await);
    leader.ledger.lead();
    joiner.ledger.told(|told| told.settings.foreign_keys = true);
    let error = join(&joiner, &attempts(&[&leader])).await.unwrap_err();
    assert!(error.to_string().contains("other flags"), "{error}");
    assert!(leader.ledger.told(|told| told.added.is_empty()));
    // An earlier release does not say, and finds out by itself.
    soon(
        joiner
            .client
            .join(&leader.address, &wish(joiner.peer()), Duration::from_secs(5)),
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn a_join_follows_the_leaders_address_from_node_to_node() {
    let (first, second, leader) = (
        Node::start(1, "n1").await,
        Node::start(2, "n2").await,
        Node::start(3, "n3").await,
    );
    first.ledger.follow(Some(second.peer()));
    second.ledger.follow(Some(leader.peer()));
    leader.ledger.lead();
    let joiner = Node::start(4, "n4").await;
    join(&joiner, &attempts(&[&first])).await.unwrap();
    leader
        .ledger
        .told(|told| assert_eq!(told.added, [(joiner.peer().clone(), true)]));
    let requests = [&first, &second, &leader].map(|node| node.counter("num_join_req"));
    assert_eq!(requests, [1, 1, 1]);
}

#[tokio::test]
async fn two_nodes_that_name_each_other_do_not_hold_a_join_for_ever() {
    let (first, second) = (Node::start(1, "n1").await, Node::start(2, "n2").await);
    first.ledger.follow(Some(second.peer()));
    second.ledger.follow(Some(first.peer()));
    let joiner = Node::start(4, "n4").await;
    let error = join(&joiner, &attempts(&[&first])).await.unwrap_err();
    assert!(error.to_string().contains("redirected more than 10 times"), "{error}");
    assert_eq!(first.counter("num_join_req") + second.counter("num_join_req"), 11);
}

#[tokio::test]
async fn the_next_address_and_the_next_attempt_are_tried() {
    let mut dead = Node::start(1, "n1").await;
    dead.stop().await;
    let idle = Node::start(2, "n2").await;
    let joiner = Node::start(4, "n4").await;
    let mut attempts = attempts(&[&dead, &idle]);
    let error = join(&joiner, &attempts).await.unwrap_err();
    assert!(error.to_string().contains("leader not found"), "{error}");
    attempts.passes = 1000;
    let elected = async {
        while idle.counter("num_join_req") < 3 {
            tokio::task::yield_now().await;
        }
        idle.ledger.lead();
    };
    let (joined, ()) = tokio::join!(join(&joiner, &attempts), elected);
    joined.unwrap();
}

#[tokio::test]
async fn a_cluster_of_one_joins_nobody() {
    let leader = Node::start(1, "n1").await;
    leader.ledger.lead();
    let joiner = Node::start(4, "n4").await;
    joiner.ledger.has_member(joiner.peer().clone());
    joiner.ledger.told(|told| told.initialized = Some(Vec::new()));
    assert!(matches!(join(&joiner, &attempts(&[&leader])).await, Err(Error::Alone)));
    assert_eq!(leader.counter("num_join_req"), 0);
}

#[tokio::test]
async fn the_name_of_a_live_node_is_taken() {
    let bearer = Node::start(2, "n2").await;
    let leader = leader(bearer.peer().clone()).await;
    let joiner = Node::start(9, "n2").await;
    let error = join(&joiner, &attempts(&[&leader])).await.unwrap_err();
    assert!(
        error.to_string().contains("node id n2 is in use by a live node"),
        "{error}"
    );
    leader.ledger.told(|told| assert!(told.added.is_empty()));
}

#[tokio::test]
async fn the_leaders_own_name_is_taken() {
    let leader = leader(peer(2, "n2", "127.0.0.1:1")).await;
    let joiner = Node::start(9, "n1").await;
    assert!(join(&joiner, &attempts(&[&leader])).await.is_err());
}

#[tokio::test]
async fn the_name_of_a_dead_node_is_free_for_its_next_incarnation() {
    let mut bearer = Node::start(2, "n2").await;
    let leader = leader(bearer.peer().clone()).await;
    bearer.stop().await;
    let joiner = Node::start(9, "n2").await;
    join(&joiner, &attempts(&[&leader])).await.unwrap();
    leader.ledger.told(|told| assert_eq!(told.added[0].0, *joiner.peer()));
}

#[tokio::test]
async fn a_wiped_node_comes_back_at_its_own_address() {
    let joiner = Node::start(9, "n2").await;
    let leader = leader(peer(2, "n2", &joiner.address)).await;
    join(&joiner, &attempts(&[&leader])).await.unwrap();
    leader.ledger.told(|told| assert_eq!(told.added[0].0.id, NodeId(9)));
}

#[tokio::test]
async fn an_address_that_cannot_be_resolved_is_refused() {
    let leader = leader(peer(2, "n2", "127.0.0.1:1")).await;
    let lost = peer(9, "n9", "no.such.host.invalid:4002");
    let joiner = Node::start(4, "n4").await;
    let joined = joiner.client.join(&leader.address, &wish(&lost), super::DEADLINE).await;
    assert!(
        joined
            .unwrap_err()
            .to_string()
            .contains("cannot resolve no.such.host.invalid:4002")
    );
}

#[tokio::test]
async fn an_unknown_request_is_refused_by_name_and_the_connection_lives() {
    let node = Node::start(1, "n1").await;
    let asking = Node::start(2, "n2").await;
    let unknown = Request {
        version: 9,
        credentials: None,
        ask: None,
    };
    let deadline = tokio::time::Instant::now() + super::DEADLINE;
    let repeat = crate::cluster::client::Repeat::Never;
    let called = asking
        .client
        .call(&node.address, unknown.encode_frame(), repeat, deadline, |_| ())
        .await;
    let (connection, tell) = called.unwrap();
    let Tell::Refused(refused) = tell else {
        panic!("{tell:?}");
    };
    assert_eq!(refused.message, "unknown request: this node runs test");
    connection.give_back();
    assert!(
        asking
            .client
            .describe(&node.address, super::DEADLINE)
            .await
            .unwrap()
            .leader
            .is_none()
    );
}

#[tokio::test]
async fn a_malformed_request_is_refused_and_the_connection_ends() {
    let node = Node::start(1, "n1").await;
    let pool = Pool::new(TcpTransport::new(super::DEADLINE));
    let mut connection = pool.take(&node.address).await.unwrap();
    assert!(connection.send(bytes::Bytes::from_static(&[0xff; 9])).await);
    assert!(soon(connection.receive()).await.is_some());
    assert!(soon(connection.receive()).await.is_none());
}

#[tokio::test]
async fn a_description_says_who_leads_and_where_the_api_is() {
    let node = Node::start(1, "n1").await;
    let asking = Node::start(2, "n2").await;
    node.ledger.lead();
    node.ledger.told(|told| told.applied = 42);
    let description = asking.client.describe(&node.address, super::DEADLINE).await.unwrap();
    assert_eq!(description.peer, Some(node.peer().into()));
    assert_eq!(description.leader, description.peer);
    assert_eq!(description.api_url, "http://api-of-n1");
    assert_eq!(
        (description.commit_index, description.is_leader, description.initialized),
        (42, true, false)
    );
}

#[tokio::test]
async fn credentials_travel_with_a_request() {
    let credentials = crate::forwarded::Credentials {
        user: "u".to_owned(),
        password: "p".to_owned(),
    };
    let request = Request::new(Ask::Join(wish(&peer(1, "n1", "h:1"))), Some(credentials));
    let read: Request = prost::Message::decode(request.encode_frame()).unwrap();
    assert_eq!(read, request);
    assert!(!format!("{read:?}").contains("\"p\""));
}

#[tokio::test]
async fn an_http_address_is_told_from_an_inter_node_one() {
    let node = Node::start(1, "n1").await;
    probe::refuse_http(std::slice::from_ref(&node.address)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 11];
        socket.read_exact(&mut request).await.unwrap();
        assert_eq!(&request, b"GET /status");
        socket.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
    });
    let error = probe::refuse_http(&[node.address.clone(), address.clone()])
        .await
        .unwrap_err();
    assert!(matches!(error, Error::HttpAddress(wrong) if wrong == address));
}

fn formation(node: &Node, voter: bool) -> Formation {
    Formation {
        ledger: node.ledger.clone(),
        founding: node.founding.clone(),
        client: node.client.clone(),
        random: super::random(),
        voter,
    }
}

fn plan(targets: &[&Node], expect: usize) -> Plan {
    Plan::from_flags(attempts(targets), expect, Duration::from_millis(10))
}

#[tokio::test]
async fn a_node_without_flags_forms_its_own_cluster_once() {
    let node = Node::start(1, "n1").await;
    formation(&node, true).run(plan(&[], 0)).await.unwrap();
    node.ledger
        .told(|told| assert_eq!(told.initialized.as_deref(), Some(&[node.peer().clone()][..])));
    formation(&node, true).run(plan(&[], 3)).await.unwrap();
}

#[tokio::test]
async fn a_read_replica_without_flags_is_refused_unless_it_has_state() {
    let node = Node::start(1, "n1").await;
    assert!(matches!(
        formation(&node, false).run(plan(&[], 0)).await,
        Err(Error::ReplicaAlone)
    ));
    node.ledger.told(|told| told.initialized = Some(Vec::new()));
    formation(&node, false).run(plan(&[], 0)).await.unwrap();
}

#[tokio::test]
async fn a_read_replica_joins_as_one() {
    let leader = Node::start(1, "n1").await;
    leader.ledger.lead();
    let replica = Node::start(2, "n2").await;
    formation(&replica, false).run(plan(&[&leader], 0)).await.unwrap();
    leader
        .ledger
        .told(|told| assert_eq!(told.added, [(replica.peer().clone(), false)]));
}

#[tokio::test]
async fn an_idle_connection_is_dropped() {
    let node = Node::start(1, "n1").await;
    let net = Arc::new(net::Counters::default());
    let listener = net::Listener::bind("127.0.0.1:0", net).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let service = node.service.clone().with_idle_time_max(Duration::from_millis(20));
    tokio::spawn(listener.serve(move |_, duplex, from| {
        let service = service.clone();
        tokio::spawn(async move { service.serve(duplex, from).await });
    }));
    let mut connection = Pool::new(TcpTransport::new(super::DEADLINE))
        .take(&address)
        .await
        .unwrap();
    assert!(soon(connection.receive()).await.is_none());
}

#[tokio::test]
async fn a_node_describes_itself_without_a_connection() {
    let node = Node::start(1, "n1").await;
    let asked = node.service.describe_peer(&node.address, super::DEADLINE).await;
    assert_eq!(asked.unwrap().api_url, "http://api-of-n1");
    assert_eq!(node.counter("num_get_node_api_req_local"), 1);
    assert_eq!(node.counter("num_get_node_api_req"), 0);
}

#[tokio::test]
async fn a_leaving_node_is_removed_by_its_leader() {
    let (leader, follower) = (Node::start(1, "n1").await, Node::start(2, "n2").await);
    leader.ledger.lead();
    follower.ledger.follow(Some(leader.peer()));
    follower.ledger.has_member(follower.peer().clone());
    leader.script.turn(Turn::Chunks(Vec::new()));
    let removed = async {
        while leader.script.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        follower.ledger.told(|told| told.members.clear());
    };
    let leaving = leave::leave(&*follower.ledger, &follower.forwarder, None);
    let (left, ()) = soon(async { tokio::join!(leaving, removed) }).await;
    left.unwrap();
    let Some(Operation::Remove(remove)) = leader.script.seen()[0].operation.clone() else {
        panic!("a removal");
    };
    assert_eq!(remove.name, "n2");
    assert_eq!(leader.counter("num_remove_node_req"), 1);
}

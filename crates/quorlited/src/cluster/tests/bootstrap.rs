//! The bootstrap loop over loopback: exactly one node forms the cluster.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::{DEADLINE, Node, peer, random, soon};
use crate::cluster::Error;
use crate::cluster::form::{Formation, Plan};
use crate::cluster::founding::file;
use crate::cluster::message::{Attempt, PeerRecord};

fn plan(nodes: &[&Node], timeout: Duration) -> Plan {
    let targets: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
    Plan::Bootstrap {
        targets: Arc::new(targets),
        timeout,
    }
}

fn formation(node: &Node, voter: bool) -> Formation {
    Formation {
        ledger: node.ledger.clone(),
        founding: node.founding.clone(),
        client: node.client.clone(),
        random: random(),
        voter,
    }
}

/// What replication would do: once one has formed the cluster, the others hear of its leader.
async fn replicate(nodes: &[&Node]) {
    let formed = loop {
        let mut all = nodes.iter();
        if let Some(founder) = all.find(|node| node.ledger.told(|told| told.initialized.is_some())) {
            break founder;
        }
        tokio::task::yield_now().await;
    };
    for node in nodes {
        node.ledger.follow(Some(formed.peer()));
    }
}

#[tokio::test]
async fn three_nodes_form_one_cluster_and_the_smallest_forms_it() {
    let nodes = [
        Node::start_with(30, "n1", 3).await,
        Node::start_with(10, "n2", 3).await,
        Node::start_with(20, "n3", 3).await,
    ];
    let [n1, n2, n3] = nodes.each_ref();
    let all = [n1, n2, n3];
    let run = |node: &Node| formation(node, true).run(plan(&all, DEADLINE));
    let (r1, r2, r3, ()) = soon(async { tokio::join!(run(n1), run(n2), run(n3), replicate(&all)) }).await;
    r1.and(r2).and(r3).unwrap();
    n2.ledger.told(|told| {
        let voters = told.initialized.as_ref().expect("the smallest forms it");
        assert_eq!(voters, &[n2.peer().clone(), n3.peer().clone(), n1.peer().clone()]);
    });
    for other in [n1, n3] {
        other.ledger.told(|told| assert!(told.initialized.is_none()));
    }
}

#[tokio::test]
async fn a_late_node_with_the_same_options_joins() {
    let leader = Node::start_with(1, "n1", 3).await;
    leader.ledger.lead();
    leader.ledger.told(|told| told.initialized = Some(Vec::new()));
    let late = Node::start_with(4, "n4", 3).await;
    let mut dead = Node::start_with(5, "n5", 3).await;
    dead.stop().await;
    soon(formation(&late, true).run(plan(&[&dead, &leader, &late], DEADLINE)))
        .await
        .unwrap();
    leader
        .ledger
        .told(|told| assert_eq!(told.added, [(late.peer().clone(), true)]));
    assert_eq!(leader.counter("num_notify_req"), 0);
}

#[tokio::test]
async fn two_of_three_form_nothing_and_say_so() {
    let n1 = Node::start_with(1, "n1", 3).await;
    let n2 = Node::start_with(2, "n2", 3).await;
    let mut n3 = Node::start_with(3, "n3", 3).await;
    n3.stop().await;
    let all = [&n1, &n2, &n3];
    let run = |node: &Node| formation(node, true).run(plan(&all, Duration::from_millis(300)));
    let (first, second) = soon(async { tokio::join!(run(&n1), run(&n2)) }).await;
    let error = first.unwrap_err();
    assert!(
        error.to_string().contains("2 of 3 nodes announced themselves"),
        "{error}"
    );
    assert!(second.is_err());
    n1.ledger.told(|told| assert!(told.initialized.is_none()));
}

#[tokio::test]
async fn a_replica_in_the_loop_only_joins() {
    let n1 = Node::start_with(1, "n1", 1).await;
    let replica = Node::start_with(2, "n2", 1).await;
    let run = formation(&replica, false).run(plan(&[&n1, &replica], Duration::from_millis(50)));
    assert!(matches!(soon(run).await, Err(Error::NotFormed { .. })));
    assert_eq!(n1.counter("num_notify_req"), 0);
}

#[tokio::test]
async fn nodes_that_expect_different_numbers_do_not_count_each_other() {
    let n1 = Node::start_with(1, "n1", 2).await;
    let n2 = Node::start_with(2, "n2", 3).await;
    let notify = crate::cluster::message::Notify {
        peer: Some(n1.peer().into()),
        expect: 2,
    };
    let error = n1.client.notify(&n2.address, notify, DEADLINE).await.unwrap_err();
    assert!(
        error.to_string().contains("-bootstrap-expect is 2 there and 3 here"),
        "{error}"
    );
}

#[tokio::test]
async fn a_second_node_of_the_same_name_does_not_count() {
    let n1 = Node::start_with(1, "n1", 2).await;
    let twin = Node::start_with(2, "n1", 2).await;
    let notify = crate::cluster::message::Notify {
        peer: Some(twin.peer().into()),
        expect: 2,
    };
    let error = twin.client.notify(&n1.address, notify, DEADLINE).await.unwrap_err();
    assert!(error.to_string().contains("each node needs its own"), "{error}");
}

fn attempt(nodes: &[&Node]) -> Attempt {
    let mut voters: Vec<PeerRecord> = nodes.iter().map(|node| node.peer().into()).collect();
    voters.sort();
    Attempt {
        coordinator: voters[0].id,
        round: 1,
        voters,
    }
}

#[tokio::test]
async fn a_promise_outlives_the_process() {
    let dir = TempDir::new().unwrap();
    let (n1, n3) = (Node::start_with(1, "n1", 3).await, Node::start_with(3, "n3", 3).await);
    let n2 = Node::start_at("127.0.0.1:0", 2, "n2", 3, &dir).await;
    let first = attempt(&[&n1, &n2]);
    n1.client.promise(n2.peer(), first.clone(), DEADLINE).await.unwrap();
    assert_eq!(
        file::read(&file::path(dir.path())).unwrap().promise,
        Some(first.clone())
    );
    // The coordinator keeps to it, and so must the node after a restart.
    n1.founding.promise(&*n1.ledger, first).await.unwrap();
    n1.ledger.told(|told| told.initialized = Some(Vec::new()));
    let again = Node::start_at("127.0.0.1:0", 2, "n2", 3, &dir).await;
    let refused = again
        .founding
        .promise(&*again.ledger, attempt(&[&again, &n3]))
        .await
        .unwrap_err();
    assert!(refused.contains("which stands"), "{refused}");
}

#[tokio::test]
async fn a_promise_to_a_coordinator_that_was_wiped_gives_way() {
    let (n2, n3) = (Node::start_with(2, "n2", 3).await, Node::start_with(3, "n3", 3).await);
    // n1 promised under incarnation 1; incarnation 9 answers at its address now.
    let n1 = Node::start_with(9, "n1", 3).await;
    let mut first = attempt(&[&n2, &n3]);
    first.voters.insert(0, (&peer(1, "n1", &n1.address)).into());
    first.coordinator = 1;
    n2.founding.promise(&*n2.ledger, first).await.unwrap();
    let second = attempt(&[&n1, &n2, &n3]);
    n3.ledger.told(|told| told.initialized = Some(Vec::new()));
    let refused = n2.founding.promise(&*n2.ledger, second.clone()).await.unwrap_err();
    assert!(refused.contains("has become a member"), "{refused}");
    n3.ledger.told(|told| told.initialized = None);
    n2.founding.promise(&*n2.ledger, second).await.unwrap();
}

#[tokio::test]
async fn a_promised_node_forms_no_cluster_of_its_own_and_joins_none() {
    let dir = TempDir::new().unwrap();
    let mut n1 = Node::start_with(1, "n1", 2).await;
    let n2 = Node::start_at("127.0.0.1:0", 2, "n2", 2, &dir).await;
    n2.founding.promise(&*n2.ledger, attempt(&[&n1, &n2])).await.unwrap();
    n1.stop().await;
    let lone = Node::start_at("127.0.0.1:0", 2, "n2", 0, &dir).await;
    let error = formation(&lone, true).run(Plan::Resume).await.unwrap_err();
    let file = file::path(dir.path()).display().to_string();
    assert!(
        error.to_string().contains(&n1.address) && error.to_string().contains(&file),
        "{error}"
    );
    assert!(matches!(
        lone.founding.begin_join(&*lone.ledger).await,
        Err(Error::Promised { .. })
    ));
    lone.ledger.told(|told| assert!(told.initialized.is_none()));
}

#[tokio::test]
async fn a_coordinator_that_has_not_begun_lets_its_node_join_another_cluster() {
    let (n1, n2) = (Node::start_with(1, "n1", 2).await, Node::start_with(2, "n2", 2).await);
    let set = attempt(&[&n1, &n2]);
    n1.founding.promise(&*n1.ledger, set.clone()).await.unwrap();
    n2.founding.promise(&*n2.ledger, set.clone()).await.unwrap();
    n2.founding.begin_join(&*n2.ledger).await.unwrap();
    assert!(!n1.founding.initialize(&*n1.ledger, &set).await.unwrap());
    let refused = n2.founding.promise(&*n2.ledger, set).await.unwrap_err();
    assert_eq!(refused, "joining a cluster");
}

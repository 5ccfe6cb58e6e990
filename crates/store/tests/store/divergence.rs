//! Replicas that differ: found, told, quarantined, re-seeded.

use std::path::Path;
use std::time::Duration;

use store::config::Config;
use store::read::Level;
use store::{Error, Node};

use crate::support::{Cluster, Fault, PATIENCE, config, execute, query, read, reopen, succeed, until};

/// Takes more steps than "c" grants.
const HEAVY: &str =
    "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 100000 UNION ALL SELECT x+1 FROM c LIMIT 20000) SELECT x FROM c";

/// "c" grants fewer steps: it applies what is heavy otherwise than the others, which no cluster's nodes may do.
fn change(config: &mut Config) {
    config.mark_entries = 4;
    config.compare_interval = Duration::from_millis(50);
    if config.name == "c" {
        config.limits.steps_max = 10_000;
    }
}

async fn form() -> Cluster {
    let cluster = Cluster::form_with(&["a", "b", "c"], change).await;
    succeed(&cluster.leader().await, &["CREATE TABLE t(id)"]).await;
    cluster
}

fn named(cluster: &Cluster, name: &str) -> Node {
    match cluster.nodes.iter().find(|node| node.peer().name == name) {
        Some(node) => node.clone(),
        None => panic!("no node is called {name}"),
    }
}

/// Leads, and is "c" or is not.
async fn leader(cluster: &Cluster, is_c: bool) -> Node {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let leader = cluster.leader().await;
        if (leader.peer().name == "c") == is_c {
            return leader;
        }
        // Refused while nobody answers in time, on a busy machine: then it is asked again.
        leader.transfer(is_c.then_some("c"), PATIENCE).await.ok();
        assert!(tokio::time::Instant::now() < deadline, "nobody takes over");
    }
}

/// Past the next index at which nodes compare.
async fn fill(cluster: &Cluster) -> u64 {
    let mut last = 0;
    for id in 0..8 {
        let leader = leader(cluster, false).await;
        last = succeed(&leader, &[&format!("INSERT INTO t VALUES({id})")]).await.index;
    }
    last
}

async fn reseeded(node: &Node) {
    until("re-seeding", || (node.status().soundness.reseeds == 1).then_some(())).await;
    assert_eq!(node.status().soundness.quarantine, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_applies_otherwise_is_told_by_all_and_reseeded() {
    let cluster = form().await;
    succeed(&leader(&cluster, false).await, &[HEAVY]).await;
    let last = fill(&cluster).await;
    let third = named(&cluster, "c");
    reseeded(&third).await;
    cluster.converged(last).await;
    for node in &cluster.nodes {
        let alarm = until("an alarm", || node.status().soundness.last_alarm).await;
        assert!(
            alarm.contains("node c") && alarm.contains("a majority (a, b)"),
            "{alarm}"
        );
    }
    // It goes on with the others.
    let last = fill(&cluster).await;
    cluster.converged(last).await;
    assert_eq!(third.status().soundness.reseeds, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_applies_otherwise_hands_over_first() {
    let cluster = form().await;
    let wrong = leader(&cluster, true).await;
    // What it answers is what it did: nobody knows better yet.
    let reply = execute(&wrong, &[HEAVY]).await.expect("answered");
    assert!(!reply.outcomes.is_empty() || reply.error.is_some(), "{reply:?}");
    for id in 0..8 {
        // Refused for certain once it is found out.
        execute(&wrong, &[&format!("INSERT INTO t VALUES({id})")]).await.ok();
    }
    reseeded(&wrong).await;
    let last = fill(&cluster).await;
    cluster.converged(last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_quarantine_serves_nothing_and_stays_there_through_a_restart() {
    let mut cluster = form().await;
    let leading = leader(&cluster, false).await;
    // Whoever asks for a database has to wait for the connection.
    for name in ["a", "b"] {
        cluster
            .board
            .fault(&format!("{name}:4002"), Some(Fault::Slow(Duration::from_millis(1500))));
    }
    succeed(&leading, &[HEAVY]).await;
    let last = fill(&cluster).await;
    let third = named(&cluster, "c");
    let reason = until("quarantine", || third.status().soundness.quarantine).await;
    assert!(reason.contains("differs from that of a majority (a, b)"), "{reason}");
    let refused = third.confirm(read(Level::None)).await;
    assert!(matches!(refused, Err(Error::Quarantined(_))), "{refused:?}");
    for level in [Level::Weak, Level::Linearizable, Level::Strong] {
        let elsewhere = third.confirm(read(level)).await;
        assert!(
            matches!(elsewhere, Err(Error::NotLeader { leader: Some(_) })),
            "{elsewhere:?}"
        );
    }
    let refused = execute(&third, &["INSERT INTO t VALUES(9)"]).await;
    assert!(matches!(refused, Err(Error::NotLeader { .. })), "{refused:?}");

    let place = cluster
        .nodes
        .iter()
        .position(|node| node.peer() == third.peer())
        .expect("there");
    let mut again = config(cluster.dirs[place].path(), "c", true);
    change(&mut again);
    cluster.nodes.remove(place);
    cluster.board.unplug("c:4002");
    third.shutdown().await;
    drop(third);
    assert!(Path::new(&again.dir).join("quarantine").is_file());
    let third = reopen(again.clone(), &cluster.board).await;
    assert!(third.status().soundness.quarantine.is_some());
    cluster.nodes.push(third.clone());
    for name in ["a", "b"] {
        cluster.board.fault(&format!("{name}:4002"), None);
    }
    reseeded(&third).await;
    cluster.converged(last).await;
    assert!(!Path::new(&again.dir).join("quarantine").exists());
    assert_eq!(
        query(&third, "SELECT count(*) FROM t", Level::None)
            .await
            .expect("served"),
        ["20008"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_verify_the_same_index_and_agree() {
    let cluster = Cluster::form_with(&["a", "b", "c"], |config| {
        config.compare_interval = Duration::from_millis(50);
    })
    .await;
    let leader = cluster.leader().await;
    succeed(&leader, &["CREATE TABLE t(id)", "INSERT INTO t VALUES(random())"]).await;
    let index = leader.verify(PATIENCE).await.expect("taken").index;
    succeed(&leader, &["INSERT INTO t VALUES(random())"]).await;
    let mut hashes = Vec::new();
    for node in &cluster.nodes {
        let mark = until("a verification", || {
            let soundness = node.status().soundness;
            soundness.check.and(soundness.content)
        })
        .await;
        assert_eq!(mark.index, index);
        hashes.push(mark.hash);
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "{hashes:x?}");
    assert_ne!(leader.content_hash().await.expect("hashable").hash, hashes[0]);
    assert!(cluster.nodes.iter().all(|node| node.status().soundness.alarms == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_asks_for_a_verification_by_itself() {
    let cluster = Cluster::form_with(&["a", "b", "c"], |config| {
        config.compare_interval = Duration::from_millis(50);
        config.verify_interval = Duration::from_millis(200);
    })
    .await;
    for node in &cluster.nodes {
        let first = until("a verification", || node.status().soundness.content).await;
        until("another", || {
            let mark = node.status().soundness.content;
            mark.filter(|mark| mark.index > first.index)
        })
        .await;
    }
}

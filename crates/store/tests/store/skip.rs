//! An operator's way past an entry: while it runs, before it runs, and where it has run already.

use std::time::Duration;

use command::reply::Reply;
use store::{Error, Node};

use crate::support::{Cluster, PATIENCE, execute, open, query, succeed, until};
use store::read::Level;

const ENDLESS: &str =
    "INSERT INTO t WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT max(x) FROM c";
/// Longer than any entry that ends.
const LONG: Duration = Duration::from_millis(200);

async fn form() -> Cluster {
    Cluster::form_with(&["a", "b", "c"], |config| {
        // The one that has another limit ends the entry at once: it has run it before it can hear otherwise.
        config.limits.steps_max = if config.name == "c" { 10_000 } else { u64::MAX };
    })
    .await
}

/// Leads, and is not "c".
async fn leader(cluster: &Cluster) -> Node {
    for _ in 0..100 {
        let leader = cluster.leader().await;
        if leader.peer().name != "c" {
            return leader;
        }
        // Refused while nobody answers in time, on a busy machine: then it is asked again.
        leader.transfer(None, PATIENCE).await.ok();
    }
    panic!("\"c\" never hands over");
}

/// Has `node` begin with an entry that never ends; answers who waits for it, and its index.
async fn run_endless(node: &Node, after: u64) -> (tokio::task::JoinHandle<Result<Reply, Error>>, u64) {
    let writer = node.clone();
    let waiting = tokio::spawn(async move { execute(&writer, &[ENDLESS]).await });
    let index = until("a running entry", || {
        let running = node.status().applying;
        running.and_then(|(index, since)| (index > after && since > LONG).then_some(index))
    })
    .await;
    (waiting, index)
}

fn code(reply: &Reply) -> &str {
    reply.error.as_ref().map_or("", |error| &error.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_skipped_while_all_nodes_run_it() {
    let mut cluster = Cluster::form_with(&["a", "b", "c"], |config| config.limits.steps_max = u64::MAX).await;
    let leader = cluster.leader().await;
    let after = succeed(&leader, &["CREATE TABLE t(id)"]).await.index;
    let mut down = cluster.stop_a_follower(&leader).await;
    down.limits.steps_max = u64::MAX;
    let (waiting, index) = run_endless(&leader, after).await;
    let early = leader.skip(index + 1, PATIENCE).await;
    assert!(matches!(early, Err(Error::Unskippable { .. })), "{early:?}");

    let skipped = leader.skip(index, PATIENCE).await.expect("skipped");
    assert!(skipped.index > index);
    let reply = waiting.await.expect("no panic").expect("answered");
    assert_eq!(code(&reply), "skipped", "{reply:?}");
    let late = leader.skip(index, PATIENCE).await;
    assert!(matches!(late, Err(Error::Unskippable { .. })), "{late:?}");

    let last = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.converged(last).await;
    // One that was down meanwhile hears of the skip before it gets to the entry.
    let returned = open(down, &cluster.board).await.expect("opens again");
    cluster.nodes.push(returned);
    cluster.converged(last).await;
    assert_eq!(
        query(&leader, "SELECT id FROM t", Level::Strong)
            .await
            .expect("allowed"),
        ["1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_run_a_skipped_entry_is_reseeded() {
    let cluster = form().await;
    let leader = leader(&cluster).await;
    let after = succeed(&leader, &["CREATE TABLE t(id)"]).await.index;
    let (waiting, index) = run_endless(&leader, after).await;
    let ahead = cluster
        .nodes
        .iter()
        .find(|node| node.peer().name == "c")
        .expect("a third node");
    ahead.wait_applied(index, PATIENCE).await.expect("run there");

    leader.skip(index, PATIENCE).await.expect("skipped");
    assert_eq!(code(&waiting.await.expect("no panic").expect("answered")), "skipped");
    let soundness = until("re-seeding", || {
        let soundness = ahead.status().soundness;
        (soundness.reseeds == 1).then_some(soundness)
    })
    .await;
    let reason = soundness.last_quarantine;
    assert!(reason.contains(&format!("skip entry {index}")), "{reason}");
    let last = succeed(&leader, &["INSERT INTO t VALUES(1)"]).await.index;
    cluster.converged(last).await;
}

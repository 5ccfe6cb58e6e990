//! Writes, and what is told of their outcome.

use super::{OK, changes, get, post};
use crate::http::tests::{World, peer};
use hyper::Method;
use store::Error;

#[tokio::test]
async fn a_write_on_the_leader() {
    let world = World::leading();
    world.fake.reply(41, vec![changes(1, 1)]);
    let answered = post(&world, "/db/execute?raft_index", "[[\"INSERT\", 7]]").await;
    assert_eq!(answered.status, OK);
    assert_eq!(
        answered.body,
        r#"{"results":[{"last_insert_id":1,"rows_affected":1}],"raft_index":41}"#
    );
    assert_eq!(answered.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answered.header("x-rqlite-served-by"), Some("here:4001"));
    assert_eq!(answered.header("x-quorlite-index"), Some("41"));
    let writes = world.fake.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].statements[0].sql, "INSERT");
    assert!(writes[0].atomic && writes[0].key.is_none());
}

#[tokio::test]
async fn who_says_that_a_write_is_atomic() {
    for (by_default, target, atomic) in [
        (true, "/db/execute", true),
        (true, "/db/execute?atomic=false", false),
        (true, "/db/execute?atomic=false&transaction", true),
        (true, "/db/execute?atomic=false&transaction=false", true),
        (false, "/db/execute", false),
        (false, "/db/execute?atomic", true),
        (false, "/db/execute?transaction=", true),
        (false, "/db/request?transaction", true),
        (false, "/db/request", false),
    ] {
        let world = World::leading_with(by_default);
        world.fake.reply(1, Vec::new());
        post(&world, target, "[\"INSERT\"]").await;
        assert_eq!(world.fake.writes()[0].atomic, atomic, "{by_default} {target}");
    }
}

#[tokio::test]
async fn a_key_of_the_client_travels_with_its_write() {
    use command::request::KeyOrigin;
    let world = World::leading();
    for (body, key) in [
        ("[\"INSERT 1\"]", "k"),
        ("[\"INSERT 2\"]", "k"),
        ("[\"INSERT 1\"]", "k"),
    ] {
        world.fake.reply(1, Vec::new());
        world
            .send(Method::POST, "/db/execute", &[("Idempotency-Key", key)], body)
            .await;
    }
    let hashes: Vec<u64> = world
        .fake
        .writes()
        .iter()
        .map(|write| match write.key.as_ref().unwrap().origin.as_ref().unwrap() {
            KeyOrigin::Client(client) => {
                assert_eq!(client.key, "k");
                client.body_hash
            }
            KeyOrigin::Forward(key) => panic!("{key:?}"),
        })
        .collect();
    assert_eq!(hashes[0], hashes[2]);
    assert_ne!(hashes[0], hashes[1]);
    let long = "k".repeat(256);
    for key in ["", long.as_str()] {
        let answered = world
            .send(Method::POST, "/db/execute", &[("Idempotency-Key", key)], "[\"x\"]")
            .await;
        assert_eq!(answered.status, 400, "{key}");
    }
}

#[tokio::test]
async fn a_reused_key_is_422() {
    let world = World::leading();
    world
        .fake
        .fail_reply("idempotency key was used with another body", "key_reused");
    let answered = post(&world, "/db/execute", "[\"INSERT\"]").await;
    assert_eq!(answered.status, 422);
    assert_eq!(
        answered.body,
        r#"{"results":[],"error":"idempotency key was used with another body","code":"key_reused"}"#
    );
}

#[tokio::test]
async fn outcomes_are_told_apart() {
    for (error, status, body, retry) in [
        (
            Error::LeadershipLost,
            OK,
            r#"{"results":[],"error":"leadership lost while committing log","code":"outcome_unknown"}"#,
            None,
        ),
        (
            Error::Enqueue,
            OK,
            r#"{"results":[],"error":"timed out enqueuing operation","code":"not_appended"}"#,
            None,
        ),
        (Error::NotReady, OK, r#"{"results":[],"error":"store not ready"}"#, None),
        (Error::NotLeader { leader: None }, 503, "leader not found\n", Some("1")),
        (
            Error::Overloaded("too many writes"),
            503,
            "overloaded: too many writes\n",
            Some("1"),
        ),
        (
            Error::TooLarge { bytes: 9, limit: 8 },
            413,
            "request of 9 bytes is too large: the limit is 8; split it into several\n",
            None,
        ),
    ] {
        let world = World::leading();
        world.fake.fail_write(error);
        let answered = post(&world, "/db/execute", "[\"INSERT\"]").await;
        assert_eq!(answered.status, status, "{body}");
        assert_eq!(answered.body, body);
        assert_eq!(answered.header("retry-after"), retry);
    }
}

#[tokio::test]
async fn a_leader_without_a_lease_is_not_asked_again() {
    let world = World::leading();
    world.fake.fail_write(Error::NotLeader {
        leader: Some(peer(1, "here")),
    });
    let answered = post(&world, "/db/execute?redirect", "[\"INSERT\"]").await;
    assert_eq!(answered.status, 500);
    assert_eq!(answered.body, "leader not found\n");
    assert_eq!(world.fake.writes().len(), 1);
}

#[tokio::test]
async fn blocked_pragmas_refuse_the_request_before_any_leader_is_looked_for() {
    let world = World::without_leader();
    for target in ["/db/execute", "/db/query", "/db/request", "/db/query?associative"] {
        let answered = post(&world, target, "[\"SELECT 1\", \" pragma journal_mode = off\"]").await;
        assert_eq!(answered.status, OK);
        assert_eq!(answered.body, r#"{"results":[],"error":"disallowed pragma"}"#);
    }
}

#[tokio::test]
async fn without_a_leader() {
    let world = World::without_leader();
    for (target, status) in [
        ("/db/execute", 503),
        ("/db/execute?redirect", 500),
        ("/db/query", 503),
        ("/db/query?level=strong&redirect", 500),
        ("/db/request", 503),
        ("/db/query?level=none", OK),
    ] {
        let answered = post(&world, target, "[\"SELECT 1\"]").await;
        assert_eq!(answered.status, status, "{target}");
        if status != OK {
            assert_eq!(answered.body, "leader not found\n");
            assert_eq!(answered.header("retry-after"), (status == 503).then_some("1"));
        }
    }
    let removed = world.send(Method::DELETE, "/remove", &[], "{\"id\":\"x\"}").await;
    assert_eq!((removed.status, removed.body.as_str()), (503, "leader not found\n"));
    assert_eq!(get(&world, "/leader").await.status, 503);
    assert_eq!(post(&world, "/leader?wait", "").await.status, 503);
    assert_eq!(post(&world, "/leader", "").await.status, OK);
}

#[tokio::test]
async fn during_an_election_a_request_waits_for_the_leader() {
    for target in ["/db/execute", "/db/query?level=strong", "/leader?wait"] {
        let world = World::without_leader();
        world.fake.elect(peer(2, "there"));
        let answered = post(&world, target, "[\"SELECT 1\"]").await;
        assert_ne!(answered.status, 503, "{target}");
        assert_eq!(world.others.forwarded().len(), 1, "{target}");
    }
    let world = World::without_leader();
    world.fake.elect(peer(1, "here"));
    let removed = world.send(Method::DELETE, "/remove", &[], "{\"id\":\"x\"}").await;
    assert_eq!((removed.status, removed.body.as_str()), (200, ""));
}

#[tokio::test]
async fn before_the_store_is_open() {
    let world = World::closed();
    for target in ["/db/execute", "/db/query", "/db/request"] {
        let answered = post(&world, target, "[\"SELECT 1\"]").await;
        assert_eq!(
            (answered.status, answered.body.as_str()),
            (OK, r#"{"results":[],"error":"store not open"}"#)
        );
    }
    assert_eq!(get(&world, "/readyz?noleader").await.body, "[+]node ok");
    let ready = get(&world, "/readyz").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "[+]node ok\n[+]leader does not exist")
    );
    let nodes = get(&world, "/nodes").await;
    assert_eq!(
        (nodes.status, nodes.body.as_str()),
        (503, "store nodes: store not open\n")
    );
    assert_eq!(get(&world, "/leader").await.body, "leader not found\n");
    let step_down = post(&world, "/leader", "").await;
    assert_eq!(
        (step_down.status, step_down.body.as_str()),
        (503, "stepdown: store not open\n")
    );
    let removed = world.send(Method::DELETE, "/remove", &[], "{\"id\":\"x\"}").await;
    assert_eq!((removed.status, removed.body.as_str()), (500, "store not open\n"));
    let status = get(&world, "/status").await;
    let tree: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    let keys: Vec<&String> = tree.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["build", "http", "node", "os", "runtime", "store"]);
    assert_eq!(tree["store"], serde_json::json!({"open": false}));
}

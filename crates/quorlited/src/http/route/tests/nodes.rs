//! The node itself: members, leadership, readiness, snapshots.

use super::{OK, get, post};
use crate::http::tests::World;
use hyper::{Method, StatusCode};
use store::Error;

#[tokio::test]
async fn nodes_in_both_forms() {
    let world = World::following();
    let legacy = get(&world, "/nodes").await;
    let tree: serde_json::Value = serde_json::from_str(&legacy.body).unwrap();
    assert_eq!(tree["here"]["api_addr"], "http://here:4001");
    assert_eq!(tree["there"]["leader"], true);
    assert!(tree.get("replica").is_none());
    let list = get(&world, "/nodes?ver=2&nonvoters").await;
    let tree: serde_json::Value = serde_json::from_str(&list.body).unwrap();
    let ids: Vec<&str> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| node["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["here", "replica", "there"]);
    assert!(
        list.body.starts_with(
            r#"{"nodes":[{"id":"here","api_addr":"http://here:4001","addr":"here:4002","version":"v9","voter":true,"reachable":true,"leader":false,"time":"#
        ),
        "{}",
        list.body
    );
    world.others.silence();
    let tree: serde_json::Value = serde_json::from_str(&get(&world, "/nodes").await.body).unwrap();
    assert_eq!(tree["there"]["reachable"], false);
    assert_eq!(tree["there"]["version"], "");
    assert!(tree["there"].get("time").is_none() && tree["there"]["error"].is_string());
}

#[tokio::test]
async fn the_leader_is_a_node() {
    let world = World::following();
    let tree: serde_json::Value = serde_json::from_str(&get(&world, "/leader?pretty").await.body).unwrap();
    assert_eq!(tree["id"], "there");
    assert_eq!(tree["leader"], true);
}

#[tokio::test]
async fn stepping_down() {
    let json = "application/json";
    for (target, kind, body, status, text) in [
        ("/leader?wait", "", "", OK, ""),
        ("/leader", "", "", OK, ""),
        ("/leader?wait", json, "{\"id\":\"there\"}", OK, ""),
        ("/leader?wait", json, "null", OK, ""),
        ("/leader?wait", json, "{\"id\":\"\"}", OK, ""),
        ("/leader?wait", "text/plain", "{\"id\":", OK, ""),
        (
            "/leader",
            json,
            "{\"id\":\"nobody\"}",
            500,
            "stepdown: node not found in cluster\n",
        ),
        (
            "/leader?wait",
            json,
            "{\"id\":\"here\"}",
            500,
            "stepdown: cannot step down to the current Leader\n",
        ),
        (
            "/leader",
            json,
            "{\"id\":\"replica\"}",
            500,
            "stepdown: replica is a read replica and cannot lead\n",
        ),
    ] {
        let world = World::leading();
        let answered = world.send(Method::POST, target, &[("content-type", kind)], body).await;
        assert_eq!(
            (answered.status, answered.body.as_str()),
            (status, text),
            "{target} {body}"
        );
    }
    let world = World::leading();
    let answered = world
        .send(Method::POST, "/leader", &[("content-type", json)], "{\"id\":")
        .await;
    assert_eq!(answered.status, 400);
    assert!(answered.body.starts_with("invalid JSON: "));
    world.fake.fail_transfer(Error::NoPeer);
    let answered = post(&world, "/leader?wait", "").await;
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (500, "stepdown: cannot find peer\n")
    );
}

#[tokio::test]
async fn removing() {
    let world = World::leading();
    for (body, status) in [
        ("{\"id\":\"there\"}", OK),
        ("{\"id\":\"\"}", OK),
        ("", 400),
        ("{}", 400),
        ("[]", 400),
        ("{\"id\":1}", 400),
        ("{\"id\":\"a\",\"b\":\"c\"}", 400),
        ("{\"name\":\"a\"}", 400),
    ] {
        let answered = world.send(Method::DELETE, "/remove", &[], body).await;
        assert_eq!((answered.status, answered.body.as_str()), (status, ""), "{body}");
    }
    assert_eq!(world.fake.removed(), ["there", ""]);
}

#[tokio::test]
async fn readiness() {
    let world = World::leading();
    let ready = get(&world, "/readyz").await;
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (OK, "[+]node ok\n[+]leader ok\n[+]store ok\n[+]db ok")
    );
    assert_eq!(ready.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        get(&world, "/readyz?sync").await.body,
        "[+]node ok\n[+]leader ok\n[+]store ok\n[+]sync ok\n[+]db ok"
    );
    world.fake.unready();
    let answered = get(&world, "/readyz").await;
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (503, "[+]node ok\n[+]leader ok\n[+]store not ready")
    );
    world.others.silence();
    let answered = get(&world, "/readyz").await;
    assert!(
        answered.body.starts_with("[+]node ok\n[+]leader not contactable: "),
        "{}",
        answered.body
    );
    let world = World::without_leader();
    assert_eq!(
        get(&world, "/readyz").await.body,
        "[+]node ok\n[+]leader does not exist"
    );
    assert_eq!(get(&world, "/readyz?noleader").await.status, OK);
}

#[tokio::test]
async fn snapshots_and_hashes() {
    let world = World::leading();
    assert_eq!(post(&world, "/snapshot?trailing_logs=5", "").await.status, OK);
    assert_eq!(
        post(&world, "/snapshot", "").await.status,
        StatusCode::NO_CONTENT.as_u16()
    );
    assert_eq!(
        get(&world, "/quorlite/hash").await.body,
        r#"{"index":5,"hash":"00000000000000ff"}"#
    );
}

#[tokio::test]
async fn a_verification_is_asked_for_and_names_its_index() {
    let world = World::leading();
    let begun = post(&world, "/quorlite/verify", "").await;
    let answer: serde_json::Value = serde_json::from_str(&begun.body).unwrap();
    assert_eq!((begun.status, &answer["index"]), (200, &12.into()));
    assert_eq!(get(&world, "/quorlite/verify").await.status, 405);
}

#[tokio::test]
async fn a_node_in_quarantine_says_so_wherever_it_is_looked_at() {
    let world = World::leading();
    assert!(!get(&world, "/readyz").await.body.contains("quarantine"));
    world.fake.quarantined("the content at index 7 differs");
    let ready = get(&world, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(
        ready
            .body
            .ends_with("[+]store in quarantine: the content at index 7 differs"),
        "{}",
        ready.body
    );
    let status = get(&world, "/status?key=store.divergence").await;
    let status: serde_json::Value = serde_json::from_str(&status.body).unwrap();
    assert_eq!(status["quarantined"], true);
    assert_eq!(status["reason"], "the content at index 7 differs");
    let metrics = get(&world, "/metrics").await.body;
    assert!(metrics.contains("\nquorlite_quarantined 1\n"), "{metrics}");
}

#[tokio::test]
async fn an_entry_is_skipped_by_its_index() {
    let world = World::leading();
    let skipped = post(&world, "/quorlite/skip?index=9", "").await;
    let answer: serde_json::Value = serde_json::from_str(&skipped.body).unwrap();
    assert_eq!((&answer["skipped"], &answer["by"]), (&9.into(), &11.into()));
    let late = post(&world, "/quorlite/skip?index=8", "").await;
    assert_eq!(late.status, StatusCode::CONFLICT.as_u16());
    assert!(
        late.body.starts_with("entry 8 has been applied already"),
        "{}",
        late.body
    );
    for target in ["/quorlite/skip", "/quorlite/skip?index=last"] {
        let refused = post(&world, target, "").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST.as_u16(), "{target}");
    }
}

#[tokio::test]
async fn status_tells_what_tools_read() {
    let world = World::leading();
    let tree: serde_json::Value = serde_json::from_str(&get(&world, "/status?pretty").await.body).unwrap();
    let store = &tree["store"];
    assert_eq!(
        store["leader"],
        serde_json::json!({"node_id": "here", "addr": "here:4002"})
    );
    assert_eq!(store["raft"]["state"], "Leader");
    for key in [
        "voter",
        "commit_index",
        "applied_index",
        "fsm_pending",
        "last_log_index",
        "last_snapshot_index",
    ] {
        assert!(!store["raft"][key].is_null(), "{key}");
    }
    for key in ["fsm_index", "db_applied_index", "node_id", "nodes", "dir_size"] {
        assert!(!store[key].is_null(), "{key}");
    }
    assert!(store["sqlite3"]["path"].is_string() && store["sqlite3"]["pragmas"]["rw"].is_object());
    assert_eq!(store["snapshot_store"]["snapshots"].as_array().unwrap().len(), 1);
    assert!(tree["extensions"]["names"].is_array());
    assert_eq!(get(&world, "/status?key=store.raft.state").await.body, "\"Leader\"");
    assert_eq!(get(&world, "/status?key=nothing").await.body, "{}");
}

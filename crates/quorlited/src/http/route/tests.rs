//! The API at its door, over a make-believe node.

use std::sync::Arc;

use command::reply::{Changes, Outcome, OutcomeKind};
use hyper::{Method, StatusCode};
use store::Error;
use store::read::Level;

use crate::forwarded::{Head, Operation};
use crate::http::tests::{Answered, Fake, World, peer};

const OK: u16 = 200;

fn changes(last_insert_id: i64, rows_affected: i64) -> Outcome {
    Outcome::new(OutcomeKind::Changes(Changes {
        last_insert_id,
        rows_affected,
    }))
}

async fn post(world: &World, target: &str, body: &str) -> Answered {
    world.send(Method::POST, target, &[], body).await
}

async fn get(world: &World, target: &str) -> Answered {
    world.send(Method::GET, target, &[], "").await
}

#[tokio::test]
async fn every_answer_says_which_release_it_is() {
    let world = World::leading();
    for (method, target, status) in [
        (Method::OPTIONS, "/nowhere?a=%ZZ", OK),
        (Method::GET, "/nowhere", 404),
        (Method::GET, "/nowhere?timeout=x", 400),
        (Method::GET, "/db/execute", 405),
        (Method::GET, "/status", OK),
    ] {
        let answered = world.send(method, target, &[], "").await;
        assert_eq!(answered.status, status, "{target}");
        assert_eq!(answered.header("x-rqlite-version"), Some(crate::VERSION));
        assert_eq!(
            answered.header("access-control-allow-methods"),
            Some("OPTIONS, GET, POST")
        );
        assert_eq!(answered.header("access-control-allow-headers"), Some("Content-Type"));
        assert_eq!(answered.header("www-authenticate"), None);
        assert_eq!(answered.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn routes_match_by_prefix_or_exactly() {
    let world = World::leading();
    for (method, target, status) in [
        (Method::GET, "/", 302),
        (Method::DELETE, "/", 302),
        (Method::GET, "/console", 301),
        (Method::GET, "/console/", 404),
        (Method::POST, "/console/", 405),
        (Method::GET, "/db/queryXYZ?q=SELECT", OK),
        (Method::GET, "/status/", OK),
        (Method::GET, "/statusquo", OK),
        (Method::GET, "/leader/", 404),
        (Method::POST, "/snapshot/", 404),
        (Method::POST, "/snapshot", 204),
        (Method::GET, "/readyz/", OK),
        (Method::HEAD, "/status", 405),
        (Method::HEAD, "/console/", 404),
        (Method::PUT, "/db/execute", 405),
        (Method::DELETE, "/db/query", 405),
        (Method::GET, "/db/request", 405),
        (Method::POST, "/remove", 405),
        (Method::POST, "/nodes", 405),
        (Method::DELETE, "/leader", 405),
        (Method::POST, "/readyz", 405),
        (Method::GET, "/snapshot", 405),
        (Method::POST, "/quorlite/hash", 405),
        (Method::GET, "/join", 404),
        (Method::GET, "/notify", 404),
        (Method::GET, "/delete", 404),
        (Method::GET, "/db", 404),
    ] {
        let answered = world.send(method.clone(), target, &[], "").await;
        assert_eq!(answered.status, status, "{method} {target}");
        if [404, 405].contains(&answered.status) && !target.starts_with("/console/") {
            assert_eq!(answered.body, "", "{target}");
        }
    }
    assert_eq!(get(&world, "/").await.header("location"), Some("/console/"));
    assert_eq!(get(&world, "/console").await.header("location"), Some("/console/"));
}

#[tokio::test]
async fn an_empty_405_of_a_json_endpoint_says_json() {
    let world = World::leading();
    let answered = get(&world, "/db/execute").await;
    assert_eq!(answered.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(get(&world, "/snapshot").await.header("content-type"), None);
}

#[tokio::test]
async fn protocol_failures_are_one_line_of_text() {
    let world = World::leading();
    for (target, body, text) in [
        ("/db/execute?timeout=5", "[\"x\"]", "timeout is not a valid duration\n"),
        ("/db/execute", "", "invalid JSON body\n"),
        ("/db/execute", "{", "invalid request\n"),
        ("/db/execute", "[]", "no statements\n"),
        ("/db/query", "[[\"s\",[300]]]", "unsupported type 300\n"),
        ("/db/request", "[[\"s\",1e999]]", "invalid number 1e999\n"),
    ] {
        let answered = post(&world, target, body).await;
        assert_eq!(answered.status, 400, "{body}");
        assert_eq!(answered.body, text);
        assert_eq!(answered.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answered.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answered.header("x-rqlite-served-by"), None);
    }
}

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

#[tokio::test]
async fn reads_stream_their_rows() {
    let world = World::leading();
    let answered = post(&world, "/db/query", "[\"rows 2\", \"\", \"fail\"]").await;
    assert_eq!(
        answered.body,
        r#"{"results":[{"columns":["n"],"types":["integer"],"values":[[0],[1]]},{"error":"no such table: fail"}]}"#
    );
    assert_eq!(
        answered.header("content-length"),
        Some(answered.body.len().to_string().as_str())
    );

    let long = get(&world, "/db/query?q=rows+100000").await;
    assert_eq!(long.header("content-length"), None);
    let tree: serde_json::Value = serde_json::from_str(&long.body).unwrap();
    assert_eq!(tree["results"][0]["values"].as_array().unwrap().len(), 100_000);
}

#[tokio::test]
async fn a_read_that_fails_after_rows_have_left() {
    let world = World::leading();
    let answered = get(&world, "/db/query?q=break+100000").await;
    assert_eq!(answered.status, OK);
    let tree: serde_json::Value = serde_json::from_str(&answered.body).unwrap();
    assert_eq!(tree["results"][0]["values"].as_array().unwrap().len(), 100_000);
    assert_eq!(tree["results"][0]["error"], "broke off");
}

#[tokio::test]
async fn infinity_is_a_failure_of_the_answer() {
    let world = World::leading();
    let answered = get(&world, "/db/query?q=infinity").await;
    assert_eq!(answered.status, 500);
    assert_eq!(answered.body, "json: unsupported value: +Inf\n");
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_query() {
    let world = World::leading();
    world.abandon("/db/query?q=endless").await;
    world.fake.until_cancelled().await;
}

#[tokio::test]
async fn texts_instead_of_json() {
    let world = World::leading();
    let plain = &[("content-type", "text/plain; charset=utf-8")];
    let answered = world.send(Method::POST, "/db/query", plain, "rows 1").await;
    assert!(answered.body.contains(r#""values":[[0]]"#), "{}", answered.body);
    for (method, target) in [
        (Method::POST, "/db/query"),
        (Method::POST, "/db/execute"),
        (Method::GET, "/db/query"),
    ] {
        let answered = world.send(method, target, plain, "").await;
        assert_eq!((answered.status, answered.body.as_str()), (OK, r#"{"results":[]}"#));
    }
    let form = &[("content-type", "application/x-www-form-urlencoded")];
    assert!(
        world
            .send(Method::POST, "/db/query", form, "[\"rows 1\"]")
            .await
            .body
            .contains("[[0]]")
    );
    let invalid = get(&world, "/db/query?q=%ff").await;
    assert_eq!(
        invalid.body,
        r#"{"results":[],"error":"string field contains invalid UTF-8"}"#
    );
    assert_eq!(
        world.send(Method::POST, "/db/request", plain, "rows 1").await.status,
        400
    );
}

#[tokio::test]
async fn reads_ask_for_their_level() {
    let world = World::leading();
    let target = "/db/query?level=linearizable&linearizable_timeout=5s&min_index=7&freshness=2s&freshness_strict";
    post(&world, target, "[\"rows 1\"]").await;
    post(&world, "/db/query?level=none&timeout=3s", "[\"rows 1\"]").await;
    post(&world, "/db/request?level=auto", "[\"rows 1\"]").await;
    let reads = world.fake.reads();
    assert_eq!(reads[0].level, Level::Linearizable);
    assert_eq!(reads[0].min_index, 7);
    assert_eq!(reads[0].timeout.as_secs(), 5);
    assert_eq!(reads[0].freshness.unwrap().as_secs(), 2);
    assert!(reads[0].freshness_strict);
    assert_eq!((reads[1].level, reads[1].timeout.as_secs()), (Level::None, 3));
    assert_eq!(reads[2].level, Level::Auto);
}

#[tokio::test]
async fn stale_reads_are_told() {
    let world = World::leading();
    world.fake.fail_confirm(Error::Stale);
    let answered = post(&world, "/db/query?level=none&freshness=1s&associative", "[\"rows 1\"]").await;
    assert_eq!(
        (answered.status, answered.body.as_str()),
        (OK, r#"{"results":[],"error":"stale read"}"#)
    );
}

#[tokio::test]
async fn a_strong_read_has_an_index() {
    let world = World::leading();
    world.fake.confirm_at(9);
    let answered = post(&world, "/db/query?level=strong&raft_index", "[\"rows 1\"]").await;
    assert!(answered.body.ends_with(r#""raft_index":9}"#), "{}", answered.body);
}

#[tokio::test]
async fn requests_go_through_the_log_only_if_they_must() {
    let world = World::leading();
    let read = post(&world, "/db/request?associative", "[\"rows 1\", \"unprepared\"]").await;
    assert!(world.fake.writes().len() == 1, "{}", read.body);
    let read = post(&world, "/db/request?associative", "[\"rows 1\"]").await;
    assert_eq!(read.body, r#"{"results":[{"types":{"n":"integer"},"rows":[{"n":0}]}]}"#);
    assert_eq!(world.fake.writes().len(), 1);
    post(&world, "/db/request?level=none", "[\"rows 1\", \"insert into t\"]").await;
    assert_eq!(world.fake.writes().len(), 2);
}

#[tokio::test]
async fn a_follower_forwards_and_hands_the_same_bytes_on() {
    let world = World::following();
    let head = Head {
        status: 200,
        content_type: "application/json; charset=utf-8".to_owned(),
        index: 12,
        ..Head::default()
    };
    world.others.answer(head, "{\"results\":[]} as it came");
    let request = &[("authorization", "Basic bWU6c2VjcmV0")];
    let answered = world
        .send(
            Method::POST,
            "/db/execute?associative&pretty&timeout=7s",
            request,
            "[[\"INSERT\",1]]",
        )
        .await;
    assert_eq!(answered.body, "{\"results\":[]} as it came");
    assert_eq!(answered.header("x-rqlite-served-by"), Some("there:4002"));
    assert_eq!(answered.header("x-quorlite-index"), Some("12"));
    let forwarded = world.others.forwarded();
    assert_eq!(forwarded[0].timeout_ms, 7000);
    let credentials = forwarded[0].credentials.as_ref().unwrap();
    assert_eq!(
        (credentials.user.as_str(), credentials.password.as_str()),
        ("me", "secret")
    );
    let Some(Operation::Execute(sql)) = &forwarded[0].operation else {
        panic!("{forwarded:?}");
    };
    assert_eq!(sql.statements[0].sql, "INSERT");
    let output = sql.output.unwrap();
    assert!(sql.atomic && output.associative && output.pretty && !output.timings);
    assert!(world.fake.writes().is_empty());
}

#[tokio::test]
async fn a_follower_redirects_when_asked_to() {
    let world = World::following();
    for (method, target) in [
        (Method::POST, "/db/execute?redirect&timings"),
        (Method::POST, "/db/query?redirect&level=weak"),
        (Method::DELETE, "/remove?redirect"),
        (Method::POST, "/leader?redirect&wait"),
    ] {
        let answered = world.send(method, target, &[], "[\"x\"]").await;
        if target.starts_with("/remove") {
            assert_eq!(answered.status, 400);
            continue;
        }
        assert_eq!(answered.status, 301, "{target}");
        assert_eq!(
            answered.header("location"),
            Some(format!("http://there:4001{target}").as_str())
        );
        assert_eq!(answered.body, "");
    }
    let removed = world
        .send(Method::DELETE, "/remove?redirect", &[], "{\"id\":\"x\"}")
        .await;
    assert_eq!(removed.header("location"), Some("http://there:4001/remove?redirect"));
    world.others.silence();
    let answered = post(&world, "/db/execute?redirect", "[\"x\"]").await;
    assert_eq!((answered.status, answered.body.as_str()), (500, "leader not found\n"));
}

#[tokio::test]
async fn a_follower_answers_by_itself_what_it_can() {
    let world = World::following();
    for target in [
        "/db/query?level=none",
        "/db/query?level=linearizable",
        "/db/request?level=none",
    ] {
        let answered = post(&world, target, "[\"rows 1\"]").await;
        assert!(answered.body.contains("[[0]]"), "{target}: {}", answered.body);
        assert_eq!(answered.header("x-rqlite-served-by"), Some("here:4001"));
    }
    assert!(world.others.forwarded().is_empty());
    world.fake.fail_confirm(Error::NotLeader {
        leader: Some(peer(2, "there")),
    });
    let head = Head {
        status: 200,
        ..Head::default()
    };
    world.others.answer(head, "from there");
    assert_eq!(
        post(&world, "/db/query?level=auto", "[\"rows 1\"]").await.body,
        "from there"
    );
}

#[tokio::test]
async fn an_unreachable_leader_is_told_as_a_network_error() {
    let world = World::following();
    world.others.refuse();
    let answered = post(&world, "/db/execute", "[\"x\"]").await;
    assert_eq!(answered.status, OK);
    assert_eq!(
        answered.body,
        r#"{"results":[],"error":"dial tcp there:4002: connect: connection refused","code":"not_appended"}"#
    );
}

#[tokio::test]
async fn an_answer_that_breaks_off_never_looks_whole() {
    let world = World::following();
    let head = Head {
        status: 200,
        ..Head::default()
    };
    world.others.answer(head, "a body in two parts");
    assert!(world.is_whole("/db/execute", "[\"x\"]").await);
    world.others.break_off();
    assert!(!world.is_whole("/db/execute", "[\"x\"]").await);
}

#[tokio::test]
async fn a_write_that_meets_a_hand_over_goes_to_the_new_leader() {
    let world = World::leading();
    world.fake.hand_over_on_write(peer(2, "there"));
    world.others.answer(
        Head {
            status: 200,
            ..Head::default()
        },
        "from there",
    );
    let answered = post(&world, "/db/execute", "[\"INSERT\"]").await;
    assert_eq!(answered.body, "from there");
    assert_eq!(world.others.forwarded().len(), 1);
}

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

#[tokio::test]
async fn cors_origin_is_sent_when_configured() {
    let fake = Arc::new(Fake::default());
    let world = World::with(fake, |options| {
        options.allow_origin = Some("https://example.org".to_owned())
    });
    let answered = get(&world, "/nowhere").await;
    assert_eq!(
        answered.header("access-control-allow-origin"),
        Some("https://example.org")
    );
}

/// Path and method of each operation of openapi.yaml, which is laid out so that a line tells.
fn documented() -> Vec<(&'static str, Method)> {
    let mut path = "";
    let mut operations = Vec::new();
    for line in include_str!("../openapi.yaml").lines() {
        let key = line.trim_end().trim_end_matches(':');
        match key.strip_prefix("    ") {
            None if key.starts_with("  /") => path = key.trim_start(),
            None if !key.starts_with(' ') => path = "",
            Some("get" | "post" | "delete" | "put" | "patch" | "head") if !path.is_empty() => {
                let method = Method::from_bytes(key.trim_start().to_uppercase().as_bytes()).unwrap();
                operations.push((path, method));
            }
            Some(_) | None => {}
        }
    }
    operations
}

#[test]
fn the_document_tells_of_each_route_and_of_nothing_else() {
    let operations = documented();
    for route in super::TABLE {
        let methods = [Method::GET, Method::POST, Method::DELETE];
        let answered = match route.methods {
            super::Methods::Any => &methods[..1],
            _ => &methods[..],
        };
        for method in answered.iter().filter(|method| !route.refuses(method)) {
            assert!(
                operations.contains(&(route.path, method.clone())),
                "openapi.yaml lacks {method} {}",
                route.path
            );
        }
    }
    for (path, method) in operations {
        let route = super::Route::find(path).filter(|route| route.path == path && !route.refuses(&method));
        assert!(
            route.is_some(),
            "openapi.yaml has {method} {path}, which no route answers"
        );
    }
}

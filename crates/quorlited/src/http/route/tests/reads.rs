//! Reads: their forms, their levels, their failures.

use super::{OK, get, post};
use crate::http::tests::World;
use hyper::Method;
use store::Error;
use store::read::Level;

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

//! What runs can be seen and ended, what is too much is refused, and what is slow is logged.

use hyper::Method;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::server::{Answer, Server, folder};

/// Runs until it is ended, and answers no row before.
const ENDLESS: &str =
    r#"["WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) AS endless FROM c"]"#;

/// Answers rows without end.
const ENDLESS_ROWS: &str =
    r#"["WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT hex(zeroblob(1000)) AS endless FROM c"]"#;

const NONE: &str = r#"{"queries":[]}"#;

/// Sends a query and does not read its answer.
async fn ask(server: &Server, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(&server.http).await.unwrap();
    let length = body.len();
    let request = format!("POST /db/query HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}");
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

async fn until_listed(server: &Server) -> Answer {
    server
        .until("/quorlite/queries", |answer| answer.body.contains("endless"))
        .await
}

async fn until_gone(server: &Server) {
    server.until("/quorlite/queries", |answer| answer.body == NONE).await;
}

#[tokio::test]
async fn a_running_query_is_listed_and_can_be_ended() {
    let (_held, dir) = folder();
    let server = Server::start(&dir, &["-node-id", "n1"]).await;
    assert_eq!(server.get("/quorlite/queries").await.body, NONE);
    let ending = async {
        let listed = until_listed(&server).await.json();
        let query = &listed["queries"][0];
        assert!(query["age"].as_f64().unwrap() > 0.0);
        assert!(query["client"].as_str().unwrap().starts_with("127.0.0.1:"));
        assert!(query["sql"].as_str().unwrap().starts_with("WITH RECURSIVE"));
        let target = format!("/quorlite/queries?id={}", query["id"]);
        assert_eq!(server.send(Method::DELETE, &target, &[], "").await.status, 200);
        until_gone(&server).await;
        let again = server.send(Method::DELETE, &target, &[], "").await;
        assert_eq!(again.status, 404, "{}", again.body);
    };
    let (answer, ()) = tokio::join!(server.post("/db/query", ENDLESS), ending);
    assert_eq!(
        answer.body,
        r#"{"results":[],"error":"query was ended by an operator"}"#
    );
    let wrong = server.send(Method::DELETE, "/quorlite/queries", &[], "").await;
    assert_eq!(
        (wrong.status, wrong.body.as_str()),
        (400, "id is not a valid integer\n")
    );
}

#[tokio::test]
async fn a_client_that_goes_away_interrupts_its_query() {
    let (_held, dir) = folder();
    let server = Server::start(&dir, &["-node-id", "n1"]).await;
    for body in [ENDLESS, ENDLESS_ROWS] {
        let socket = ask(&server, body).await;
        until_listed(&server).await;
        drop(socket);
        until_gone(&server).await;
    }
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_off() {
    let (_held, dir) = folder();
    let server = Server::start(&dir, &["-node-id", "n1", "-http-stall-timeout", "300ms"]).await;
    let socket = ask(&server, ENDLESS_ROWS).await;
    until_listed(&server).await;
    until_gone(&server).await;
    drop(socket);
}

#[tokio::test]
async fn limits_are_told() {
    let (_held, dir) = folder();
    let words = [
        "-node-id",
        "n1",
        "-http-max-body",
        "200",
        "-http-max-result",
        "100000",
        "-http-max-reads",
        "1",
    ];
    let server = Server::start(&dir, &words).await;
    let long = format!("[\"{}\"]", "x".repeat(300));
    let answer = server.post("/db/execute", &long).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (413, "request body is longer than 200 bytes\n")
    );
    let socket = ask(&server, ENDLESS).await;
    until_listed(&server).await;
    let answer = server.post("/db/query", ENDLESS).await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (503, "too many reads in progress\n")
    );
    assert_eq!(answer.header("retry-after"), Some("1"));
    drop(socket);
    until_gone(&server).await;
    let answer = server.post("/db/query", r#"["SELECT hex(zeroblob(100000))"]"#).await;
    assert_eq!(
        answer.body,
        r#"{"results":[],"error":"result is longer than 100000 bytes"}"#
    );
    // The thread of that read may still have to end.
    until_gone(&server).await;
    assert_eq!(server.post("/db/query", r#"["SELECT 1"]"#).await.status, 200);
}

#[tokio::test]
async fn what_is_slow_is_logged_with_its_plan() {
    let (_held, dir) = folder();
    let mut server = Server::start(&dir, &["-node-id", "n1", "-slow-query-threshold", "1ns"]).await;
    server.say("/db/execute", r#"["CREATE TABLE slow (a)"]"#).await;
    server
        .say("/db/query", r#"[["SELECT a FROM slow WHERE a = ?", "secret"]]"#)
        .await;
    server
        .say("/db/execute", r#"[["INSERT INTO slow VALUES(?)", "secret"]]"#)
        .await;
    server
        .say("/db/query", r#"["SELECT count(*) FROM slow; SELECT a FROM slow"]"#)
        .await;
    server.signal("TERM");
    assert!(server.exit().await.success());
    let log = server.log();
    for part in [
        "slow query",
        "SELECT a FROM slow WHERE a = ?",
        "SCAN slow",
        "INSERT INTO slow VALUES(?)",
        "SELECT count(*) FROM slow; SELECT a FROM slow",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[tokio::test]
async fn metrics_are_in_prometheus_form() {
    let (_held, dir) = folder();
    let server = Server::start(&dir, &["-node-id", "n1"]).await;
    server.say("/db/execute", r#"["CREATE TABLE m (a)"]"#).await;
    server.say("/db/query", r#"["SELECT a FROM m"]"#).await;
    // Who leads is noted a moment later.
    let won = |answer: &Answer| answer.body.contains("\nquorlite_raft_elections_won_total 1\n");
    let answer = server.until("/metrics", won).await;
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for stage in ["parse", "queue", "flush", "replicate", "apply", "reply"] {
        let name = format!("quorlite_write_stage_duration_seconds_count{{stage=\"{stage}\"}} ");
        let line = answer.body.lines().find(|line| line.starts_with(&name));
        let count: u64 = line
            .unwrap_or_else(|| panic!("{name}"))
            .split(' ')
            .next_back()
            .unwrap()
            .parse()
            .unwrap();
        assert!(count > 0 || stage == "replicate", "{stage} was never measured");
    }
    for line in [
        "quorlite_raft_is_leader 1",
        "quorlite_reads_total{level=\"weak\"} 1",
        "quorlite_request_duration_seconds_count{operation=\"execute\"} 1",
        "quorlite_http_events_total{event=\"executions\"} 1",
    ] {
        assert!(
            answer.body.lines().any(|found| found == line),
            "{line}:\n{}",
            answer.body
        );
    }
    // Every sample belongs to a family that was announced.
    let mut family = "";
    for line in answer.body.lines() {
        match line.strip_prefix("# TYPE ") {
            Some(announced) => family = announced.split(' ').next().unwrap(),
            None => assert!(line.starts_with('#') || line.starts_with(family), "{line} in {family}"),
        }
    }
    // And is described.
    let described = include_str!("../../../../docs/metrics.md");
    for line in answer.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let name = line.split(' ').next().unwrap();
        assert!(described.contains(name), "docs/metrics.md does not tell of {name}");
    }
}

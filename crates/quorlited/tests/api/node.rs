//! One node: the examples of the specification, against SQLite itself.

use hyper::Method;

use crate::server::{Addresses, Server, folder};

const CREATE: &str = r#"["CREATE TABLE pet (id INTEGER PRIMARY KEY, nick TEXT, weight REAL, pic BLOB)"]"#;

async fn with_pets() -> (tempfile::TempDir, Server) {
    let (held, dir) = folder();
    let server = Server::start(&dir, &[]).await;
    assert_eq!(server.say("/db/execute", CREATE).await, r#"{"results":[{}]}"#);
    (held, server)
}

#[tokio::test]
async fn writes_and_reads() {
    let (_held, server) = with_pets().await;
    let body = r#"[["INSERT INTO pet(nick, weight) VALUES(?, ?)", "Momo", 4.25],
        ["INSERT INTO pet(nick, weight) VALUES(:n, :w)", {"n": "Rex", "w": null}],
        ["UPDATE pet SET pic=? WHERE nick=?", [137,80,78,71], "Rex"]]"#;
    assert_eq!(
        server.say("/db/execute", body).await,
        r#"{"results":[{"last_insert_id":1,"rows_affected":1},{"last_insert_id":2,"rows_affected":1},{"last_insert_id":2,"rows_affected":1}]}"#
    );
    let all = r#"["SELECT * FROM pet", "SELECT id, nick FROM pet WHERE 0", "SELECT * FROM pets"]"#;
    assert_eq!(
        server.say("/db/query", all).await,
        concat!(
            r#"{"results":[{"columns":["id","nick","weight","pic"],"types":["integer","text","real","blob"],"#,
            r#""values":[[1,"Momo",4.25,null],[2,"Rex",null,"iVBORw=="]]},"#,
            r#"{"columns":["id","nick"],"types":["integer","text"]},{"error":"no such table: pets"}]}"#
        )
    );
    assert_eq!(
        server.get("/db/query?associative&q=SELECT+id,nick+FROM+pet").await.body,
        r#"{"results":[{"types":{"id":"integer","nick":"text"},"rows":[{"id":1,"nick":"Momo"},{"id":2,"nick":"Rex"}]}]}"#
    );
    for (sql, types) in [
        ("SELECT count(*), avg(weight) FROM pet", r#"["integer","real"]"#),
        ("SELECT nick || '!' FROM pet", r#"["text"]"#),
        ("SELECT NULL", r#"[""]"#),
        ("SELECT 1 WHERE 0", r#"[""]"#),
        ("SELECT * FROM sqlite_master", r#"["text","text","text","int","text"]"#),
        (
            "PRAGMA table_info(\\\"pet\\\")",
            r#"["integer","text","text","integer","","integer"]"#,
        ),
    ] {
        let answer = server.say("/db/query", &format!("[\"{sql}\"]")).await;
        assert!(answer.contains(&format!("\"types\":{types}")), "{sql}: {answer}");
    }
    assert_eq!(
        server
            .say(
                "/db/query?qualify_columns",
                r#"["SELECT p.nick, 1 FROM pet AS p WHERE id=1"]"#
            )
            .await,
        r#"{"results":[{"columns":["pet.nick","1"],"types":["text","integer"],"values":[["Momo",1]]}]}"#
    );
}

#[tokio::test]
async fn writes_through_reads_fail() {
    let (_held, server) = with_pets().await;
    for sql in [
        "INSERT INTO pet(nick) VALUES('x')",
        "DROP TABLE pet",
        "CREATE TEMP TABLE x(a)",
    ] {
        assert_eq!(
            server.say("/db/query", &format!("[\"{sql}\"]")).await,
            r#"{"results":[{"error":"attempt to change database via query operation"}]}"#,
            "{sql}"
        );
    }
}

#[tokio::test]
async fn atomic_and_not() {
    let (_held, server) = with_pets().await;
    let body = r#"[["INSERT INTO pet(id,nick) VALUES(1,'a')"],["INSERT INTO pet(id,nick) VALUES(1,'b')"],["INSERT INTO pet(id,nick) VALUES(2,'c')"]]"#;
    let stopped =
        r#"{"results":[{"last_insert_id":1,"rows_affected":1},{"error":"UNIQUE constraint failed: pet.id"}]}"#;
    let count = r#"["SELECT count(*) FROM pet"]"#;
    for target in [
        "/db/execute",
        "/db/execute?transaction",
        "/db/execute?atomic=false&transaction",
    ] {
        assert_eq!(server.say(target, body).await, stopped, "{target}");
        assert!(server.say("/db/query", count).await.ends_with("[[0]]}]}"), "{target}");
    }
    assert_eq!(
        server.say("/db/execute?atomic=false", body).await,
        r#"{"results":[{"last_insert_id":1,"rows_affected":1},{"error":"UNIQUE constraint failed: pet.id"},{"last_insert_id":2,"rows_affected":1}]}"#
    );
    assert!(server.say("/db/query", count).await.ends_with("[[2]]}]}"));
}

#[tokio::test]
async fn a_server_that_is_not_atomic_by_default() {
    let (_held, dir) = folder();
    let server = Server::start(&dir, &["-atomic-requests=false"]).await;
    server.say("/db/execute", CREATE).await;
    let body = r#"["INSERT INTO pet(id) VALUES(1)","INSERT INTO pet(id) VALUES(1)","INSERT INTO pet(id) VALUES(2)"]"#;
    let answer: serde_json::Value = serde_json::from_str(&server.say("/db/execute", body).await).unwrap();
    assert_eq!(answer["results"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn mixed_requests() {
    let (_held, server) = with_pets().await;
    let body = r#"[["INSERT INTO pet(nick) VALUES(?)","Kiki"],["SELECT nick FROM pet"],["SELECT * FROM nowhere"]]"#;
    assert_eq!(
        server.say("/db/request?associative&atomic=false", body).await,
        r#"{"results":[{"last_insert_id":1,"rows_affected":1,"rows":null},{"types":{"nick":"text"},"rows":[{"nick":"Kiki"}]},{"error":"no such table: nowhere"}]}"#
    );
    assert_eq!(
        server.say("/db/request", r#"["SELECT nick FROM pet"]"#).await,
        r#"{"results":[{"columns":["nick"],"types":["text"],"values":[["Kiki"]]}]}"#
    );
    assert_eq!(
        server
            .say(
                "/db/execute",
                r#"["INSERT INTO pet(nick) VALUES('Zoe') RETURNING id, nick"]"#
            )
            .await,
        r#"{"results":[{"columns":["id","nick"],"types":["integer","text"],"values":[[2,"Zoe"]]}]}"#
    );
}

#[tokio::test]
async fn every_level_sees_what_was_acknowledged() {
    let (_held, server) = with_pets().await;
    for (count, level) in (1..).zip(["none", "weak", "linearizable", "strong", "auto"]) {
        let written = server
            .post("/db/execute?raft_index", r#"["INSERT INTO pet(nick) VALUES('x')"]"#)
            .await;
        let index = written.header("x-quorlite-index").unwrap();
        assert_eq!(written.json()["raft_index"].to_string(), index);
        let target = format!("/db/query?level={level}&min_index={index}&timeout=5s");
        let answer = server.say(&target, r#"["SELECT count(*) FROM pet"]"#).await;
        assert!(answer.ends_with(&format!("[[{count}]]}}]}}")), "{level}: {answer}");
    }
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    let (_held, server) = with_pets().await;
    server
        .say(
            "/db/execute",
            r#"["CREATE TABLE v (a, d date, b boolean, i integer, r real)"]"#,
        )
        .await;
    let body = r#"[["INSERT INTO v VALUES(?,?,?,?,?)", "x'00ff'", "2031-05-06", 1, 9223372036854775807, 3.0],
        ["INSERT INTO v VALUES(?,?,?,?,?)", "<&>", "next tuesday", false, -9223372036854775808, 1e-7]]"#;
    server.say("/db/execute", body).await;
    assert_eq!(
        server.say("/db/query?blob_array", r#"["SELECT * FROM v"]"#).await,
        concat!(
            r#"{"results":[{"columns":["a","d","b","i","r"],"types":["text","date","boolean","integer","real"],"#,
            r#""values":[["\u0000\ufffd","2031-05-06T00:00:00Z",true,9223372036854775807,3],"#,
            r#"["\u003c\u0026\u003e","0001-01-01T00:00:00Z",false,-9223372036854775808,1e-7]]}]}"#
        )
    );
    let infinity = server.post("/db/query", r#"["SELECT 9e999"]"#).await;
    assert_eq!(
        (infinity.status, infinity.body.as_str()),
        (500, "json: unsupported value: +Inf\n")
    );
}

#[tokio::test]
async fn results_stream() {
    let (_held, server) = with_pets().await;
    let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<200000) SELECT i, 'text' FROM n";
    let answer = server.post("/db/query", &format!("[\"{sql}\"]")).await;
    assert_eq!(answer.json()["results"][0]["values"].as_array().unwrap().len(), 200_000);
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let timeout = server
        .post(
            "/db/query?db_timeout=1ms",
            &format!("[\"{}\"]", sql.replace("200000", "1e9")),
        )
        .await;
    assert_eq!(timeout.json()["results"][0]["error"], "query timeout");
}

#[tokio::test]
async fn bad_input_is_told_and_harmless() {
    let (_held, server) = with_pets().await;
    let deep = "[".repeat(100_000);
    for (body, status, text) in [
        ("", 400, "invalid JSON body\n"),
        ("[\"SELECT 1\"", 400, "invalid JSON body\n"),
        (deep.as_str(), 400, "invalid request\n"),
        ("{}", 400, "invalid request\n"),
        ("[]", 400, "no statements\n"),
        (
            "[[\"SELECT ?\",{\"a\":{}}]]",
            400,
            "unsupported type map[string]interface {}\n",
        ),
    ] {
        let answer = server.post("/db/execute", body).await;
        assert_eq!((answer.status, answer.body.as_str()), (status, text));
    }
    for sql in [
        "PRAGMA journal_mode=DELETE",
        "PRAGMA synchronous=OFF",
        "PRAGMA wal_checkpoint",
    ] {
        for target in ["/db/execute", "/db/query", "/db/request"] {
            assert_eq!(
                server.say(target, &format!("[\"{sql}\"]")).await,
                r#"{"results":[],"error":"disallowed pragma"}"#
            );
        }
    }
    for sql in ["BEGIN", "COMMIT", "SAVEPOINT a", "ATTACH 'x' AS y"] {
        for target in ["/db/execute", "/db/query", "/db/request"] {
            let answer = server.post(target, &format!("[\"{sql}\"]")).await.json();
            assert!(
                answer["results"][0]["error"].is_string() || answer["error"].is_string(),
                "{target} {sql}: {answer}"
            );
        }
    }
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(
        server.say("/db/execute", r#"["INSERT INTO pet(id) VALUES(5)"]"#).await,
        r#"{"results":[{"last_insert_id":5,"rows_affected":1}]}"#
    );
}

#[tokio::test]
async fn a_key_makes_a_retry_harmless() {
    let (_held, server) = with_pets().await;
    let key = &[("idempotency-key", "order-7")];
    let body = r#"[["INSERT INTO pet(nick) VALUES(?)", "once"]]"#;
    let first = server.send(Method::POST, "/db/execute", key, body).await;
    let again = server.send(Method::POST, "/db/execute", key, body).await;
    assert_eq!(first.body, again.body);
    let other = server
        .send(Method::POST, "/db/execute", key, &body.replace("once", "twice"))
        .await;
    assert_eq!(other.status, 422, "{}", other.body);
    assert!(
        server
            .say("/db/query", r#"["SELECT count(*) FROM pet"]"#)
            .await
            .ends_with("[[1]]}]}")
    );
}

#[tokio::test]
async fn sigterm_ends_it_cleanly_and_nothing_is_lost() {
    for signal in ["TERM", "INT", "KILL"] {
        let (_held, dir) = folder();
        let mut server = Server::start(&dir, &["-node-id", "n1"]).await;
        server.say("/db/execute", CREATE).await;
        server
            .say("/db/execute", r#"["INSERT INTO pet(nick) VALUES('kept')"]"#)
            .await;
        let hash = server.get("/quorlite/hash").await.json()["hash"].clone();
        server.signal(signal);
        let status = server.exit().await;
        assert_eq!(status.code(), (signal != "KILL").then_some(0), "{signal}");
        let addresses = Addresses {
            http: server.http.clone(),
            raft: server.raft.clone(),
        };
        let server = Server::launch(&dir, &addresses, &["-node-id", "n1"]);
        server.until_ready().await;
        assert_eq!(server.get("/quorlite/hash").await.json()["hash"], hash, "{signal}");
        let answer = server.say("/db/query", r#"["SELECT nick FROM pet"]"#).await;
        assert!(answer.contains("kept"), "{signal}: {answer}");
    }
}

#[tokio::test]
async fn queued_writes_leave_before_the_node_does() {
    let (_held, dir) = folder();
    let words = ["-node-id", "n1", "-write-queue-timeout", "1h"];
    let mut server = Server::start(&dir, &words).await;
    server.say("/db/execute", CREATE).await;
    for _ in 0..3 {
        let answer = server
            .say("/db/execute?queue", r#"["INSERT INTO pet(nick) VALUES('queued')"]"#)
            .await;
        assert!(answer.contains("sequence_number"), "{answer}");
    }
    server.signal("TERM");
    assert_eq!(server.exit().await.code(), Some(0));
    let addresses = Addresses {
        http: server.http.clone(),
        raft: server.raft.clone(),
    };
    let server = Server::launch(&dir, &addresses, &words);
    server.until_ready().await;
    let answer = server
        .say("/db/query", r#"["SELECT count(*) FROM pet WHERE nick='queued'"]"#)
        .await;
    assert!(answer.contains("[[3]]"), "{answer}");
}

#[tokio::test]
async fn snapshots_on_request() {
    let (_held, server) = with_pets().await;
    assert_eq!(server.post("/snapshot", "").await.status, 200);
    assert_eq!(server.post("/snapshot", "").await.status, 204);
    let status = server.get("/status?key=store.snapshot_store.snapshots").await;
    assert_eq!(status.json().as_array().unwrap().len(), 1);
}

//! What a node does that does not lead.

use super::{OK, post};
use crate::forwarded::{Head, Operation};
use crate::http::tests::{World, peer};
use hyper::Method;
use store::Error;

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

//! Queued writes, as a client sees them and as the ledger does.

use std::sync::Arc;
use std::time::Duration;

use command::request::KeyOrigin;
use hyper::Method;
use serde_json::Value;
use store::Error;

use crate::forwarded::{Head, Operation};
use crate::http::tests::{Answered, Fake, World, peer};

async fn post(world: &World, target: &str, body: &str) -> Answered {
    world.send(Method::POST, target, &[], body).await
}

fn sequence(answer: &Answered) -> u64 {
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["sequence_number"].as_u64().unwrap()
}

fn key(write: &command::request::Write) -> u64 {
    match write.key.as_ref().and_then(|key| key.origin.as_ref()) {
        Some(KeyOrigin::Forward(key)) => key.sequence,
        other => panic!("no key of this node: {other:?}"),
    }
}

#[tokio::test]
async fn requests_leave_together_in_their_order() {
    let world = World::with(Arc::default(), |options| {
        options.queue.timeout = Duration::from_secs(3600)
    });
    world.fake.leads(peer(1, "here"));
    let mut last = 0;
    for n in 0..127 {
        let answer = post(&world, "/db/execute?queue", &format!("[\"n{n}\"]")).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-quorlite-durable"), Some("false"));
        assert_eq!(answer.header("x-rqlite-served-by"), None);
        let number = sequence(&answer);
        assert_eq!(answer.body, format!("{{\"results\":[],\"sequence_number\":{number}}}"));
        assert!(last == 0 || number == last + 1, "{number} behind {last}");
        last = number;
    }
    assert!(world.fake.writes().is_empty(), "a batch left before it was full");
    let answer = post(&world, "/db/execute?queue&wait", "[[\"last\", 1], \"and\"]").await;
    assert_eq!((answer.status, answer.header("x-quorlite-durable")), (200, None));
    let writes = world.fake.writes();
    assert_eq!(writes.len(), 1);
    let texts: Vec<&str> = writes[0]
        .statements
        .iter()
        .map(|statement| statement.sql.as_str())
        .collect();
    let expected: Vec<String> = (0..127)
        .map(|n| format!("n{n}"))
        .chain(["last".into(), "and".into()])
        .collect();
    assert_eq!(texts, expected);
    assert!(!writes[0].atomic);
    assert_eq!(key(&writes[0]), 1);
}

#[tokio::test]
async fn one_transaction_per_batch_if_asked_for() {
    let world = World::with(Arc::default(), |options| options.queue.transaction = true);
    world.fake.leads(peer(1, "here"));
    world.fake.reply(77, Vec::new());
    let answer = post(&world, "/db/execute?queue&wait", "[\"a\"]").await;
    assert_eq!(answer.header("x-quorlite-index"), Some("77"));
    assert!(world.fake.writes()[0].atomic);
}

#[tokio::test]
async fn marks_wait_and_write_nothing() {
    let world = World::leading();
    for body in ["[]", "null", " null\n"] {
        let answer = post(&world, "/db/execute?queue&wait", body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert!(sequence(&answer) > 0);
    }
    assert!(world.fake.writes().is_empty());
    for (body, text) in [
        ("[]", "no statements\n"),
        ("null", "invalid request\n"),
        ("[1]", "invalid request\n"),
    ] {
        let answer = post(&world, "/db/execute?queue", body).await;
        assert_eq!((answer.status, answer.body.as_str()), (400, text));
    }
}

#[tokio::test]
async fn a_pragma_is_refused_when_it_is_queued() {
    let world = World::leading();
    let answer = post(&world, "/db/execute?queue", "[\"PRAGMA synchronous=OFF\"]").await;
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, r#"{"results":[],"error":"disallowed pragma"}"#)
    );
    assert_eq!(post(&world, "/db/execute?queue&wait", "[\"a\"]").await.status, 200);
    assert_eq!(world.fake.writes().len(), 1);
}

#[tokio::test]
async fn what_was_not_appended_is_tried_again_under_a_new_key() {
    let world = World::leading();
    world.fake.fail_write(Error::Enqueue);
    world.fake.fail_write(Error::Overloaded("full"));
    assert_eq!(post(&world, "/db/execute?queue&wait", "[\"a\"]").await.status, 200);
    let writes = world.fake.writes();
    assert_eq!(writes.iter().map(key).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(writes.iter().all(|write| write.statements[0].sql == "a"));
}

#[tokio::test]
async fn what_may_have_happened_is_tried_again_under_the_same_key() {
    let world = World::leading();
    world.fake.fail_write(Error::LeadershipLost);
    world.fake.fail_write(Error::Enqueue);
    world
        .fake
        .fail_reply("this request was applied before", "reply_not_kept");
    assert_eq!(post(&world, "/db/execute?queue&wait", "[\"a\"]").await.status, 200);
    assert_eq!(world.fake.writes().iter().map(key).collect::<Vec<_>>(), [1, 1, 1]);
}

#[tokio::test]
async fn a_batch_that_cannot_succeed_holds_nobody_up() {
    let world = World::leading();
    world.fake.fail_reply("FOREIGN KEY constraint failed", "");
    let answer = post(&world, "/db/execute?queue&wait", "[\"a\"]").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .body
            .starts_with(r#"{"results":[],"error":"FOREIGN KEY constraint failed","sequence_number":"#)
    );
    assert_eq!(post(&world, "/db/execute?queue&wait", "[\"b\"]").await.status, 200);
    let texts: Vec<String> = world
        .fake
        .writes()
        .iter()
        .map(|write| write.statements[0].sql.clone())
        .collect();
    assert_eq!(texts, ["a", "b"]);
}

#[tokio::test]
async fn a_long_request_leaves_by_itself() {
    let world = World::with(Arc::default(), |options| {
        options.queue.timeout = Duration::from_secs(3600);
        options.queue.batch_size = 3;
    });
    world.fake.leads(peer(1, "here"));
    let long = format!(r#"["{}"]"#, "x".repeat(1 << 20));
    for body in [r#"["a"]"#, r#"["b"]"#] {
        assert_eq!(post(&world, "/db/execute?queue", body).await.status, 200);
    }
    assert_eq!(post(&world, "/db/execute?queue&wait", &long).await.status, 200);
    let counts: Vec<usize> = world.fake.writes().iter().map(|write| write.statements.len()).collect();
    assert_eq!(counts, [2, 1]);
}

#[tokio::test]
async fn a_follower_hands_its_batch_to_the_leader_as_its_own() {
    let world = World::following();
    let head = Head {
        status: 200,
        index: 9,
        ..Head::default()
    };
    world
        .others
        .answer(head, r#"{"results":[{"rows_affected":1},{"error":"no"}]}"#);
    let answer = post(&world, "/db/execute?queue&wait", "[\"a\",\"b\"]").await;
    assert_eq!((answer.status, answer.header("x-quorlite-index")), (200, Some("9")));
    let forwarded = world.others.forwarded();
    assert_eq!(forwarded.len(), 1);
    assert!(forwarded[0].is_own && forwarded[0].credentials.is_none());
    match &forwarded[0].operation {
        Some(Operation::Execute(sql)) => assert!(sql.key.is_some() && sql.statements.len() == 2),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn waiting_ends_when_the_client_says() {
    let world = World::without_leader();
    let answer = post(&world, "/db/execute?queue", "[\"a\"]").await;
    assert_eq!((answer.status, answer.body.as_str()), (503, "leader not found\n"));
    let answer = post(&world, "/db/execute?queue&noleader&wait&timeout=20ms", "[\"a\"]").await;
    assert_eq!((answer.status, answer.body.as_str()), (408, "queue wait timeout\n"));
    // It stays queued.
    world.fake.leads(peer(1, "here"));
    assert_eq!(post(&world, "/db/execute?queue&wait", "[\"b\"]").await.status, 200);
    let texts: Vec<String> = world
        .fake
        .writes()
        .iter()
        .map(|write| write.statements[0].sql.clone())
        .collect();
    assert_eq!(texts, ["a", "b"]);
}

#[tokio::test]
async fn a_full_queue_holds_requests_back_and_then_refuses() {
    let world = World::with(Arc::<Fake>::default(), |options| options.queue.capacity = 1);
    // Nobody leads: one batch is being tried, one request waits, a third finds no place.
    for _ in 0..2 {
        assert_eq!(
            post(&world, "/db/execute?queue&noleader&timeout=5s", "[\"a\"]")
                .await
                .status,
            200
        );
    }
    let answer = post(&world, "/db/execute?queue&noleader&timeout=20ms", "[\"b\"]").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.body, "too many queued writes; try again later\n");
}

#[tokio::test]
async fn bodies_share_a_bounded_room() {
    let world = World::without_leader();
    let large = format!("[\"{}\"]", "x".repeat(super::BODY_BYTES_MAX));
    let answer = post(&world, "/db/execute?queue&noleader", &large).await;
    assert_eq!(answer.status, 413);
    let large = format!("[\"{}\"]", "x".repeat(super::BODY_BYTES_MAX - 4096));
    let mut taken = 0;
    while post(&world, "/db/execute?queue&noleader", &large).await.status == 200 {
        taken += 1;
        assert!(taken <= 8, "there is always room");
    }
    assert_eq!(taken, 4);
}

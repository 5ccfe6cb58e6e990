//! Loads at the door, over a make-believe node.

use command::entry::Form;
use command::reply::{Changes, Outcome, OutcomeKind, Reply};
use hyper::Method;
use store::Error;

use crate::forwarded::{Head, Operation};
use crate::http::pieces::PIECE_BYTES;
use crate::http::tests::{Answered, World, peer, vault};

const JSON: &str = "application/json; charset=utf-8";

async fn post(world: &World, target: &str, body: &str) -> Answered {
    world.send(Method::POST, target, &[], body).await
}

fn changes() -> Reply {
    let changes = Changes {
        last_insert_id: 5,
        rows_affected: 2,
    };
    Reply {
        outcomes: vec![Outcome::new(OutcomeKind::Changes(changes))],
        ..Reply::default()
    }
}

fn body(answered: &Answered) -> (u16, &str) {
    (answered.status, &answered.body)
}

#[tokio::test]
async fn a_file_is_gathered_in_pieces_and_loaded() {
    let world = World::leading();
    let file = format!("SQLite format 3\0{}", "x".repeat(3 * PIECE_BYTES));
    let answered = post(&world, "/db/load", &file).await;
    assert_eq!(body(&answered), (200, "{\"results\":[]}"));
    assert_eq!(answered.header("content-type"), Some(JSON));
    assert_eq!(answered.header("x-rqlite-served-by"), Some("here:4001"));
    let loads = world.vault.loads();
    assert!(loads.gathered == file.as_bytes());
    let end = &loads.ends[0];
    assert_eq!(
        (end.load, end.bytes, end.form),
        (vault::LOAD, file.len() as u64, Form::File)
    );
}

#[tokio::test]
async fn a_text_answers_its_last_statement() {
    let world = World::leading();
    world.vault.loads().end_answer = Some(Ok(changes()));
    let answered = post(&world, "/db/load", "CREATE TABLE t(a); INSERT INTO t VALUES(1)").await;
    assert_eq!(
        body(&answered),
        (200, "{\"results\":[{\"last_insert_id\":5,\"rows_affected\":2}]}")
    );
    assert_eq!(world.vault.forms(), [Form::Text]);
}

#[tokio::test]
async fn nothing_is_nothing_and_some_texts_are_refused_before_anything_is_gathered() {
    let world = World::leading();
    assert_eq!(body(&post(&world, "/db/load", "").await), (200, "{\"results\":[]}"));
    let answered = post(&world, "/db/load", " pragma journal_mode = off; SELECT 1").await;
    assert_eq!(
        body(&answered),
        (200, "{\"results\":[],\"error\":\"disallowed pragma\"}")
    );
    assert!(world.vault.loads().gathered.is_empty() && world.vault.forms().is_empty());
}

#[tokio::test]
async fn what_is_no_text_is_given_up() {
    let world = World::leading();
    let answered = world.send_bytes("/db/load", b"\x1f\x8b\x08\x00").await;
    let expected = "{\"results\":[],\"error\":\"string field contains invalid UTF-8\"}";
    assert_eq!(body(&answered), (200, expected));
    assert_eq!(world.vault.forms(), [Form::Nothing]);
}

#[tokio::test]
async fn a_failed_load_says_so_in_its_form() {
    let world = World::leading();
    world.vault.loads().end_answer = Some(Ok(Reply::failed("invalid SQLite data: damaged", "load_refused")));
    let answered = post(&world, "/db/load", "SQLite format 3\0").await;
    assert_eq!(
        body(&answered),
        (500, "error swapping databases: invalid SQLite data: damaged\n")
    );
    let mut failed = changes();
    failed.outcomes[0].kind = Some(OutcomeKind::Error("no such table: x".to_owned()));
    world.vault.loads().gathered.clear();
    world.vault.loads().end_answer = Some(Ok(failed));
    let answered = post(&world, "/db/load", "INSERT INTO x VALUES(1)").await;
    assert_eq!(
        body(&answered),
        (200, "{\"results\":[{\"error\":\"no such table: x\"}]}")
    );
    world.vault.loads().gathered.clear();
    world
        .vault
        .loads()
        .gather_answers
        .push_back(Ok(Reply::failed("does not follow", "load_refused")));
    let answered = post(&world, "/db/load", "SELECT 1").await;
    assert_eq!(body(&answered), (500, "does not follow\n"));
    assert_eq!(world.vault.forms().last(), Some(&Form::Nothing));
}

#[tokio::test]
async fn a_piece_whose_fate_is_unknown_is_sent_again() {
    let world = World::leading();
    let unknown = [Error::Unconfirmed, Error::LeadershipLost, Error::Overloaded("too much")];
    world.vault.loads().gather_answers.extend(unknown.map(Err));
    assert_eq!(post(&world, "/db/load", "SELECT 1").await.status, 200);
    assert_eq!(world.vault.loads().gathered, b"SELECT 1");
    world.vault.loads().gathered.clear();
    world.vault.loads().gather_answers.push_back(Err(Error::Unconfirmed));
    let answered = post(&world, "/db/load?timeout=0s", "SELECT 1").await;
    assert_eq!(answered.status, 500);
    assert_eq!(world.vault.forms().last(), Some(&Form::Nothing));
}

#[tokio::test]
async fn an_idempotency_key_covers_the_whole_body() {
    let world = World::leading();
    let headers = [("idempotency-key", "once")];
    let mut keys = Vec::new();
    for text in ["SELECT 1", "SELECT 1", "SELECT 2"] {
        world.vault.loads().gathered.clear();
        world.send(Method::POST, "/db/load", &headers, text).await;
        keys.push(world.vault.loads().ends.last().unwrap().key.clone().unwrap());
    }
    assert!(keys[0] == keys[1] && keys[1] != keys[2]);
}

#[tokio::test]
async fn a_follower_has_the_leader_gather_and_load() {
    let world = World::following();
    world.others.answer(
        Head {
            status: 200,
            content_type: JSON.to_owned(),
            ..Head::default()
        },
        "{}",
    );
    let answered = post(&world, "/db/load", &"SELECT 1;".repeat(PIECE_BYTES / 8)).await;
    assert_eq!(body(&answered), (200, "{}"));
    assert_eq!(answered.header("x-rqlite-served-by"), Some("there:4002"));
    let forwarded = world.others.forwarded();
    let kinds: Vec<&str> = forwarded
        .iter()
        .map(|forwarded| match &forwarded.operation {
            Some(Operation::Gather(_)) => "piece",
            Some(Operation::Load(load)) if load.form == Form::Text as i32 => "end",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds, ["piece", "piece", "end"]);
    world.others.answer(
        Head {
            status: 500,
            ..Head::default()
        },
        "why",
    );
    let refused = post(&world, "/db/load", "SQLite format 3\0").await;
    assert_eq!(body(&refused), (500, "why"));
    let redirected = post(&world, "/db/load?redirect", "x").await;
    assert_eq!(
        redirected.header("location"),
        Some("http://there:4001/db/load?redirect")
    );
}

#[tokio::test]
async fn during_an_election_a_load_waits_for_the_leader() {
    let world = World::without_leader();
    world.fake.elect(peer(1, "here"));
    world.vault.loads().end_answer = Some(Ok(changes()));
    assert_eq!(post(&world, "/db/load", "SELECT 1").await.status, 200);
    assert_eq!(world.vault.forms(), [Form::Text]);
}

#[tokio::test]
async fn without_a_leader_nothing_is_loaded() {
    let world = World::without_leader();
    assert_eq!(
        body(&post(&world, "/db/load", "SELECT 1").await),
        (503, "leader not found\n")
    );
    assert_eq!(
        body(&post(&world, "/db/load?redirect", "SELECT 1").await),
        (500, "leader not found\n")
    );
    assert_eq!(
        body(&post(&World::closed(), "/db/load", "SELECT 1").await),
        (500, "store not open\n")
    );
}

#[tokio::test]
async fn a_boot_is_refused_in_the_order_of_the_specification() {
    let world = World::leading();
    let file = "SQLite format 3\0 and some more bytes";
    for target in ["/boot", "/boot?timeout=1s"] {
        assert_eq!(body(&post(&world, target, "SQLite format 3\0").await), (503, "EOF\n"));
        assert_eq!(body(&post(&world, target, "").await), (503, "EOF\n"));
        let other = post(&world, target, &"x".repeat(100)).await;
        assert_eq!(body(&other), (400, "invalid SQLite data\n"));
        assert_eq!(body(&post(&world, target, file).await), (503, "not leader\n"));
    }
    world.vault.loads().boot_refusal = Some(Error::Membership("not single-node".to_owned()));
    assert_eq!(body(&post(&world, "/boot", file).await), (503, "not single-node\n"));
}

#[tokio::test]
async fn there_is_nothing_to_reap() {
    let answered = post(&World::leading(), "/reap", "").await;
    assert_eq!(
        body(&answered),
        (200, "{\"snapshots_reaped\":0,\"wals_checkpointed\":0}\n")
    );
}

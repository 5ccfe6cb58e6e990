//! Forwarded requests, on a node that leads and on one that does not.

use std::sync::Arc;
use std::time::Duration;

use command::statement::Statement;
use store::Error;

use super::Desk;
use crate::cluster::Handler;
use crate::forwarded::{Answer, Forwarded, Operation, Output, Remove, Sql, StepDown};
use crate::http::tests::{Fake, peer, vault};
use crate::http::watch::{Limits, Watch};

fn sql(text: &str) -> Sql {
    Sql {
        statements: vec![Statement::new(text)],
        atomic: true,
        output: Some(Output {
            raft_index: true,
            ..Output::default()
        }),
        ..Sql::default()
    }
}

async fn ask(fake: &Arc<Fake>, operation: Operation) -> Answer {
    let ledger = Arc::clone(fake);
    let forwarded = Forwarded {
        operation: Some(operation),
        credentials: None,
        timeout_ms: 1000,
        is_own: false,
    };
    Desk::new(ledger, Arc::new(vault::Fake::default()), watch())
        .handle(forwarded)
        .await
}

async fn body(mut answer: Answer) -> String {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.body.recv().await {
        bytes.extend(chunk.unwrap());
    }
    String::from_utf8(bytes).unwrap()
}

/// Watches without limits worth the name.
fn watch() -> Arc<Watch> {
    let limits = Limits {
        body_bytes_max: 1024,
        result_bytes_max: 0,
        reads_max: 16,
        readers_max: 4,
        stall_max: Duration::from_secs(30),
        slow: Duration::ZERO,
    };
    Arc::new(Watch::new(limits, Arc::default()))
}

fn leading() -> Arc<Fake> {
    let fake = Arc::new(Fake::default());
    fake.leads(peer(1, "here"));
    fake
}

#[tokio::test]
async fn a_leader_answers_as_it_would_its_own_clients() {
    let fake = leading();
    fake.reply(7, Vec::new());
    let answer = ask(&fake, Operation::Execute(sql("INSERT"))).await;
    assert_eq!((answer.head.status, answer.head.index), (200, 7));
    assert_eq!(answer.head.content_type, "application/json; charset=utf-8");
    assert_eq!(body(answer).await, r#"{"results":[],"raft_index":7}"#);

    let answer = ask(&fake, Operation::Query(sql("rows 2"))).await;
    assert!(body(answer).await.contains("[[0],[1]]"));
    let answer = ask(&fake, Operation::Query(sql("rows 100000"))).await;
    assert!(body(answer).await.ends_with("[99999]]}]}"));
}

#[tokio::test]
async fn certain_failures_keep_their_retry_after() {
    let fake = leading();
    fake.fail_write(Error::Overloaded("too many writes"));
    let answer = ask(&fake, Operation::Execute(sql("INSERT"))).await;
    assert_eq!((answer.head.status, answer.head.retry_after_s), (503, 1));
    assert!(answer.head.not_leader.is_none() && answer.head.is_refusal());
}

#[tokio::test]
async fn the_head_tells_what_was_not_appended_from_what_is_unknown() {
    let fake = leading();
    for (error, is_refusal) in [(Error::Enqueue, true), (Error::LeadershipLost, false)] {
        fake.fail_write(error);
        let answer = ask(&fake, Operation::Execute(sql("INSERT"))).await;
        assert_eq!((answer.head.status, answer.head.is_refusal()), (200, is_refusal));
    }
}

#[tokio::test]
async fn a_node_that_does_not_lead_says_who_does() {
    let fake = leading();
    fake.fail_write(Error::NotLeader {
        leader: Some(peer(2, "there")),
    });
    let answer = ask(&fake, Operation::Execute(sql("INSERT"))).await;
    let leader = answer.head.not_leader.unwrap();
    assert_eq!(
        (leader.id, leader.name.as_str(), leader.address.as_str()),
        (2, "there", "there:4002")
    );

    fake.fail_write(Error::NotLeader { leader: None });
    let answer = ask(&fake, Operation::Request(sql("INSERT"))).await;
    assert_eq!(answer.head.not_leader.unwrap().address, "");

    fake.leads(peer(2, "there"));
    let step_down = StepDown {
        name: String::new(),
        wait: true,
    };
    let answer = ask(&fake, Operation::StepDown(step_down)).await;
    assert_eq!(answer.head.not_leader.unwrap().name, "there");
}

#[tokio::test]
async fn cluster_operations() {
    let fake = leading();
    let remove = Remove { name: "x".to_owned() };
    let answer = ask(&fake, Operation::Remove(remove)).await;
    assert_eq!(answer.head.status, 200);
    assert_eq!(fake.removed(), ["x"]);
    fake.fail_transfer(Error::NoPeer);
    let step_down = StepDown {
        name: "there".to_owned(),
        wait: true,
    };
    let answer = ask(&fake, Operation::StepDown(step_down)).await;
    assert_eq!(answer.head.status, 500);
    assert_eq!(body(answer).await, "stepdown: cannot find peer\n");
}

#[tokio::test]
async fn an_operation_of_a_newer_release_is_refused() {
    let forwarded = Forwarded {
        operation: None,
        credentials: None,
        timeout_ms: 0,
        is_own: false,
    };
    let answer = Desk::new(leading(), Arc::new(vault::Fake::default()), watch())
        .handle(forwarded)
        .await;
    assert_eq!(answer.head.status, 501);
    assert_eq!(body(answer).await, "this operation is not implemented yet\n");
}

//! The API at its door, over a make-believe node.

use crate::http::tests::{Answered, Fake, World};
use command::reply::{Changes, Outcome, OutcomeKind};
use hyper::Method;
use std::sync::Arc;

mod followers;
mod nodes;
mod reads;
mod writes;

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

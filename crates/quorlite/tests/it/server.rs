//! A server that knows the statements of the load generator and nothing else, and that can be told to lie.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// How a server deviates from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Character {
    /// Does what it says.
    Honest,
    /// Acknowledges every tenth write without storing it.
    LosesWrites,
    /// Answers every tenth read with the value of another key.
    StaleReads,
    /// Leaves the last row of a big result out.
    ShortResults,
    /// Closes the connection instead of every tenth answer.
    HangsUp,
    /// Has no leader for every tenth write.
    Leaderless,
    /// Refuses every tenth write as a statement.
    Constrained,
}

/// A running server; it ends with the test's runtime.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct State {
    tables: BTreeMap<String, BTreeMap<u64, Vec<Value>>>,
    writes: u64,
    reads: u64,
}

impl Server {
    /// Starts a server on a free port.
    pub fn start(character: Character) -> Server {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                let serve = service_fn(move |request| answer(character, Arc::clone(&state), request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), serve));
            }
        });
        Server {
            address,
            state,
            _runtime: runtime,
        }
    }

    /// Rows of a table.
    pub fn rows(&self, table: &str) -> usize {
        self.state.lock().unwrap().tables.get(table).map_or(0, BTreeMap::len)
    }
}

async fn answer(
    character: Character,
    state: Arc<Mutex<State>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, &'static str> {
    let path = request.uri().to_string();
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(|_| "the client went away")?
        .to_bytes();
    let statements: Vec<Value> = serde_json::from_slice(&body).unwrap();
    let mut state = state.lock().unwrap();
    if statements
        .iter()
        .any(|statement| sql(statement).starts_with("INSERT INTO bench_write"))
    {
        state.writes += 1;
        match character {
            Character::HangsUp if state.writes.is_multiple_of(10) => return Err("hung up"),
            Character::Leaderless if state.writes.is_multiple_of(10) => {
                return Ok(reply(503, "leader not found\n".to_owned()));
            }
            Character::Constrained if state.writes.is_multiple_of(10) => {
                return Ok(reply(
                    200,
                    r#"{"results":[{"error":"UNIQUE constraint failed"}]}"#.to_owned(),
                ));
            }
            _ => {}
        }
    }
    let results: Vec<Value> = statements
        .iter()
        .map(|statement| state.run(character, statement))
        .collect();
    let body = match path.as_str() {
        "/db/execute?queue" => json!({"results": [], "sequence_number": 1}),
        _ => json!({"results": results}),
    };
    Ok(reply(200, body.to_string()))
}

fn reply(status: u16, body: String) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(body)).unwrap()
}

fn sql(statement: &Value) -> &str {
    statement.as_str().or_else(|| statement[0].as_str()).unwrap()
}

impl State {
    fn run(&mut self, character: Character, statement: &Value) -> Value {
        let words: Vec<&str> = sql(statement).split([' ', '(']).collect();
        let number = |at: usize| statement[at].as_u64().unwrap();
        match words.as_slice() {
            ["CREATE", "TABLE", "IF", "NOT", "EXISTS", table, ..] => {
                self.tables.entry((*table).to_owned()).or_default();
                json!({})
            }
            ["INSERT", "INTO", table, ..] => {
                let loses =
                    character == Character::LosesWrites && *table == "bench_write" && self.writes.is_multiple_of(10);
                if !loses {
                    let row = statement.as_array().unwrap()[1..].to_vec();
                    let before = self.tables.get_mut(*table).unwrap().insert(number(1), row);
                    assert!(before.is_none(), "a key was written twice");
                }
                json!({"last_insert_id": number(1), "rows_affected": 1})
            }
            ["SELECT", "count", .., "FROM", table] => integer(self.tables[*table].len() as u64),
            [
                "SELECT",
                "count",
                ..,
                "FROM",
                table,
                "WHERE",
                "k",
                "BETWEEN",
                "?",
                "AND",
                "?",
            ] => integer(self.tables[*table].range(number(1)..=number(2)).count() as u64),
            ["SELECT", "coalesce", .., "FROM", table] => {
                integer(self.tables[*table].last_key_value().map_or(0, |(key, _)| *key))
            }
            ["SELECT", "v", "FROM", table, ..] => {
                self.reads += 1;
                let stale = character == Character::StaleReads && self.reads.is_multiple_of(10);
                let key = if stale { number(1) % 5 + 1 } else { number(1) };
                json!({"columns": ["v"], "types": ["text"], "values": [[self.tables[*table][&key][1]]]})
            }
            ["SELECT", "id,name,weight,born,note", "FROM", table, ..] => {
                let rows = &self.tables[*table];
                let shown = rows.len() - usize::from(character == Character::ShortResults);
                json!({"columns": ["id"], "values": rows.values().take(shown).collect::<Vec<_>>()})
            }
            ["SELECT", "1"] => integer(1),
            other => panic!("the load generator said {other:?}"),
        }
    }
}

fn integer(number: u64) -> Value {
    json!({"columns": ["n"], "types": ["integer"], "values": [[number]]})
}

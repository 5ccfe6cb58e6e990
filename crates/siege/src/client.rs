//! Clients: each does one thing after the other, on whatever node it likes, and believes what it is told.
//!
//! A write that was refused for certain is sent again, so that a refusal that lied shows as a row that is there twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use checkers::chance::Chance;
use checkers::exotic;
use checkers::history::{Effect, Outcome, Read, Write, WriteId};
use checkers::workload;
use command::statement::Statement;

use crate::arguments::Weakness;
use crate::http::{Connection, Failure, Request};
use crate::round::Round;
use crate::sql::{self, Envelope, integer, pairs, unsigned};
use crate::topology::NodeId;

mod lists;
mod registers;

/// How long a node is asked to try.
const TIMEOUT: &str = "timeout=1s";

/// How long a client waits for an answer: a little longer than the node.
const PATIENCE: Duration = Duration::from_millis(1300);

/// Attempts of one write before its client gives up.
const ATTEMPTS_MAX: u64 = 12;

/// What a node says that has only just started: nothing is done.
const NOT_OPEN: &str = "store not open";

/// A client.
pub struct Client {
    round: Arc<Round>,
    chance: Chance,
    id: u64,
    sequence: u64,
    connections: Vec<Connection>,
    /// Where it last had an answer.
    favourite: NodeId,
    /// The highest index that it was told.
    seen: u64,
    /// What it wrote under a key and was told to be done.
    kept: Vec<Write>,
    /// What it last saw in each register.
    known: BTreeMap<u64, i64>,
    /// Transactions on lists so far.
    transactions: u64,
}

/// What one attempt came to.
enum Attempt {
    /// It was answered, with its statements' results.
    Done(Done),
    /// Nothing has happened.
    Refused,
    /// Nobody knows.
    Unknown,
}

/// An answer to a write.
struct Done {
    index: u64,
    envelope: Envelope,
    /// No attempt before this one had an unknown outcome.
    is_certain: bool,
}

impl Client {
    /// The client numbered `id`; all that it needs is there at `index`.
    pub fn new(round: Arc<Round>, id: u64, index: u64) -> Client {
        let mut chance = Chance::new(round.seed, &format!("client {id}"));
        let nodes = round.siege.nodes.len();
        let connection = |node| Connection::new(round.siege.topology.http(node));
        Client {
            connections: (0..nodes).map(connection).collect(),
            favourite: chance.index(nodes),
            round,
            chance,
            id,
            sequence: 0,
            seen: index,
            kept: Vec::new(),
            known: BTreeMap::new(),
            transactions: 0,
        }
    }

    /// Works until the round is no longer chaotic.
    pub fn run(mut self) {
        while self.round.is_chaotic() {
            let kinds = [
                (50, 0),
                (20, 1),
                (12, 2),
                (3, 3),
                (1, 4),
                (10, 5),
                (6, 6),
                (40, 7),
                (30, 8),
            ];
            match self.chance.weighted(&kinds) {
                0 => self.write(),
                1 => self.read(true),
                2 => self.read(false),
                3 => self.bulk(),
                4 => self.uncounted(&[Statement::new("VACUUM")]),
                5 => self.exotic(),
                6 => self.write_again(),
                7 => self.register(),
                _ => self.transact(),
            }
            std::thread::sleep(self.chance.millis(1, self.round.plan.think_ms));
        }
    }

    fn next_id(&mut self) -> WriteId {
        self.sequence += 1;
        WriteId {
            client: self.id,
            sequence: self.sequence,
        }
    }

    fn write(&mut self) {
        let id = self.next_id();
        let effect = self.round.base().effect(&mut self.chance);
        let key = self.chance.one_in(3).then(|| key(id));
        let begin = self.round.siege.tick();
        let attempt = self.settle("/db/execute", &workload::statements(id, effect), key.as_deref());
        let end = self.round.siege.tick();
        let outcome = match attempt {
            Attempt::Done(done) => outcome(&done, effect),
            Attempt::Refused => Outcome::Refused,
            Attempt::Unknown => Outcome::Unknown,
        };
        if let Outcome::Acknowledged { index, .. } = outcome {
            self.seen = self.seen.max(index);
        }
        self.count(outcome);
        self.tell(&format!(
            "write {}-{} {effect:?} key {}: {outcome:?}",
            id.client,
            id.sequence,
            key.is_some()
        ));
        let write = Write {
            id,
            effect,
            begin,
            end,
            outcome,
        };
        if key.is_some() && matches!(outcome, Outcome::Acknowledged { .. }) {
            self.kept.push(write.clone());
        }
        self.round.history.write(write);
    }

    fn count(&self, outcome: Outcome) {
        self.round.siege.counts.add(match outcome {
            Outcome::Acknowledged { .. } => "acknowledged",
            Outcome::Refused => "refused",
            Outcome::Unknown => "unknown",
        });
    }

    fn tell(&self, what: &str) {
        self.round.siege.tell(&format!("c{}", self.id), what);
    }

    /// Sends once more what was acknowledged long ago under a key: it is answered as it was then, and not done.
    fn write_again(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let Write {
            id, effect, outcome, ..
        } = self.chance.pick(&self.kept).clone();
        let node = self.anywhere();
        let again = self.attempt(node, "/db/execute", &workload::statements(id, effect), Some(&key(id)));
        let Attempt::Done(done) = again else { return };
        self.round.siege.counts.add("keys used again");
        let value = |outcome| match outcome {
            Outcome::Acknowledged { value, .. } => Some(value),
            Outcome::Refused | Outcome::Unknown => None,
        };
        let answered = self::outcome(&done, effect);
        if value(answered) != value(outcome) {
            self.round.siege.fail(format!(
                "write {}-{} was answered {outcome:?}, and under the same key {answered:?}",
                id.client, id.sequence
            ));
        }
    }

    /// Sends a write until its outcome is certain, or nobody can know it.
    fn settle(&mut self, path: &str, statements: &[Statement], key: Option<&str>) -> Attempt {
        let sent_key = key.filter(|_| self.round.siege.weakness != Some(Weakness::Keys));
        let mut is_certain = true;
        for attempt in 0..ATTEMPTS_MAX {
            let node = if attempt == 0 && !self.chance.one_in(10) {
                self.favourite
            } else {
                self.anywhere()
            };
            match self.attempt(node, path, statements, sent_key) {
                Attempt::Done(done) => return Attempt::Done(Done { is_certain, ..done }),
                Attempt::Refused => std::thread::sleep(self.chance.millis(5, 150)),
                Attempt::Unknown if key.is_none() => return Attempt::Unknown,
                // The key makes another attempt harmless, whatever became of this one.
                Attempt::Unknown => is_certain = false,
            }
        }
        if is_certain { Attempt::Refused } else { Attempt::Unknown }
    }

    fn attempt(&mut self, node: NodeId, path: &str, statements: &[Statement], key: Option<&str>) -> Attempt {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}{TIMEOUT}");
        let request = Request {
            method: "POST",
            path: &path,
            body: &sql::body(statements),
            key,
        };
        let answer = match self.connections[node].send(request, PATIENCE) {
            Ok(answer) => answer,
            Err(Failure::Unsent) => return Attempt::Refused,
            Err(Failure::Unanswered) => return Attempt::Unknown,
        };
        let envelope = Envelope::parse(&answer.body);
        match (answer.status, envelope, answer.index) {
            (503, ..) => Attempt::Refused,
            (
                200,
                Some(Envelope {
                    error: Some(error),
                    code,
                    ..
                }),
                _,
            ) => match code.as_deref() {
                Some("not_appended") => Attempt::Refused,
                Some("outcome_unknown") => Attempt::Unknown,
                None if error == NOT_OPEN => Attempt::Refused,
                Some(_) | None => {
                    self.tell(&format!("strange failure: {error} {code:?}"));
                    self.round.siege.counts.add("strange failures");
                    Attempt::Unknown
                }
            },
            (200, Some(envelope), index) => {
                self.favourite = node;
                Attempt::Done(Done {
                    // What only reads has none.
                    index: index.unwrap_or(0),
                    envelope,
                    is_certain: true,
                })
            }
            (status, ..) => {
                let body = String::from_utf8_lossy(&answer.body);
                self.round
                    .siege
                    .fail(format!("n{} answered {path} with {status} {body}", node + 1));
                Attempt::Unknown
            }
        }
    }

    fn anywhere(&mut self) -> NodeId {
        if self.chance.one_in(2) {
            self.favourite
        } else {
            self.chance.index(self.connections.len())
        }
    }

    /// Reads some client's rows; a session read is of its own rows, at any node.
    fn read(&mut self, is_linearizable: bool) {
        let client = if is_linearizable {
            self.round.client(self.chance.between(1, self.round.plan.clients + 1))
        } else {
            self.id
        };
        let base = self.round.base();
        let (counters, accounts) = (base.counters(), base.accounts());
        let statements = [
            workload::statement("SELECT sequence FROM log WHERE client = ? ORDER BY rowid", &[client]),
            workload::statement(
                "SELECT id, n FROM counter WHERE id >= ? AND id < ?",
                &[counters.start, counters.end],
            ),
            workload::statement(
                "SELECT sum(balance) FROM account WHERE id >= ? AND id < ?",
                &[accounts.start, accounts.end],
            ),
        ];
        let begin = self.round.siege.tick();
        let Some((node, results)) = self.look(is_linearizable, &statements) else {
            return;
        };
        let end = self.round.siege.tick();
        let [rows, counters, sum] = results.as_slice() else {
            return;
        };
        self.round.siege.counts.add(if is_linearizable {
            "linearizable reads"
        } else {
            "session reads"
        });
        self.round.history.read(Read {
            node: self.round.siege.nodes[node].name.clone(),
            is_linearizable,
            client,
            begin,
            end,
            rows: rows.iter().map(|row| unsigned(row, 0)).collect(),
            counters: pairs(counters),
            sum: sum.first().map_or(0, |row| integer(row, 0)),
        });
    }

    /// Reads on some node, in one snapshot: at a level that promises the latest state, or what this client has seen.
    fn look(&mut self, is_linearizable: bool, statements: &[Statement]) -> Option<(NodeId, Vec<sql::Rows>)> {
        let node = self.chance.index(self.connections.len());
        let is_strong = self.chance.one_in(5);
        let level = match (is_linearizable, self.round.siege.weakness) {
            (false, _) => format!("none&min_index={}", self.seen),
            (true, Some(Weakness::Reads)) => "none".to_owned(),
            (true, _) if is_strong => "strong".to_owned(),
            (true, _) => "linearizable".to_owned(),
        };
        let path = format!("/db/query?level={level}&transaction&linearizable_timeout=1s&{TIMEOUT}");
        let request = Request {
            method: "POST",
            path: &path,
            body: &sql::body(statements),
            key: None,
        };
        let answer = self.connections[node].send(request, PATIENCE).ok()?;
        let envelope = Envelope::parse(&answer.body).filter(|_| answer.status == 200)?;
        if envelope.error.is_some() {
            return None;
        }
        if let Some(problem) = envelope.problem() {
            // A read that is cut off when its node dies ends with an error in its last result.
            self.tell(&format!("a read on n{} failed: {problem}", node + 1));
            self.round.siege.counts.add("failed reads");
            return None;
        }
        (envelope.results.len() == statements.len()).then(|| (node, envelope.rows()))
    }

    /// Makes the database larger, so that a stream of all of it takes a while.
    fn bulk(&mut self) {
        let statements = workload::bulk(self.chance.between(1_000, 200_000), self.chance.one_in(2));
        self.uncounted(&statements);
    }

    /// Something that must come out the same everywhere, whatever that is; a failure is as good as a success.
    fn exotic(&mut self) {
        let (statements, is_atomic) = exotic::request(&mut self.chance);
        let path = if is_atomic {
            "/db/execute"
        } else {
            "/db/execute?atomic=false"
        };
        if let Attempt::Done(_) = self.attempt(self.favourite, path, &statements, None) {
            self.round.siege.counts.add("exotic requests");
        }
    }

    fn uncounted(&mut self, statements: &[Statement]) {
        if let Attempt::Done(done) = self.attempt(self.favourite, "/db/execute", statements, None)
            && let Some(problem) = done.envelope.problem()
        {
            self.round
                .siege
                .fail(format!("{:?} failed: {problem}", statements[0].sql));
        }
    }
}

fn key(id: WriteId) -> String {
    format!("{}-{}", id.client, id.sequence)
}

/// What an answer says of the write.
fn outcome(done: &Done, effect: Effect) -> Outcome {
    if done.envelope.problem().is_some() {
        // A failure is an answer about this attempt and, by its key, about those before it.
        return if done.is_certain || effect == Effect::Failing {
            Outcome::Refused
        } else {
            Outcome::Unknown
        };
    }
    let returned = done.envelope.rows().into_iter().flatten().next();
    Outcome::Acknowledged {
        index: done.index,
        value: returned.and_then(|row| row.first().and_then(serde_json::Value::as_i64)),
    }
}

//! The data operations, run on this node: for its own clients and, on the leader, for those of other nodes.
//!
//! ```text
//!  execute ─────────────► write ──► reply, encoded
//!  request ─ needs log? ─► write        │
//!              │ no                     ▼
//!  query ──────┴────────► confirm ──► read, streamed
//! ```
//!
//! Invariant: a [`Detour`] means that nothing was appended here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command::request::{Kind, Write};
use command::statement::Statement;
use sqlite::QueryOptions;
use store::member::Peer;
use store::read::{Level, ReadRequest};

use super::counters::{self, count};
use super::errors;
use super::ledger::{Ledger, Need};
use super::reply::Reply;
use super::results::{Form, Results, Tail, Whole};
use super::slow;
use super::stream::{self, Query};
use super::watch::Watch;
use crate::forwarded::{self, Sql, Style};

/// Steps of SQLite's virtual machine for each microsecond of `db_timeout` on a write, whose limit must be the same on
/// every node: what a slow machine does in that time, so that a limit never cuts earlier than asked.
const STEPS_PER_US: u64 = 100;

/// Which operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `/db/execute`
    Execute,
    /// `/db/query`
    Query,
    /// `/db/request`
    Request,
}

/// The request must run elsewhere, and certainly has not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detour {
    /// Another node leads, or none is known.
    Leader(Option<Peer>),
    /// Leadership is being handed over: a leader will be known soon.
    Transferring,
}

/// A request, and when it came.
#[derive(Clone, Debug)]
pub struct Job {
    /// What to run.
    pub operation: Operation,
    /// The statements and their options.
    pub sql: Sql,
    /// When the request came.
    pub began: Instant,
    /// How long its client waits.
    pub timeout: Duration,
    /// Whose it is; `None` is another node's client.
    pub client: Option<SocketAddr>,
}

/// Runs `job` here.
///
/// # Errors
///
/// A [`Detour`] if it must run elsewhere; every other failure is an answer.
pub async fn run(ledger: &Arc<dyn Ledger>, watch: &Arc<Watch>, job: Job) -> Result<Reply, Detour> {
    count_job(&watch.counters.db, &job);
    let (operation, began) = (job.operation, job.began);
    let reply = run_job(ledger, watch, job).await;
    if reply.is_ok() {
        watch.ran(operation, began);
    }
    reply
}

async fn run_job(ledger: &Arc<dyn Ledger>, watch: &Arc<Watch>, job: Job) -> Result<Reply, Detour> {
    match job.operation {
        Operation::Execute => write(ledger, watch, job, Kind::Execute).await,
        Operation::Query => read(ledger, watch, job).await,
        Operation::Request => {
            if is_plainly_a_write(&job.sql.statements) {
                return write(ledger, watch, job, Kind::Request).await;
            }
            if ledger.are_brief(&job.sql.statements) {
                return read(ledger, watch, job).await;
            }
            match need(ledger, watch, job).await {
                Ok((Need::Readers, job)) => read(ledger, watch, job).await,
                Ok((Need::Log, job)) => write(ledger, watch, job, Kind::Request).await,
                Err(reply) => Ok(reply),
            }
        }
    }
}

fn count_job(db: &counters::Db, job: &Job) {
    let (requests, units) = match job.operation {
        Operation::Execute => (&db.executions, &db.execute_transactions),
        Operation::Query => (&db.queries, &db.query_transactions),
        Operation::Request => (&db.requests, &db.request_transactions),
    };
    count(requests);
    if job.sql.atomic {
        count(units);
    }
}

/// The looks of a job's answer.
pub fn style(sql: &Sql) -> Style {
    sql.output.map(Style::from).unwrap_or_default()
}

async fn write(ledger: &Arc<dyn Ledger>, watch: &Watch, job: Job, kind: Kind) -> Result<Reply, Detour> {
    let style = style(&job.sql);
    // Kept only where it may be logged.
    let texts = (!watch.limits.slow.is_zero()).then(|| job.sql.statements.clone());
    let write = Write {
        steps_max: job.sql.db_timeout_us.saturating_mul(STEPS_PER_US),
        key: job.sql.key,
        ..ledger.stamp(job.sql.statements, kind, job.sql.atomic)
    };
    match ledger.write(write, job.timeout).await {
        Ok(reply) => {
            if let Some(texts) = texts {
                log_slow(ledger, watch, texts, &reply, job.client);
            }
            Ok(encode(style, &reply, job.began))
        }
        Err(error) => detour(error).map_or_else(|error| Ok(errors::sql(style, &error)), Err),
    }
}

/// Logs the statements of a write that took SQLite too long.
fn log_slow(
    ledger: &Arc<dyn Ledger>,
    watch: &Watch,
    statements: Vec<Statement>,
    reply: &command::reply::Reply,
    client: Option<SocketAddr>,
) {
    let ns = reply.outcomes.iter().map(|outcome| outcome.elapsed_ns).sum();
    let time = Duration::from_nanos(ns);
    if watch.is_slow(time) {
        let ledger = Arc::clone(ledger);
        tokio::task::spawn_blocking(move || slow::log(&*ledger, &statements, time, client));
    }
}

/// A write's answer.
pub fn encode(style: Style, reply: &command::reply::Reply, began: Instant) -> Reply {
    if let Some(failure) = &reply.error {
        return errors::reply_failed(style, failure);
    }
    let mut results = Results::new(style, Form::Mixed, Whole);
    results.reply(reply);
    let tail = Tail {
        elapsed: began.elapsed(),
        index: reply.index,
        ..Tail::default()
    };
    let mut answer = match results.finish(&tail) {
        Ok((bytes, _)) => Reply::json(bytes.into()),
        Err((unencodable, _)) => errors::read(style, &unencodable.into()),
    };
    answer.head.index = reply.index;
    answer
}

async fn read(ledger: &Arc<dyn Ledger>, watch: &Arc<Watch>, job: Job) -> Result<Reply, Detour> {
    let style = style(&job.sql);
    let confirmed = match ledger.confirm(read_request(&job)).await {
        Ok(confirmed) => confirmed,
        Err(error) => return detour(error).map_or_else(|error| Ok(errors::sql(style, &error)), Err),
    };
    let query = Query {
        options: QueryOptions {
            first_only: false,
            transaction: job.sql.atomic,
            qualify_columns: style.qualify_columns,
            deadline: deadline(&job.sql),
        },
        statements: job.sql.statements,
        style,
        form: if job.operation == Operation::Query {
            Form::Query
        } else {
            Form::Mixed
        },
        began: job.began,
        index: confirmed.index,
        client: job.client,
    };
    Ok(match stream::run(Arc::clone(ledger), Arc::clone(watch), query).await {
        Ok(payload) => Reply::json(payload),
        Err(failed) => errors::read(style, &failed),
    })
}

/// What the statements need; gives the job back.
async fn need(ledger: &Arc<dyn Ledger>, watch: &Watch, job: Job) -> Result<(Need, Job), Reply> {
    let style = style(&job.sql);
    let _seat = watch
        .seat(deadline(&job.sql))
        .await
        .map_err(|none| errors::read(style, &none.into()))?;
    let ledger = Arc::clone(ledger);
    let classified = tokio::task::spawn_blocking(move || (ledger.need(&job.sql.statements), job)).await;
    match classified {
        Ok((Ok(need), job)) => Ok((need, job)),
        Ok((Err(error), _)) => Err(errors::read(style, &stream::Failed::Sqlite(error))),
        Err(_) => Err(errors::read(style, &stream::Failed::Lost)),
    }
}

/// Known without asking SQLite, which the common case need not wait for.
fn is_plainly_a_write(statements: &[Statement]) -> bool {
    const VERBS: [&str; 7] = ["INSERT", "REPLACE", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER"];
    statements.iter().any(|statement| {
        let sql = statement.sql.trim_start();
        let end = sql
            .find(|letter: char| !letter.is_ascii_alphabetic())
            .unwrap_or(sql.len());
        VERBS.iter().any(|verb| sql[..end].eq_ignore_ascii_case(verb))
    })
}

fn read_request(job: &Job) -> ReadRequest {
    let read = job.sql.read.unwrap_or_default();
    ReadRequest {
        level: level(read.level()),
        freshness: (read.freshness_us > 0).then(|| Duration::from_micros(read.freshness_us)),
        freshness_strict: read.freshness_strict,
        min_index: read.min_index,
        timeout: match read.wait_us {
            0 => job.timeout,
            wait_us => Duration::from_micros(wait_us),
        },
    }
}

/// The levels, from their numbers on the wire.
pub fn level(level: forwarded::Level) -> Level {
    match level {
        forwarded::Level::Weak => Level::Weak,
        forwarded::Level::None => Level::None,
        forwarded::Level::Linearizable => Level::Linearizable,
        forwarded::Level::Strong => Level::Strong,
        forwarded::Level::Auto => Level::Auto,
    }
}

/// The levels, as their numbers on the wire.
pub fn level_on_wire(level: Level) -> forwarded::Level {
    match level {
        Level::Weak => forwarded::Level::Weak,
        Level::None => forwarded::Level::None,
        Level::Linearizable => forwarded::Level::Linearizable,
        Level::Strong => forwarded::Level::Strong,
        Level::Auto => forwarded::Level::Auto,
    }
}

fn deadline(sql: &Sql) -> Option<Instant> {
    match sql.db_timeout_us {
        0 => None,
        us => Instant::now().checked_add(Duration::from_micros(us)),
    }
}

/// Whether an error means that the request must run elsewhere.
///
/// # Errors
///
/// It does not: the error itself.
pub fn detour(error: store::Error) -> Result<Detour, store::Error> {
    match error {
        store::Error::NotLeader { leader } => Ok(Detour::Leader(leader)),
        store::Error::Transferring => Ok(Detour::Transferring),
        other => Err(other),
    }
}

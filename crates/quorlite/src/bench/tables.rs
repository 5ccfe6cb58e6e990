//! The tables of the works: making them, filling them, and counting what a run has left in them.

use super::check::{Expected, check, integers};
use super::connection::Exchange;
use super::failure::Failure;
use super::http::Request;
use super::options::Options;
use super::work::{Kind, Work, big_insert_body, insert_body};

/// Rows per request when a table is filled.
const FILL_ROWS: u64 = 1000;
/// Ranges of keys that one request counts.
const RANGES: usize = 200;

const QUERY: &str = "/db/query?level=strong";
const EXECUTE: &str = "/db/execute?transaction";

const CREATE_WRITE: &str = "CREATE TABLE IF NOT EXISTS bench_write (k INTEGER PRIMARY KEY, v TEXT NOT NULL)";
const CREATE_READ: &str = "CREATE TABLE IF NOT EXISTS bench_read (k INTEGER PRIMARY KEY, v TEXT NOT NULL)";
const CREATE_BIG: &str = "CREATE TABLE IF NOT EXISTS bench_big \
     (id INTEGER PRIMARY KEY, name TEXT NOT NULL, weight REAL NOT NULL, born INTEGER NOT NULL, note TEXT NOT NULL)";

/// What a count after the run has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Rows that were acknowledged.
    pub acknowledged: u64,
    /// Those of them that are there.
    pub found: u64,
    /// Rows that were sent and not acknowledged, and are there all the same.
    pub unacknowledged_found: u64,
}

impl Verified {
    /// Whether every acknowledged row is there.
    pub fn is_complete(&self) -> bool {
        self.found == self.acknowledged
    }
}

/// Makes and fills the tables that the work needs; answers the first key that is free to be written.
///
/// # Errors
///
/// What the node refused.
pub async fn prepare(exchange: &mut impl Exchange, options: &Options) -> Result<u64, Failure> {
    match options.kind {
        Kind::Write | Kind::Bulk | Kind::Queued => {}
        Kind::Read | Kind::Mixed => fill_read(exchange, options.keys).await?,
        Kind::Big => fill_big(exchange, options.rows).await?,
    }
    if !options.kind.writes() {
        return Ok(1);
    }
    execute(exchange, CREATE_WRITE).await?;
    Ok(count(exchange, "SELECT coalesce(max(k),0) FROM bench_write").await? + 1)
}

/// Counts the rows that `work` has written, at level strong.
///
/// # Errors
///
/// What the node refused.
pub async fn verify(exchange: &mut impl Exchange, work: &Work) -> Result<Verified, Failure> {
    let ranges = work.acknowledged();
    let acknowledged = ranges.iter().map(|(first, last)| last - first + 1).sum();
    let mut found = 0;
    for ranges in ranges.chunks(RANGES) {
        found += counts(exchange, ranges).await?.iter().sum::<u64>();
    }
    let (first, end) = work.sent();
    let all = if end > first {
        counts(exchange, &[(first, end - 1)]).await?.iter().sum()
    } else {
        0
    };
    Ok(Verified {
        acknowledged,
        found,
        unacknowledged_found: all.max(found) - found,
    })
}

/// Waits until all that is in the node's queue of writes is applied.
///
/// # Errors
///
/// What the node refused.
pub async fn drain_queue(exchange: &mut impl Exchange) -> Result<(), Failure> {
    let request = Request {
        path: "/db/execute?queue&wait&timeout=10m",
        body: b"[]".to_vec(),
    };
    let answer = exchange.call(&request).await?;
    check(Expected::Success, answer.status, answer.body)
}

/// A request that changes nothing and can be answered by any node: it opens the connection.
///
/// # Errors
///
/// If there is no answer at all; a refusal is one.
pub async fn knock(exchange: &mut impl Exchange) -> Result<(), Failure> {
    let request = Request {
        path: "/db/query?level=none",
        body: br#"["SELECT 1"]"#.to_vec(),
    };
    exchange.call(&request).await.map(drop)
}

async fn fill_read(exchange: &mut impl Exchange, keys: u64) -> Result<(), Failure> {
    execute(exchange, CREATE_READ).await?;
    let filled = count(exchange, "SELECT count(*) FROM bench_read").await?;
    fill(exchange, filled, keys, |first, rows, body| {
        insert_body("bench_read", first, rows, body)
    })
    .await
}

async fn fill_big(exchange: &mut impl Exchange, rows: u64) -> Result<(), Failure> {
    execute(exchange, CREATE_BIG).await?;
    let mut filled = count(exchange, "SELECT count(*) FROM bench_big").await?;
    if filled > rows {
        execute(exchange, "DELETE FROM bench_big").await?;
        filled = 0;
    }
    fill(exchange, filled, rows, big_insert_body).await
}

/// Inserts the rows `filled + 1` to `wanted`.
async fn fill(
    exchange: &mut impl Exchange,
    filled: u64,
    wanted: u64,
    write: impl Fn(u64, u64, &mut Vec<u8>),
) -> Result<(), Failure> {
    let mut next = filled + 1;
    while next <= wanted {
        let rows = FILL_ROWS.min(wanted + 1 - next);
        let mut request = Request {
            path: EXECUTE,
            body: Vec::new(),
        };
        write(next, rows, &mut request.body);
        let answer = exchange.call(&request).await?;
        check(Expected::Written { rows }, answer.status, answer.body)?;
        next += rows;
    }
    Ok(())
}

async fn execute(exchange: &mut impl Exchange, sql: &str) -> Result<(), Failure> {
    let request = Request {
        path: "/db/execute",
        body: format!("[\"{sql}\"]").into_bytes(),
    };
    let answer = exchange.call(&request).await?;
    check(Expected::Success, answer.status, answer.body)
}

async fn count(exchange: &mut impl Exchange, sql: &str) -> Result<u64, Failure> {
    let request = Request {
        path: QUERY,
        body: format!("[\"{sql}\"]").into_bytes(),
    };
    let answer = exchange.call(&request).await?;
    match integers(answer.status, answer.body)?.as_slice() {
        [number] => Ok(*number),
        other => Err(Failure::Wrong(format!("{} results for one statement", other.len()))),
    }
}

async fn counts(exchange: &mut impl Exchange, ranges: &[(u64, u64)]) -> Result<Vec<u64>, Failure> {
    let statements: Vec<String> = ranges
        .iter()
        .map(|(first, last)| format!(r#"["SELECT count(*) FROM bench_write WHERE k BETWEEN ? AND ?",{first},{last}]"#))
        .collect();
    let request = Request {
        path: QUERY,
        body: format!("[{}]", statements.join(",")).into_bytes(),
    };
    let answer = exchange.call(&request).await?;
    let counts = integers(answer.status, answer.body)?;
    if counts.len() == ranges.len() {
        Ok(counts)
    } else {
        Err(Failure::Wrong(format!(
            "{} results for {} statements",
            counts.len(),
            ranges.len()
        )))
    }
}

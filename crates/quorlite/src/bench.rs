//! `quorlite bench`: drives a node, or a cluster, over HTTP and reports what it does and how fast.
//!
//! ```text
//!  options ──► tables: prepare ──► connections, warm ──► run ──► (queue drained) ──► tables: verify ──► report
//!                                                         ├─ work: requests and keys
//!                                                         ├─ schedule: when they leave
//!                                                         ├─ connection, http: the wire
//!                                                         ├─ check: is the answer true?
//!                                                         └─ recorder, histogram: what happened
//! ```
//!
//! A run is a result only if every answer passed its check: the number of rows, the very value, and, with `--verify`,
//! the presence of every acknowledged row.

mod check;
mod connection;
mod failure;
mod histogram;
mod http;
mod options;
mod recorder;
mod report;
mod run;
mod schedule;
mod tables;
mod values;
mod work;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use self::connection::Connection;
pub use self::failure::Failure;
use self::options::Options;
use self::recorder::Recorder;
use self::report::Report;
use self::work::{Kind, Work};
use crate::error::Error;

/// Longest wait for a request that prepares, drains or counts.
const SIDE_TIMEOUT: Duration = Duration::from_secs(660);
/// How long preparing and counting are tried again while the cluster has no leader.
const PATIENCE: Duration = Duration::from_secs(30);
const PATIENCE_PAUSE: Duration = Duration::from_millis(100);

/// Runs the sub-command with the words after its name.
///
/// # Errors
///
/// [`Error`] if there is no result to report.
pub fn main(words: &[String]) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout();
    let Some(options) = Options::parse(words)? else {
        out.write_all(options::usage().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(tokio::task::LocalSet::new().run_until(drive(&options)))?;
    let report = outcome.report(&options);
    if options.json {
        writeln!(out, "{}", report.json())?;
    } else {
        out.write_all(report.table().as_bytes())?;
    }
    Ok(if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Outcome {
    recorder: Recorder,
    started: SystemTime,
    acknowledged: u64,
    drain: Option<Duration>,
    verified: Option<tables::Verified>,
}

impl Outcome {
    fn report<'a>(&'a self, options: &'a Options) -> Report<'a> {
        Report {
            options,
            recorder: &self.recorder,
            started: self.started,
            acknowledged: self.acknowledged,
            drain: self.drain,
            verified: self.verified,
        }
    }
}

async fn drive(options: &Options) -> Result<Outcome, Error> {
    let mut side = Connection::new(&options.addresses, 0, SIDE_TIMEOUT);
    let first_key = match options.setup {
        true => prepare(&mut side, options).await?,
        false => 1,
    };
    let connections = warm(options).await?;
    let work = Work::new(options, first_key);
    let started = SystemTime::now();
    let (work, recorder) = run::run(run::Plan::new(options), work, connections, run::feed_from_thread).await;
    let drain = match options.kind {
        Kind::Queued if options.setup => Some(drain(options).await?),
        _ => None,
    };
    let verified = match options.verify {
        true => Some(verify(&mut side, &work, options).await?),
        false => None,
    };
    let acknowledged = work.acknowledged().iter().map(|(first, last)| last - first + 1).sum();
    Ok(Outcome {
        recorder,
        started,
        acknowledged,
        drain,
        verified,
    })
}

/// Opens all connections before the clock starts.
async fn warm(options: &Options) -> Result<Vec<Connection>, Error> {
    let mut connections = Vec::with_capacity(options.clients);
    for client in 0..options.clients {
        let mut connection = Connection::new(&options.addresses, client, options.timeout);
        let knocked = tables::knock(&mut connection).await;
        if let (Err(failure), false) = (knocked, options.keep_going) {
            return Err(setup_error(options, failure));
        }
        connections.push(connection);
    }
    Ok(connections)
}

/// Waits until the queues of all nodes are empty.
async fn drain(options: &Options) -> Result<Duration, Error> {
    let start = Instant::now();
    for node in 0..options.addresses.len() {
        let mut connection = Connection::new(&options.addresses, node, SIDE_TIMEOUT);
        tables::drain_queue(&mut connection).await.map_err(Error::Verify)?;
    }
    Ok(start.elapsed())
}

/// Makes the tables; again and again if the run is to keep going, since this node may be down or without a leader.
async fn prepare(side: &mut Connection, options: &Options) -> Result<u64, Error> {
    let deadline = Deadline::new(options);
    loop {
        match tables::prepare(side, options).await {
            Ok(first_key) => return Ok(first_key),
            Err(failure) if deadline.is_over() => return Err(setup_error(options, failure)),
            Err(_) => tokio::time::sleep(PATIENCE_PAUSE).await,
        }
    }
}

/// Counts, with the same patience.
async fn verify(side: &mut Connection, work: &Work, options: &Options) -> Result<tables::Verified, Error> {
    let deadline = Deadline::new(options);
    loop {
        match tables::verify(side, work).await {
            Ok(verified) => return Ok(verified),
            Err(failure) if deadline.is_over() => return Err(Error::Verify(failure)),
            Err(_) => tokio::time::sleep(PATIENCE_PAUSE).await,
        }
    }
}

/// Until when preparing and counting are tried again: not at all, unless the run is to keep going.
struct Deadline(Instant);

impl Deadline {
    fn new(options: &Options) -> Deadline {
        let patience = if options.keep_going { PATIENCE } else { Duration::ZERO };
        Deadline(Instant::now() + patience)
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.0
    }
}

fn setup_error(options: &Options, failure: Failure) -> Error {
    Error::Setup {
        address: options.addresses.join(","),
        failure,
    }
}

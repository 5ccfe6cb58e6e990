//! The flags of `quorlite bench`: the table, and what a command line asks for.

use std::time::Duration;

use super::work::{KINDS, Kind};
use crate::arguments::{Arguments, Flag, help};
use crate::error::Error;

#[cfg(test)]
mod tests;

const DURATION: Duration = Duration::from_secs(5);
const WARMUP: Duration = Duration::from_millis(500);
/// Long enough for a stalled server to show as a long latency and not as an error.
const TIMEOUT: Duration = Duration::from_secs(30);
/// In a failover a request that hangs on a dead node must not hide that another one already answers.
const TRACE_TIMEOUT: Duration = Duration::from_millis(500);

const fn flag(long: &'static str, short: Option<char>, value: Option<&'static str>, help: &'static str) -> Flag {
    Flag {
        long,
        short,
        value,
        help,
    }
}

/// All flags.
pub static FLAGS: &[Flag] = &[
    flag(
        "addresses",
        Some('a'),
        Some("HOST:PORT,…"),
        "nodes; clients are spread over them (127.0.0.1:4001)",
    ),
    flag(
        "clients",
        Some('c'),
        Some("N"),
        "connections, each with one request at a time (1)",
    ),
    flag("duration", Some('d'), Some("D"), "measure for this long (5s)"),
    flag("requests", Some('n'), Some("N"), "measure this many requests instead"),
    flag(
        "rate",
        Some('r'),
        Some("N"),
        "open loop: N requests per second, whatever the server does",
    ),
    flag(
        "warmup",
        Some('w'),
        Some("D"),
        "load before measuring (500ms; none with -n)",
    ),
    flag(
        "level",
        Some('l'),
        Some("LEVEL"),
        "none, weak, linearizable, strong or auto (weak)",
    ),
    flag("batch", Some('b'), Some("N"), "rows per request of bulk (1000)"),
    flag("rows", None, Some("N"), "rows of the table that big reads (10000)"),
    flag(
        "keys",
        Some('k'),
        Some("N"),
        "rows of the table that read reads (10000)",
    ),
    flag("reads", None, Some("PERCENT"), "share of reads in mixed (90)"),
    flag("seed", None, Some("N"), "picks the keys that are read (1)"),
    flag(
        "timeout",
        Some('t'),
        Some("D"),
        "give up a request after (30s; 500ms with --failover-trace)",
    ),
    flag(
        "verify",
        None,
        None,
        "afterwards count the acknowledged rows in the database",
    ),
    flag(
        "keep-going",
        None,
        None,
        "count failures and go on, at the next node if this one is to blame",
    ),
    flag(
        "failover-trace",
        None,
        None,
        "report the longest time without an acknowledgement; implies --keep-going",
    ),
    flag("timeline", None, None, "report each 100 ms window"),
    flag(
        "no-setup",
        None,
        None,
        "neither make nor fill tables: they are there (or the server is a floor)",
    ),
    flag("json", Some('j'), None, "report as JSON"),
    flag("help", Some('h'), None, "this text"),
];

/// How fresh a read must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// From the node's own database, as it is.
    None,
    /// From a node that believes that it leads.
    Weak,
    /// After every write acknowledged before it began.
    Linearizable,
    /// Through the log.
    Strong,
    /// The node's choice.
    Auto,
}

impl Level {
    /// Path of a query at this level.
    pub fn query_path(self) -> &'static str {
        match self {
            Level::None => "/db/query?level=none",
            Level::Weak => "/db/query?level=weak",
            Level::Linearizable => "/db/query?level=linearizable",
            Level::Strong => "/db/query?level=strong",
            Level::Auto => "/db/query?level=auto",
        }
    }

    /// The level as the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Weak => "weak",
            Level::Linearizable => "linearizable",
            Level::Strong => "strong",
            Level::Auto => "auto",
        }
    }

    fn parse(text: &str) -> Result<Level, Error> {
        let all = [
            Level::None,
            Level::Weak,
            Level::Linearizable,
            Level::Strong,
            Level::Auto,
        ];
        let unknown = || {
            Error::Usage(format!(
                "--level: {text:?} is not none, weak, linearizable, strong or auto"
            ))
        };
        all.into_iter().find(|level| level.name() == text).ok_or_else(unknown)
    }
}

/// When a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// After this long.
    For(Duration),
    /// After so many requests.
    Requests(u64),
}

/// What a command line asks for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The work's name on the command line.
    pub name: &'static str,
    /// The work.
    pub kind: Kind,
    /// `host:port` of each node.
    pub addresses: Vec<String>,
    /// Connections.
    pub clients: usize,
    /// How much is measured.
    pub extent: Extent,
    /// Requests per second of an open loop.
    pub rate: Option<f64>,
    /// Load before measuring.
    pub warmup: Duration,
    /// Level of reads.
    pub level: Level,
    /// Rows per bulk request.
    pub batch: u64,
    /// Rows of the big table.
    pub rows: u64,
    /// Rows of the table for point reads.
    pub keys: u64,
    /// Reads among a hundred requests of mixed.
    pub read_percent: u64,
    /// Seed of the keys that are read.
    pub seed: u64,
    /// Longest wait for one answer.
    pub timeout: Duration,
    /// Count the acknowledged rows afterwards.
    pub verify: bool,
    /// Go on after failures.
    pub keep_going: bool,
    /// Report the longest gap.
    pub failover_trace: bool,
    /// Report windows of 100 ms.
    pub timeline: bool,
    /// Make and fill the tables first.
    pub setup: bool,
    /// Report as JSON.
    pub json: bool,
}

impl Options {
    /// Resolves a command line; `None` if it asks for help.
    ///
    /// # Errors
    ///
    /// [`Error::Usage`] if it does not say what to do, or something impossible.
    pub fn parse(line: &[String]) -> Result<Option<Options>, Error> {
        let arguments = Arguments::parse(FLAGS, line)?;
        if arguments.is_set("help") {
            return Ok(None);
        }
        let options = resolve(&arguments)?;
        options.validate()?;
        Ok(Some(options))
    }

    fn validate(&self) -> Result<(), Error> {
        let refuse = |wrong: bool, text: &str| {
            if wrong {
                Err(Error::Usage(text.to_owned()))
            } else {
                Ok(())
            }
        };
        refuse(self.clients == 0, "--clients: at least one")?;
        refuse(self.extent == Extent::Requests(0), "--requests: at least one")?;
        refuse(self.batch == 0, "--batch: at least one row")?;
        refuse(self.rows == 0 || self.keys == 0, "--rows and --keys: at least one row")?;
        refuse(self.read_percent > 100, "--reads: a share of a hundred")?;
        refuse(
            self.addresses.iter().any(|address| !address.contains(':')),
            "--addresses: host:port, comma-separated",
        )?;
        refuse(
            self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0),
            "--rate: above zero",
        )?;
        refuse(self.verify && !self.kind.writes(), "--verify: this work writes nothing")?;
        refuse(
            self.verify && !self.setup,
            "--verify: --no-setup leaves no table to count",
        )?;
        refuse(
            self.failover_trace && !self.kind.writes(),
            "--failover-trace: this work writes nothing",
        )
    }
}

fn resolve(arguments: &Arguments) -> Result<Options, Error> {
    let (name, kind) = work(&arguments.words)?;
    let requests = arguments.number("requests")?;
    let duration = arguments.duration("duration")?;
    if requests.is_some() && duration.is_some() {
        return Err(Error::Usage("--duration and --requests exclude each other".to_owned()));
    }
    let extent = requests.map_or(Extent::For(duration.unwrap_or(DURATION)), Extent::Requests);
    let failover_trace = arguments.is_set("failover-trace");
    Ok(Options {
        name,
        kind,
        addresses: arguments
            .text("addresses")
            .unwrap_or("127.0.0.1:4001")
            .split(',')
            .map(str::to_owned)
            .collect(),
        clients: arguments.number("clients")?.unwrap_or(1),
        extent,
        rate: arguments.number("rate")?,
        warmup: arguments
            .duration("warmup")?
            .unwrap_or(if requests.is_some() { Duration::ZERO } else { WARMUP }),
        level: Level::parse(arguments.text("level").unwrap_or("weak"))?,
        batch: arguments.number("batch")?.unwrap_or(1000),
        rows: arguments.number("rows")?.unwrap_or(10_000),
        keys: arguments.number("keys")?.unwrap_or(10_000),
        read_percent: arguments.number("reads")?.unwrap_or(90),
        seed: arguments.number("seed")?.unwrap_or(1),
        timeout: arguments
            .duration("timeout")?
            .unwrap_or(if failover_trace { TRACE_TIMEOUT } else { TIMEOUT }),
        verify: arguments.is_set("verify"),
        keep_going: arguments.is_set("keep-going") || failover_trace,
        failover_trace,
        timeline: arguments.is_set("timeline"),
        setup: !arguments.is_set("no-setup"),
        json: arguments.is_set("json"),
    })
}

fn work(words: &[String]) -> Result<(&'static str, Kind), Error> {
    let [word] = words else {
        return Err(Error::Usage(format!("name one work: {}", names())));
    };
    let found = KINDS.iter().find(|(name, ..)| name == word);
    let (name, kind, _) =
        found.ok_or_else(|| Error::Usage(format!("unknown work {word:?}: not one of {}", names())))?;
    Ok((name, *kind))
}

fn names() -> String {
    KINDS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

/// What `--help` prints.
pub fn usage() -> String {
    let works: String = KINDS
        .iter()
        .map(|(name, _, text)| format!("  {name:8} {text}\n"))
        .collect();
    format!(
        "usage: quorlite bench WORK [flags]\n\nworks:\n{works}\nflags:\n{}\n\
         Exit code: 0 if all went well; 1 after a failure (without --keep-going), a wrong answer or a row that is\n\
         missing; 2 for a command line that makes no sense.\n",
        help(FLAGS)
    )
}

//! The flags of the runner.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

#[cfg(test)]
mod tests;

/// What `--help` prints.
pub const USAGE: &str = "\
usage: quorlite-bench [flags]

  --quorlite PATH    the load generator (quorlite, next to this program)
  --quorlited PATH   the server to measure; without it only the floors are
  --consensus PATH   the example `writes` of the store: adds consensus alone, on a log in memory
  --server-flag FLAG passed on to the server; may be repeated
  --rounds N         rounds, each on fresh directories; the table shows medians (3)
  --seconds N        how long each row is measured in a round (2)
  --only TEXT        rows whose name contains TEXT
  --dir DIR          where the databases lie (the system's directory for temporary files)
  --json FILE        also write everything as JSON
  --help             this text

The table goes to standard output as Markdown, progress to standard error.
";

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The load generator.
    pub quorlite: PathBuf,
    /// The server to measure.
    pub quorlited: Option<PathBuf>,
    /// The store's example that measures consensus alone.
    pub consensus: Option<PathBuf>,
    /// Passed on to the server.
    pub server_flags: Vec<String>,
    /// Rounds.
    pub rounds: u32,
    /// Measured time of a row in a round.
    pub time: Duration,
    /// Part of the names of the rows that are wanted.
    pub only: Option<String>,
    /// Where the databases lie.
    pub dir: PathBuf,
    /// Where to write JSON.
    pub json: Option<PathBuf>,
}

impl Options {
    /// Reads the flags.
    ///
    /// # Errors
    ///
    /// If one is unknown, lacks its value or has an impossible one.
    pub fn parse(words: &[&str]) -> anyhow::Result<Options> {
        let mut options = Options {
            quorlite: std::env::current_exe()?.with_file_name("quorlite"),
            quorlited: None,
            consensus: None,
            server_flags: Vec::new(),
            rounds: 3,
            time: Duration::from_secs(2),
            only: None,
            dir: std::env::temp_dir(),
            json: None,
        };
        let mut words = words.iter().copied();
        while let Some(flag) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("{flag} needs a value; see --help"))?;
            match flag {
                "--quorlite" => options.quorlite = value.into(),
                "--quorlited" => options.quorlited = Some(value.into()),
                "--consensus" => options.consensus = Some(value.into()),
                "--server-flag" => options.server_flags.push(value.to_owned()),
                "--rounds" => options.rounds = value.parse().with_context(|| format!("--rounds {value}"))?,
                "--seconds" => {
                    let seconds = value.parse().with_context(|| format!("--seconds {value}"))?;
                    options.time =
                        Duration::try_from_secs_f64(seconds).with_context(|| format!("--seconds {value}"))?;
                }
                "--only" => options.only = Some(value.to_owned()),
                "--dir" => options.dir = value.into(),
                "--json" => options.json = Some(value.into()),
                _ => bail!("unknown flag {flag}; see --help"),
            }
        }
        ensure!(options.rounds > 0, "--rounds: at least one");
        ensure!(options.time >= Duration::from_millis(100), "--seconds: at least 0.1");
        Ok(options)
    }

    /// Whether a row is wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_deref().is_none_or(|part| name.contains(part))
    }
}

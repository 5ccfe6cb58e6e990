//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

/// How it is called.
pub const USAGE: &str = "usage: quorlite-siege [--nodes 3] [--rounds 100] [--seconds 10] [--seed N] [--bin PATH]
                      [--lie GLOB | --weaken reads|batches|keys]
  --bin      the server; target/release/quorlited otherwise
  --seed     of the first round; the next has the next
  --lie      flushes of the files that match (below a node's disk) are answered and not done
  --weaken   clients ask for less than what is judged: level none, requests that are not atomic, no keys
With --lie and --weaken the siege passes when its checkers find a violation.
Run it at the top of the checkout: it builds scripts/powerloss.";

/// What clients ask for less of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// Linearizable reads are sent at level none.
    Reads,
    /// Transactions are sent a statement at a time.
    Batches,
    /// A write is sent again without its key.
    Keys,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub struct Arguments {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Rounds.
    pub rounds: u64,
    /// Seconds of faults in a round.
    pub seconds: u64,
    /// The first round's seed.
    pub seed: Option<u64>,
    /// The server.
    pub bin: PathBuf,
    /// Files whose flushes lie.
    pub lie: Option<String>,
    /// What clients ask for less of.
    pub weakness: Option<Weakness>,
}

impl Arguments {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    ///
    /// When they make no sense; the text holds the usage.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut arguments = Arguments {
            nodes: 3,
            rounds: 100,
            seconds: 10,
            seed: None,
            bin: PathBuf::from("target/release/quorlited"),
            lie: None,
            weakness: None,
        };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
            let number = |text: String| {
                text.parse()
                    .with_context(|| format!("{word} takes a number, not {text}"))
            };
            match word.as_str() {
                "--nodes" => arguments.nodes = usize::try_from(number(value()?)?)?,
                "--rounds" => arguments.rounds = number(value()?)?,
                "--seconds" => arguments.seconds = number(value()?)?,
                "--seed" => arguments.seed = Some(number(value()?)?),
                "--bin" => arguments.bin = value()?.into(),
                "--lie" => arguments.lie = Some(value()?),
                "--weaken" => arguments.weakness = Some(weakness(&value()?)?),
                _ => bail!("{word}?\n{USAGE}"),
            }
        }
        if !(3..=7).contains(&arguments.nodes) || arguments.rounds == 0 || arguments.seconds == 0 {
            bail!("3 to 7 nodes, and at least a round of a second\n{USAGE}");
        }
        Ok(arguments)
    }

    /// A violation is what this run is for.
    pub fn is_sabotage(&self) -> bool {
        self.lie.is_some() || self.weakness.is_some()
    }
}

fn weakness(text: &str) -> Result<Weakness> {
    Ok(match text {
        "reads" => Weakness::Reads,
        "batches" => Weakness::Batches,
        "keys" => Weakness::Keys,
        _ => bail!("--weaken {text}?\n{USAGE}"),
    })
}

#[cfg(test)]
mod tests;

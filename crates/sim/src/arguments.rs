//! The command line.

use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

use mutation::Mutation;

/// What is printed for a command line that is not understood.
pub const USAGE: &str = "usage: quorlite-sim --seed N [--trace] [--log error|warn|info|debug|trace] [--mutate NAME]
                    [--oracle] [--scratch FOLDER]
       quorlite-sim --seeds A..B [--oracle] [--jobs N] [--mutate NAME] [--first] [--twice]";

/// What is asked for.
#[derive(Debug, Default)]
pub struct Arguments {
    /// One seed.
    pub seed: Option<u64>,
    /// Several.
    pub seeds: Option<Range<u64>>,
    /// How many at a time.
    pub jobs: Option<usize>,
    /// Print the history as it happens.
    pub is_loud: bool,
    /// Print the nodes' own log.
    pub log: Option<tracing::Level>,
    /// Run each seed twice and compare the traces.
    pub is_twice: bool,
    /// Random statements, compared with plain SQLite.
    pub is_oracle: bool,
    /// End with the first seed that fails.
    pub is_first: bool,
    /// A guard to take away.
    pub mutation: Option<Mutation>,
    /// The folder for files, which is there and empty; whoever gives it removes it.
    pub scratch: Option<PathBuf>,
}

impl Arguments {
    /// Reads the words after the program's name.
    ///
    /// # Errors
    ///
    /// For a word that is not known, or a value that is not of its kind.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments> {
        let mut arguments = Arguments::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seed" => arguments.seed = Some(number(&value()?)?),
                "--seeds" => {
                    let value = value()?;
                    let (from, to) = value.split_once("..").context("--seeds is given as A..B")?;
                    arguments.seeds = Some(number(from)?..number(to)?);
                }
                "--jobs" => arguments.jobs = Some(number(&value()?)?),
                "--twice" => arguments.is_twice = true,
                "--oracle" => arguments.is_oracle = true,
                "--first" => arguments.is_first = true,
                "--trace" => arguments.is_loud = true,
                "--log" => arguments.log = Some(number(&value()?)?),
                "--mutate" => {
                    let name = value()?;
                    let known: Vec<&str> = mutation::NAMES.iter().map(|(name, _)| *name).collect();
                    let mutation = Mutation::named(&name);
                    arguments.mutation =
                        Some(mutation.with_context(|| format!("no mutation {name}; there are {known:?}"))?);
                }
                "--scratch" => arguments.scratch = Some(PathBuf::from(value()?)),
                _ => bail!("{word} is not known"),
            }
        }
        Ok(arguments)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().with_context(|| format!("{text:?} is no value for this"))
}

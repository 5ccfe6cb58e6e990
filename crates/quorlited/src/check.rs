//! `quorlited check DIR`: the files of a stopped node, looked at and told about.
//!
//! Owns the words of this subcommand, what it prints and its exit code. What is looked at is `store::check`'s, and the
//! promise file `cluster`'s.
//!
//! `check` alone is still a data directory of that name, as a server's only word.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use store::check::{Finding, Listener, Part, Verdict};

use crate::cluster::{self, founding::file};

#[cfg(test)]
mod tests;

const USAGE: &str = "Usage: quorlited check [--json] <data directory>

Looks at the files of a node that does not run, and changes nothing: identity, log, database, and whether they agree.
Prints a line for each thing that it looked at. Exit code 0: the node can start on them, 1: something is damaged,
2: it could not be checked, since the node runs, say.

  --json
    \tprint one JSON document instead of lines
";

const RESTORE_PROMISE: &str =
    "restore the file from a copy of it, or move the data directory away and let the node join anew";

/// Something is damaged.
const DAMAGED: u8 = 1;

/// It could not be checked.
const UNCHECKED: u8 = 2;

/// How long a check is silent before it says that it goes on, and then between two such words.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// What the words after `check` ask for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// The usage.
    Help,
    /// A check.
    Check {
        /// Of this data directory.
        dir: String,
        /// Told as JSON.
        is_json: bool,
    },
    /// Something that there is not: a line for the user.
    Misuse(String),
}

/// Reads a command line; `None` when it is a server's.
pub fn asked(words: &[String]) -> Option<Asked> {
    let (first, rest) = words.split_first()?;
    if first != "check" || rest.is_empty() {
        return None;
    }
    let (mut dir, mut is_json) = (None, false);
    for word in rest {
        match word.as_str() {
            "-h" | "-help" | "--help" => return Some(Asked::Help),
            "-json" | "--json" => is_json = true,
            flag if flag.starts_with('-') => return Some(Asked::Misuse(format!("check does not know {flag}"))),
            _ if dir.is_some() => return Some(Asked::Misuse("check takes one data directory".to_owned())),
            _ => dir = Some(word.clone()),
        }
    }
    Some(match dir {
        Some(dir) => Asked::Check { dir, is_json },
        None => Asked::Misuse("check needs a data directory".to_owned()),
    })
}

/// Does what was asked, tells it on standard output, and answers the exit code.
pub fn run(asked: Asked) -> ExitCode {
    match asked {
        Asked::Help => {
            // When nobody listens, the exit code is all that is left to say.
            let _ = write!(io::stderr(), "{USAGE}");
            ExitCode::SUCCESS
        }
        Asked::Misuse(line) => {
            let _ = write!(io::stderr(), "{line}\n{USAGE}");
            ExitCode::from(UNCHECKED)
        }
        Asked::Check { dir, is_json } => check(Path::new(&dir), is_json),
    }
}

fn check(dir: &Path, is_json: bool) -> ExitCode {
    let teller = Arc::new(Teller::new(is_json));
    let listener: Arc<dyn Listener> = Arc::<Teller>::clone(&teller);
    let checked = store::check::check(dir, listener).map_err(|error| chain(&error));
    let checked = checked.and_then(|()| promise(dir, &teller));
    let damaged = teller
        .findings()
        .iter()
        .filter(|finding| finding.verdict == Verdict::Damaged)
        .count();
    let code = match (&checked, damaged) {
        (Err(_), _) => UNCHECKED,
        (Ok(()), 0) => 0,
        (Ok(()), _) => DAMAGED,
    };
    let end = match &checked {
        Err(why) => format!("cannot check {}: {why}", dir.display()),
        Ok(()) if damaged == 0 => format!("{} is sound", dir.display()),
        Ok(()) => format!("{} is damaged in {damaged} places; nothing was changed", dir.display()),
    };
    let mut out = io::stdout().lock();
    let _ = if is_json {
        writeln!(out, "{:#}", document(dir, &teller.findings(), checked.err(), code))
    } else if code == UNCHECKED {
        writeln!(io::stderr(), "{end}")
    } else {
        writeln!(out, "{end}")
    };
    ExitCode::from(code)
}

/// Looks at the promise file.
fn promise(dir: &Path, teller: &Teller) -> Result<(), String> {
    let path = file::path(dir);
    let finding = match file::read(&path) {
        Ok(_) if !path.exists() => Finding::new(Part::Promise, Verdict::Sound, "none, and none is needed"),
        Ok(record) => {
            let text = match &record.promise {
                Some(attempt) => format!(
                    "promised to attempt {} of node {:016x}",
                    attempt.round, attempt.coordinator
                ),
                None => "nothing is promised".to_owned(),
            };
            Finding::new(Part::Promise, Verdict::Sound, text).of(&path)
        }
        Err(cluster::Error::Damaged { path, what }) => Finding {
            remedy: Some(RESTORE_PROMISE.to_owned()),
            ..Finding::new(Part::Promise, Verdict::Damaged, what).of(&path)
        },
        Err(error) => return Err(chain(&error)),
    };
    teller.found(finding);
    Ok(())
}

/// Everything that was found, for machines. Members are added, never renamed.
fn document(dir: &Path, findings: &[Finding], error: Option<String>, code: u8) -> Value {
    let findings: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "part": finding.part.name(),
                "verdict": word(finding.verdict),
                "text": finding.text,
                "file": finding.file,
                "offset": finding.offset,
                "remedy": finding.remedy,
            })
        })
        .collect();
    json!({
        "directory": dir.display().to_string(),
        "sound": code == 0,
        "error": error,
        "findings": findings,
    })
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Sound => "ok",
        Verdict::Remark => "note",
        Verdict::Damaged => "DAMAGED",
    }
}

/// One finding as a line, and its remedy as another.
fn line(finding: &Finding) -> String {
    let mut line = format!("{:<8} {:<10} ", word(finding.verdict), finding.part.name());
    match (&finding.file, finding.offset) {
        (Some(file), Some(offset)) => line += &format!("{file} at offset {offset}: "),
        (Some(file), None) => line += &format!("{file}: "),
        (None, _) => {}
    }
    line += &finding.text;
    if let Some(remedy) = &finding.remedy {
        line += &format!("\n{:>19} {remedy}", "remedy:");
    }
    line
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// Prints what is found, as it comes, or keeps it for the document.
struct Teller {
    is_json: bool,
    told: Mutex<Told>,
}

struct Told {
    findings: Vec<Finding>,
    /// When anything was last said.
    at: Instant,
    began: Instant,
}

impl Teller {
    fn new(is_json: bool) -> Self {
        let now = Instant::now();
        let told = Mutex::new(Told {
            findings: Vec::new(),
            at: now,
            began: now,
        });
        Self { is_json, told }
    }

    fn findings(&self) -> Vec<Finding> {
        self.told().findings.clone()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Teller {
    fn found(&self, finding: Finding) {
        if !self.is_json {
            let _ = writeln!(io::stdout(), "{}", line(&finding));
        }
        let mut told = self.told();
        told.findings.push(finding);
        told.at = Instant::now();
    }

    fn goes_on(&self, what: &str) {
        let mut told = self.told();
        if told.at.elapsed() >= SILENCE_MAX {
            told.at = Instant::now();
            let _ = writeln!(
                io::stderr(),
                "         {what}, {} s so far",
                told.began.elapsed().as_secs()
            );
        }
    }
}

//! The apply core, against itself: the same entries under other batches, restarts and failures.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use command::entry::{Action, Command};
use command::reply::{OutcomeKind, Reply};
use command::request::{Key, KeyOrigin, Kind, Write};
use command::statement::Statement;
use sqlite::{Cancel, Content, Home, Options, PinBounds};

use super::{Applier, Body, Entry, Position};

mod differential;
mod entries;
mod failures;
mod history;
mod keys;
mod loads;

/// An apply core on a folder of its own.
struct Fixture {
    applier: Option<Applier>,
    home: Home,
    options: Options,
    /// Kept for its drop; `None` when the folder is somebody else's.
    _dir: Option<tempfile::TempDir>,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut it = Self::at(dir.path(), options);
        it._dir = Some(dir);
        it
    }

    fn at(folder: &Path, options: Options) -> Self {
        let home = Home::open(folder).unwrap();
        let applier = Applier::open(&home.current().database(), &options).unwrap();
        Self {
            applier: Some(applier),
            home,
            options,
            _dir: None,
        }
    }

    fn applier(&mut self) -> &mut Applier {
        self.applier.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.applier = None;
        self.applier = Some(Applier::open(&self.home.current().database(), &self.options).unwrap());
    }

    fn next_index(&self) -> u64 {
        let applied = self.applier.as_ref().unwrap().applied();
        applied.position.map_or(1, |at| at.index + 1)
    }

    /// Applies one write as a batch of its own.
    fn write(&mut self, write: Write) -> Reply {
        let entry = entry(self.next_index(), write);
        let mut replies = self.applier().apply(&[entry]).unwrap();
        assert_eq!(replies.len(), 1);
        replies.remove(0)
    }

    fn execute(&mut self, sql: &str) -> Reply {
        self.write(execute(&[sql]))
    }

    /// The first cell of a query.
    fn ask(&mut self, sql: &str) -> String {
        let reply = self.write(request(Kind::Request, &[sql]));
        let Some(OutcomeKind::Rows(rows)) = reply.outcomes[0].kind.clone() else {
            panic!("{sql}: {reply:?}");
        };
        let cell = rows.rows.first().and_then(|row| row.cells[0].value.clone());
        cell.map_or("NULL".to_owned(), |value| match value {
            command::statement::Value::Text(text) => text,
            other => format!("{other:?}"),
        })
    }

    fn content(&self) -> u64 {
        let bounds = PinBounds {
            age_max: Duration::from_secs(60),
            cancel: Cancel::new(),
        };
        let content = Content::pin(self.home.current(), &self.options, Arc::new(Instant::now), bounds).unwrap();
        content.hash(&mut |_| ()).unwrap().hash
    }
}

/// What replicas must agree on after the same entries.
#[derive(Debug, PartialEq)]
struct Agreed {
    content: u64,
    /// After each batch, by the index of its last entry.
    effects: BTreeMap<u64, u64>,
    replies: BTreeMap<u64, Reply>,
}

fn entry(index: u64, write: Write) -> Entry {
    action(index, Action::Write(write))
}

fn action(index: u64, action: Action) -> Entry {
    Entry {
        position: Position { term: 1, index },
        body: Body::Command(Arc::new(Command::new(Some(action)))),
    }
}

fn execute(sql: &[&str]) -> Write {
    request(Kind::Execute, sql)
}

fn request(kind: Kind, sql: &[&str]) -> Write {
    Write {
        statements: sql.iter().map(|sql| Statement::new(*sql)).collect(),
        atomic: true,
        kind: kind as i32,
        clock_us: 1_700_000_000_000_000,
        seed: 1,
        steps_max: 0,
        key: None,
    }
}

fn keyed(mut write: Write, origin: KeyOrigin) -> Write {
    write.key = Some(Key { origin: Some(origin) });
    write
}

/// A reply without the times of the node.
fn timeless(mut reply: Reply) -> Reply {
    for outcome in &mut reply.outcomes {
        outcome.elapsed_ns = 0;
    }
    reply
}

fn error_of(reply: &Reply) -> Option<&str> {
    reply.outcomes.iter().find_map(|outcome| match &outcome.kind {
        Some(OutcomeKind::Error(text)) => Some(text.as_str()),
        Some(OutcomeKind::Rows(_) | OutcomeKind::Changes(_)) | None => None,
    })
}

//! A make-believe node.

use super::peer;
use crate::http::ledger::{Ledger, Need, Syntax};
use command::reply::{Outcome, Reply};
use command::request::{Kind, Write};
use command::rows::{CellRef, Columns, End, RowSink};
use command::statement::Statement;
use sqlite::{Cancel, QueryOptions};
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::Error;
use store::member::{Member, NodeId, Peer};
use store::metrics::Metrics;
use store::node::ContentHash;
use store::prepared::Prepared;
use store::read::{Confirmed, ReadRequest};
use store::status::{Role, Soundness, Status};
use store::transport::BoxFuture;
use tokio::sync::Notify;

/// A node that does as it is told. `rows N` answers N rows, `break N` fails after them, `fail` cannot be prepared,
/// `infinity` answers one, `endless` never ends, `wait` waits to be released.
#[derive(Default)]
pub struct Fake {
    state: Mutex<State>,
    cancelled: AtomicBool,
    cancel_seen: Notify,
    waits: Notify,
    released: AtomicBool,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) leader: Option<Peer>,
    elected: Option<Peer>,
    unready: bool,
    soundness: Soundness,
    writes: Vec<Write>,
    replies: VecDeque<Result<Reply, Error>>,
    hand_over: Option<Peer>,
    reads: Vec<ReadRequest>,
    confirm_at: u64,
    confirm_error: Option<Error>,
    transfer_error: Option<Error>,
    removed: Vec<String>,
    snapshots: u64,
}

impl Fake {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn writes(&self) -> Vec<Write> {
        self.state().writes.clone()
    }

    pub fn reads(&self) -> Vec<ReadRequest> {
        self.state().reads.clone()
    }

    pub fn removed(&self) -> Vec<String> {
        self.state().removed.clone()
    }

    pub fn reply(&self, index: u64, outcomes: Vec<Outcome>) {
        self.state().replies.push_back(Ok(Reply {
            outcomes,
            error: None,
            index,
        }));
    }

    pub fn fail_reply(&self, message: &str, code: &str) {
        self.state().replies.push_back(Ok(Reply::failed(message, code)));
    }

    pub fn fail_write(&self, error: Error) {
        self.state().replies.push_back(Err(error));
    }

    /// An election runs, which `leader` wins as soon as somebody waits for it.
    pub fn elect(&self, leader: Peer) {
        self.state().elected = Some(leader);
    }

    pub fn hand_over_on_write(&self, to: Peer) {
        self.state().hand_over = Some(to);
    }

    pub fn confirm_at(&self, index: u64) {
        self.state().confirm_at = index;
    }

    pub fn fail_confirm(&self, error: Error) {
        self.state().confirm_error = Some(error);
    }

    pub fn fail_transfer(&self, error: Error) {
        self.state().transfer_error = Some(error);
    }

    pub fn quarantined(&self, reason: &str) {
        self.state().soundness.quarantine = Some(reason.to_owned());
    }

    pub fn unready(&self) {
        self.state().unready = true;
    }

    pub async fn until_cancelled(&self) {
        while !self.cancelled.load(Ordering::Acquire) {
            self.cancel_seen.notified().await;
        }
    }

    /// Until a `wait` has begun.
    pub async fn until_waiting(&self) {
        self.waits.notified().await;
    }

    pub fn release(&self) {
        self.released.store(true, Ordering::Release);
    }

    pub fn leads(&self, leader: Peer) {
        self.state().leader = Some(leader);
    }

    fn wait(&self) {
        self.waits.notify_one();
        while !self.released.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    fn endless(&self, cancel: &Cancel) -> Result<(), sqlite::Error> {
        while !cancel.is_cancelled() {
            std::thread::yield_now();
        }
        self.cancelled.store(true, Ordering::Release);
        self.cancel_seen.notify_one();
        Err(sqlite::Error::Interrupted)
    }
}

fn rows(sink: &mut dyn RowSink, count: i64, end: End) -> ControlFlow<()> {
    sink.columns(&Columns {
        names: vec!["n".to_owned()],
        types: vec![String::new()],
        tables: Vec::new(),
    })?;
    for n in 0..count {
        sink.row(&[CellRef::Integer(n)])?;
    }
    sink.end(end, Duration::from_micros(5))
}

fn infinity(sink: &mut dyn RowSink) -> ControlFlow<()> {
    sink.columns(&Columns {
        names: vec!["9e999".to_owned()],
        ..Columns::default()
    })?;
    sink.row(&[CellRef::Real(f64::INFINITY)])?;
    sink.end(End::Complete, Duration::ZERO)
}

impl Ledger for Fake {
    fn peer(&self) -> Peer {
        peer(1, "here")
    }

    fn leader(&self) -> Option<Peer> {
        self.state().leader.clone()
    }

    fn expects_leader(&self) -> bool {
        let mut state = self.state();
        let elected = state.elected.take();
        let expects = elected.is_some();
        state.leader = elected.or_else(|| state.leader.take());
        expects
    }

    fn status(&self) -> Status {
        let state = self.state();
        let leads = state.leader.as_ref().is_some_and(|leader| leader.id == NodeId(1));
        let member = |id, name, voter| Member {
            peer: peer(id, name),
            voter,
            catching_up: false,
        };
        Status {
            peer: peer(1, "here"),
            leader: state.leader.clone(),
            role: if leads { Role::Leader } else { Role::Follower },
            voter: true,
            ready: !state.unready,
            term: 2,
            last_log: (10, 2),
            flushed: 10,
            committed: 9,
            applied: (8, 2),
            snapshot: (4, 1),
            purged: 3,
            members: vec![
                member(1, "here", true),
                member(2, "there", true),
                member(3, "replica", false),
            ],
            membership_index: 1,
            joint: false,
            last_contact: None,
            database: PathBuf::from("/nowhere/db.sqlite"),
            log_bytes: 0,
            log_flushes: 0,
            applying: None,
            matched: vec![("there".to_owned(), 7)],
            snapshots: 0,
            restores: 0,
            soundness: state.soundness.clone(),
        }
    }

    fn stamp(&self, statements: Vec<Statement>, kind: Kind, atomic: bool) -> Write {
        Write {
            statements,
            atomic,
            kind: kind.into(),
            clock_us: 1,
            seed: 1,
            steps_max: 0,
            key: None,
        }
    }

    fn write(&self, write: Write, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let mut state = self.state();
        state.writes.push(write);
        let answer = match state.hand_over.take() {
            Some(leader) => {
                state.leader = Some(leader);
                Err(Error::Transferring)
            }
            None => state.replies.pop_front().unwrap_or_else(|| Ok(Reply::default())),
        };
        Box::pin(std::future::ready(answer))
    }

    fn write_prepared<'a>(&'a self, prepared: &'a Prepared, timeout: Duration) -> BoxFuture<'a, Result<Reply, Error>> {
        self.write(prepared.clone().into_write(), timeout)
    }

    fn confirm(&self, read: ReadRequest) -> BoxFuture<'_, Result<Confirmed, Error>> {
        let mut state = self.state();
        state.reads.push(read);
        let answer = match state.confirm_error.take() {
            Some(error) => Err(error),
            None => Ok(Confirmed {
                index: state.confirm_at,
            }),
        };
        Box::pin(std::future::ready(answer))
    }

    fn query(
        &self,
        statements: &[Statement],
        _options: &QueryOptions,
        sink: &mut dyn RowSink,
        cancel: &Cancel,
    ) -> Result<(), sqlite::Error> {
        for statement in statements.iter().filter(|statement| !statement.sql.is_empty()) {
            let (verb, count) = statement.sql.split_once(' ').unwrap_or((&statement.sql, "0"));
            let count = count.parse().unwrap_or(0);
            let flow = match verb {
                "rows" => rows(sink, count, End::Complete),
                "break" => rows(sink, count, End::Failed("broke off".to_owned())),
                "fail" => sink.end(End::Failed("no such table: fail".to_owned()), Duration::ZERO),
                "infinity" => infinity(sink),
                "endless" => return self.endless(cancel),
                "wait" => {
                    self.wait();
                    rows(sink, 1, End::Complete)
                }
                _ => rows(sink, 0, End::Complete),
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    fn need(&self, statements: &[Statement]) -> Result<Need, sqlite::Error> {
        let is_read = |statement: &Statement| statement.sql != "unprepared";
        Ok(if statements.iter().all(is_read) {
            Need::Readers
        } else {
            Need::Log
        })
    }

    fn syntax(&self, statements: &[Statement]) -> Result<Vec<Syntax>, sqlite::Error> {
        let syntax = |statement: &Statement| match statement.sql.as_str() {
            "" => Syntax::Nothing,
            "SLECT 1" => Syntax::Wrong("near \"SLECT\": syntax error".to_owned()),
            _ => Syntax::Sound,
        };
        Ok(statements.iter().map(syntax).collect())
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::default()
    }

    fn readers_open(&self) -> (usize, usize) {
        (2, 256)
    }

    fn content_hash(&self) -> BoxFuture<'_, Result<ContentHash, Error>> {
        Box::pin(std::future::ready(Ok(ContentHash { index: 5, hash: 255 })))
    }

    fn remove<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), Error>> {
        self.state().removed.push(name.to_owned());
        Box::pin(std::future::ready(Ok(())))
    }

    fn transfer<'a>(&'a self, _target: Option<&'a str>, _timeout: Duration) -> BoxFuture<'a, Result<(), Error>> {
        let answer = self.state().transfer_error.take().map_or(Ok(()), Err);
        Box::pin(std::future::ready(answer))
    }

    fn snapshot(&self, trailing: Option<u64>) -> BoxFuture<'_, Result<bool, Error>> {
        let mut state = self.state();
        state.snapshots += 1;
        let is_new = state.snapshots == 1 && trailing == Some(5);
        Box::pin(std::future::ready(Ok(is_new)))
    }

    fn skip(&self, index: u64, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let what = "has been applied already";
        let answer = if index <= 8 {
            Err(Error::Unskippable { index, what })
        } else {
            Ok(Reply {
                index: 11,
                ..Reply::default()
            })
        };
        Box::pin(std::future::ready(answer))
    }

    fn verify(&self, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let reply = Reply {
            index: 12,
            ..Reply::default()
        };
        Box::pin(std::future::ready(Ok(reply)))
    }
}

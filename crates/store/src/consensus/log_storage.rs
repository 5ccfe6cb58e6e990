//! The log as openraft wants it: entries, votes and the committed index over `log::Log`.
//!
//! Invariants:
//! * A callback or an awaited return comes after the flush that covers it (D1).
//! * `purge` makes SQLite durable through the purged index first (D6): openraft purges by itself at start.
//!
//! Source: openraft's `RaftLogStorage` contract.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use log::{Log, Record};
use openraft::storage::{IOFlushed, LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use sqlite::meta::Position;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::consensus::codec::{self, VoteMessage};
use crate::consensus::kept::Kept;
use crate::consensus::tail::{Tail, skipped_by};
use crate::consensus::types::{Entry, EntryPayload, LogId, Types, Vote, log_id, position};
use crate::executor::Executor;
use crate::member::NodeId;
use crate::metrics::Metrics;
use crate::skips::Skips;
use crate::transport::BoxFuture;

/// Bytes of bodies that one read for a peer gathers: a frame that is worth a system call and never delays the next.
const APPEND_BYTES_MAX: usize = 512 * 1024;

/// Entries that one step of the apply stream decodes.
const STREAM_ENTRIES: u64 = 128;

/// Makes the database durable before the log under it goes (D6).
pub(crate) trait Durable: Send + Sync + 'static {
    /// Returns once the database is durable through `at`; an error keeps the log.
    fn through(&self, at: Position) -> BoxFuture<'_, io::Result<()>>;
}

impl Durable for Executor {
    fn through(&self, at: Position) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(self.make_durable_through(at))
    }
}

/// The log, its decoded tail, and what must be durable before a purge.
#[derive(Clone)]
pub(crate) struct LogStorage {
    log: Log,
    tail: Arc<Tail>,
    database: Arc<dyn Durable>,
    skips: Arc<Skips>,
    /// Entries through here were looked at for what they pass over.
    seen: Arc<AtomicU64>,
    metrics: Arc<Metrics>,
    /// A vote that is flushed only with the next entry.
    #[cfg(feature = "mutations")]
    late: Arc<std::sync::Mutex<Option<Bytes>>>,
}

impl LogStorage {
    /// `applied`: through here the database has everything, and nothing can be passed over.
    pub(crate) fn new(
        log: Log,
        database: Arc<dyn Durable>,
        skips: Arc<Skips>,
        applied: u64,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            skips,
            seen: Arc::new(AtomicU64::new(applied)),
            log,
            tail: Arc::new(Tail::default()),
            database,
            metrics,
            #[cfg(feature = "mutations")]
            late: Arc::default(),
        }
    }

    /// Everything through `through` is committed: tells apply of the entries that it is to pass over, before it gets there,
    /// and while it works on one of them.
    ///
    /// # Errors
    ///
    /// When the log could not be read.
    pub(crate) fn announce_skips(&self, through: u64) -> io::Result<()> {
        let after = self.seen.fetch_max(through, Ordering::AcqRel);
        if after >= through {
            return Ok(());
        }
        if let Some(skips) = self.tail.skips(after, through) {
            skips.into_iter().for_each(|index| self.skips.announce(index));
            return Ok(());
        }
        let purged = self.log.state().purged.map_or(0, |at| at.index);
        let mut next = after.max(purged) + 1;
        while next <= through {
            let part = self.entries(next, through + 1, APPEND_BYTES_MAX)?;
            let Some(last) = part.last() else { break };
            next = last.log_id.index + 1;
            part.iter()
                .filter_map(skipped_by)
                .for_each(|index| self.skips.announce(index));
        }
        Ok(())
    }

    /// The term of the last entry that is flushed; 0 before the first.
    pub(crate) fn flushed_term(&self) -> u64 {
        self.log.state().flushed.map_or(0, |at| at.term)
    }

    /// Entries of `start..end`, about `bytes_max` of them, at least one when the log has it.
    pub(crate) fn entries(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if start >= end {
            return Ok(Vec::new());
        }
        if let Some(entries) = self.tail.read(start, end, bytes_max) {
            return Ok(entries);
        }
        let records = self.log.read(start..end, bytes_max).map_err(io::Error::other)?;
        records
            .into_iter()
            .map(|record| codec::entry(from_log(record.position), record.bytes))
            .collect()
    }
}

impl RaftLogReader<Types> for LogStorage {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.bounds(&range);
        let mut entries = Vec::new();
        let mut next = start;
        while next < end {
            let part = self.entries(next, end, usize::MAX)?;
            let Some(last) = part.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(part);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.log.state().vote.map(|bytes| codec::vote(&bytes)).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.entries(start, end, APPEND_BYTES_MAX)
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = self.bounds(&range);
        let parts = stream::unfold((self.clone(), start), move |(storage, next)| async move {
            if next >= end {
                return None;
            }
            let part = storage.entries(next, end.min(next + STREAM_ENTRIES), APPEND_BYTES_MAX);
            let part = part.and_then(|entries| storage.whole(entries, next));
            let after = match &part {
                Ok(entries) => entries.last().map_or(end, |last| last.log_id.index + 1),
                Err(_) => end,
            };
            Some((part, (storage, after)))
        });
        Box::pin(futures_util::StreamExt::flat_map(parts, |part| match part {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        }))
    }
}

impl RaftLogStorage<Types> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        let last_purged_log_id = state.purged.map(|at| log_id(from_log(at)));
        let last_log_id = state.last.map(|at| log_id(from_log(at))).or(last_purged_log_id);
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::LoseVote) {
            *self.late.lock().map_err(|_| closed())? = Some(codec::vote_bytes(vote));
            return Ok(());
        }
        let (done, flushed) = completion();
        self.log
            .save_vote(codec::vote_bytes(vote), done)
            .map_err(io::Error::other)?;
        wait(flushed).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.log
            .save_committed(committed.as_ref().map(|id| to_log(position(id))));
        committed.map_or(Ok(()), |id| self.announce_skips(id.index))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.log.state().committed.map(|at| log_id(from_log(at))))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        #[cfg(feature = "mutations")]
        if let Some(vote) = self.late.lock().map_err(|_| closed())?.take() {
            self.log.save_vote(vote, Box::new(|_| {})).map_err(io::Error::other)?;
        }
        let records = entries
            .iter()
            .map(|entry| record(position(&entry.log_id), codec::entry_body(entry)))
            .collect();
        let appended = Instant::now();
        for age in entries.iter().filter_map(age) {
            self.metrics.queue.observe(age);
        }
        let index = |entry: Option<&Entry>| entry.map_or(0, |entry| entry.log_id.index);
        let (first, last) = (index(entries.first()), index(entries.last()));
        let metrics = self.metrics.clone();
        let done = Box::new(move |result: Result<(), log::Error>| {
            metrics.flushed(first, last, appended);
            callback.io_completed(result.map_err(io::Error::other));
        });
        self.log.append(records, done).map_err(io::Error::other)?;
        self.tail.push(entries);
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.tail.truncate_after(last.as_ref().map(|id| id.index));
        let (done, flushed) = completion();
        self.log
            .truncate_after(last.as_ref().map(|id| to_log(position(id))), done);
        wait(flushed).await
    }

    async fn purge(&mut self, through: LogId) -> io::Result<()> {
        self.database.through(position(&through)).await?;
        self.tail.purge(&through);
        purge(&self.log, position(&through)).await
    }
}

/// Lets the log start after `through`; durable on return. The database must be durable through there (D6).
///
/// # Errors
///
/// When the log could not be flushed.
pub(crate) async fn purge(log: &Log, through: Position) -> io::Result<()> {
    let (done, flushed) = completion();
    log.purge(to_log(through), done);
    wait(flushed).await
}

/// The term of the vote that the log holds; 0 before the first.
///
/// # Errors
///
/// `InvalidData` when the vote does not decode.
pub(crate) fn voted_term(log: &Log) -> io::Result<u64> {
    let vote = log.state().vote.map(|bytes| codec::vote(&bytes)).transpose()?;
    Ok(vote.map_or(0, |vote| vote.leader_id.term))
}

/// What the log holds, before consensus changes anything.
///
/// # Errors
///
/// `InvalidData` when the vote does not decode.
pub(crate) fn kept(log: &Log) -> io::Result<Kept> {
    let last = log.state().last.map_or(0, |at| at.index);
    Ok(Kept::new(voted_term(log)?, last))
}

/// Spends the vote of `term` on the node itself, without standing: it grants nobody else one in that term. Durable on
/// return.
///
/// # Errors
///
/// When the log could not be flushed.
pub(crate) async fn spend_vote(log: &Log, id: NodeId, term: u64) -> io::Result<()> {
    let vote = VoteMessage {
        term,
        node: id.0,
        committed: false,
    };
    let (done, flushed) = completion();
    log.save_vote(codec::vote_bytes(&vote.into()), done)
        .map_err(io::Error::other)?;
    wait(flushed).await
}

impl LogStorage {
    /// The entries from `next` on, if the log gave what it says that it holds: openraft takes a stream that ends early for
    /// one that was whole.
    fn whole(&self, entries: Vec<Entry>, next: u64) -> io::Result<Vec<Entry>> {
        let last = self.log.state().last.map(|at| at.index);
        if entries.is_empty() && last.is_some_and(|last| last >= next) {
            return Err(io::Error::other(format!(
                "the log does not give entry {next}, which it holds"
            )));
        }
        Ok(entries)
    }

    /// The half-open index range that `range` means.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start + 1,
            Bound::Unbounded => self.log.state().purged.map_or(0, |at| at.index + 1),
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end + 1,
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.log.state().last.map_or(start, |at| at.index + 1),
        };
        (start, end)
    }
}

#[cfg(feature = "mutations")]
fn closed() -> io::Error {
    io::Error::other("the log is closed")
}

/// How long an entry waited for the log, if it was proposed here.
fn age(entry: &Entry) -> Option<Duration> {
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.age(),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    }
}

type Flushed = oneshot::Receiver<Result<(), log::Error>>;

fn completion() -> (log::Done, Flushed) {
    let (tx, rx) = oneshot::channel();
    let done = Box::new(move |result| {
        // The receiver is gone when the task that asked was cancelled; the flush happened all the same.
        let _ = tx.send(result);
    });
    (done, rx)
}

async fn wait(flushed: Flushed) -> io::Result<()> {
    match flushed.await {
        Ok(result) => result.map_err(io::Error::other),
        Err(_) => Err(io::Error::other("the log's flush loop has ended")),
    }
}

fn record(at: sqlite::meta::Position, bytes: Bytes) -> Record {
    Record {
        position: to_log(at),
        bytes,
    }
}

fn to_log(at: Position) -> log::Position {
    log::Position {
        term: at.term,
        index: at.index,
    }
}

fn from_log(at: log::Position) -> Position {
    Position {
        term: at.term,
        index: at.index,
    }
}

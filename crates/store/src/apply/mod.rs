//! The apply core: committed entries become one SQLite transaction and a reply each.
//!
//! Synchronous and single-threaded; who runs it (a thread, or the simulator inline) is its caller's business.
//!
//! ```text
//!  batch ──► begin ──► entry, entry, entry … ──► commit ──► replies
//!                        │ must be undone
//!                        ▼
//!                     rollback ──► each entry in a transaction of its own, carefully
//! ```
//!
//! Invariants:
//! * The applied index, the keys and the data commit together: each entry takes effect once (D2).
//! * Where a batch begins and ends does not show: replies, effect hash and content are those of one entry after the other
//!   (D3).
//! * An [`Error`] is this node's failure: nothing is applied after it. A statement's failure is in its reply (D4).

mod checkpoint;
mod keys;
mod load;
mod mark;
mod skip;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use command::entry::{Action, Command, Settings};
use command::reply::Reply;
use command::request::{Key, Write};
use prost::Message;
use sqlite::{Care, Conclusion, Generation, Options, Resume, Writer};

pub use sqlite::{Error, Position};

pub use load::Generations;

use crate::divergence::marks::{Mark, Marks};
use crate::skips::Skips;
use checkpoint::{Checkpoints, START_FRAMES};
use keys::{Claim, Keys};
use load::{Loads, load_of};
use skip::is_skippable;

const SKIPPED: &str = "this entry was passed over by an operator: it has had no effect";
const SETTINGS_FIXED: &str = "the cluster's settings are fixed: foreign keys and extensions cannot change";

/// A committed entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place in the log.
    pub position: Position,
    /// What it carries.
    pub body: Body,
}

/// What an entry carries.
#[derive(Clone, Debug)]
pub enum Body {
    /// Nothing: a new leader's first entry.
    Blank,
    /// A membership, in consensus' own encoding.
    Membership(Bytes),
    /// A command.
    Command(Arc<Command>),
}

/// What has been applied and committed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// The last entry; `None` before the first.
    pub position: Option<Position>,
    /// The latest membership, in consensus' own encoding.
    pub membership: Option<Bytes>,
    /// Where that membership stands in the log.
    pub membership_at: Option<Position>,
    /// The cluster's settings, once they are fixed.
    pub settings: Option<Settings>,
    /// Rolling hash over the effects of all entries.
    pub effect: u64,
    /// Microseconds since 1970 UTC of the latest entry.
    pub clock_us: i64,
}

/// See the head of this file.
pub struct Applier {
    /// `None` only while [`Self::replace`] exchanges the database, or after it failed.
    open: Option<Open>,
    options: Options,
    /// Entries to pass over that the log names only later.
    skips: Arc<Skips>,
    backfill_beside: bool,
    checkpoint_frames: u32,
    /// `None` while nobody serves loads.
    loads: Option<Loads>,
    /// Where effect hashes are noted, once they are committed, to be compared with other nodes'.
    marks: Arc<Marks>,
    /// One is noted at each multiple of this index.
    mark_entries: u64,
    /// Those of the running transaction.
    marked: Vec<Mark>,
}

/// An open database and what is remembered with it.
struct Open {
    writer: Writer,
    keys: Keys,
    checkpoints: Checkpoints,
}

/// How an entry ended within a transaction.
enum Ended {
    /// It is part of the transaction.
    In(Reply),
    /// The transaction must be undone; this is how to run the entry then.
    Undo(Care, Resume),
}

/// What became of a transaction that should commit; it stands, unless it did.
enum Committed {
    Yes,
    /// A failure that is no node failure.
    Failed(String),
    /// One of its entries is to be passed over.
    Refused,
}

impl Applier {
    /// Opens the database at `path`, and creates it if there is none.
    ///
    /// # Errors
    ///
    /// What [`Writer::open`] reports.
    pub fn open(path: &Path, options: &Options) -> Result<Self, Error> {
        let skips = Arc::<Skips>::default();
        Ok(Self {
            open: Some(Open::new(path, options, START_FRAMES, &skips)?),
            options: options.clone(),
            skips,
            backfill_beside: false,
            checkpoint_frames: START_FRAMES,
            loads: None,
            marks: Arc::default(),
            mark_entries: mark::MARK_ENTRIES,
            marked: Vec::new(),
        })
    }

    /// Begins a checkpoint whenever the WAL has grown to `frames`, from now on.
    pub fn checkpoint_at(&mut self, frames: u32) {
        self.checkpoint_frames = frames;
        self.as_open_mut().checkpoints.start_at(frames);
    }

    /// Backfills the WAL on a thread beside this one from now on, instead of in [`Self::apply`].
    pub fn backfill_beside(&mut self) {
        self.backfill_beside = true;
    }

    /// What has been applied and committed; not necessarily durable.
    ///
    /// # Panics
    ///
    /// After [`Self::replace`] has failed.
    pub fn applied(&self) -> Applied {
        let state = self.as_open().writer.committed();
        Applied {
            position: state.applied,
            membership: (!state.membership.is_empty()).then(|| state.membership.clone()),
            membership_at: state.membership_at,
            settings: stored_settings(&state.settings),
            effect: state.effect,
            clock_us: state.clock_us,
        }
    }

    /// The entries that are to be passed over, to be told of more.
    pub(crate) fn skips(&self) -> Arc<Skips> {
        self.skips.clone()
    }

    /// Applies `batch`, which follows on the last applied entry, and answers a reply for each of its entries.
    ///
    /// Committed, but not durable on return: the log is. Blocks on the disk only when the page cache overflows.
    ///
    /// # Errors
    ///
    /// This node's failure: it must stop applying. Entries before the failing one may have been applied.
    ///
    /// # Panics
    ///
    /// When `batch` does not follow: an entry would take effect twice, or the log contradict the database.
    pub fn apply(&mut self, batch: &[Entry]) -> Result<Vec<Reply>, Error> {
        #[cfg(feature = "mutations")]
        crate::feed::show(batch);
        let mut replies = Vec::with_capacity(batch.len());
        let mut rest = batch;
        while let Some(first) = rest.first() {
            if stands_alone(first) {
                replies.push(self.apply_alone(first)?);
                rest = &rest[1..];
                continue;
            }
            let together = rest.iter().take_while(|entry| !stands_alone(entry)).count();
            let taken = self.apply_together(&rest[..together], &mut replies)?;
            rest = &rest[taken..];
        }
        self.maintain()?;
        Ok(replies)
    }

    /// Makes what has been applied durable, and answers the position through which it now is.
    ///
    /// # Errors
    ///
    /// A failed flush is fatal and never retried (D5).
    pub fn make_durable(&mut self) -> Result<Option<Position>, Error> {
        self.flush_loads()?;
        let durable = self.as_open_mut().writer.make_durable()?;
        if let Some(at) = durable {
            self.remove_useless(at.index)?;
        }
        Ok(durable)
    }

    /// Goes on with checkpoints when no batch comes; [`Self::apply`] does so after each.
    ///
    /// # Errors
    ///
    /// A failed checkpoint is fatal and never retried (D5).
    pub fn maintain(&mut self) -> Result<(), Error> {
        let Some(open) = &mut self.open else {
            return Ok(());
        };
        open.checkpoints
            .advance(&mut open.writer, &self.options, self.backfill_beside)
    }

    /// Bytes of the WAL in use; past a cap the readers that pin it are to be cut (D10).
    pub fn wal_bytes(&self) -> u64 {
        self.as_open().writer.wal_bytes()
    }

    /// Closes the database, lets `exchange` put another in its place, and opens that one.
    ///
    /// # Errors
    ///
    /// What `exchange` and [`Writer::open`] report; the applier is useless then, and the node must stop.
    pub fn replace(&mut self, exchange: impl FnOnce() -> Result<Generation, Error>) -> Result<(), Error> {
        if let Some(open) = self.open.take() {
            open.checkpoints.join()?;
        }
        let generation = exchange()?;
        self.open = Some(Open::new(
            &generation.database(),
            &self.options,
            self.checkpoint_frames,
            &self.skips,
        )?);
        #[cfg(feature = "mutations")]
        if mutation::is(mutation::Mutation::ForgetKey) {
            return self.forget_keys();
        }
        Ok(())
    }

    /// Forgets all clients' keys.
    #[cfg(feature = "mutations")]
    fn forget_keys(&mut self) -> Result<(), Error> {
        self.begin()?;
        let open = self.as_open_mut();
        while let Some(oldest) = open.writer.oldest_key()? {
            open.writer.forget_key(oldest)?;
        }
        self.commit()?;
        let open = self.as_open_mut();
        open.keys = Keys::load(&open.writer)?;
        Ok(())
    }

    /// Takes the last entry for one that is still to come; `before` is the one before it.
    #[cfg(feature = "mutations")]
    pub(crate) fn forget_last(&mut self, before: Position) -> Result<(), Error> {
        self.begin()?;
        self.as_open_mut().writer.state_mut().applied = Some(before);
        self.commit().map(drop)
    }

    /// Applies entries in one transaction, and answers how many it took.
    fn apply_together(&mut self, entries: &[Entry], replies: &mut Vec<Reply>) -> Result<usize, Error> {
        let before = replies.len();
        self.begin()?;
        for (taken, entry) in entries.iter().enumerate() {
            match self.apply_entry(entry, Care::Quick, Resume::default())? {
                Ended::In(reply) => {
                    self.mark();
                    replies.push(reply);
                }
                Ended::Undo(care, resume) => {
                    self.rollback()?;
                    replies.truncate(before);
                    for earlier in &entries[..taken] {
                        replies.push(self.apply_by_itself(earlier, Care::Careful, Resume::default())?);
                    }
                    replies.push(self.apply_by_itself(entry, care, resume)?);
                    return Ok(taken + 1);
                }
            }
            if self.as_open().writer.commits_alone() && taken + 1 < entries.len() {
                return self.finish_together(&entries[..=taken], before, replies);
            }
        }
        self.finish_together(entries, before, replies)
    }

    fn finish_together(&mut self, entries: &[Entry], before: usize, replies: &mut Vec<Reply>) -> Result<usize, Error> {
        match self.commit()? {
            Committed::Yes => return Ok(entries.len()),
            #[cfg(feature = "mutations")]
            Committed::Failed(message) if mutation::is(mutation::Mutation::DeferredForeignKey) => {
                replies.truncate(before);
                for entry in entries {
                    replies.push(self.apply_failed(entry, message.clone())?);
                }
                return Ok(entries.len());
            }
            Committed::Failed(_) | Committed::Refused => {}
        }
        // One is to be passed over, or something failed only now, a virtual table for one. Whose it was shows when each commits by itself.
        self.rollback()?;
        replies.truncate(before);
        for entry in entries {
            replies.push(self.apply_by_itself(entry, Care::Careful, Resume::default())?);
        }
        Ok(entries.len())
    }

    /// Applies one entry in a transaction of its own, as often as it takes.
    fn apply_by_itself(&mut self, entry: &Entry, mut care: Care, mut resume: Resume) -> Result<Reply, Error> {
        loop {
            self.begin()?;
            match self.apply_entry(entry, care, resume)? {
                Ended::In(reply) => match self.commit()? {
                    Committed::Yes => return Ok(reply),
                    Committed::Failed(message) => return self.apply_failed(entry, message),
                    Committed::Refused => resume = Resume::default(),
                },
                Ended::Undo(next, with) => {
                    care = next;
                    resume = with;
                }
            }
            self.rollback()?;
        }
    }

    /// The transaction of this entry alone cannot commit: it takes no effect, and that is its result.
    fn apply_failed(&mut self, entry: &Entry, message: String) -> Result<Reply, Error> {
        self.rollback()?;
        self.begin()?;
        self.arrive(entry);
        let reply = indexed(Reply::failed(message, ""), entry);
        match self.commit()? {
            Committed::Yes => Ok(reply),
            Committed::Refused => self.apply_again(entry),
            Committed::Failed(message) => Err(Error::Node {
                what: format!("commit entry {}", entry.position.index),
                message,
            }),
        }
    }

    /// Applies an entry that cannot run in a transaction. It may run again after a crash: that is harmless.
    fn apply_alone(&mut self, entry: &Entry) -> Result<Reply, Error> {
        if let Some(load) = load_of(entry) {
            return self.apply_load(entry, load);
        }
        let Some(write) = write_of(entry) else {
            return self.apply_by_itself(entry, Care::Quick, Resume::default());
        };
        if self.is_skipped(entry) {
            return self.apply_by_itself(entry, Care::Quick, Resume::default());
        }
        self.begin()?;
        let claim = self.claim(entry, write.key.as_ref())?;
        self.rollback()?;
        let reply = match claim {
            Claim::Answered(_) => return self.apply_by_itself(entry, Care::Quick, Resume::default()),
            Claim::Run => {
                let ran = self.as_open_mut().writer.run_alone(write)?;
                self.begin()?;
                self.as_open_mut().writer.state_mut().effect = ran.effect;
                indexed(ran.reply, entry)
            }
        };
        self.keep(entry, write.key.as_ref(), &reply)?;
        self.arrive(entry);
        self.end_alone(entry, reply)
    }

    /// Commits the transaction of one entry.
    fn end_alone(&mut self, entry: &Entry, reply: Reply) -> Result<Reply, Error> {
        match self.commit()? {
            Committed::Yes => Ok(reply),
            Committed::Refused => self.apply_again(entry),
            Committed::Failed(message) => self.apply_failed(entry, message),
        }
    }

    /// Undoes the transaction of one entry, and applies the entry once more: it may be passed over now.
    fn apply_again(&mut self, entry: &Entry) -> Result<Reply, Error> {
        self.rollback()?;
        if stands_alone(entry) {
            return self.apply_alone(entry);
        }
        self.apply_by_itself(entry, Care::Careful, Resume::default())
    }

    fn apply_entry(&mut self, entry: &Entry, care: Care, resume: Resume) -> Result<Ended, Error> {
        let skipped = self.is_skipped(entry);
        self.arrive(entry);
        if skipped {
            self.mark_skipped(entry.position.index);
        }
        if skipped && is_skippable(entry) {
            return Ok(Ended::In(indexed(Reply::failed(SKIPPED, "skipped"), entry)));
        }
        let reply = match &entry.body {
            Body::Blank => Reply::default(),
            Body::Membership(bytes) => {
                let state = self.as_open_mut().writer.state_mut();
                state.membership = bytes.clone();
                state.membership_at = Some(entry.position);
                Reply::default()
            }
            Body::Command(command) => match &command.action {
                None | Some(Action::Verify(_)) => Reply::default(),
                Some(Action::Write(write)) => return self.apply_write(entry, write, care, resume),
                Some(Action::Skip(skip)) => self.apply_skip(entry, skip.index)?,
                Some(Action::Settings(settings)) => self.apply_settings(settings),
                Some(Action::Chunk(chunk)) => self.apply_chunk(entry, chunk)?,
                // Reached when it is skipped: it stands alone otherwise.
                Some(Action::Load(_)) => Reply::default(),
            },
        };
        Ok(Ended::In(indexed(reply, entry)))
    }

    fn apply_write(&mut self, entry: &Entry, write: &Write, care: Care, resume: Resume) -> Result<Ended, Error> {
        if let Claim::Answered(reply) = self.claim(entry, write.key.as_ref())? {
            return Ok(Ended::In(reply));
        }
        let writer = &mut self.as_open_mut().writer;
        let conclusion = writer.run(write, care, resume)?;
        if self.skips.has_stopped() {
            return Ok(Ended::Undo(Care::Careful, Resume::default()));
        }
        let writer = &mut self.as_open_mut().writer;
        let ran = match conclusion {
            Conclusion::Done(ran) => ran,
            Conclusion::NeedsCare => return Ok(Ended::Undo(Care::Careful, Resume::default())),
            Conclusion::RolledBack(resume) => return Ok(Ended::Undo(Care::Careful, resume)),
        };
        writer.state_mut().effect = ran.effect;
        let reply = indexed(ran.reply, entry);
        self.keep(entry, write.key.as_ref(), &reply)?;
        Ok(Ended::In(reply))
    }

    /// The first settings stand, but for the version of SQLite, which the cluster switches as one (D11).
    fn apply_settings(&mut self, settings: &Settings) -> Reply {
        let state = self.as_open_mut().writer.state_mut();
        let fixed = stored_settings(&state.settings);
        let same =
            |fixed: &Settings| fixed.foreign_keys == settings.foreign_keys && fixed.extensions == settings.extensions;
        if fixed.is_some_and(|fixed| !same(&fixed)) {
            return Reply::failed(SETTINGS_FIXED, "settings_fixed");
        }
        state.settings = settings.encode_to_vec().into();
        Reply::default()
    }

    /// The log goes on to this entry.
    fn arrive(&mut self, entry: &Entry) {
        let index = entry.position.index;
        let state = self.as_open_mut().writer.state_mut();
        if let Some(applied) = state.applied {
            assert!(
                entry.position.index > applied.index && entry.position.term >= applied.term,
                "entry {index} of term {} does not follow {} of term {}, the last one applied",
                entry.position.term,
                applied.index,
                applied.term
            );
        }
        state.applied = Some(entry.position);
    }

    fn claim(&mut self, entry: &Entry, key: Option<&Key>) -> Result<Claim, Error> {
        let open = self.as_open_mut();
        open.keys.claim(&open.writer, entry.position.index, key)
    }

    fn keep(&mut self, entry: &Entry, key: Option<&Key>, reply: &Reply) -> Result<(), Error> {
        let open = self.as_open_mut();
        open.keys.keep(&open.writer, entry.position.index, key, reply)
    }

    fn begin(&mut self) -> Result<(), Error> {
        self.as_open_mut().writer.begin()
    }

    /// Commits, unless an entry of the transaction is to be passed over.
    fn commit(&mut self) -> Result<Committed, Error> {
        let through = self.as_open().writer.state().applied.map_or(0, |at| at.index);
        if !self.seal(through) {
            return Ok(Committed::Refused);
        }
        self.mark();
        let open = self.as_open_mut();
        open.keys.write(&open.writer)?;
        match open.writer.commit()? {
            Ok(()) => {
                open.keys.committed();
                self.publish_marks();
                Ok(Committed::Yes)
            }
            Err(error) => Ok(Committed::Failed(error.message)),
        }
    }

    /// The entries through `through` are about to be committed; false if one of them is to be passed over instead.
    fn seal(&self, through: u64) -> bool {
        let passed_over = &self.as_open().writer.state().skips;
        self.skips.seal(through, |index| passed_over.contains(&index))
    }

    fn rollback(&mut self) -> Result<(), Error> {
        self.marked.clear();
        let open = self.as_open_mut();
        open.keys.rolled_back();
        open.writer.rollback()
    }

    #[expect(clippy::expect_used, reason = "a failed replace stops the node")]
    fn as_open(&self) -> &Open {
        self.open.as_ref().expect("nothing is applied after a failed replace")
    }

    #[expect(clippy::expect_used, reason = "a failed replace stops the node")]
    fn as_open_mut(&mut self) -> &mut Open {
        self.open.as_mut().expect("nothing is applied after a failed replace")
    }
}

impl Open {
    fn new(path: &Path, options: &Options, checkpoint_frames: u32, skips: &Skips) -> Result<Self, Error> {
        let writer = Writer::open(path, options)?;
        let applied = writer.committed().applied.map_or(0, |at| at.index);
        skips.attach(applied, writer.interrupt());
        Ok(Self {
            keys: Keys::load(&writer)?,
            checkpoints: Checkpoints::new(checkpoint_frames),
            writer,
        })
    }
}

fn stands_alone(entry: &Entry) -> bool {
    load_of(entry).is_some() || write_of(entry).is_some_and(Writer::stands_alone)
}

fn write_of(entry: &Entry) -> Option<&Write> {
    match &entry.body {
        Body::Blank | Body::Membership(_) => None,
        Body::Command(command) => match &command.action {
            Some(Action::Write(write)) => Some(write),
            Some(Action::Skip(_) | Action::Settings(_) | Action::Chunk(_) | Action::Load(_) | Action::Verify(_))
            | None => None,
        },
    }
}

fn indexed(mut reply: Reply, entry: &Entry) -> Reply {
    reply.index = entry.position.index;
    reply
}

fn stored_settings(bytes: &Bytes) -> Option<Settings> {
    // Written by this program and read back from a table that users cannot write.
    (!bytes.is_empty()).then(|| Settings::decode(bytes.clone()).unwrap_or_default())
}

#[cfg(test)]
mod tests;

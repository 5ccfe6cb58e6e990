//! A whole database to a follower that fell off the log: one pinned read transaction, as a stream of chunks.
//!
//! ```text
//!  leader:   pin ─► Head ─► Chunk, Chunk, … ─► Gathered … ─► End(XXH3)        writes go on beside it
//!  follower:          fresh generation ─► checked ─► install ─► Answer
//! ```
//!
//! Invariants:
//! * What is gathered to be loaded travels with the database whose rows say how far it is.
//! * Position and membership in the head are read inside the transaction whose pages follow.
//! * What arrives is used only whole, with the sender's length and XXH3, and after SQLite's own check (D7).
//! * A slow follower does not pin the database: the rest is put aside, and the WAL can be reset (D10).
//! * Memory on both sides is a few chunks, however large the database (D12).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sqlite::meta::Position;
use sqlite::staging::Staging;
use sqlite::{Building, Cancel, Digest, Incoming, Journal, PinBounds, PinnedDatabase, Sent};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::consensus::codec::{self, PositionMessage, VoteMessage};
use crate::consensus::dial::broken;
use crate::consensus::types::{SnapshotMeta, Types, Vote, log_id};
use crate::consensus::wire::{self, BulkAsk, BulkAskKind, GatheredPiece, SnapshotAnswer, SnapshotHead};
use crate::consensus::{Core, seed, state_machine};
use crate::databases::{Databases, blocking};
use crate::environment::Runner;
use crate::error::Error;
use crate::transport::Duplex;

/// Bytes of one chunk: worth a frame, and a fraction of what a connection may buffer.
const CHUNK_BYTES: usize = 256 * 1024;

/// How long a database may be pinned while it is sent: the WAL grows for as long. The last resort, when there is no room
/// to put it aside.
const PIN_AGE_MAX: Duration = Duration::from_secs(600);

/// A database that is not sent after this is put aside.
const PINNED_MAX: Duration = Duration::from_secs(5);

/// How a database is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Who reads the disk.
    pub runner: Runner,
    /// After this the rest is put aside.
    pub pinned_max: Duration,
}

impl From<Runner> for Pace {
    fn from(runner: Runner) -> Self {
        Self {
            runner,
            pinned_max: PINNED_MAX,
        }
    }
}

/// How long the next chunk may take to leave, or to come. A peer that stands still longer than this is given up: here a
/// pinned database, there a half-built one waits for it.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a follower may take to check and install a database that it has received whole.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// What openraft passes around as a snapshot's data.
pub(crate) enum SnapshotData {
    /// The current database of a node in this process: nothing is pinned or copied until it is sent or installed.
    Here(Arc<Databases>),
    /// A database that was received, checked, and waits to be installed.
    Received(Building),
}

pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotData>;

fn pinned(databases: &Databases) -> Result<PinnedDatabase, sqlite::Error> {
    let bounds = PinBounds {
        age_max: PIN_AGE_MAX,
        cancel: Cancel::new(),
    };
    PinnedDatabase::pin(
        &databases.current(),
        databases.options(),
        databases.clock(),
        bounds,
        Journal::Wal,
    )
}

/// A database that can be installed, from whatever form a snapshot has.
///
/// # Errors
///
/// What pinning, reading and checking report.
pub(crate) fn installable(data: SnapshotData, databases: &Databases) -> Result<Building, Error> {
    let mut pinned = match data {
        SnapshotData::Received(building) => return Ok(building),
        SnapshotData::Here(source) => pinned(&source)?,
    };
    let mut incoming = Incoming::new(databases.begin()?)?;
    while let Some(chunk) = next_chunk(&mut pinned)? {
        incoming.write(&chunk)?;
    }
    let digest = pinned
        .digest()
        .ok_or_else(|| Error::Stopped("a database ended before its length".to_owned()))?;
    Ok(incoming.finish(
        Sent {
            digest,
            position: pinned.position(),
        },
        databases.options(),
    )?)
}

/// Pins the database as it is now, to be sent.
///
/// # Errors
///
/// What pinning reports; it is no failure of the node, and can be tried again.
pub(crate) async fn pin(databases: &Arc<Databases>, runner: Runner) -> io::Result<PinnedDatabase> {
    let databases = databases.clone();
    let taken = blocking(runner, move || pinned(&databases)).await;
    taken.map_err(io::Error::other)?.map_err(io::Error::other)
}

/// Pins the database and sends it, and waits until it is installed there; answers the receiver's vote.
///
/// # Errors
///
/// What kept the database from being pinned, what broke the stream, or the receiver's own words.
pub(crate) async fn send(mut duplex: Duplex, vote: Vote, snapshot: Snapshot, pace: Pace) -> io::Result<Vote> {
    let SnapshotData::Here(databases) = snapshot.snapshot else {
        return Err(wire::invalid("a database that was received is not sent on"));
    };
    let pinned = pin(&databases, pace.runner).await?;
    if pinned.position().map(log_id) < snapshot.meta.last_log_id {
        return Err(io::Error::other("the database went back behind its snapshot"));
    }
    let leaving = Leaving {
        pinned,
        folder: databases.home_folder(),
        pace,
    };
    leaving.stream(&mut duplex, Some(VoteMessage::from(&vote))).await?;
    let answered = tokio::time::timeout(INSTALL_TIMEOUT, duplex.rx.recv()).await;
    let frame = answered.map_err(|_| stalled("install the database", INSTALL_TIMEOUT))?;
    let answer: SnapshotAnswer = wire::read(frame.ok_or_else(broken)?)?;
    if !answer.failed.is_empty() {
        // Its check of what came may have failed: what is here may be damaged.
        return Err(io::Error::new(io::ErrorKind::InvalidData, answer.failed));
    }
    wire::required_vote(answer.vote)
}

/// A database on its way out.
pub(crate) struct Leaving {
    pub pinned: PinnedDatabase,
    /// Where it may be put aside.
    pub folder: PathBuf,
    pub pace: Pace,
}

impl Leaving {
    /// Sends head, pages, what is gathered, and the end.
    ///
    /// # Errors
    ///
    /// What reading reports; what broke the stream.
    pub(crate) async fn stream(self, duplex: &mut Duplex, vote: Option<VoteMessage>) -> io::Result<()> {
        let Self {
            mut pinned,
            folder,
            pace,
        } = self;
        let head = SnapshotHead {
            vote,
            last: pinned.position().map(PositionMessage::from),
            membership: pinned.state().membership.clone(),
            bytes: pinned.bytes(),
        };
        info!(
            bytes = head.bytes,
            index = head.last.map_or(0, |at| at.index),
            "sending database"
        );
        push(duplex, BulkAskKind::Head(head)).await?;
        let began = Instant::now();
        let mut may_spill = true;
        loop {
            let spills = may_spill && began.elapsed() >= pace.pinned_max;
            may_spill &= !spills;
            let folder = spills.then(|| folder.clone());
            let (back, chunk) = blocking(pace.runner, move || {
                if let Some(folder) = folder {
                    spill(&mut pinned, &folder);
                }
                let chunk = next_chunk(&mut pinned);
                (pinned, chunk)
            })
            .await
            .map_err(io::Error::other)?;
            pinned = back;
            match chunk.map_err(io::Error::other)? {
                Some(chunk) => push(duplex, BulkAskKind::Chunk(chunk)).await?,
                None => break,
            }
        }
        let pinned = send_gathered(duplex, pinned, pace.runner).await?;
        let digest = pinned
            .digest()
            .ok_or_else(|| wire::invalid("a database ended before its length"))?;
        // The rest is the follower's work: the WAL must not wait for it.
        drop(pinned);
        push(duplex, BulkAskKind::End(digest.hash)).await
    }
}

/// Puts the rest of a database aside at the speed of the disk, so that a slow follower does not pin it.
fn spill(pinned: &mut PinnedDatabase, folder: &Path) {
    match pinned.spill(folder) {
        Ok(()) => debug!(
            bytes = pinned.bytes(),
            "the rest of the database is put aside for a slow follower"
        ),
        // It is still pinned, and goes on as before.
        Err(error) => warn!(
            error = state_machine::chain(&error),
            "the database stays pinned for a slow follower"
        ),
    }
}

/// Sends what is gathered beside the database, as far as the database says, and gives the database back.
///
/// The snapshot is released by now: all of it has been read.
async fn send_gathered(duplex: &mut Duplex, mut pinned: PinnedDatabase, runner: Runner) -> io::Result<PinnedDatabase> {
    for place in 0..pinned.gathered().len() {
        let mut offset = 0;
        loop {
            let (back, piece) = blocking(runner, move || {
                let piece = gathered_piece(&pinned, place, offset);
                (pinned, piece)
            })
            .await
            .map_err(io::Error::other)?;
            pinned = back;
            let piece = piece.map_err(io::Error::other)?;
            if piece.bytes.is_empty() {
                break;
            }
            offset += piece.bytes.len() as u64;
            push(duplex, BulkAskKind::Gathered(piece)).await?;
        }
    }
    Ok(pinned)
}

fn gathered_piece(pinned: &PinnedDatabase, place: usize, offset: u64) -> Result<GatheredPiece, sqlite::Error> {
    let gathered = &pinned.gathered()[place];
    let mut bytes = vec![0; CHUNK_BYTES];
    let filled = gathered.read(offset, &mut bytes)?;
    bytes.truncate(filled);
    Ok(GatheredPiece {
        load: gathered.load.id,
        offset,
        bytes: bytes.into(),
    })
}

fn next_chunk(pinned: &mut PinnedDatabase) -> Result<Option<Bytes>, sqlite::Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let filled = pinned.read_chunk(&mut chunk)?;
    chunk.truncate(filled);
    Ok((filled > 0).then(|| chunk.into()))
}

pub(crate) async fn push(duplex: &mut Duplex, kind: BulkAskKind) -> io::Result<()> {
    let sending = duplex.tx.send(wire::frame(&BulkAsk { kind: Some(kind) }));
    match tokio::time::timeout(STALL_TIMEOUT, sending).await {
        Ok(sent) => sent.map_err(|_| broken()),
        Err(_) => Err(stalled("take the next part of the database", STALL_TIMEOUT)),
    }
}

fn stalled(what: &str, limit: Duration) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("the peer did not {what} in {limit:?}"))
}

/// Serves one bulk stream: receives a database, installs it and answers, or gives one away.
///
/// # Errors
///
/// What broke the stream; what was built until then is removed.
pub(crate) async fn serve(core: &Arc<Core>, mut duplex: Duplex) -> io::Result<()> {
    let head = match pull(&mut duplex).await {
        Ok(BulkAskKind::Seed(ask)) => return seed::give(core, duplex, ask).await,
        Ok(BulkAskKind::Head(head)) => Ok(head),
        Ok(_) => Err(wire::invalid("a database begins with its head")),
        Err(error) => Err(error),
    };
    let installed = match head {
        Ok(head) => install(core, &mut duplex, head).await,
        Err(error) => Err(error),
    };
    let answer = match installed {
        Ok(vote) => SnapshotAnswer {
            failed: String::new(),
            vote: Some(VoteMessage::from(&vote)),
        },
        Err(error) => {
            debug!(%error, "database not installed");
            SnapshotAnswer {
                failed: state_machine::chain(&error),
                vote: None,
            }
        }
    };
    duplex.tx.send(wire::frame(&answer)).await.map_err(|_| broken())
}

async fn install(core: &Arc<Core>, duplex: &mut Duplex, head: SnapshotHead) -> io::Result<Vote> {
    let vote = wire::required_vote(head.vote)?;
    let last_membership = codec::stored_membership(&head.membership)?;
    let (received, last) = arrive(core, duplex, head).await?;
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(last)),
        last_membership,
    };
    let snapshot = Snapshot {
        meta,
        snapshot: SnapshotData::Received(received),
    };
    let response = core
        .raft()
        .install_full_snapshot(vote, snapshot)
        .await
        .map_err(io::Error::other)?;
    info!(index = last.index, "database installed");
    Ok(response.vote)
}

/// Receives what [`Leaving::stream`] sends after its head, and checks it; answers its position, too.
///
/// # Errors
///
/// What broke the stream, or what is wrong with what came; what was built until then is removed.
pub(crate) async fn arrive(
    core: &Arc<Core>,
    duplex: &mut Duplex,
    head: SnapshotHead,
) -> io::Result<(Building, Position)> {
    let last = head
        .last
        .ok_or_else(|| wire::invalid("a database without a position"))?;
    info!(bytes = head.bytes, index = last.index, "receiving database");
    let building = core.databases.begin().map_err(io::Error::other)?;
    let mut incoming = Incoming::new(building).map_err(io::Error::other)?;
    let runner = core.runner;
    let mut staging = Staging::visiting(&core.databases.home_folder());
    let hash = loop {
        match pull(duplex).await? {
            BulkAskKind::Chunk(chunk) => {
                let written = blocking(runner, move || incoming.write(&chunk).map(|()| incoming)).await;
                incoming = written.map_err(io::Error::other)?.map_err(io::Error::other)?;
            }
            BulkAskKind::Gathered(piece) => {
                let written = blocking(runner, move || {
                    let written = staging.write(piece.load, piece.offset, &piece.bytes);
                    written.map(|()| staging)
                });
                staging = written.await.map_err(io::Error::other)?.map_err(io::Error::other)?;
            }
            BulkAskKind::End(hash) => break hash,
            BulkAskKind::Refused(reason) => return Err(io::Error::other(reason)),
            BulkAskKind::Head(_) | BulkAskKind::Seed(_) => return Err(wire::invalid("a second head")),
        }
    };
    let position = Position {
        term: last.term,
        index: last.index,
    };
    let sent = Sent {
        digest: Digest {
            bytes: head.bytes,
            hash,
        },
        position: Some(position),
    };
    let databases = core.databases.clone();
    let received = blocking(runner, move || {
        staging.flush()?;
        incoming.finish(sent, databases.options())
    })
    .await;
    let received = received.map_err(io::Error::other)?.map_err(io::Error::other)?;
    Ok((received, position))
}

pub(crate) async fn pull(duplex: &mut Duplex) -> io::Result<BulkAskKind> {
    let pulled = tokio::time::timeout(STALL_TIMEOUT, duplex.rx.recv()).await;
    let frame = pulled.map_err(|_| stalled("send the next part of the database", STALL_TIMEOUT))?;
    let ask: BulkAsk = wire::read(frame.ok_or_else(broken)?)?;
    ask.kind.ok_or_else(|| wire::invalid("a bulk frame of unknown kind"))
}

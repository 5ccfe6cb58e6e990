//! Brings the log in line with the database at the start, before consensus looks at either.
//!
//! Entries are applied once they are accepted and committed, not once they are flushed here, and a database that was
//! received counts before the log below it is purged. So after a crash the log may end before what is applied, or hold
//! something else there: what it says then is older than what is committed, and it goes on after the applied entry.
//!
//! ```text
//!  log holds the applied entry       ─► nothing to do
//!  log ends before it, or differs    ─► the log starts over after it
//!  log has it of a later term        ─► refused: it was committed, and no later term can have had another there
//!  log starts after it               ─► refused: D6 was broken, or a folder was replaced
//!  log's vote is of an earlier term  ─► flushed bytes are gone: a lone voter goes on, another node is refused
//! ```
//!
//! The last line is not what a crash leaves. Consensus waits for the flush of the vote of a term before it accepts the
//! first entry, or the database, of a leader of that term, and before it answers a candidate. A vote of an earlier term
//! than the applied entry is one that was flushed and is lost: the disk lied, or the log is an old copy. Who lost one such
//! vote may have lost the next as well, and entries that counted towards a majority: it could vote twice in one term, or
//! help to elect a leader that lacks a committed entry. Where nobody else votes there is nobody to contradict.
//!
//! Source: Raft thesis §3.8, "persisted state".

use std::io;
use std::path::Path;

use sqlite::meta::Position;
use tracing::{info, warn};

use crate::apply::Applied;
use crate::consensus::{codec, log_storage};
use crate::error::Error;
use crate::executor::Executor;
use crate::member::NodeId;

/// Brings `log` in line with a database that has applied `applied`; what it changes is durable on return.
///
/// # Errors
///
/// [`Error::Foreign`] when log and database are of moments that no crash leaves together; [`Error::Io`].
pub(crate) async fn reconcile(
    dir: &Path,
    id: NodeId,
    log: &log::Log,
    executor: &Executor,
    applied: &Applied,
) -> Result<(), Error> {
    let refuse = |what: Option<String>| what.map_or(Ok(()), |what| Err(foreign(dir, what)));
    refuse(starts_after(log.state().purged, applied.position))?;
    let Some(at) = applied.position else {
        return Ok(());
    };
    raise_vote(dir, id, log, at, applied).await?;
    let held = log.position_at(at.index).map(|held| held.term);
    refuse(held_later(held, at))?;
    if held == Some(at.term) {
        return Ok(());
    }
    let last = log.state().last.map_or(0, |at| at.index);
    info!(applied = at.index, last, "log goes on after the database");
    executor
        .make_durable_through(at)
        .await
        .map_err(failed(format!("make the database durable through entry {}", at.index)))?;
    log_storage::purge(log, at)
        .await
        .map_err(failed(format!("purge the log through entry {}", at.index)))
}

/// Log and database of a stopped node, as far as they must agree.
pub(crate) struct Pair<'a> {
    /// The node.
    pub id: NodeId,
    /// The log starts after this.
    pub purged: Option<log::Position>,
    /// The term of the vote in the log; 0 for none.
    pub voted: u64,
    /// The term of the record at the index of the last applied entry, if the log has it.
    pub held: Option<u64>,
    /// The last applied entry.
    pub applied: Option<Position>,
    /// The membership that was applied last, in consensus' own encoding.
    pub membership: Option<&'a [u8]>,
}

/// Why a start would refuse them.
///
/// # Errors
///
/// `InvalidData` when the membership does not decode.
pub(crate) fn contradictions(pair: &Pair<'_>) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    found.extend(starts_after(pair.purged, pair.applied));
    if let Some(at) = pair.applied {
        if pair.voted < at.term && others_vote(pair.id, pair.membership)? {
            found.push(voted_before(pair.voted, at));
        }
        found.extend(held_later(pair.held, at));
    }
    Ok(found)
}

/// The log starts after the entry that follows `at`, the last applied one.
fn starts_after(purged: Option<log::Position>, at: Option<Position>) -> Option<String> {
    let purged = purged.filter(|purged| at.is_none_or(|at| purged.index > at.index))?;
    Some(format!(
        "holds a database that ends at entry {} and a log that starts after entry {}: restore both from one moment, or \
         remove this node from the cluster and let it join again with an empty data directory",
        at.map_or(0, |at| at.index),
        purged.index
    ))
}

/// The log has the last applied entry of a later term.
fn held_later(held: Option<u64>, at: Position) -> Option<String> {
    let held = held.filter(|held| *held > at.term)?;
    Some(format!(
        "holds a database whose last entry, {}, is of term {}, and a log that has it of term {held}: they are not of one \
         node. Restore both from one moment, or remove this node from the cluster and let it join again with an empty \
         data directory",
        at.index, at.term
    ))
}

/// The vote is of an earlier term than the last applied entry, and others vote too.
fn voted_before(voted: u64, at: Position) -> String {
    format!(
        "holds a database of term {} and a log of term {voted}: the disk has lost what it had reported as flushed, or the \
         log was put back from an older copy. This node may have voted for, or acknowledged, what it no longer knows: \
         remove it from the cluster and let it join again with an empty data directory",
        at.term
    )
}

/// The vote is of the term of the last applied entry or a later one.
async fn raise_vote(dir: &Path, id: NodeId, log: &log::Log, at: Position, applied: &Applied) -> Result<(), Error> {
    let voted = log_storage::voted_term(log).map_err(failed("read the vote".to_owned()))?;
    if voted >= at.term {
        return Ok(());
    }
    if others_vote(id, applied.membership.as_deref()).map_err(failed("read the membership".to_owned()))? {
        return Err(foreign(dir, voted_before(voted, at)));
    }
    warn!(
        voted,
        applied = at.term,
        "log has lost flushed bytes, going on as the only voter"
    );
    log_storage::spend_vote(log, id, at.term)
        .await
        .map_err(failed(format!("save a vote in term {}", at.term)))
}

/// Anybody else has a vote, by the membership that was applied last. The log knows no later one: it is of an earlier term.
fn others_vote(id: NodeId, membership: Option<&[u8]>) -> io::Result<bool> {
    let Some(bytes) = membership else {
        return Ok(false);
    };
    let stored = codec::stored_membership(bytes)?;
    Ok(stored.voter_ids().any(|voter| voter != id.0))
}

fn foreign(dir: &Path, what: String) -> Error {
    Error::Foreign {
        path: dir.to_owned(),
        what,
    }
}

fn failed(what: String) -> impl FnOnce(io::Error) -> Error {
    |source| Error::Io { what, source }
}

//! Re-seeding: a node in quarantine asks the leader for its database, and puts it in the place of its own.
//!
//! ```text
//!  in quarantine:  Seed(applied) ─►             ─► fresh generation, checked, flushed ─► switch ─► quarantine over
//!  leader:                         ─► Head, Chunk, …, End                                            │
//!                                                       entries that came meanwhile, from the log ◄──┘
//! ```
//!
//! Consensus hears nothing of it: entries were acknowledged, and are applied from the log once the database is right.
//! A database that is ahead of the log's applied part is what every restart may find, and safe for the same reason: what
//! is applied anywhere is committed.
//!
//! Invariants:
//! * The database that comes is no older than what this node has applied, and of no later term than what this node has
//!   flushed: a crash finds a log that holds the vote of that term.
//! * A node in quarantine gives no database away.

use std::io;
use std::sync::Arc;

use tracing::info;

use crate::consensus::Core;
use crate::consensus::dial::broken;
use crate::consensus::snapshot::{self, Leaving, Pace};
use crate::consensus::state_machine::chain;
use crate::consensus::wire::{self, BulkAskKind, SeedAsk};
use crate::member::Peer;
use crate::transport::{Channel, Duplex};

/// Asks `leader` for its database, and puts that in the place of this node's; long work.
///
/// # Errors
///
/// Why it was not done; it can be tried again.
pub(crate) async fn fetch(core: &Arc<Core>, leader: &Peer) -> io::Result<()> {
    let from = *core.progress.applied.borrow();
    let mut duplex = core.dialler.dial(leader, Channel::Bulk).await?;
    snapshot::push(&mut duplex, BulkAskKind::Seed(SeedAsk { from })).await?;
    let head = match snapshot::pull(&mut duplex).await? {
        BulkAskKind::Head(head) => head,
        BulkAskKind::Refused(reason) => return Err(io::Error::other(reason)),
        _ => return Err(wire::invalid("a database begins with its head")),
    };
    let (building, position) = snapshot::arrive(core, &mut duplex, head).await?;
    // In the state machine's own task: nothing is fed to it meanwhile.
    let seeded = core
        .raft()
        .with_state_machine(move |state_machine| Box::pin(async move { state_machine.seed(building, position).await }));
    seeded.await.map_err(io::Error::other)??;
    info!(index = position.index, "re-seeded");
    Ok(())
}

/// Gives this node's database away, as it is now.
///
/// # Errors
///
/// What broke the stream.
pub(crate) async fn give(core: &Arc<Core>, mut duplex: Duplex, ask: SeedAsk) -> io::Result<()> {
    match prepare(core, ask).await {
        Ok(leaving) => {
            // A node that is to apply on from there still wants the log.
            let _streaming = core.progress.streaming();
            leaving.stream(&mut duplex, None).await?;
            // Until it is read: dropping this end breaks the stream.
            while duplex.rx.recv().await.is_some() {}
            Ok(())
        }
        Err(error) => snapshot::push(&mut duplex, BulkAskKind::Refused(chain(&error))).await,
    }
}

async fn prepare(core: &Arc<Core>, ask: SeedAsk) -> io::Result<Leaving> {
    if core.progress.divergence.quarantine.is_on() {
        return Err(io::Error::other("this node is in quarantine, too"));
    }
    if !core.leads() {
        return Err(io::Error::other("this node does not lead"));
    }
    let applied = *core.progress.applied.borrow();
    if applied < ask.from {
        return Err(io::Error::other(format!(
            "applied through {applied} only, {} is wanted",
            ask.from
        )));
    }
    let pinned = snapshot::pin(&core.databases, core.runner).await?;
    if pinned.position().is_none() {
        return Err(broken());
    }
    Ok(Leaving {
        pinned,
        folder: core.databases.home_folder(),
        pace: Pace::from(core.runner),
    })
}

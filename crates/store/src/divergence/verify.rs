//! A verification: at an entry that asks for it, each node pins its database as it is after that entry, and hashes and
//! checks it while writes go on.
//!
//! ```text
//!  …, entry, Verify ──► batch ends, commit ──► snapshot pinned ──► next batch, …
//!                                                  └──► hashed and checked on a thread of its own ──► marks
//! ```
//!
//! Invariants:
//! * What is hashed is the state after the entry, whatever the batch boundaries.
//! * One at a time: the WAL cannot start over while a snapshot is pinned, and not for longer than [`PINNED_MAX`] (D10).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlite::{Cancel, Content, PinBounds, Verified};
use tracing::{debug, info, warn};

use super::marks::{Kind, Mark, SOUND, UNSOUND};
use crate::consensus::state_machine::{Progress, chain};
use crate::databases::{Databases, blocking};
use crate::environment::Runner;

/// How long a snapshot may be pinned: the WAL grows for as long.
const PINNED_MAX: Duration = Duration::from_secs(600);

/// The entry at `index`, which asks for a verification, is applied, and nothing after it.
pub(crate) async fn begin(databases: &Arc<Databases>, progress: &Arc<Progress>, runner: Runner, index: u64) {
    let divergence = &progress.divergence;
    divergence.note_verification();
    if divergence.is_verifying.swap(true, Ordering::AcqRel) {
        info!(index, "not verified here: another verification still runs");
        return;
    }
    let epoch = divergence.marks.epoch();
    let readers = databases.readers();
    let bounds = PinBounds {
        age_max: PINNED_MAX,
        cancel: Cancel::new(),
    };
    let pinned = blocking(runner, move || readers.pin_content(bounds)).await;
    let found = Found {
        progress: progress.clone(),
        epoch,
        index,
    };
    match pinned {
        Ok(Ok(content)) => hash(content, found, runner),
        Ok(Err(error)) => found.note(Err(error)),
        Err(error) => {
            debug!(%error, "not verified");
            divergence.is_verifying.store(false, Ordering::Release);
        }
    }
}

fn hash(content: Content, found: Found, runner: Runner) {
    if runner == Runner::Inline {
        return found.note(content.verify());
    }
    let progress = found.progress.clone();
    let thread = std::thread::Builder::new().name("verify".to_owned());
    let started = thread.spawn(move || {
        // Those who apply and serve go before it.
        sqlite::turns::step_back();
        found.note(content.verify());
    });
    if let Err(error) = started {
        warn!(%error, "not verified: no thread could be started");
        progress.divergence.is_verifying.store(false, Ordering::Release);
    }
}

/// Where what is found goes.
struct Found {
    progress: Arc<Progress>,
    epoch: u64,
    index: u64,
}

impl Found {
    fn note(&self, verified: Result<Verified, sqlite::Error>) {
        let index = self.index;
        match verified {
            Ok(verified) => {
                self.mark(Kind::Content, verified.content);
                self.mark(Kind::Memory, verified.memory);
                self.mark(Kind::Check, if verified.is_sound { SOUND } else { UNSOUND });
                info!(
                    index,
                    content = format!("{:016x}", verified.content),
                    sound = verified.is_sound,
                    "database verified"
                );
            }
            Err(error) if error.is_damage() => {
                self.mark(Kind::Check, UNSOUND);
                warn!(index, error = chain(&error), "database verified: its pages are damaged");
            }
            // The next one will see: a snapshot that was cut, or a disk that failed.
            Err(error) => warn!(index, error = chain(&error), "database not verified this time"),
        }
        self.progress.divergence.is_verifying.store(false, Ordering::Release);
    }

    fn mark(&self, kind: Kind, hash: u64) {
        let index = self.index;
        self.progress
            .divergence
            .marks
            .note_since(self.epoch, Mark { kind, index, hash });
    }
}

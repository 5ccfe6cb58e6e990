//! The life of one process on a simulated machine: it ends at any moment, also in the middle of a flush.
//!
//! Nothing kills its tasks: a dead process is one whose disk, files and network refuse it, and whose answers nobody
//! hears. Whoever gives it something of the world asks [`Life::is_alive`] first.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::chance::lock;
use crate::space::Allowance;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// `kill -9`, or a stop of its own: what was written stays, flushed or not.
    Kill,
    /// The machine loses power: what was not flushed is dropped, torn or kept, as chance has it.
    PowerLoss,
    /// The machine is replaced by one with an empty disk.
    Wipe,
}

/// One process, from its start to its death.
pub struct Life {
    /// Names it in the trace: machine and incarnation.
    pub name: String,
    death: watch::Sender<Option<Death>>,
    fuse: Mutex<Option<(u64, Death)>>,
    /// A disk fault was injected: it may stop by itself.
    may_stop: AtomicBool,
    allowance: Arc<Allowance>,
}

/// What becomes of an operation on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is carried out.
    Done,
    /// The process dies during it: it may or may not have happened, and nobody learns which.
    Last,
    /// The process is dead: it does not happen.
    Dead,
}

impl Life {
    /// A process that has just started.
    pub fn new(name: String, allowance: Arc<Allowance>) -> Life {
        Life {
            name,
            death: watch::Sender::new(None),
            fuse: Mutex::new(None),
            may_stop: AtomicBool::new(false),
            allowance,
        }
    }

    /// It has not died yet.
    pub fn is_alive(&self) -> bool {
        self.death.borrow().is_none()
    }

    /// It dies now; the first death counts.
    pub fn die(&self, death: Death) {
        self.death.send_if_modified(|known| {
            let first = known.is_none();
            known.get_or_insert(death);
            first
        });
    }

    /// It dies at the operation on its disk after `operations` more.
    pub fn die_after(&self, operations: u64, death: Death) {
        *lock(&self.fuse) = Some((operations, death));
    }

    /// Resolves when it has died.
    pub async fn died(&self) -> Death {
        let mut death = self.death.subscribe();
        match death.wait_for(Option::is_some).await {
            Ok(known) => known.unwrap_or(Death::Kill),
            // The sender lives as long as `self`.
            Err(_) => Death::Kill,
        }
    }

    /// Its disk will fail it: it may now stop by itself.
    pub fn allow_stop(&self) {
        self.may_stop.store(true, Ordering::Relaxed);
    }

    /// A stop by itself is no bug.
    pub fn may_stop(&self) -> bool {
        self.may_stop.load(Ordering::Relaxed)
    }

    /// An operation that changes the disk begins; `bytes` are written.
    pub fn operate(&self, bytes: u64) -> Fate {
        if !self.is_alive() {
            return Fate::Dead;
        }
        if !self.allowance.spend(bytes) {
            self.die(Death::Kill);
            return Fate::Dead;
        }
        let mut fuse = lock(&self.fuse);
        match &mut *fuse {
            None => Fate::Done,
            Some((0, death)) => {
                let death = *death;
                *fuse = None;
                drop(fuse);
                self.die(death);
                Fate::Last
            }
            Some((left, _)) => {
                *left -= 1;
                Fate::Done
            }
        }
    }
}

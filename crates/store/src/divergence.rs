//! Replicas that differ: found by comparing numbers, decided by a majority, mended by re-seeding (design.md §5).
//!
//! ```text
//!  apply ──► effect hash at each 256th index ─┐
//!  Verify entry ──► content hash, memory hash, ├─► marks ──asked by all──► judgement ──► alarm, on every node
//!                   SQLite's own check ────────┘                              │ the minority
//!                                                                             ▼
//!       goes on ◄── another database in its place ◄── the leader's ◄── quarantine: nothing served, led or applied
//! ```
//!
//! Invariants:
//! * Marks are compared at one index and one kind only, and a majority of all voters decides; without one: alarm only.
//! * A node in quarantine votes and acknowledges: its log is as good as any. It serves no read, leads nobody for longer
//!   than a hand-over takes, is no source of databases, and applies nothing.
//! * What ends a quarantine is the durable switch to another database, at whatever moment a crash comes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use tracing::{error, warn};

use crate::error::Error;
use crate::member::NodeId;
use crate::status::Soundness;
use marks::{Kind, Mark, Marks};
use quarantine::Quarantine;

pub(crate) mod judgement;
pub mod marks;
pub(crate) mod quarantine;
pub(crate) mod verify;
pub(crate) mod watch;

/// What a node said of its database when it was last asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Its marks.
    pub marks: Vec<Mark>,
    /// Why it is in quarantine, if it is.
    pub quarantine: Option<String>,
    /// How many times its process was in quarantine so far, and why last: one may be over before anybody asks.
    pub quarantines: (u64, String),
    /// It has met damaged pages, and wants all to be verified.
    pub is_suspect: bool,
}

/// What a node knows of how its database, and others', differ. Shared by all who look.
#[derive(Debug, Default)]
pub(crate) struct Divergence {
    /// Whether this node may serve.
    pub quarantine: Quarantine,
    /// This node's marks.
    pub marks: Arc<Marks>,
    /// Alarms raised by this process.
    pub alarms: AtomicU64,
    /// Databases that took the place of this node's, in quarantine.
    pub reseeds: AtomicU64,
    state: Mutex<State>,
    is_suspect: AtomicBool,
    is_verifying: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    peers: BTreeMap<NodeId, Report>,
    last_alarm: Option<String>,
    /// When this node last began to verify.
    verified: Option<Instant>,
}

impl Divergence {
    /// What the data directory says of the current `generation`.
    ///
    /// # Errors
    ///
    /// As [`Quarantine::open`].
    pub(crate) fn open(dir: &Path, generation: u64) -> Result<Self, Error> {
        Ok(Self {
            quarantine: Quarantine::open(dir, generation)?,
            ..Self::default()
        })
    }

    /// What this node says of itself.
    pub(crate) fn report(&self) -> Report {
        Report {
            marks: self.marks.all(),
            quarantine: self.quarantine.reason(),
            quarantines: self.quarantine.entered(),
            is_suspect: self.is_suspect.load(Ordering::Relaxed),
        }
    }

    /// Takes over what peers said; of those that did not answer, what they said before counts no more.
    fn hear(&self, reports: BTreeMap<NodeId, Report>) {
        self.state().peers = reports;
    }

    /// A peer that said that it is in quarantine: it must not be made leader.
    pub(crate) fn is_in_quarantine(&self, peer: NodeId) -> bool {
        let state = self.state();
        state.peers.get(&peer).is_some_and(|report| report.quarantine.is_some())
    }

    /// Raises the alarm.
    fn alarm(&self, text: String) {
        error!("replicas differ: {text}");
        self.alarms.fetch_add(1, Ordering::Relaxed);
        self.state().last_alarm = Some(text);
    }

    /// What is told of it.
    pub(crate) fn soundness(&self) -> Soundness {
        let (quarantines, last_quarantine) = self.quarantine.entered();
        Soundness {
            quarantine: self.quarantine.reason(),
            quarantines,
            last_quarantine,
            alarms: self.alarms.load(Ordering::Relaxed),
            last_alarm: self.state().last_alarm.clone(),
            reseeds: self.reseeds.load(Ordering::Relaxed),
            effect: self.marks.last(Kind::Effect),
            content: self.marks.last(Kind::Content),
            memory: self.marks.last(Kind::Memory),
            check: self.marks.last(Kind::Check),
        }
    }

    /// SQLite met damaged pages here, or a peer found fault with what it was sent: all are to be verified.
    pub(crate) fn suspect(&self) {
        if !self.is_suspect.swap(true, Ordering::Relaxed) {
            warn!("pages of this node's database may be damaged: a verification is asked for");
        }
    }

    /// An entry that asks for a verification was applied.
    fn note_verification(&self) {
        self.is_suspect.store(false, Ordering::Relaxed);
        self.state().verified = Some(Instant::now());
    }

    /// When a verification was last applied here.
    fn last_verification(&self) -> Option<Instant> {
        self.state().verified
    }

    /// Another database has taken the place of this node's, durably.
    pub(crate) fn replaced(&self) {
        self.marks.clear();
        self.is_suspect.store(false, Ordering::Relaxed);
        if let Err(error) = self.quarantine.lift() {
            // It names the generation before, and so means nothing.
            warn!(%error, "a file of a quarantine that is over stays");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a mark is a number of, in words.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Effect => "the effect of the log",
        Kind::Content => "the content",
        Kind::Memory => "what is remembered of keys and loads",
        Kind::Check => "SQLite's check of the pages",
    }
}

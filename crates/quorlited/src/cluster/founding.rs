//! What a node has promised about its cluster, and the answers that follow from it.
//!
//! Shared by the service, which is asked by others, and by the loops that join and bootstrap. The rules are in
//! [`pledge`], the coordinator's side in [`gathering`]; here they meet the disk and the other nodes.
//!
//! Invariant: a promise is on disk before its answer leaves.

pub mod bootstrap;
pub mod file;
pub mod gathering;
pub mod pledge;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::member::Peer;
use tokio::sync;
use tracing::{info, warn};

use super::admission::resolvable;
use super::client::Client;
use super::error::Error;
use super::ledger::Ledger;
use super::message::{Attempt, Notify, PeerRecord, Release, Released};
use gathering::{Event, Gathering};
use pledge::{Pledge, Record, Verdict};

/// How long another node may take to say what became of an attempt.
const CONSULT_TIME_MAX: Duration = Duration::from_secs(1);

/// One node's promises and notes.
#[derive(Debug)]
pub struct Founding {
    me: Peer,
    expect: usize,
    path: PathBuf,
    client: Client,
    pledge: Mutex<Pledge>,
    gathering: Mutex<Gathering>,
    noted: sync::Notify,
}

impl Founding {
    /// Reads the promise file of the data directory `dir`. `expect` is `-bootstrap-expect`; 0 = this node founds nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`], [`Error::Io`].
    pub fn open(dir: &Path, me: Peer, expect: usize, client: Client) -> Result<Self, Error> {
        let path = file::path(dir);
        let record = file::read(&path)?;
        Ok(Self {
            pledge: Mutex::new(Pledge::new(me.id, record)),
            gathering: Mutex::new(Gathering::new(me.clone(), expect)),
            noted: sync::Notify::new(),
            me,
            expect,
            path,
            client,
        })
    }

    /// Another node announced itself.
    ///
    /// # Errors
    ///
    /// Why it cannot be counted, for that node's log.
    pub async fn note(&self, ledger: &dyn Ledger, notify: Notify) -> Result<(), String> {
        let Some(record) = notify.peer.filter(|peer| peer.id != 0) else {
            return Err("a notification without a node".to_owned());
        };
        if self.expect == 0 || ledger.is_initialized() || ledger.leader().is_some() {
            return Ok(());
        }
        if notify.expect != self.expect as u64 {
            return Err(format!(
                "-bootstrap-expect is {} there and {} here: all nodes need the same",
                notify.expect, self.expect
            ));
        }
        if record.id != self.me.id.0 && (record.name == self.me.name || record.address == self.me.address) {
            return Err(format!(
                "node id {} and address {} are those of a node that lives: each node needs its own",
                self.me.name, self.me.address
            ));
        }
        resolvable(&record.address).await?;
        let peer = Peer::from(&record);
        let mut gathering = self.gathering();
        let is_new = !gathering.knows(&peer);
        gathering.on(Event::Noted(peer));
        if is_new {
            info!(name = %record.name, address = %record.address, heard = gathering.heard(), expect = self.expect, "node announced itself");
            self.noted.notify_one();
        }
        Ok(())
    }

    /// Promises this node to `attempt`. Durable on return.
    ///
    /// # Errors
    ///
    /// Why not, for the asking node's log.
    pub async fn promise(&self, ledger: &dyn Ledger, attempt: Attempt) -> Result<(), String> {
        if self.expect == 0 {
            return Err("not started with -bootstrap-expect".to_owned());
        }
        let initialized = || ledger.is_initialized();
        let rule = |pledge: &Pledge, released: Option<&Attempt>| pledge.ask(&attempt, initialized(), released);
        self.bind(attempt.coordinator, rule).await
    }

    /// Answers a request to give an attempt up. Blocks for a flush.
    pub fn release(&self, ledger: &dyn Ledger, release: Release) -> Released {
        let mut pledge = self.pledge();
        let (dead, record) = pledge.release(release, ledger.is_initialized());
        let written = record.is_none_or(|record| self.write(&mut pledge, record).is_ok());
        Released {
            by: self.me.id.0,
            released: dead && written,
        }
    }

    /// Notes durably that this node is about to ask a cluster to take it in, so that it promises nothing meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::Promised`] while a promise stands that may still lead to a cluster.
    pub async fn begin_join(&self, ledger: &dyn Ledger) -> Result<(), Error> {
        if ledger.is_initialized() {
            return Ok(());
        }
        let bound = self.bind(0, |pledge, released| pledge.join(released)).await;
        bound.map_err(|why| self.promised(why))
    }

    /// Nobody took this node in: it may promise again. Blocks for a flush.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub fn end_join(&self) -> Result<(), Error> {
        let mut pledge = self.pledge();
        if !pledge.record().joining {
            return Ok(());
        }
        let record = Record {
            joining: false,
            ..pledge.record().clone()
        };
        self.write(&mut pledge, record)
    }

    /// Forms a cluster of this node alone.
    ///
    /// # Errors
    ///
    /// [`Error::Joining`], [`Error::Promised`], and the store's.
    pub async fn initialize_alone(&self, ledger: &dyn Ledger) -> Result<(), Error> {
        if self.pledge().record().joining {
            return Err(Error::Joining(self.path.clone()));
        }
        let bound = self.bind(0, |pledge, released| pledge.free(released)).await;
        bound.map_err(|why| self.promised(why))?;
        Ok(ledger.initialize(vec![self.me.clone()]).await?)
    }

    /// Forms the cluster of `attempt`, of which this node is the coordinator; false if it has been given up.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn initialize(&self, ledger: &dyn Ledger, attempt: &Attempt) -> Result<bool, Error> {
        if !self.pledge().begin(attempt) {
            return Ok(false);
        }
        let voters = attempt.voters.iter().map(Peer::from).collect();
        let initialized = ledger.initialize(voters).await;
        if initialized.is_err() && !ledger.is_initialized() {
            self.pledge().failed();
        }
        initialized?;
        Ok(true)
    }

    /// Applies a rule: writes what it grants, and consults others about the promise that stands in its way.
    async fn bind<F>(&self, rival: u64, rule: F) -> Result<(), String>
    where
        F: Fn(&Pledge, Option<&Attempt>) -> Verdict,
    {
        let mut released = None;
        for _ in 0..2 {
            let held = {
                let mut pledge = self.pledge();
                match rule(&pledge, released.as_ref()) {
                    Verdict::Held => return Ok(()),
                    Verdict::Grant(record) => {
                        return self.write(&mut pledge, record).map_err(|error| error.to_string());
                    }
                    Verdict::Consult(held) => held,
                    Verdict::Refuse(why) => return Err(why),
                }
            };
            self.consult(&held, rival).await?;
            released = Some(held);
        }
        Err("its promise changed meanwhile".to_owned())
    }

    /// Finds out whether `held`, another node's attempt, is dead.
    async fn consult(&self, held: &Attempt, rival: u64) -> Result<(), String> {
        let Some(coordinator) = held.voters.iter().find(|voter| voter.id == held.coordinator) else {
            return Err("its promise names no coordinator".to_owned());
        };
        let release = Release {
            coordinator: held.coordinator,
            round: held.round,
            rival,
        };
        let answer = self
            .client
            .release(&coordinator.address, release, CONSULT_TIME_MAX)
            .await;
        match answer {
            Ok(answer) if answer.by != held.coordinator => self.all_uninitialized(held).await,
            Ok(answer) if answer.released => Ok(()),
            Ok(_) => Err(format!("promised to the set of {}, which stands", coordinator.address)),
            Err(error) => Err(format!("promised to the set of {}: {error}", coordinator.address)),
        }
    }

    /// The coordinator of `held` is gone. Whatever it may have begun is gone too, unless another voter took part.
    async fn all_uninitialized(&self, held: &Attempt) -> Result<(), String> {
        let others = |voter: &&PeerRecord| voter.id != held.coordinator && voter.id != self.me.id.0;
        for voter in held.voters.iter().filter(others) {
            let asked = self.client.describe(&voter.address, CONSULT_TIME_MAX).await;
            let description = asked.map_err(|error| format!("promised to a set with {}: {error}", voter.address))?;
            let same = description.peer.is_some_and(|peer| peer.id == voter.id);
            if same && description.initialized {
                return Err(format!(
                    "promised to a set of which {} has become a member",
                    voter.address
                ));
            }
        }
        Ok(())
    }

    /// The flush is short, rare, and must come before anything else happens to the promise: it runs under the lock.
    fn write(&self, pledge: &mut Pledge, record: Record) -> Result<(), Error> {
        if let Err(error) = file::write(&self.path, &record) {
            warn!(path = %self.path.display(), %error, "promise not written");
            pledge.not_written();
            return Err(error);
        }
        pledge.written(record);
        Ok(())
    }

    fn promised(&self, why: String) -> Error {
        let pledge = self.pledge();
        let coordinator = pledge.record().promise.as_ref().and_then(|held| {
            let found = held.voters.iter().find(|voter| voter.id == held.coordinator);
            found.map(|voter| voter.address.clone())
        });
        Error::Promised {
            coordinator: coordinator.unwrap_or_else(|| self.me.address.clone()),
            why,
            path: self.path.clone(),
        }
    }

    fn pledge(&self) -> MutexGuard<'_, Pledge> {
        self.pledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gathering(&self) -> MutexGuard<'_, Gathering> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

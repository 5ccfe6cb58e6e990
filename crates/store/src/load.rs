//! Whole databases into the cluster: piece by piece through the log, or around it into a lone node
//! (docs/decisions/0003-load.md).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use command::entry::{Action, Chunk, Command, Form, Load};
use command::reply::Reply;
use command::request::Key;
use log::Log;

use sqlite::load::{self, Upload};
use sqlite::meta::Position;
use sqlite::staging::Use;
use sqlite::{Building, Generation, staging};
use tokio::time::Instant;
use tracing::info;

use crate::apply::{Applier, Generations};
use crate::consensus::codec;
use crate::consensus::types::EntryPayload;
use crate::databases::{Databases, blocking};
use crate::error::Error;
use crate::keeper;
use crate::node::Node;

/// Bytes of log that are looked through at a time after a restart.
const LOOK_BYTES: usize = 4 * 1024 * 1024;

/// How long the log may take to be purged after a boot, before the boot is answered all the same.
const PURGE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How many times as long as a piece took a load then waits, if others write meanwhile: two flushes of three are theirs
/// alone, without 128 KiB of somebody else's before them.
const YIELD: u32 = 2;

/// The longest that a load waits between two pieces: on a node that others keep busy it still gets on.
const YIELD_MAX: Duration = Duration::from_millis(100);

const NOT_ALONE: &str = "not single-node";

/// The end of a load, as it is asked for.
#[derive(Clone, Debug)]
pub struct Loading {
    /// The load's number.
    pub load: u64,
    /// Bytes of the whole.
    pub bytes: u64,
    /// What it is, and what becomes of it.
    pub form: Form,
    /// Makes a retry harmless.
    pub key: Option<Key>,
}

/// A file that arrives for `/boot`.
pub struct Boot {
    /// Its bytes.
    pub upload: Upload,
    load: u64,
}

impl Node {
    /// A number for a load of its own.
    pub fn draw_load(&self) -> u64 {
        self.inner.environment.random.next()
    }

    /// Gathers a piece of a load on every node (leader only). Sent again, it changes nothing. Takes its time while others
    /// write.
    ///
    /// # Errors
    ///
    /// As [`Node::write`].
    pub async fn gather(&self, chunk: Chunk, timeout: Duration) -> Result<Reply, Error> {
        self.inner.disk.check()?;
        let (began, taken) = (Instant::now(), self.inner.budget.taken());
        let reply = self.propose(Command::new(Some(Action::Chunk(chunk))), timeout).await?;
        if self.inner.budget.taken() > taken + 1 {
            tokio::time::sleep((began.elapsed() * YIELD).min(YIELD_MAX)).await;
        }
        Ok(reply)
    }

    /// Loads what was gathered, or gives it up (leader only). A file is checked first, which takes as long as reading it.
    ///
    /// # Errors
    ///
    /// As [`Node::write`]. That a file is no database of ours is in the reply.
    pub async fn load(&self, loading: Loading, timeout: Duration) -> Result<Reply, Error> {
        self.inner.core.ensure_leading()?;
        if loading.form == Form::File {
            // What was gathered while another node led is applied here before this is.
            self.propose(Command::new(None), timeout).await?;
            if let Some(why) = self.unfit(&loading).await? {
                let given_up = Loading {
                    form: Form::Nothing,
                    ..loading
                };
                self.propose_load(given_up, timeout).await?;
                return Ok(Reply::failed(why, "load_refused"));
            }
        }
        self.propose_load(loading, timeout).await
    }

    /// Why what was gathered cannot be loaded; `None` when it can, or when the log will say why not.
    async fn unfit(&self, loading: &Loading) -> Result<Option<String>, Error> {
        let stopped = |_| Error::Stopped("the node is closing".to_owned());
        let _check = self.inner.checks.acquire().await.map_err(stopped)?;
        if !self.has_gathered(loading).await? {
            return Ok(None);
        }
        let (databases, load) = (self.inner.databases.clone(), loading.load);
        let checked = blocking(self.inner.environment.runner, move || {
            let path = staging::path(&databases.home_folder(), load);
            let _use = Use::begin(&path);
            load::validate(&path, databases.options())
        });
        match checked.await? {
            Ok(()) => Ok(None),
            // Another end of the same load came first, and took the file away.
            Err(_) if !self.has_gathered(loading).await? => Ok(None),
            Err(unfit @ sqlite::Error::Unfit(_)) => Ok(Some(unfit.to_string())),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether all of a load is gathered here.
    async fn has_gathered(&self, loading: &Loading) -> Result<bool, Error> {
        let load = loading.load;
        let gathered = self.inner.executor.run(move |applier| applier.gathered(load)).await;
        Ok(gathered.map_err(|error| Error::Stopped(error.to_string()))?? == Some(loading.bytes))
    }

    async fn propose_load(&self, loading: Loading, timeout: Duration) -> Result<Reply, Error> {
        let load = Load {
            load: loading.load,
            bytes: loading.bytes,
            form: loading.form.into(),
            clock_us: self.inner.environment.clock.now_us(),
            seed: self.inner.environment.random.next(),
            key: loading.key,
        };
        self.propose(Command::new(Some(Action::Load(load))), timeout).await
    }

    fn ensure_lone_leader(&self) -> Result<(), Error> {
        self.inner.core.ensure_followed()?;
        if self.members().len() > 1 {
            return Err(Error::Membership(NOT_ALONE.to_owned()));
        }
        Ok(())
    }

    /// Begins to receive a file for [`Node::boot`].
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`]; [`Error::Membership`] in a cluster of several nodes; [`sqlite::Error::Io`].
    pub fn begin_boot(&self) -> Result<Boot, Error> {
        self.ensure_lone_leader()?;
        let load = self.draw_load();
        let upload = Upload::new(staging::path(&self.inner.databases.home_folder(), load))?;
        Ok(Boot { upload, load })
    }

    /// Puts a file in the place of this lone node's database, around the log: then the log is purged, so that whoever
    /// joins later is sent what was booted.
    ///
    /// # Errors
    ///
    /// [`Error::NotLeader`]; [`Error::Membership`] in a cluster of several nodes; [`sqlite::Error::Unfit`]; as
    /// [`Node::write`].
    pub async fn boot(&self, boot: Boot, timeout: Duration) -> Result<(), Error> {
        self.ensure_lone_leader()?;
        let databases = self.inner.databases.clone();
        let bytes = boot.upload.bytes();
        let checked = blocking(self.inner.environment.runner, move || {
            boot.upload.finish(databases.options())
        });
        checked.await??;
        let loading = Loading {
            load: boot.load,
            bytes,
            form: Form::Boot,
            key: None,
        };
        let reply = self.propose_load(loading, timeout).await?;
        if let Some(failure) = reply.error {
            return Err(Error::Membership(failure.message));
        }
        info!(bytes, index = reply.index, "booted");
        keeper::purge_through(&self.inner, reply.index).await?;
        let purged = self.inner.core.until(|metrics| {
            let at = metrics.purged.as_ref().map_or(0, |at| at.index);
            (at >= reply.index).then_some(())
        });
        // Purged or not: a joiner that is sent the log up to here stops at the entry, and is sent the database then.
        let _ = tokio::time::timeout(PURGE_WAIT_MAX, purged).await;
        Ok(())
    }
}

impl Generations for Databases {
    fn home(&self) -> PathBuf {
        self.home_folder()
    }

    fn begin(&self) -> Result<Building, sqlite::Error> {
        Self::begin(self)
    }

    fn switch(&self, building: Building) -> Result<Generation, sqlite::Error> {
        Self::switch(self, building)
    }

    fn is_lone(&self, membership: &[u8]) -> bool {
        // Written by this program; what it could not read would be found at start.
        codec::stored_membership(membership).is_ok_and(|stored| stored.membership().nodes().count() == 1)
    }
}

/// Lets `applier` serve loads, and gathers again what the log still holds of those that were under way.
///
/// # Errors
///
/// What log and disk report.
pub(crate) fn resume(applier: &mut Applier, databases: &Arc<Databases>, log: &Log) -> Result<(), Error> {
    applier.serve_loads(databases.clone());
    if !applier.has_loads()? {
        return Ok(());
    }
    let applied = applier.applied().position.map_or(0, |at| at.index);
    let state = log.state();
    let (mut next, last) = (
        state.purged.map_or(0, |at| at.index) + 1,
        state.last.map_or(0, |at| at.index),
    );
    let mut awaited = Vec::new();
    while next <= last {
        let records = log.read(next..last + 1, LOOK_BYTES)?;
        let Some(record) = records.last() else { break };
        next = record.position.index + 1;
        for record in records {
            let at = Position {
                term: record.position.term,
                index: record.position.index,
            };
            let entry = codec::entry(at, record.bytes).map_err(|source| Error::Io {
                what: format!("read entry {} of the log", at.index),
                source,
            })?;
            let EntryPayload::Normal(proposal) = &entry.payload else {
                continue;
            };
            match &proposal.command().action {
                Some(Action::Chunk(chunk)) if at.index <= applied => applier.gather_again(chunk)?,
                Some(Action::Load(load)) if at.index > applied => awaited.push(load.load),
                Some(
                    Action::Chunk(_)
                    | Action::Load(_)
                    | Action::Write(_)
                    | Action::Skip(_)
                    | Action::Settings(_)
                    | Action::Verify(_),
                )
                | None => {}
            }
        }
    }
    applier.sweep_loads(&awaited)?;
    Ok(())
}

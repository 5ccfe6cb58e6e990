//! What a node does at start, so that the same command line serves first start, restart and later growth.
//!
//! ```text
//!  -join, -bootstrap-expect or discovery ──► bootstrap loop
//!  -join alone                           ──► explicit join
//!  neither, with state                   ──► resume
//!  neither, without state                ──► voter: a cluster of its own; read replica: refused
//! ```

use std::sync::Arc;
use std::time::Duration;

use store::environment::Random;

use super::client::Client;
use super::error::Error;
use super::founding::Founding;
use super::founding::bootstrap::{Bootstrap, Targets};
use super::join::{self, Attempts};
use super::ledger::Ledger;
use super::probe;

/// How this node comes into a cluster.
pub enum Plan {
    /// As it was, or alone.
    Resume,
    /// Through given addresses (`-join`).
    Join(Attempts),
    /// With others (`-bootstrap-expect`, DNS discovery).
    Bootstrap {
        /// Where the others may be.
        targets: Arc<dyn Targets>,
        /// Give up after this (`-bootstrap-expect-timeout`).
        timeout: Duration,
    },
}

/// Brings a node into its cluster; once, at start.
pub struct Formation {
    /// The node.
    pub ledger: Arc<dyn Ledger>,
    /// Its promises.
    pub founding: Arc<Founding>,
    /// Asks the others.
    pub client: Client,
    /// Spreads the rounds of nodes that started together.
    pub random: Arc<dyn Random>,
    /// A voter; a read replica otherwise (`-raft-non-voter`).
    pub voter: bool,
}

impl Plan {
    /// The plan that the flags ask for; a lone `-bootstrap-expect` asks for nothing.
    ///
    /// The `expect` of [`Founding::open`] must be 0 unless this gives [`Plan::Bootstrap`].
    pub fn from_flags(attempts: Attempts, expect: usize, timeout: Duration) -> Self {
        if attempts.targets.is_empty() {
            Self::Resume
        } else if expect == 0 {
            Self::Join(attempts)
        } else {
            Self::Bootstrap {
                targets: Arc::new(attempts.targets),
                timeout,
            }
        }
    }
}

impl Formation {
    /// Carries the plan out. Returns once the node is in a cluster; that it is ready is another matter.
    ///
    /// # Errors
    ///
    /// Those that end the process: [`Error::HttpAddress`], [`Error::Alone`], [`Error::ReplicaAlone`],
    /// [`Error::NotJoined`], [`Error::NotFormed`], [`Error::Promised`], [`Error::Joining`].
    pub async fn run(self, plan: Plan) -> Result<(), Error> {
        match plan {
            Plan::Resume if self.ledger.is_initialized() => Ok(()),
            Plan::Resume if self.voter => self.founding.initialize_alone(&*self.ledger).await,
            Plan::Resume => Err(Error::ReplicaAlone),
            Plan::Join(attempts) => {
                probe::refuse_http(&attempts.targets).await?;
                join::join(&*self.ledger, &self.founding, &self.client, self.voter, &attempts).await
            }
            Plan::Bootstrap { targets, timeout } => {
                let listed = targets.look_up().await.unwrap_or_default();
                probe::refuse_http(&listed).await?;
                let bootstrap = Bootstrap {
                    ledger: self.ledger,
                    founding: self.founding,
                    client: self.client,
                    random: self.random,
                    targets,
                    voter: self.voter,
                    timeout,
                };
                bootstrap.run().await
            }
        }
    }
}

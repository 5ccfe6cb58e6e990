//! The bootstrap loop: until this node is in a cluster, look for one to join, and otherwise help to form one.
//!
//! ```text
//!  round:  leader known? done ──► does a target know a leader? join ──► notify all ──► gather ──► pause, 1 to 2 s
//!                                                                                        (less when a node announces itself)
//! ```
//!
//! Joining is always preferred to forming. A read replica only joins.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use store::environment::Random;
use store::transport::BoxFuture;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::Founding;
use super::gathering::{Action, Event};
use crate::cluster::client::Client;
use crate::cluster::error::Error;
use crate::cluster::join;
use crate::cluster::ledger::Ledger;
use crate::cluster::message::{Attempt, Join, Notify};
use store::member::Peer;

/// How long a target may take to say who it is.
const DESCRIBE_TIME_MAX: Duration = Duration::from_secs(1);

/// How long a target may take to note or to promise. It may have to ask others first.
const NOTIFY_TIME_MAX: Duration = Duration::from_secs(5);

/// How often a pausing loop looks whether a leader is known.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Where other nodes may be found.
pub trait Targets: Send + Sync + 'static {
    /// Their inter-node addresses, now.
    fn look_up(&self) -> BoxFuture<'_, io::Result<Vec<String>>>;
}

impl Targets for Vec<String> {
    fn look_up(&self) -> BoxFuture<'_, io::Result<Vec<String>>> {
        Box::pin(async { Ok(self.clone()) })
    }
}

/// The loop, with all that it needs.
pub struct Bootstrap {
    /// The node.
    pub ledger: Arc<dyn Ledger>,
    /// Its promises.
    pub founding: Arc<Founding>,
    /// Asks the others.
    pub client: Client,
    /// Spreads the rounds of nodes that started together.
    pub random: Arc<dyn Random>,
    /// Where the others may be.
    pub targets: Arc<dyn Targets>,
    /// A voter; a read replica otherwise.
    pub voter: bool,
    /// Give up after this.
    pub timeout: Duration,
}

impl Bootstrap {
    /// Runs until this node is in a cluster.
    ///
    /// # Errors
    ///
    /// [`Error::NotFormed`] after the time limit, and what the disk and the store report.
    pub async fn run(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.timeout;
        while self.ledger.leader().is_none() {
            let targets = self.targets.look_up().await.unwrap_or_else(|error| {
                warn!(%error, "look-up of nodes failed");
                Vec::new()
            });
            if self.join(&targets).await? {
                return Ok(());
            }
            if self.voter && !targets.is_empty() && !self.ledger.is_initialized() {
                self.notify(&targets).await;
                self.gather(targets.len()).await?;
            }
            if Instant::now() >= deadline {
                let gathering = self.founding.gathering();
                return Err(Error::NotFormed {
                    seconds: self.timeout.as_secs(),
                    heard: gathering.heard(),
                    expect: self.founding.expect,
                });
            }
            self.pause(deadline).await;
        }
        Ok(())
    }

    /// Joins through the first target that knows a leader. Who knows none is not asked to take this node in.
    async fn join(&self, targets: &[String]) -> Result<bool, Error> {
        let me = self.ledger.peer();
        let others = targets.iter().filter(|target| **target != me.address);
        let asked = others.map(async |target| {
            let described = self.client.describe(target, DESCRIBE_TIME_MAX).await;
            match described {
                Ok(description) if description.leader.is_some() => Some(target),
                Ok(_) => None,
                Err(error) => {
                    debug!(%target, %error, "target does not answer");
                    None
                }
            }
        });
        let wish = Join {
            peer: Some((&me).into()),
            voter: self.voter,
            settings: Some(self.ledger.settings()),
        };
        for target in join_all(asked).await.into_iter().flatten() {
            match join::through(&*self.ledger, &self.founding, &self.client, target, &wish).await {
                Ok(leader) => {
                    info!(%leader, "joined cluster");
                    return Ok(true);
                }
                Err(error @ Error::Io { .. }) => return Err(error),
                // A founding voter need not join: its cluster's leader will call.
                Err(error @ Error::Promised { .. }) => debug!(%target, %error, "waiting for the founded cluster"),
                Err(error) => warn!(%target, %error, "join failed"),
            }
        }
        Ok(false)
    }

    async fn notify(&self, targets: &[String]) {
        let me = self.ledger.peer();
        let notify = Notify {
            peer: Some((&me).into()),
            expect: self.founding.expect as u64,
        };
        let others = targets.iter().filter(|target| **target != me.address);
        let told = others.map(async |target| {
            if let Err(error) = self.client.notify(target, notify.clone(), NOTIFY_TIME_MAX).await {
                debug!(%target, %error, "notification failed");
            }
        });
        join_all(told).await;
    }

    async fn gather(&self, targets: usize) -> Result<(), Error> {
        let attempt = self.founding.pledge().round_next();
        let mut actions = self.founding.gathering().on(Event::Round { targets, attempt });
        while !actions.is_empty() {
            let mut events = Vec::new();
            let mut asks = Vec::new();
            for action in actions {
                match action {
                    Action::Ask(peer, attempt) => asks.push(self.ask(peer, attempt)),
                    Action::Initialize(attempt) => events.extend(self.initialize(attempt).await?),
                }
            }
            events.extend(join_all(asks).await.into_iter().flatten());
            let mut gathering = self.founding.gathering();
            actions = events.into_iter().flat_map(|event| gathering.on(event)).collect();
        }
        Ok(())
    }

    async fn ask(&self, peer: Peer, attempt: Attempt) -> Option<Event> {
        let round = attempt.round;
        let promised = if peer.id == self.ledger.peer().id {
            self.founding.promise(&*self.ledger, attempt).await
        } else {
            let asked = self.client.promise(&peer, attempt, NOTIFY_TIME_MAX).await;
            asked.map_err(|error| error.to_string())
        };
        match promised {
            Ok(()) => Some(Event::Promised {
                by: peer.id,
                attempt: round,
            }),
            Err(why) => {
                info!(name = %peer.name, address = %peer.address, %why, "founding promise not given");
                None
            }
        }
    }

    async fn initialize(&self, attempt: Attempt) -> Result<Option<Event>, Error> {
        if self.founding.initialize(&*self.ledger, &attempt).await? {
            info!(voters = attempt.voters.len(), "cluster formed");
            return Ok(None);
        }
        Ok(Some(Event::GivenUp))
    }

    /// One to two seconds, or until a node announces itself, a leader is known, or time is up.
    async fn pause(&self, deadline: Instant) {
        let spread = Duration::from_micros(self.random.next() % 1_000_000);
        let until = deadline.min(Instant::now() + Duration::from_secs(1) + spread);
        while Instant::now() < until && self.ledger.leader().is_none() {
            let noted = self.founding.noted.notified();
            if tokio::time::timeout(LOOK_INTERVAL, noted).await.is_ok() {
                return;
            }
        }
    }
}

//! Clients of the oracle: they send what the grammar makes, to whatever node, and note what they are told.

use std::sync::Arc;
use std::time::Duration;

use command::reply::{OutcomeKind, Reply};
use command::request::{ClientKey, Key, KeyOrigin};
use store::Error;

use crate::chance::{Chance, lock};
use crate::client::is_refusal;
use crate::machine::Running;
use crate::network::MachineId;
use crate::oracle::grammar::Draft;
use crate::oracle::{Contents, Sight, ask};
use crate::world::World;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Attempts of one request before its client gives up.
const ATTEMPTS_MAX: u64 = 12;

/// A node's last entry, from its own table.
const INDEX: &str = "SELECT idx FROM sqlite_quorlite";

/// A client.
pub struct Client {
    world: Arc<World>,
    chance: Chance,
    id: u64,
    sequence: u64,
    /// Where it last found the leader.
    favourite: MachineId,
}

/// What one attempt came to.
enum Attempt {
    Done(Reply),
    Refused,
    Unknown,
}

impl Client {
    /// The client numbered `id`.
    pub fn new(world: Arc<World>, id: u64) -> Client {
        let chance = Chance::new(world.plan.seed, &format!("oracle's client {id}"));
        Client {
            world,
            chance,
            id,
            sequence: 0,
            favourite: 0,
        }
    }

    /// Works until the world is no longer chaotic.
    pub async fn run(mut self) {
        while self.world.is_chaotic() {
            if self.chance.one_in(15) {
                self.look();
            } else {
                self.send().await;
            }
            let pause = self.chance.millis(1, self.world.plan.think_ms);
            tokio::time::sleep(pause).await;
        }
    }

    /// Sends one request until its outcome is certain, or nobody can know it; under a key now and then, and then again.
    async fn send(&mut self) {
        self.sequence += 1;
        let draft = lock(&self.world.oracle.grammar).draft();
        let key = self.chance.one_in(6).then(|| self.key());
        let again = if key.is_some() && self.chance.one_in(3) { 2 } else { 1 };
        for _ in 0..again {
            let Some(reply) = self.attempts(&draft, key.as_ref()).await else {
                continue;
            };
            self.told(&draft, reply);
        }
        if key.is_some() {
            self.world.counts.add("requests with a key");
        }
    }

    fn key(&self) -> Key {
        let key = ClientKey {
            key: format!("oracle {}-{}", self.id, self.sequence),
            body_hash: self.sequence,
        };
        Key {
            origin: Some(KeyOrigin::Client(key)),
        }
    }

    fn told(&mut self, draft: &Draft, reply: Reply) {
        let counts = &self.world.counts;
        counts.add("acknowledged");
        counts.add_many("statements", draft.statements.len() as u64);
        for kind in &draft.kinds {
            counts.add(kind);
        }
        let errors = errors(&reply);
        counts.add_many("failed statements", errors.len() as u64);
        lock(&self.world.oracle.grammar).learn(draft, &errors);
        let text: Vec<&str> = draft
            .statements
            .iter()
            .map(|statement| statement.sql.as_str())
            .collect();
        let line = format!("{text:?} at {}: {errors:?}", reply.index);
        self.world.trace.line(&format!("c{}", self.id), line);
        self.world.oracle.answer(draft.clone(), reply);
    }

    async fn attempts(&mut self, draft: &Draft, key: Option<&Key>) -> Option<Reply> {
        for attempt in 0..ATTEMPTS_MAX {
            let machine = if attempt == 0 {
                self.favourite
            } else {
                self.chance.index(self.world.machines.len())
            };
            match self.attempt(machine, draft, key).await {
                Attempt::Done(reply) => return Some(reply),
                Attempt::Refused => {
                    let pause = self.chance.millis(5, 150);
                    tokio::time::sleep(pause).await;
                }
                Attempt::Unknown if key.is_none() => {
                    self.world.counts.add("outcomes unknown");
                    return None;
                }
                Attempt::Unknown => {}
            }
        }
        None
    }

    async fn attempt(&mut self, machine: MachineId, draft: &Draft, key: Option<&Key>) -> Attempt {
        let Some(Running { life, node, .. }) = self.world.machines[machine].running() else {
            return Attempt::Refused;
        };
        self.world.machines[machine].moving().await;
        let mut write = node.stamp(draft.statements.clone(), draft.kind, draft.is_atomic);
        write.key = key.cloned();
        let result = tokio::select! {
            biased;
            _ = life.died() => return Attempt::Unknown,
            result = node.write(write, PATIENCE) => result,
        };
        self.world.machines[machine].moving().await;
        if !life.is_alive() {
            return Attempt::Unknown;
        }
        match result {
            Ok(reply) => {
                self.favourite = machine;
                Attempt::Done(reply)
            }
            Err(Error::NotLeader { leader }) => {
                if let Some(leader) = leader {
                    self.favourite = self.world.machine_at(&leader.address).unwrap_or(self.favourite);
                }
                Attempt::Refused
            }
            Err(error) if is_refusal(&error) => Attempt::Refused,
            Err(_) => Attempt::Unknown,
        }
    }

    /// Looks at everything that some node holds.
    fn look(&mut self) {
        let machine = self.chance.index(self.world.machines.len());
        let Some(running) = self.world.machines[machine].running() else {
            return;
        };
        match sight(&running) {
            Ok(Some(sight)) if running.life.is_alive() => self.world.oracle.sight(sight),
            Err(error) if running.life.is_alive() && !running.life.may_stop() => {
                self.world
                    .fail(format!("a look at {} failed: {error}", running.life.name));
            }
            Ok(_) | Err(_) => {}
        }
    }
}

/// Everything that a node holds; nothing before its first entry.
///
/// # Errors
///
/// What the node said.
pub fn sight(running: &Running) -> Result<Option<Sight>, String> {
    // Nothing is applied between the queries: apply runs on this thread, and none of them waits.
    let mut ask = |query: &str| ask::rows(&running.node, query);
    let index = ask(INDEX)?;
    let contents = Contents::of(&mut ask)?;
    let value = index.first().and_then(|row| row.cells.first()?.value.clone());
    let Some(command::statement::Value::Integer(index)) = value else {
        return Ok(None);
    };
    Ok(Some(Sight {
        node: running.life.name.clone(),
        index: index.cast_unsigned(),
        contents,
    }))
}

/// Everything that went wrong in a request.
pub fn errors(reply: &Reply) -> Vec<String> {
    let of_statements = reply.outcomes.iter().filter_map(|outcome| match &outcome.kind {
        Some(OutcomeKind::Error(text)) => Some(text.clone()),
        Some(OutcomeKind::Rows(rows)) => rows.error.clone(),
        Some(OutcomeKind::Changes(_)) | None => None,
    });
    let of_request = reply.error.iter().map(|failure| failure.message.clone());
    of_statements.chain(of_request).collect()
}

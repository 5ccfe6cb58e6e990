//! Clients: each does one thing after the other, on whatever node it likes, and believes what it is told.
//!
//! A client never hears a dead process: what was in flight when its node died has an unknown outcome. A write that was
//! refused for certain is sent again, so that a refusal that lied shows as a row that is there twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use command::reply::{OutcomeKind, Reply};
use command::request::{ClientKey, Key, KeyOrigin, Kind};
use command::statement::{Statement, Value};
use store::Error;
use store::read::{Level, ReadRequest};

use crate::chance::Chance;
use crate::exotic;
use crate::history::{Effect, Moment, Outcome, Read, Write, WriteId};
use crate::machine::Running;
use crate::network::MachineId;
use crate::sql;
use crate::workload::{self, Base};
use crate::world::World;

mod lists;
mod registers;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Attempts of one write before its client gives up.
const ATTEMPTS_MAX: u64 = 12;

/// How most writes are sent.
const ATOMIC: (Kind, bool) = (Kind::Execute, true);

/// A client.
pub struct Client {
    world: Arc<World>,
    chance: Chance,
    id: u64,
    sequence: u64,
    /// Where it last found the leader.
    favourite: MachineId,
    /// The highest index that it was told.
    seen: u64,
    /// What it wrote under a key and was told to be done.
    kept: Vec<Write>,
    /// What it last saw in each register.
    known: BTreeMap<u64, i64>,
    /// Transactions on lists so far.
    transactions: u64,
    /// The database of the leader that answered last may be damaged.
    is_doubtful: bool,
}

/// What one attempt came to.
enum Attempt {
    Done(Reply),
    /// In the log for certain; but the leader that answered may have a damaged database, and so may its reply be wrong.
    Doubtful(Reply),
    Refused,
    Unknown,
}

/// What all attempts of one write came to.
enum Settled {
    /// It was answered; `is_certain` when no attempt before that had an unknown outcome.
    Done {
        reply: Reply,
        is_certain: bool,
    },
    /// See [`Attempt::Doubtful`].
    Doubtful(Reply),
    Refused,
    Unknown,
}

impl Client {
    /// The client numbered `id`.
    pub fn new(world: Arc<World>, id: u64) -> Client {
        let chance = Chance::new(world.plan.seed, &format!("client {id}"));
        let seen = world.formed_at();
        Client {
            world,
            chance,
            id,
            sequence: 0,
            favourite: 0,
            seen,
            kept: Vec::new(),
            known: BTreeMap::new(),
            transactions: 0,
            is_doubtful: false,
        }
    }

    /// Works until the world is no longer chaotic.
    pub async fn run(mut self) {
        while self.world.is_chaotic() {
            match self.chance.weighted(&[
                (50, 0),
                (22, 1),
                (10, 2),
                (5, 3),
                (1, 4),
                (12, 5),
                (6, 6),
                (30, 7),
                (20, 8),
            ]) {
                0 => self.write().await,
                1 => self.read(true).await,
                2 => self.read(false).await,
                3 => self.bulk().await,
                4 => self.vacuum().await,
                6 => self.write_again().await,
                7 => self.register().await,
                8 => self.transact().await,
                _ => self.exotic().await,
            }
            let pause = self.chance.millis(1, self.world.plan.think_ms);
            tokio::time::sleep(pause).await;
        }
    }

    async fn write(&mut self) {
        self.sequence += 1;
        let id = WriteId {
            client: self.id,
            sequence: self.sequence,
        };
        let effect = Base::default().effect(&mut self.chance);
        let key = self.chance.one_in(3).then(|| key(id));
        let is_keyed = key.is_some();
        let begin = self.world.trace.tick();
        let outcome = self.attempts(workload::statements(id, effect), key, effect).await;
        let end = self.world.trace.tick();
        if let Outcome::Acknowledged { index, .. } = outcome {
            self.seen = self.seen.max(index);
            self.world.counts.add("acknowledged");
        }
        let told = match outcome {
            Outcome::Acknowledged {
                index,
                value: Some(value),
            } => format!("acknowledged at {index}, value {value}"),
            Outcome::Acknowledged { index, value: None } => format!("acknowledged at {index}"),
            Outcome::Refused => "refused".to_owned(),
            Outcome::Unknown => "unknown".to_owned(),
        };
        let keyed = if is_keyed { " with key" } else { "" };
        let line = format!("write {}-{} {effect:?}{keyed}: {told}", id.client, id.sequence);
        self.world.trace.line(&format!("c{}", self.id), line);
        let write = Write {
            id,
            effect,
            begin,
            end,
            outcome,
        };
        if is_keyed && matches!(outcome, Outcome::Acknowledged { .. }) && !self.is_doubtful {
            self.kept.push(write.clone());
        }
        self.world.history.write(write);
    }

    /// Sends once more what was acknowledged long ago under a key: it is answered as it was then, and not done.
    async fn write_again(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let Write {
            id, effect, outcome, ..
        } = self.chance.pick(&self.kept).clone();
        let again = self.attempt(self.favourite, workload::statements(id, effect), ATOMIC, Some(key(id)));
        let Attempt::Done(reply) = again.await else { return };
        self.world.counts.add("keys used again");
        let value = |outcome| match outcome {
            Outcome::Acknowledged { value, .. } => Some(value),
            Outcome::Refused | Outcome::Unknown => None,
        };
        let answered = self::outcome(&reply, effect, true);
        if value(answered) != value(outcome) {
            self.world.fail(format!(
                "write {}-{} was answered {outcome:?}, and under the same key {answered:?}",
                id.client, id.sequence
            ));
        }
    }

    /// Sends a write until its outcome is certain, or nobody can know it.
    async fn attempts(&mut self, statements: Vec<Statement>, key: Option<Key>, effect: Effect) -> Outcome {
        match self.settle(statements, Kind::Execute, key).await {
            Settled::Done { reply, is_certain } => outcome(&reply, effect, is_certain),
            Settled::Doubtful(reply) => doubtful(&reply, effect),
            Settled::Refused => Outcome::Refused,
            Settled::Unknown => Outcome::Unknown,
        }
    }

    async fn settle(&mut self, statements: Vec<Statement>, kind: Kind, key: Option<Key>) -> Settled {
        let mut is_certain = true;
        self.is_doubtful = false;
        for attempt in 0..ATTEMPTS_MAX {
            let machine = if attempt == 0 && !self.chance.one_in(10) {
                self.favourite
            } else {
                self.anywhere()
            };
            let sent = self.attempt(machine, statements.clone(), (kind, true), key.clone());
            match sent.await {
                Attempt::Done(reply) => return Settled::Done { reply, is_certain },
                Attempt::Doubtful(reply) => {
                    self.is_doubtful = true;
                    return Settled::Doubtful(reply);
                }
                Attempt::Refused => {
                    let pause = self.chance.millis(5, 150);
                    tokio::time::sleep(pause).await;
                }
                Attempt::Unknown if key.is_none() => return Settled::Unknown,
                // The key makes another attempt harmless, whatever became of this one.
                Attempt::Unknown => is_certain = false,
            }
        }
        if is_certain { Settled::Refused } else { Settled::Unknown }
    }

    async fn attempt(
        &mut self,
        machine: MachineId,
        statements: Vec<Statement>,
        (kind, is_atomic): (Kind, bool),
        key: Option<Key>,
    ) -> Attempt {
        let Some(running) = self.world.machines[machine].running() else {
            return Attempt::Refused;
        };
        let Running { life, node, .. } = running;
        self.world.machines[machine].moving().await;
        let may_lie = self.world.machines[machine].may_lie();
        let mut write = node.stamp(statements, kind, is_atomic);
        write.key = key;
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
                if may_lie || self.world.machines[machine].may_lie() {
                    self.world.counts.add("doubtful answers");
                    Attempt::Doubtful(reply)
                } else {
                    Attempt::Done(reply)
                }
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

    fn anywhere(&mut self) -> MachineId {
        if self.chance.one_in(2) {
            self.favourite
        } else {
            self.chance.index(self.world.machines.len())
        }
    }

    /// Reads some client's rows; a session read is of its own rows, at any node.
    async fn read(&mut self, is_linearizable: bool) {
        let machine = self.chance.index(self.world.machines.len());
        let client = if is_linearizable {
            self.chance.between(1, self.world.plan.clients + 1)
        } else {
            self.id
        };
        let level = match (is_linearizable, self.chance.one_in(5)) {
            (true, true) => Level::Strong,
            (true, false) => Level::Linearizable,
            (false, _) => Level::None,
        };
        let min_index = if is_linearizable { 0 } else { self.seen };
        let begin: Moment = self.world.trace.tick();
        let Some(running) = self.confirmed(machine, level, min_index).await else {
            return;
        };
        match sql::view(&running.node, client) {
            Ok(_) if self.world.machines[machine].may_lie() => self.world.counts.add("doubtful answers"),
            Ok((rows, counters, sum)) => {
                let end = self.world.trace.tick();
                self.world.counts.add(if is_linearizable {
                    "linearizable reads"
                } else {
                    "session reads"
                });
                let node = running.life.name.clone();
                self.world.history.read(Read {
                    node,
                    is_linearizable,
                    client,
                    begin,
                    end,
                    rows,
                    counters,
                    sum,
                });
            }
            Err(error) => self.read_failed(&running, error),
        }
    }

    /// The process on `machine`, once it has confirmed a read.
    async fn confirmed(&self, machine: MachineId, level: Level, min_index: u64) -> Option<Running> {
        let running = self.world.machines[machine].running()?;
        let request = ReadRequest {
            level,
            freshness: None,
            freshness_strict: false,
            min_index,
            timeout: PATIENCE,
        };
        let confirmed = tokio::select! {
            biased;
            _ = running.life.died() => return None,
            confirmed = running.node.confirm(request) => confirmed,
        };
        // What was confirmed must still hold when the process goes on after standing still.
        self.world.machines[machine].moving().await;
        (confirmed.is_ok() && running.life.is_alive()).then_some(running)
    }

    /// The database of this process may be damaged.
    fn may_lie(&self, running: &Running) -> bool {
        let name = &running.node.peer().name;
        let mut machines = self.world.machines.iter();
        machines.any(|machine| machine.name == *name && machine.may_lie())
    }

    fn read_failed(&self, running: &Running, error: String) {
        match error {
            _ if !running.life.is_alive() => {}
            error if self.may_lie(running) => self.world.trace.line("read", error),
            error if running.life.may_stop() => self.world.trace.line("read", error),
            error => self
                .world
                .fail(format!("a read on {} failed: {error}", running.life.name)),
        }
    }

    /// Makes the database larger, so that a stream of all of it takes a while.
    async fn bulk(&mut self) {
        let statements = workload::bulk(self.chance.between(1_000, 60_000), self.chance.one_in(2));
        self.uncounted(statements).await;
    }

    async fn vacuum(&mut self) {
        self.uncounted(vec![Statement::new("VACUUM")]).await;
    }

    /// Something that must come out the same everywhere, whatever that is; a failure is as good as a success.
    async fn exotic(&mut self) {
        let (statements, is_atomic) = exotic::request(&mut self.chance);
        let text: Vec<String> = statements.iter().map(|statement| statement.sql.clone()).collect();
        if let Attempt::Done(reply) = self
            .attempt(self.favourite, statements, (Kind::Execute, is_atomic), None)
            .await
        {
            self.world.counts.add("exotic requests");
            let told = problem(&reply).unwrap_or_else(|| "done".to_owned());
            let line = format!("exotic {text:?} at {}: {told}", reply.index);
            self.world.trace.line(&format!("c{}", self.id), line);
        }
    }

    async fn uncounted(&mut self, statements: Vec<Statement>) {
        let machine = self.favourite;
        if let Attempt::Done(reply) = self.attempt(machine, statements.clone(), ATOMIC, None).await
            && let Some(problem) = problem(&reply)
        {
            self.world.fail(format!("{:?} failed: {problem}", statements[0].sql));
        }
    }
}

/// Nothing was appended, says this error.
pub fn is_refusal(error: &Error) -> bool {
    matches!(
        error,
        Error::NotLeader { .. }
            | Error::Enqueue
            | Error::Transferring
            | Error::Overloaded(_)
            | Error::DiskFull { .. }
            | Error::NotOpen
            | Error::NotReady
            | Error::TooLarge { .. }
    )
}

fn key(id: WriteId) -> Key {
    let key = ClientKey {
        key: format!("{}-{}", id.client, id.sequence),
        body_hash: id.sequence,
    };
    Key {
        origin: Some(KeyOrigin::Client(key)),
    }
}

/// What a reply says of the write.
fn outcome(reply: &Reply, effect: Effect, is_certain: bool) -> Outcome {
    if problem(reply).is_some() {
        // A failure is an answer about this attempt and, by its key, about those before it.
        return if is_certain || effect == Effect::Failing {
            Outcome::Refused
        } else {
            Outcome::Unknown
        };
    }
    let returned = reply.outcomes.iter().find_map(|outcome| match &outcome.kind {
        Some(OutcomeKind::Rows(rows)) => rows.rows.first()?.cells.first()?.value.clone(),
        Some(OutcomeKind::Changes(_) | OutcomeKind::Error(_)) | None => None,
    });
    let value = match returned {
        Some(Value::Integer(value)) => Some(value),
        Some(Value::Real(_) | Value::Text(_) | Value::Blob(_)) | None => None,
    };
    Outcome::Acknowledged {
        index: reply.index,
        value,
    }
}

/// What is certain of the reply of a leader whose database may be damaged: the entry is committed, and what cannot fail has
/// been done on the others.
fn doubtful(reply: &Reply, effect: Effect) -> Outcome {
    if problem(reply).is_some() || effect == Effect::Failing {
        return Outcome::Unknown;
    }
    Outcome::Acknowledged {
        index: reply.index,
        value: None,
    }
}

/// What went wrong, if anything did.
fn problem(reply: &Reply) -> Option<String> {
    if let Some(error) = &reply.error {
        return Some(error.message.clone());
    }
    reply.outcomes.iter().find_map(|outcome| match &outcome.kind {
        Some(OutcomeKind::Error(text)) => Some(text.clone()),
        Some(OutcomeKind::Rows(rows)) => rows.error.clone(),
        Some(OutcomeKind::Changes(_)) | None => None,
    })
}

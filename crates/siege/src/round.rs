//! One round: clients work while everything goes wrong, then everything is healed, then the verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use checkers::history::History;
use checkers::workload::{self, Base, statement};
use command::statement::Statement;

use crate::client::Client;
use crate::nemesis::Nemesis;
use crate::plan::Plan;
use crate::siege::Siege;

/// How long the cluster may take to form, or to take the round's first write.
const FIRST_WRITE_MAX: Duration = Duration::from_secs(60);

/// Rounds have numbers so far apart: their clients, counters, lists lie between.
const STRIDE: u64 = 1000;

/// A round.
pub struct Round {
    /// Where it happens.
    pub siege: Arc<Siege>,
    /// Counts from 1.
    pub number: u64,
    /// Decides the faults and what clients do; not when anything happens.
    pub seed: u64,
    /// What the seed decided.
    pub plan: Plan,
    /// What clients did and saw.
    pub history: History,
    is_chaotic: AtomicBool,
}

impl Round {
    /// A round that has not begun.
    pub fn new(siege: Arc<Siege>, number: u64, seed: u64, plan: Plan) -> Arc<Round> {
        Arc::new(Round {
            siege,
            number,
            seed,
            plan,
            history: History::default(),
            is_chaotic: AtomicBool::new(false),
        })
    }

    /// What its rows are named by.
    pub fn base(&self) -> Base {
        Base(self.number * STRIDE)
    }

    /// The number of its `number`-th client.
    pub fn client(&self, number: u64) -> u64 {
        self.number * STRIDE + number
    }

    /// Faults may strike.
    pub fn is_chaotic(&self) -> bool {
        self.is_chaotic.load(Ordering::Relaxed) && !self.siege.has_failed()
    }

    /// Runs it; what it finds is told to the siege.
    ///
    /// # Errors
    ///
    /// When it cannot go on.
    pub fn run(self: &Arc<Round>, chaos: Duration) -> Result<()> {
        self.siege.tell(
            "---",
            &format!("round {}, seed {}, {:?}", self.number, self.seed, self.plan),
        );
        let begin = self.prepare().context("before any fault")?;
        if self.plan.is_straight {
            self.siege.topology.bypass(true)?;
        }
        self.chaos(chaos, begin)?;
        if self.plan.is_straight {
            self.siege.topology.bypass(false)?;
        }
        if !self.siege.has_failed() {
            self.peace()?;
        }
        Ok(())
    }

    /// Puts the round's rows there, and takes away those of rounds long past. Returns the index.
    fn prepare(&self) -> Result<u64> {
        let deadline = Instant::now() + FIRST_WRITE_MAX;
        self.siege.insist(&workload::schema(), deadline)?;
        if let Some(past) = self.number.checked_sub(2) {
            let mut statements: Vec<Statement> = [
                "log WHERE client",
                "counter WHERE id",
                "account WHERE id",
                "register WHERE id",
                "list WHERE id",
            ]
            .iter()
            .map(|rows| statement(&format!("DELETE FROM {rows} < ?"), &[past * STRIDE + STRIDE]))
            .collect();
            statements.push(Statement::new("UPDATE counted SET n = (SELECT count(*) FROM log)"));
            statements.push(Statement::new("DELETE FROM bulk"));
            self.siege.insist(&statements, deadline)?;
        }
        self.siege.insist(&self.base().rows(), deadline)
    }

    /// Clients work while everything goes wrong.
    fn chaos(self: &Arc<Round>, chaos: Duration, begin: u64) -> Result<()> {
        self.is_chaotic.store(true, Ordering::Relaxed);
        let mut threads = Vec::new();
        for number in 1..=self.plan.clients {
            let client = Client::new(self.clone(), self.client(number), begin);
            threads.push(std::thread::Builder::new().spawn(move || client.run())?);
        }
        let end = Instant::now() + chaos;
        let mut nemesis = Nemesis::new(self.clone());
        while Instant::now() < end && self.is_chaotic() {
            nemesis.act(end);
        }
        self.is_chaotic.store(false, Ordering::Relaxed);
        nemesis.relent();
        for thread in threads {
            if thread.join().is_err() {
                self.siege.fail("a client panicked".to_owned());
            }
        }
        Ok(())
    }
}

//! After the chaos: the cluster must become whole, take a write, and hold the same everywhere; then the checkers speak.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use checkers::checker;
use checkers::history::Holding;
use checkers::workload::statement;
use command::statement::Statement;

use crate::api::LOOK;
use crate::round::Round;
use crate::sql::{integer, items, pairs, unsigned, written};
use crate::topology::NodeId;

/// How long the cluster may take to be whole and to take a write, once everything works again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// How long clients' requests may linger in the cluster once everything works again: as long as they asked to wait.
const LINGER: Duration = Duration::from_secs(3);

impl Round {
    /// Waits, reads, judges.
    pub(crate) fn peace(&self) -> Result<()> {
        let siege = &self.siege;
        let begin = Instant::now();
        let deadline = begin + RECOVERY_MAX;
        siege.tell("---", "peace");
        while !siege.is_whole() {
            if siege.has_failed() {
                return Ok(());
            }
            if Instant::now() > deadline {
                siege.fail(format!(
                    "not whole {RECOVERY_MAX:?} after everything was healed:\n{}",
                    siege.picture()
                ));
                return Ok(());
            }
            std::thread::sleep(LOOK);
        }
        siege
            .counts
            .add_many("ms to recover", u64::try_from(begin.elapsed().as_millis())?);
        siege
            .counts
            .raise("longest recovery, ms", u64::try_from(begin.elapsed().as_millis())?);
        std::thread::sleep(LINGER.saturating_sub(begin.elapsed()));
        let last = [Statement::new("INSERT INTO bulk(data) VALUES(zeroblob(1))")];
        let index = match siege.insist(&last, deadline) {
            Ok(index) => index,
            Err(error) => {
                siege.fail(format!(
                    "{RECOVERY_MAX:?} after everything was healed, {error:#}\n{}",
                    siege.picture()
                ));
                return Ok(());
            }
        };
        let holdings: Result<Vec<Holding>> = (0..siege.nodes.len()).map(|node| self.hold(node, index)).collect();
        let mut holdings = holdings.map_err(|error| error.context(siege.picture()))?;
        for (holding, hash) in holdings.iter_mut().zip(self.hashes(deadline)?) {
            holding.hash = hash;
        }
        for violation in checker::check(&self.history.content(), &holdings) {
            siege.fail(violation);
        }
        Ok(())
    }

    /// What a node holds of this round, once it has applied `index`.
    fn hold(&self, node: NodeId, index: u64) -> Result<Holding> {
        let first = self.client(0);
        let of = |sql: &str| statement(sql, &[first]);
        let statements = [
            of("SELECT client, sequence, kind, a, b FROM log WHERE client > ?"),
            of("SELECT id, n FROM counter WHERE id > ?"),
            of("SELECT id, balance FROM account WHERE id > ?"),
            of("SELECT (SELECT n FROM counted) - (SELECT count(*) FROM log WHERE client < ?)"),
            of("SELECT id, v FROM register WHERE id > ?"),
            of("SELECT id, items FROM list WHERE id > ?"),
        ];
        let results = self.siege.read(node, index, &statements)?;
        let results: [_; 6] = results.try_into().ok().context("a result for each statement")?;
        let [rows, counters, accounts, counted, registers, lists] = results;
        Ok(Holding {
            node: self.siege.nodes[node].name.clone(),
            rows: rows.iter().map(|row| written(row)).collect(),
            counters: pairs(&counters),
            accounts: pairs(&accounts),
            registers: pairs(&registers),
            lists: lists.iter().map(|row| (unsigned(row, 0), items(row.get(1)))).collect(),
            counted: counted.first().map_or(i64::MIN, |row| integer(row, 0)),
            hash: 0,
        })
    }

    /// The content hash of each node, all at one index.
    fn hashes(&self, deadline: Instant) -> Result<Vec<u64>> {
        loop {
            let told: Option<Vec<(u64, u64)>> = (0..self.siege.nodes.len()).map(|node| self.siege.hash(node)).collect();
            let told = told.unwrap_or_default();
            if let Some((index, _)) = told.first()
                && told.iter().all(|(other, _)| other == index)
            {
                return Ok(told.into_iter().map(|(_, hash)| hash).collect());
            }
            anyhow::ensure!(Instant::now() < deadline, "no common index to hash at: {told:?}");
            std::thread::sleep(LOOK);
        }
    }
}

//! The workload: its tables, what each write is in SQL, and what a client may draw.
//!
//! Several histories may share a database, one after the other: each has rows of its own, which its [`Base`] names.

use std::ops::Range;

use command::statement::{Parameter, Statement, Value};

use crate::chance::Chance;
use crate::checker::{BALANCE, INITIAL};
use crate::exotic;
use crate::history::{Effect, WriteId};
use crate::linearizability::Action;
use crate::lists::Step;

/// Counters of a history.
const COUNTERS: u64 = 3;

/// Accounts of a history.
const ACCOUNTS: u64 = 4;

/// Registers of a history.
const REGISTERS: u64 = 4;

/// Lists of a history.
const LISTS: u64 = 40;

/// Lists that are in use at a time: the others are done, or still to come, so that none grows long.
const LISTS_OPEN: u64 = 3;

/// Transactions of one client after which it goes on to the next list.
const LIST_TRANSACTIONS: u64 = 6;

/// Most steps of a transaction on lists.
const STEPS_MAX: u64 = 4;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS log(client INTEGER NOT NULL, sequence INTEGER NOT NULL, kind TEXT NOT NULL, a INTEGER,
  b INTEGER, chance INTEGER DEFAULT (random()), at TEXT DEFAULT CURRENT_TIMESTAMP, noise BLOB DEFAULT (randomblob(7)));
CREATE INDEX IF NOT EXISTS log_by_client ON log(client, sequence);
CREATE TABLE IF NOT EXISTS counter(id INTEGER PRIMARY KEY, n INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS register(id INTEGER PRIMARY KEY, v INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS list(id INTEGER PRIMARY KEY, items TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS counted(id INTEGER PRIMARY KEY CHECK(id = 1), n INTEGER NOT NULL, last REAL);
CREATE TABLE IF NOT EXISTS bulk(id INTEGER PRIMARY KEY, data BLOB);
CREATE TRIGGER IF NOT EXISTS log_counted AFTER INSERT ON log BEGIN
  UPDATE counted SET n = n + 1, last = julianday('now') + random() % 1000;
END";

/// What forms the tables; harmless when they are there.
pub fn schema() -> Vec<Statement> {
    vec![
        Statement::new(SCHEMA),
        exotic::tables(),
        Statement::new("INSERT OR IGNORE INTO counted VALUES(1, 0, 0.0)"),
    ]
}

/// The first number of a history: its counters, accounts, registers and lists follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Base(pub u64);

impl Base {
    /// What must be there before the history begins; harmless when it is.
    pub fn rows(self) -> Vec<Statement> {
        let insert = |sql: String, ids: Range<u64>| ids.map(move |id| statement(&sql, &[id]));
        let mut statements = Vec::new();
        statements.extend(insert(
            "INSERT OR IGNORE INTO counter VALUES(?, 0)".to_owned(),
            self.counters(),
        ));
        statements.extend(insert(
            format!("INSERT OR IGNORE INTO register VALUES(?, {INITIAL})"),
            self.registers(),
        ));
        statements.extend(insert(
            format!("INSERT OR IGNORE INTO account VALUES(?, {BALANCE})"),
            self.accounts(),
        ));
        statements.extend(insert(
            "INSERT OR IGNORE INTO list VALUES(?, '')".to_owned(),
            self.lists(),
        ));
        statements
    }

    /// Its counters.
    pub fn counters(self) -> Range<u64> {
        self.numbered(COUNTERS)
    }

    /// Its accounts.
    pub fn accounts(self) -> Range<u64> {
        self.numbered(ACCOUNTS)
    }

    /// Its registers.
    pub fn registers(self) -> Range<u64> {
        self.numbered(REGISTERS)
    }

    /// Its lists.
    pub fn lists(self) -> Range<u64> {
        self.numbered(LISTS)
    }

    fn numbered(self, count: u64) -> Range<u64> {
        self.0 + 1..self.0 + 1 + count
    }

    /// What some write does.
    pub fn effect(self, chance: &mut Chance) -> Effect {
        match chance.weighted(&[(4, 0), (4, 1), (3, 2), (1, 3)]) {
            0 => Effect::Row,
            1 => Effect::Increment {
                counter: self.0 + chance.between(1, COUNTERS + 1),
            },
            2 => {
                let from = chance.between(1, ACCOUNTS + 1);
                Effect::Move {
                    from: self.0 + from,
                    to: self.0 + from % ACCOUNTS + 1,
                }
            }
            _ => Effect::Failing,
        }
    }

    /// Some register.
    pub fn register(self, chance: &mut Chance) -> u64 {
        self.0 + chance.between(1, REGISTERS + 1)
    }

    /// The steps of a client's transaction `number` on lists; `value` draws values that nobody else appends.
    pub fn transaction(self, chance: &mut Chance, number: u64, mut value: impl FnMut() -> i64) -> Vec<Step> {
        let first = (number / LIST_TRANSACTIONS).min(LISTS - LISTS_OPEN);
        let count = chance.between(1, STEPS_MAX + 1);
        let step = |_| {
            let list = self.0 + 1 + first + chance.below(LISTS_OPEN);
            if chance.one_in(2) {
                Step::Append { list, value: value() }
            } else {
                Step::Read { list, seen: None }
            }
        };
        (0..count).map(step).collect()
    }
}

/// The statements of a write.
pub fn statements(id: WriteId, effect: Effect) -> Vec<Statement> {
    let WriteId { client, sequence } = id;
    let row = |kind: &str, a: u64, b: u64| {
        statement(
            &format!("INSERT INTO log(client, sequence, kind, a, b) VALUES(?, ?, '{kind}', ?, ?)"),
            &[client, sequence, a, b],
        )
    };
    match effect {
        Effect::Row => vec![row("row", 0, 0)],
        Effect::Increment { counter } => vec![
            row("increment", counter, 0),
            statement("UPDATE counter SET n = n + 1 WHERE id = ? RETURNING n", &[counter]),
        ],
        Effect::Move { from, to } => vec![
            statement("UPDATE account SET balance = balance - 1 WHERE id = ?", &[from]),
            row("move", from, to),
            statement("UPDATE account SET balance = balance + 1 WHERE id = ?", &[to]),
        ],
        Effect::Failing => vec![
            row("failing", 0, 0),
            Statement::new("UPDATE account SET balance = balance - 1"),
            Statement::new("INSERT INTO counted VALUES(2, 0, NULL)"),
        ],
    }
}

/// What an action on a register is in SQL; it answers a row if it took effect.
pub fn action(register: u64, action: Action) -> Vec<Statement> {
    let values = |sql: &str, values: &[i64]| {
        let parameter = |value: &i64| Parameter::positional(Value::Integer(*value));
        vec![Statement {
            sql: sql.to_owned(),
            parameters: values.iter().map(parameter).collect(),
        }]
    };
    let register = register.cast_signed();
    match action {
        Action::Read(_) => values("SELECT v FROM register WHERE id = ?", &[register]),
        Action::Write(value) => values("UPDATE register SET v = ? WHERE id = ? RETURNING v", &[value, register]),
        Action::Swap { from, to, .. } => values(
            "UPDATE register SET v = ? WHERE id = ? AND v = ? RETURNING v",
            &[to, register, from],
        ),
    }
}

/// A transaction on lists, a statement for each step; a reading one answers a row of one text.
pub fn steps(steps: &[Step]) -> Vec<Statement> {
    let of_step = |step: &Step| match step {
        Step::Append { list, value } => {
            let sql = format!("UPDATE list SET items = items || '{value},' WHERE id = ?");
            statement(&sql, &[*list])
        }
        Step::Read { list, .. } => statement("SELECT items FROM list WHERE id = ?", &[*list]),
    };
    steps.iter().map(of_step).collect()
}

/// The values in a list's text; `None` when it is no such text.
pub fn items(text: &str) -> Option<Vec<i64>> {
    text.split_terminator(',').map(|item| item.parse().ok()).collect()
}

/// Writes that nobody counts: they make the database large, and differ between replicas that draw for themselves.
pub fn bulk(bytes: u64, is_trimming: bool) -> Vec<Statement> {
    let mut statements = vec![statement("INSERT INTO bulk(data) VALUES(randomblob(?))", &[bytes])];
    if is_trimming {
        let trim = "DELETE FROM bulk WHERE id IN (SELECT id FROM bulk ORDER BY random() LIMIT 2)";
        statements.push(Statement::new(trim));
    }
    statements
}

/// SQL with whole numbers.
pub fn statement(sql: &str, numbers: &[u64]) -> Statement {
    let parameter = |number: &u64| Parameter::positional(Value::Integer(i64::try_from(*number).unwrap_or(i64::MAX)));
    Statement {
        sql: sql.to_owned(),
        parameters: numbers.iter().map(parameter).collect(),
    }
}

//! The text of a dump runs: one unit, whatever it says of transactions (design §3).
//!
//! ```text
//!  ENTRY ┬─ statement, statement, …                     each as a unit of the entry, with budgets of its own
//!        ├─ BEGIN … COMMIT                              a savepoint; ROLLBACK undoes what is in it
//!        ├─ PRAGMA foreign_keys=OFF                     until the end of the text, at most
//!        └─ PRAGMA writable_schema=ON, rows, …=OFF      the virtual tables of those rows, once the rows say nothing else
//! ```
//!
//! Invariants:
//! * A text takes effect as a whole or not at all; one that ends inside a transaction was cut off, and does not.
//! * Users write into `sqlite_schema` through this door alone, and nothing but virtual tables whose shadow tables they
//!   bring along. A schema that SQLite cannot read afterwards is undone.

use std::io::Read;

use command::reply::{Changes, Outcome, OutcomeKind, Reply};
use command::request::{Kind, Write};
use command::rows::CellRef;
use command::statement::Statement as Text;
use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_TOOBIG;

use super::{Care, ENTRY, Entry, FLUSH, Left, Ran, UNIT, Unit};
use crate::context::Facts;
use crate::effect::Fold;
use crate::engine::Engine;
use crate::error::Error;
use crate::ffi::statement::{StatementError, Step};
use crate::meta::{self, State};
use crate::open::Limits;
use crate::script::{Script, Special, Unreadable};

const NESTED: &str = "cannot start a transaction within a transaction";
const NOTHING_TO_COMMIT: &str = "cannot commit - no transaction is active";
const NOTHING_TO_ROLL_BACK: &str = "cannot rollback - no transaction is active";
const CUT_OFF: &str = "the text ends inside a transaction: it was cut off, or lacks its COMMIT";
const ENCODING: &str = "string field contains invalid UTF-8";
const TOO_LONG: &str = "string or blob too big";
const SCHEMA_CLOSED: &str = "table sqlite_master may not be modified";
const SCHEMA_ROW: &str = "only the rows of virtual tables can be written to sqlite_schema";

const INSERT_SCHEMA_ROW: &str = "INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql) \
                                 SELECT 'table', ?1, ?1, 0, ?2 \
                                 WHERE NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name=?1 COLLATE NOCASE)";
const READ_SCHEMA: &str = "SELECT 1 FROM sqlite_schema LIMIT 1";

/// How a script ended.
pub enum ScriptEnd {
    /// It is part of the transaction, with or without an effect.
    Done(Ran),
    /// It has had no effect, and SQLite has rolled back the whole transaction.
    RolledBack(Ran),
}

/// A text on its way.
pub(crate) struct Running<'a> {
    engine: Engine<'a>,
    state: &'a mut State,
    limits: &'a Limits,
    seed: u64,
    /// The effect hash before it.
    effect: u64,
    is_in_transaction: bool,
    is_schema_open: bool,
    /// Virtual tables to be put into the schema: names and statements.
    virtual_tables: Vec<(Vec<u8>, Vec<u8>)>,
    facts: Facts,
    last: Option<Outcome>,
}

/// Why a text stops.
enum Halt {
    /// A statement failed.
    Failed(StatementError),
    /// And took the transaction with it.
    RolledBack(Box<Left>),
}

/// Either goes on, or halts, or the node must stop.
type Progress = Result<Result<(), Halt>, Error>;

fn halt(message: &str) -> Progress {
    Ok(Err(Halt::Failed(StatementError::new(message))))
}

impl<'a> Running<'a> {
    /// Begins a text; statement `n` draws from the random stream `seed + n`.
    pub(crate) fn new(engine: Engine<'a>, state: &'a mut State, limits: &'a Limits, seed: u64) -> Self {
        Self {
            engine,
            effect: state.effect,
            state,
            limits,
            seed,
            is_in_transaction: false,
            is_schema_open: false,
            virtual_tables: Vec::new(),
            facts: Facts::default(),
            last: None,
        }
    }

    /// Runs all of `text` within the writer's transaction.
    pub(crate) fn run(mut self, text: &mut dyn Read) -> Result<ScriptEnd, Error> {
        self.engine.own(ENTRY.open)?;
        let ended = match self.statements(text)? {
            Ok(()) => self.finish()?,
            Err(halt) => Err(halt),
        };
        self.enforce_foreign_keys(self.engine.context.foreign_keys)?;
        let error = match ended {
            Ok(()) => None,
            Err(Halt::RolledBack(left)) => return Ok(ScriptEnd::RolledBack(self.left(*left))),
            Err(Halt::Failed(error)) => {
                self.engine.own(ENTRY.back)?;
                self.engine.own(ENTRY.release)?;
                self.engine.settle(Facts::SCHEMA.and(Facts::STATISTICS))?;
                Some(error)
            }
        };
        if self.facts.has(Facts::DEFERS) {
            self.engine.own("PRAGMA defer_foreign_keys=OFF")?;
        }
        Ok(ScriptEnd::Done(self.ran(error)))
    }

    fn statements(&mut self, text: &mut dyn Read) -> Progress {
        let longest = usize::try_from(self.limits.sql_length_max).unwrap_or(usize::MAX);
        let mut script = Script::new(text, longest);
        loop {
            let sql = match script.next() {
                Ok(Some(sql)) => sql,
                Ok(None) => break,
                Err(Unreadable::Encoding) => return halt(ENCODING),
                Err(Unreadable::TooLong) => {
                    return Ok(Err(Halt::Failed(StatementError {
                        code: SQLITE_TOOBIG,
                        message: TOO_LONG.to_owned(),
                    })));
                }
                Err(Unreadable::Io(source)) => return Err(Error::io("read a text to load")(source)),
            };
            self.seed = self.seed.wrapping_add(1);
            let ended = match Special::of(sql) {
                None => self.statement(sql)?,
                Some(special) => {
                    self.last = Some(Outcome::new(self.counters()));
                    self.special(special)?
                }
            };
            if ended.is_err() {
                return Ok(ended);
            }
        }
        if self.is_in_transaction {
            return halt(CUT_OFF);
        }
        self.restore_virtual_tables()
    }

    /// Runs a statement as any other.
    fn statement(&mut self, sql: &str) -> Progress {
        let write = Write {
            statements: vec![Text::new(sql)],
            kind: Kind::Execute.into(),
            seed: self.seed,
            ..Write::default()
        };
        let mut entry = Entry::new(self.engine, self.state, &write, Care::Quick, self.limits);
        let unit = entry.unit(&write.statements[0], true)?;
        entry.keep_counters();
        let (facts, effect) = (entry.facts, entry.fold.finish());
        let outcome = entry.outcomes.pop();
        self.facts = self.facts.and(facts);
        match unit {
            Unit::RolledBack(left) => return Ok(Err(Halt::RolledBack(left))),
            Unit::Failed | Unit::NeedsCare | Unit::NeedsLength => {
                return halt(&outcome.map(message).unwrap_or_default());
            }
            Unit::Done => {}
        }
        self.state.effect = effect;
        self.last = outcome;
        Ok(Ok(()))
    }

    fn special(&mut self, special: Special<'_>) -> Progress {
        match special {
            Special::Begin if self.is_in_transaction => return halt(NESTED),
            Special::Begin => {
                self.engine.own(UNIT.open)?;
                self.is_in_transaction = true;
            }
            Special::Commit if !self.is_in_transaction => return halt(NOTHING_TO_COMMIT),
            Special::Commit => {
                self.engine.own(UNIT.release)?;
                self.is_in_transaction = false;
            }
            Special::Rollback if !self.is_in_transaction => return halt(NOTHING_TO_ROLL_BACK),
            Special::Rollback => {
                self.virtual_tables.clear();
                self.engine.own(UNIT.back)?;
                self.engine.own(UNIT.release)?;
                self.engine.settle(Facts::SCHEMA.and(Facts::STATISTICS))?;
                self.is_in_transaction = false;
            }
            // ON is the cluster's own setting: a dump cannot bring in what the cluster does without.
            Special::ForeignKeys(on) => self.enforce_foreign_keys(on && self.engine.context.foreign_keys)?,
            Special::WritableSchema(true) => self.is_schema_open = true,
            Special::WritableSchema(false) => {
                self.is_schema_open = false;
                return self.restore_virtual_tables();
            }
            Special::Local => {}
            Special::SchemaRow(_) if !self.is_schema_open => return halt(SCHEMA_CLOSED),
            Special::SchemaRow(values) => return self.schema_row(values),
        }
        Ok(Ok(()))
    }

    /// Takes in a row that a dump writes into the schema.
    fn schema_row(&mut self, values: &str) -> Progress {
        let row = match self.read_schema_row(values) {
            Ok(row) => row,
            Err(error) => return self.judged(error),
        };
        // SQLite tells whether it is one statement that makes a virtual table, and the authorizer whether that may be.
        let sql = String::from_utf8_lossy(&row.1).into_owned();
        match self.engine.prepare(&sql) {
            Ok((Some(mut statement), _, tail)) if tail.trim().is_empty() => statement.release(),
            Ok(_) => return halt(SCHEMA_ROW),
            Err(error) => return self.judged(error),
        }
        self.virtual_tables.push(row);
        Ok(Ok(()))
    }

    fn read_schema_row(&self, values: &str) -> Result<(Vec<u8>, Vec<u8>), StatementError> {
        let refused = || StatementError::new(SCHEMA_ROW);
        let (statement, _, tail) = self.engine.prepare(values)?;
        let mut statement = statement.filter(|_| tail.trim().is_empty()).ok_or_else(refused)?;
        statement.release();
        if !statement.is_readonly() {
            return Err(refused());
        }
        let mut execution = statement.begin();
        if execution.step()? != Step::Row {
            return Err(refused());
        }
        match execution.row()? {
            [
                CellRef::Text(b"table"),
                CellRef::Text(name),
                CellRef::Text(table),
                CellRef::Integer(0),
                CellRef::Text(sql),
            ] if name == table && is_virtual(sql) && !is_reserved(name) => Ok((name.to_vec(), sql.to_vec())),
            _ => Err(refused()),
        }
    }

    /// Puts the virtual tables into the schema without running their modules: their shadow tables are there already.
    fn restore_virtual_tables(&mut self) -> Progress {
        if self.virtual_tables.is_empty() {
            return Ok(Ok(()));
        }
        let tables = std::mem::take(&mut self.virtual_tables);
        self.open_schema(true)?;
        for (name, sql) in &tables {
            let before = self.engine.total_changes();
            let values = [CellRef::Text(name), CellRef::Text(sql)];
            self.engine.own_with(INSERT_SCHEMA_ROW, &values)?;
            if self.engine.total_changes() == before {
                self.open_schema(false)?;
                return halt(&format!("table {} already exists", String::from_utf8_lossy(name)));
            }
        }
        self.open_schema(false)?;
        self.engine.own("PRAGMA writable_schema=RESET")?;
        // Now SQLite reads the schema anew; what it says against it is against the text.
        let read = self.engine.unwatched(|session| {
            session.forget();
            meta::run(session, READ_SCHEMA, &[])
        });
        if let Err(error) = read {
            return Ok(Err(Halt::Failed(error)));
        }
        self.engine.settle(Facts::SCHEMA)?;
        self.facts = self.facts.and(Facts::SCHEMA);
        Ok(Ok(()))
    }

    /// What speaks against the whole of it once it has run; nothing does: it stays.
    fn finish(&mut self) -> Progress {
        let write = Write::default();
        let entry = Entry::new(self.engine, self.state, &write, Care::Quick, self.limits);
        if let Some(error) = entry.objection(self.facts, false)? {
            return Ok(Err(Halt::Failed(error)));
        }
        if self.facts.has(Facts::VIRTUAL)
            && let Err(error) = self.engine.try_own(FLUSH.open)?
        {
            return Ok(Err(Halt::Failed(error)));
        }
        self.engine.own(ENTRY.release)?;
        Ok(Ok(()))
    }

    /// Whether foreign keys are enforced from here on.
    fn enforce_foreign_keys(&self, on: bool) -> Result<(), Error> {
        self.set(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, on)
    }

    /// Lets this room write into the schema, or nobody.
    fn open_schema(&self, open: bool) -> Result<(), Error> {
        self.set(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, !open)?;
        self.set(DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, open)
    }

    fn set(&self, setting: DbConfig, on: bool) -> Result<(), Error> {
        let set = self.engine.connection().set_db_config(setting, on);
        set.map(drop).map_err(Error::sqlite("configure the writer"))
    }

    fn judged(&self, mut error: StatementError) -> Progress {
        self.engine.judge(&error)?;
        if let Some(why) = self.engine.context.take_refusal() {
            error.message = why.to_owned();
        }
        Ok(Err(Halt::Failed(error)))
    }

    fn counters(&self) -> OutcomeKind {
        OutcomeKind::Changes(Changes {
            last_insert_id: self.state.last_rowid,
            rows_affected: self.state.changes,
        })
    }

    fn left(&mut self, left: Left) -> Ran {
        self.ran(Some(StatementError {
            code: left.class,
            message: message(left.outcome),
        }))
    }

    fn ran(&mut self, error: Option<StatementError>) -> Ran {
        let Some(error) = error else {
            return Ran {
                reply: reply(self.last.take()),
                effect: self.state.effect,
            };
        };
        let mut fold = Fold::new(self.effect);
        fold.error(error.primary());
        self.state.effect = self.effect;
        Ran {
            reply: reply(Some(Outcome::new(OutcomeKind::Error(error.message)))),
            effect: fold.finish(),
        }
    }
}

fn reply(outcome: Option<Outcome>) -> Reply {
    Reply {
        outcomes: outcome.into_iter().collect(),
        error: None,
        index: 0,
    }
}

/// The text of a failed statement.
fn message(outcome: Outcome) -> String {
    match outcome.kind {
        Some(OutcomeKind::Error(message)) => message,
        Some(OutcomeKind::Rows(rows)) => rows.error.unwrap_or_default(),
        Some(OutcomeKind::Changes(_)) | None => String::new(),
    }
}

fn is_virtual(sql: &[u8]) -> bool {
    let head = b"CREATE VIRTUAL TABLE";
    sql.get(..head.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(head))
}

fn is_reserved(name: &[u8]) -> bool {
    let head = b"sqlite_";
    name.get(..head.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(head))
}

#[cfg(test)]
mod tests;

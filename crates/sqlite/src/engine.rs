//! The writer's connection as an entry uses it: users' statements under the authorizer, our own past it, and the
//! decision whether a failure is a result or the node's (D4).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use command::rows::CellRef;
use rusqlite::{Connection, ffi};

use crate::budget::STEPS_PER_TICK;
use crate::context::{Context, Facts};
use crate::error::Error;
use crate::faults;
use crate::ffi::hooks::Hooks;
use crate::ffi::meter;
use crate::ffi::statement::{Session, Statement, StatementError};
use crate::meta;

const VIRTUAL_TABLES: &str =
    "SELECT lower(name), lower(sql) FROM sqlite_schema WHERE type='table' AND sql LIKE 'create virtual table%'";
const SHADOW_TABLES: &str = "SELECT lower(name) FROM pragma_table_list WHERE schema='main' AND type='shadow'";
const OWN_REFERENCES: &str = "SELECT 1 FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS f \
                              WHERE s.type='table' AND f.\"table\" LIKE 'sqlite\\_quorlite%' ESCAPE '\\' LIMIT 1";
/// Changes no row, and so sets the connection's `changes()` to zero.
const ZERO_CHANGES: &str = "DELETE FROM sqlite_quorlite_windows WHERE incarnation IS NULL";

/// Takes more steps than two looks at the budget are apart.
const LONG_ENOUGH: &str =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c LIMIT 5000) SELECT max(x) FROM c";

/// See the head of this file.
#[derive(Clone, Copy)]
pub(crate) struct Engine<'a> {
    pub(crate) session: &'a Session,
    pub(crate) context: &'a Context,
    pub(crate) hooks: &'a Hooks,
}

impl<'a> Engine<'a> {
    pub(crate) fn connection(&self) -> &'a Connection {
        self.session.connection()
    }

    /// Prepares the first statement of a user's text, and tells what it does.
    pub(crate) fn prepare<'q>(&self, sql: &'q str) -> Result<(Option<Statement<'a>>, Facts, &'q str), StatementError> {
        self.context.begin_prepare();
        let prepared = self.session.prepare(sql);
        let facts = self.context.end_prepare();
        let (statement, tail) = prepared?;
        let Some(mut statement) = statement else {
            return Ok((None, facts, tail));
        };
        let facts = match statement.note() {
            Some(meta::OWN_NOTE) => {
                // The same text as one of ours, kept from our use: let the authorizer see it.
                drop(statement);
                self.session.forget();
                return self.prepare(sql);
            }
            Some(facts) => Facts(facts),
            None => {
                statement.set_note(facts.0);
                if facts.has(Facts::PRAGMA) {
                    statement.release();
                }
                facts
            }
        };
        Ok((Some(statement), facts, tail))
    }

    /// Runs a statement of our own that must not fail.
    ///
    /// # Errors
    ///
    /// [`Error::Node`]: whatever made it fail, this node cannot go on.
    pub(crate) fn own(&self, sql: &'static str) -> Result<(), Error> {
        self.own_with(sql, &[])
    }

    /// As [`Self::own`], with values.
    pub(crate) fn own_with(&self, sql: &'static str, values: &[CellRef<'_>]) -> Result<(), Error> {
        self.ours(sql, |session| meta::run(session, sql, values))
    }

    /// Runs a statement of our own that may fail by what users did.
    pub(crate) fn try_own(&self, sql: &'static str) -> Result<Result<(), StatementError>, Error> {
        let result = self.unwatched(|session| meta::run(session, sql, &[]));
        if let Err(error) = &result {
            self.judge(error)?;
        }
        Ok(result)
    }

    /// Does something of our own, past the authorizer, that must not fail.
    pub(crate) fn ours<T>(
        &self,
        what: &str,
        act: impl FnOnce(&Session) -> Result<T, StatementError>,
    ) -> Result<T, Error> {
        let result = self.unwatched(act);
        result.map_err(|error| match faults::check(what) {
            Err(seen) => seen,
            Ok(()) => Error::Node {
                what: what.to_owned(),
                message: error.message,
            },
        })
    }

    /// Does something of our own, past the authorizer, that may fail.
    pub(crate) fn unwatched<T>(&self, act: impl FnOnce(&Session) -> T) -> T {
        self.context.ours.store(true, Relaxed);
        let result = act(self.session);
        self.context.ours.store(false, Relaxed);
        result
    }

    /// After a statement that changed the schema or the statistics: what was known of them is forgotten, so that this
    /// connection knows what a fresh one would.
    pub(crate) fn settle(&self, facts: Facts) -> Result<(), Error> {
        if facts.has(Facts::SCHEMA) {
            self.context.schema_changed.store(true, Relaxed);
        }
        if facts.has(Facts::STATISTICS) {
            self.session.forget();
            self.own("PRAGMA writable_schema=RESET")?;
        }
        if facts.has(Facts::SCHEMA) || facts.has(Facts::STATISTICS) {
            self.session.forget();
            self.survey()?;
        }
        Ok(())
    }

    /// Makes this connection know the tables in the order in which a fresh one would: SQLite keeps them in a hash table
    /// whose order depends on how many there have been.
    pub(crate) fn learn_anew(&self) -> Result<(), Error> {
        self.session.forget();
        self.own("PRAGMA writable_schema=RESET")?;
        self.survey()
    }

    /// After a savepoint was undone. SQLite then forgets the schema if the transaction has changed it before, in whatever
    /// entry of the batch: so it is read again.
    pub(crate) fn settle_undone(&self, facts: Facts) -> Result<(), Error> {
        if self.context.schema_changed.load(Relaxed) {
            self.settle(facts.and(Facts::SCHEMA))
        } else {
            self.settle(facts)
        }
    }

    /// Measures how deep the stack is when a tick of a user's statement comes.
    pub(crate) fn measure_ticks(&self) -> Result<(), Error> {
        let measured = self.ours("measure the progress handler", |session| {
            let (statement, _) = session.prepare(LONG_ENOUGH)?;
            let Some(mut statement) = statement else {
                return Ok(false);
            };
            statement.release();
            self.context.budget.measure(&mut statement.begin())
        })?;
        assert!(
            measured,
            "SQLite calls the progress handler at every {STEPS_PER_TICK} steps"
        );
        Ok(())
    }

    /// Reads which tables of the schema are virtual, and connects them.
    ///
    /// A module prepares statements of its own when its table is connected, which is when a statement first names it:
    /// the authorizer would take them for the user's.
    pub(crate) fn survey(&self) -> Result<(), Error> {
        let mut names = BTreeSet::new();
        let mut alone = false;
        self.ours("read the schema", |session| {
            meta::visit(session, VIRTUAL_TABLES, &[], |row| {
                let [CellRef::Text(name), CellRef::Text(sql)] = row else {
                    return;
                };
                names.insert(String::from_utf8_lossy(name).into_owned());
                let sql = String::from_utf8_lossy(sql);
                alone |= sql.contains("fts3") || sql.contains("fts4");
            })
        })?;
        self.unwatched(|session| {
            for name in &names {
                // One whose module is missing fails here, and for its users as well.
                let sql = format!("SELECT 1 FROM \"{}\"", name.replace('"', "\"\""));
                if let Ok((Some(mut statement), _)) = session.prepare(&sql) {
                    statement.release();
                }
            }
        });
        let mut shadows = BTreeSet::new();
        if !names.is_empty() {
            self.ours("read the shadow tables", |session| {
                meta::visit(session, SHADOW_TABLES, &[], |row| {
                    if let [CellRef::Text(name)] = row {
                        shadows.insert(String::from_utf8_lossy(name).into_owned());
                    }
                })
            })?;
        }
        self.context.set_virtual(names, shadows);
        self.context.commits_alone.store(alone, Relaxed);
        Ok(())
    }

    /// Whether a foreign key of the schema refers to one of our tables.
    pub(crate) fn has_own_reference(&self) -> Result<bool, Error> {
        let mut found = false;
        self.ours("read the foreign keys", |session| {
            meta::visit(session, OWN_REFERENCES, &[], |_| found = true)
        })?;
        Ok(found)
    }

    /// Makes the connection's own `changes()` zero, so that a statement can tell whether it was set since.
    pub(crate) fn zero_changes(&self) -> Result<(), StatementError> {
        self.unwatched(|session| meta::run(session, ZERO_CHANGES, &[]))
    }

    /// Budgets count from here: steps and bytes written, and the bytes stored if `metered`.
    pub(crate) fn arm(&self, metered: bool) {
        self.context.budget.arm();
        self.context.budget.interrupt.begin(self.connection());
        meter::start(self.connection(), self.context.written_bytes_max);
        if metered {
            self.hooks.count_bytes(self.connection(), true);
        }
    }

    /// Ends what [`Self::arm`] began.
    pub(crate) fn disarm(&self, metered: bool) {
        self.context.budget.disarm();
        self.context.budget.interrupt.end();
        if meter::stop() {
            self.context.budget.overflow();
        }
        if metered {
            self.hooks.count_bytes(self.connection(), false);
        }
    }

    /// SQLite has rolled back the whole transaction on its own.
    pub(crate) fn is_rolled_back(&self) -> bool {
        self.connection().is_autocommit()
    }

    pub(crate) fn changes(&self) -> i64 {
        self.connection().changes() as i64
    }

    pub(crate) fn total_changes(&self) -> i64 {
        self.connection().total_changes() as i64
    }

    pub(crate) fn last_rowid(&self) -> i64 {
        self.connection().last_insert_rowid()
    }

    /// A statement failed: is it its own failure, or the node's (D4)?
    ///
    /// # Errors
    ///
    /// [`Error::Node`] when our VFS or allocator saw a failure, when the database is damaged, or when another process
    /// holds it.
    pub(crate) fn judge(&self, error: &StatementError) -> Result<(), Error> {
        faults::check("run a statement")?;
        match error.primary() {
            ffi::SQLITE_BUSY | ffi::SQLITE_PROTOCOL => Err(Error::Node {
                what: "run a statement".to_owned(),
                message: format!("{}: another process uses the database", error.message),
            }),
            ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB if error.code != ffi::SQLITE_CORRUPT_VTAB => self.inspect(error),
            _ => Ok(()),
        }
    }

    /// SQLite says that the database is damaged. A statement can make it say so, by statistics that are nonsense for
    /// one; then every replica says it, and it is a result. So look whether this node's pages really are damaged.
    fn inspect(&self, error: &StatementError) -> Result<(), Error> {
        let mut verdict = Vec::new();
        let checked = self.unwatched(|session| {
            meta::visit(session, "PRAGMA integrity_check(1)", &[], |row| {
                if let [CellRef::Text(line)] = row {
                    verdict.push(String::from_utf8_lossy(line).into_owned());
                }
            })
        });
        match checked {
            Ok(()) if verdict == ["ok"] => Ok(()),
            Ok(()) | Err(_) => Err(Error::Unsound {
                what: "read the database".to_owned(),
                message: format!(
                    "{}: {}; re-seed this node from another one, or restore a backup",
                    error.message,
                    verdict.join("; ")
                ),
            }),
        }
    }
}

//! What a reader's connection may be told to do, decided by SQLite's authorizer while it prepares.
//!
//! Text is never parsed here: SQLite says what a statement is about to do, through quotes, comments and EXPLAIN. It asks
//! before a PRAGMA takes effect, which is while it is prepared.
//!
//! Owns the tables of PRAGMAs. What the database itself refuses to a read-only connection is not repeated here.
//!
//! Invariants:
//! * No statement leaves a reader inside a transaction, attached to another file, or changes what the process shares.
//! * A setting that changes results is honoured, and its connection then serves no other query ([`Guard::is_soiled`]).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use rusqlite::ffi;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::error::Error;
use crate::ffi::statement::{Session, Statement, StatementError};

/// They answer about what they are given, and set nothing.
const PRAGMAS_THAT_TELL: [&str; 10] = [
    "foreign_key_check",
    "foreign_key_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "integrity_check",
    "quick_check",
    "table_info",
    "table_list",
    "table_xinfo",
];

/// They set how this connection reads or answers.
const PRAGMAS_THAT_SET: [&str; 13] = [
    "automatic_index",
    "case_sensitive_like",
    "cell_size_check",
    "count_changes",
    "defer_foreign_keys",
    "empty_result_callbacks",
    "foreign_keys",
    "full_column_names",
    "ignore_check_constraints",
    "legacy_alter_table",
    "recursive_triggers",
    "reverse_unordered_selects",
    "short_column_names",
];

/// They set what this node decides for itself, and change no result: accepted without effect.
const PRAGMAS_WITHOUT_EFFECT: [&str; 16] = [
    "analysis_limit",
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "checkpoint_fullfsync",
    "default_cache_size",
    "fullfsync",
    "journal_size_limit",
    "mmap_size",
    "read_uncommitted",
    "secure_delete",
    "shrink_memory",
    "synchronous",
    "temp_store",
    "threads",
    "trusted_schema",
];

/// They change the database or its file, also without being given a value.
const PRAGMAS_THAT_ACT: [&str; 3] = ["incremental_vacuum", "optimize", "wal_checkpoint"];

/// They change the database when given a value.
const PRAGMAS_THAT_CHANGE: [&str; 7] = [
    "application_id",
    "auto_vacuum",
    "encoding",
    "max_page_count",
    "page_size",
    "schema_version",
    "user_version",
];

/// Why a statement is refused on every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// BEGIN, COMMIT, END, ROLLBACK, SAVEPOINT, RELEASE.
    Transaction,
    /// ATTACH, DETACH.
    Attach,
}

/// Why the authorizer said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// On every path.
    Refused(Refusal),
    /// It changes the database.
    Write,
    /// A PRAGMA that no reader may be given.
    Pragma,
}

/// The authorizer of one connection.
pub(crate) struct Guard {
    seen: Mutex<Seen>,
}

/// A prepared statement, and what the authorizer saw of it.
pub(crate) struct Prepared<'s, 'q> {
    /// `None` when the text holds no statement.
    pub(crate) statement: Option<Statement<'s>>,
    /// The text after it.
    pub(crate) tail: &'q str,
    /// It is a PRAGMA, and nothing else.
    pub(crate) is_pragma: bool,
}

/// Why a statement could not be prepared.
#[derive(Debug)]
pub(crate) enum Unprepared {
    /// Not allowed here.
    Denied(Denied),
    /// SQLite's own word.
    Statement(StatementError),
}

#[derive(Default)]
struct Seen {
    /// This room itself prepares.
    is_own: bool,
    denied: Option<Denied>,
    pragma: bool,
    other: bool,
    soiled: bool,
}

impl Guard {
    /// Guards `connection` from now on.
    pub(crate) fn install(connection: &mut Connection) -> Result<Arc<Self>, Error> {
        let guard = Arc::new(Self { seen: Mutex::default() });
        let asked = Arc::clone(&guard);
        connection
            .authorizer(Some(move |context: AuthContext<'_>| {
                asked.seen().decide(&context.action)
            }))
            .map_err(Error::sqlite("guard a connection"))?;
        Ok(guard)
    }

    /// Prepares the first statement of `sql`.
    pub(crate) fn prepare<'s, 'q>(&self, session: &'s Session, sql: &'q str) -> Result<Prepared<'s, 'q>, Unprepared> {
        let soiled = self.seen().soiled;
        *self.seen() = Seen {
            soiled,
            ..Seen::default()
        };
        let prepared = session.prepare(sql);
        let seen = self.seen();
        match prepared {
            Ok((mut statement, tail)) => {
                if seen.pragma {
                    // Its effect came with preparing it, so a kept one would have none.
                    statement.iter_mut().for_each(Statement::release);
                }
                Ok(Prepared {
                    statement,
                    tail,
                    is_pragma: seen.pragma && !seen.other,
                })
            }
            Err(error) => Err(match seen.denied {
                Some(denied) if error.primary() == ffi::SQLITE_AUTH => Unprepared::Denied(denied),
                Some(_) | None => Unprepared::Statement(error),
            }),
        }
    }

    /// Runs what this room itself says, unguarded.
    pub(crate) fn own<T>(&self, run: impl FnOnce() -> T) -> T {
        self.seen().is_own = true;
        let result = run();
        self.seen().is_own = false;
        result
    }

    /// A setting was changed that the next query would see.
    pub(crate) fn is_soiled(&self) -> bool {
        self.seen().soiled
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it is held; and what it holds is whole at every moment.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn decide(&mut self, action: &AuthAction<'_>) -> Authorization {
        if self.is_own {
            return Authorization::Allow;
        }
        match action {
            AuthAction::Pragma {
                pragma_name,
                pragma_value,
            } => {
                self.pragma = true;
                return self.decide_pragma(pragma_name, pragma_value.is_some());
            }
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => {
                return self.deny(Denied::Refused(Refusal::Transaction));
            }
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => {
                return self.deny(Denied::Refused(Refusal::Attach));
            }
            // An ATTACH whose name is an expression comes without a name.
            AuthAction::Unknown { code, .. } if [ffi::SQLITE_ATTACH, ffi::SQLITE_DETACH].contains(code) => {
                return self.deny(Denied::Refused(Refusal::Attach));
            }
            _ => {}
        }
        self.other = true;
        Authorization::Allow
    }

    fn decide_pragma(&mut self, name: &str, given: bool) -> Authorization {
        let is_in = |names: &[&str]| names.iter().any(|known| name.eq_ignore_ascii_case(known));
        if is_in(&PRAGMAS_THAT_ACT) || given && is_in(&PRAGMAS_THAT_CHANGE) {
            self.deny(Denied::Write)
        } else if name.eq_ignore_ascii_case("shrink_memory") || given && is_in(&PRAGMAS_WITHOUT_EFFECT) {
            Authorization::Ignore
        } else if given && is_in(&PRAGMAS_THAT_SET) {
            self.soiled = true;
            Authorization::Allow
        } else if given && !is_in(&PRAGMAS_THAT_TELL) {
            self.deny(Denied::Pragma)
        } else {
            Authorization::Allow
        }
    }

    fn deny(&mut self, why: Denied) -> Authorization {
        self.denied = Some(why);
        Authorization::Deny
    }
}

//! Is a text a read, a write, or something that is refused? (spec §6.4, design §8)
//!
//! SQLite's own word, `stmt_readonly`, is not enough: it is true for BEGIN, ATTACH and `PRAGMA optimize`, and false for
//! `EXPLAIN INSERT` and for asking `PRAGMA journal_mode`. So it is read together with `stmt_isexplain` and with what the
//! authorizer saw ([`Guard`]).
//!
//! Every statement of a text counts: all of them run (design §3), so a text is a read only if each of them is.

use std::fmt;

use crate::ffi::statement::{Session, Statement, StatementError};
use crate::guard::{Denied, Guard, Refusal, Unprepared};

/// What running a text would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// No statement in it: blanks, comments, semicolons.
    Empty,
    /// Reads only; a reader can run it.
    Read,
    /// Changes the database: it goes through the log.
    Write,
    /// SQLite cannot prepare it against the database as it is now. It may depend on an earlier statement of its
    /// request, so it goes through the log, as a write does.
    Unprepared(StatementError),
    /// Refused on every path.
    Refused(Refusal),
}

/// Classifies every statement of `sql` against the database that `session` sees.
pub(crate) fn classify(session: &Session, guard: &Guard, sql: &str) -> Class {
    let mut class = Class::Empty;
    let mut rest = sql;
    loop {
        let prepared = match guard.prepare(session, rest) {
            Ok(prepared) => prepared,
            Err(Unprepared::Denied(Denied::Refused(refusal))) => return Class::Refused(refusal),
            // Where it goes, the writer's own rules decide.
            Err(Unprepared::Denied(Denied::Write | Denied::Pragma)) => return Class::Write,
            Err(Unprepared::Statement(_)) if class == Class::Write => return class,
            Err(Unprepared::Statement(error)) => return Class::Unprepared(error),
        };
        let Some(statement) = prepared.statement else {
            return class;
        };
        if is_write(&statement, prepared.is_pragma) {
            class = Class::Write;
        } else if class == Class::Empty {
            class = Class::Read;
        }
        rest = prepared.tail;
    }
}

/// A PRAGMA that came past the guard only asks, whatever SQLite says of `journal_mode`.
pub(crate) fn is_write(statement: &Statement<'_>, is_pragma: bool) -> bool {
    !statement.is_readonly() && !statement.is_explain() && !is_pragma
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transaction => {
                "explicit transactions are not supported: the statements of one request are one transaction"
            }
            Self::Attach => "ATTACH and DETACH are not supported",
        })
    }
}

#[cfg(test)]
mod tests;

//! Brief queries: those that a reader runs at once, on the thread that asks, where others wait for it.
//!
//! Handing a query to another thread costs several times what a point read costs. So a statement that a reader knows to
//! be brief runs where it came in, within a quantum; if it turns out to be long it is broken off, and whoever asked
//! runs it again elsewhere, from the start. The readers of one database share what they know:
//!
//! ```text
//!  new ──run──► seen ──run, program read──► brief ◄──few steps── long
//!                        │                    └──quantum used up──▲
//!                        └── a step of it may take for ever ──► unbounded
//! ```
//!
//! Invariants:
//! * A text whose program SQLite has made anew is judged anew: it is forgotten by the reader that notices.
//! * Only statements each of whose steps takes time that is linear in the values before it are ever brief: the quantum
//!   is looked at between steps.
//! * Nothing is waited for: not for a lock, not for a connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use command::rows::RowSink;
use command::statement;

use super::{QueryOptions, Reader, Ready};
use crate::error::Error;
use crate::kept::Kept;
use crate::open::READER_BUSY;
use crate::watch::{Bounds, Quantum, STEPS_BETWEEN_QUESTIONS};

/// Questions of SQLite in one quantum: 1,500 to 2,000 steps, some tens of microseconds when pages are in memory.
const QUESTIONS: u32 = 4;

/// A quantum's time, which pages that are not in memory use up sooner than steps.
const TIME: Duration = Duration::from_millis(1);

/// A run of at most this many steps is brief: half a quantum, so that the next one fits too.
const STEPS_BRIEF: u32 = QUESTIONS * STEPS_BETWEEN_QUESTIONS as u32 / 2;

/// Statements of one query: each is looked up before the first runs.
const STATEMENTS_MAX: usize = 16;

/// Texts that are known, the least recently judged going first.
const KNOWN_MAX: usize = 512;

/// Longer texts are never brief: what is known takes a megabyte at most.
const KNOWN_TEXT_BYTES_MAX: usize = 2048;

/// Longer programs are not read.
const PROGRAM_MAX: usize = 1000;

/// Opcodes that may do any amount of work in one step. Those of virtual tables begin with `V` and are refused as such.
const UNBOUNDED: [&str; 4] = ["Count", "IntegrityCk", "LoadAnalysis", "ParseSchema"];

/// Functions whose work is linear in their arguments. `like` is not, nor is `instr`; `randomblob` has no bound but
/// the limit on lengths.
const LINEAR: [&str; 59] = [
    "->",
    "->>",
    "abs",
    "avg",
    "ceil",
    "ceiling",
    "changes",
    "char",
    "coalesce",
    "concat",
    "concat_ws",
    "count",
    "date",
    "datetime",
    "dense_rank",
    "first_value",
    "floor",
    "group_concat",
    "hex",
    "ifnull",
    "iif",
    "json",
    "json_array",
    "json_array_length",
    "json_extract",
    "json_group_array",
    "json_group_object",
    "json_object",
    "json_type",
    "json_valid",
    "julianday",
    "lag",
    "last_insert_rowid",
    "last_value",
    "lead",
    "length",
    "lower",
    "max",
    "min",
    "mod",
    "nullif",
    "octet_length",
    "pow",
    "quote",
    "random",
    "rank",
    "round",
    "row_number",
    "sign",
    "sqrt",
    "strftime",
    "substr",
    "substring",
    "sum",
    "time",
    "total",
    "typeof",
    "unixepoch",
    "upper",
];

/// What became of a query that was to run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AtOnce {
    /// It ran; its sink has all of the answer.
    Done,
    /// It must run elsewhere, from the start; what its sink was shown does not count.
    Declined,
}

/// What is known of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It ran once.
    Seen,
    /// Its last run was brief.
    Brief,
    /// Its last run was not.
    Long,
    /// It may take any time between two questions.
    Unbounded,
}

/// What the readers of one database know of texts.
pub(crate) struct Knowledge {
    verdicts: Mutex<Kept<Verdict>>,
    /// SQLite found damaged pages.
    is_suspect: AtomicBool,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self {
            verdicts: Mutex::new(Kept::new(KNOWN_MAX)),
            is_suspect: AtomicBool::new(false),
        }
    }
}

impl Knowledge {
    /// All of `statements` are known to be brief, and so to be reads; and they may run at once with these options.
    pub(crate) fn all_brief(&self, statements: &[statement::Statement], options: &QueryOptions) -> bool {
        // One statement sees one snapshot in any case.
        if options.transaction && statements.len() > 1 || statements.len() > STATEMENTS_MAX {
            return false;
        }
        let verdicts = self.verdicts();
        statements
            .iter()
            .all(|statement| statement.sql.is_empty() || verdicts.look(&statement.sql) == Some(&Verdict::Brief))
    }

    /// SQLite told one of the readers that pages are damaged.
    pub(crate) fn suspect(&self) {
        self.is_suspect.store(true, Ordering::Relaxed);
    }

    /// Whether [`Self::suspect`] was called since this was asked last.
    pub(crate) fn take_suspicion(&self) -> bool {
        self.is_suspect.swap(false, Ordering::Relaxed)
    }

    fn look(&self, sql: &str) -> Option<Verdict> {
        self.verdicts().look(sql).copied()
    }

    fn judge(&self, sql: &str, verdict: Verdict) {
        if sql.len() > KNOWN_TEXT_BYTES_MAX {
            return;
        }
        let mut verdicts = self.verdicts();
        let key = verdicts.take(sql).map_or_else(|| Arc::from(sql), |(key, _)| key);
        verdicts.put(key, verdict);
    }

    fn forget(&self, sql: &str) {
        self.verdicts().take(sql);
    }

    fn verdicts(&self) -> MutexGuard<'_, Kept<Verdict>> {
        // Nothing panics while it is held; and what it holds is whole at every moment.
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// Runs `statements` on this thread, as [`Self::query`] would; [`Knowledge::all_brief`] was true of them.
    ///
    /// Takes some tens of microseconds, and at most about a millisecond; never waits for a lock.
    ///
    /// # Errors
    ///
    /// As [`Self::query`]; running it elsewhere will say the same.
    pub(crate) fn query_at_once(
        &mut self,
        statements: &[statement::Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
    ) -> Result<AtOnce, Error> {
        let now = self.watch.now();
        self.watch.begin(Bounds {
            cancel: None,
            deadline: options.deadline,
            age_limit: None,
            quantum: Some(Quantum {
                questions: QUESTIONS,
                until: now + TIME,
            }),
        });
        let result = self.patience(Duration::ZERO).and_then(|()| {
            let result = self.elements(statements, options, sink);
            self.patience(READER_BUSY).and(result)
        });
        self.watch.end();
        result
    }

    fn elements(
        &mut self,
        statements: &[statement::Statement],
        options: &QueryOptions,
        sink: &mut dyn RowSink,
    ) -> Result<AtOnce, Error> {
        for statement in statements.iter().filter(|statement| !statement.sql.is_empty()) {
            match self.element(statement, options, sink) {
                Ok(flow) if flow.is_continue() => {}
                // The sink has no room for more, or the quantum is used up.
                Ok(_) | Err(Error::Interrupted) => {
                    self.knowledge.judge(&statement.sql, Verdict::Long);
                    return Ok(AtOnce::Declined);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(AtOnce::Done)
    }

    /// How long SQLite waits for a lock.
    fn patience(&self, time: Duration) -> Result<(), Error> {
        self.connection()
            .busy_timeout(time)
            .map_err(Error::sqlite("set the busy timeout"))
    }

    /// Remembers how a statement ran that came to its end; `is_new` if SQLite made its program anew.
    pub(super) fn learn(&self, ready: &Ready<'_, '_>, steps: u32, is_new: bool) {
        if !ready.statement.is_kept() {
            return;
        }
        if is_new {
            self.knowledge.forget(ready.text);
            return;
        }
        if self.watch.is_hasty() {
            return;
        }
        let by_steps = if steps <= STEPS_BRIEF {
            Verdict::Brief
        } else {
            Verdict::Long
        };
        let known = self.knowledge.look(ready.text);
        let verdict = match known {
            None => Verdict::Seen,
            // A text that comes once is not worth the look.
            Some(Verdict::Seen) if self.is_bounded(ready.text) => by_steps,
            Some(Verdict::Seen | Verdict::Unbounded) => Verdict::Unbounded,
            Some(Verdict::Brief | Verdict::Long) => by_steps,
        };
        if known != Some(verdict) {
            self.knowledge.judge(ready.text, verdict);
        }
    }

    /// Every step of `sql` takes time that is linear in the values that it meets, as its program tells.
    fn is_bounded(&self, sql: &str) -> bool {
        let judged = self.guard.own(|| -> rusqlite::Result<bool> {
            let mut program = self.connection().prepare(&format!("EXPLAIN {sql}"))?;
            // Nothing is bound, and nothing runs: EXPLAIN shows a program.
            let mut rows = program.raw_query();
            let mut length = 0;
            while let Some(row) = rows.next()? {
                length += 1;
                let opcode = row.get_ref(1)?.as_str()?;
                let operand = row.get_ref(5)?.as_str_or_null()?.unwrap_or_default();
                if length > PROGRAM_MAX || !is_step_bounded(opcode, operand) {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        // What cannot be explained is not brief.
        judged.unwrap_or(false)
    }
}

/// One opcode, and the function that it calls, if any.
fn is_step_bounded(opcode: &str, operand: &str) -> bool {
    let calls = [
        "Function",
        "PureFunc",
        "AggStep",
        "AggStep1",
        "AggInverse",
        "AggValue",
        "AggFinal",
    ];
    if calls.contains(&opcode) {
        let name = operand.split_once('(').map_or(operand, |(name, _)| name);
        return LINEAR.iter().any(|linear| name.eq_ignore_ascii_case(linear));
    }
    let is_virtual = opcode.starts_with('V') && opcode != "Variable";
    !is_virtual && !UNBOUNDED.contains(&opcode)
}

#[cfg(test)]
mod tests;

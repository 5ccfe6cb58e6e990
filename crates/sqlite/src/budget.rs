//! What an entry may use up: virtual-machine steps, and bytes of rows stored (D13).
//!
//! Never the clock: running out is a result, so it must come at the same step on every replica. SQLite calls the progress
//! handler at every [`STEPS_PER_TICK`] steps of a statement, counted from zero for each run. It also calls it for the
//! statements that virtual tables keep for their own use, whose counts have a past; those ticks are told apart by the
//! depth of the stack, and not counted.
//!
//! A step may work on a value of any length. Two things keep its cost in hand: what our own functions work on is charged
//! as steps ([`Budget::charge`]), and an entry that meets long values has fewer steps (`crate::entry`).
//!
//! ```text
//!  step ─► sqlite3_step ─► virtual machine ─► tick                                          counted
//!  step ─► sqlite3_step ─► virtual machine ─► FTS5 ─► sqlite3_step ─► virtual machine ─► tick     not counted
//!    └──────── depth, measured once at the start ──┘
//! ```

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::ffi::statement::{Execution, StatementError, Step};
use crate::interrupt::Interrupt;

/// Virtual-machine steps between two looks at the budget.
pub(crate) const STEPS_PER_TICK: i32 = 4096;
/// Bytes by which the depth of a counted tick may differ, for frames that align themselves. A virtual machine within
/// another is deeper by its own frame and its callers', more than twice that.
const DEPTH_TOLERANCE_BYTES: usize = 192;

/// What a statement says that used up a budget.
const EXHAUSTED: [&str; 3] = [
    "statement stopped: it took more virtual-machine steps than a write may",
    "statement stopped: it stored more bytes than a write may",
    "statement stopped: it wrote more bytes to disk than a write may",
];

/// See the head of this file.
#[derive(Default)]
pub(crate) struct Budget {
    /// Somebody may want the statement stopped, whatever is left.
    pub(crate) interrupt: Interrupt,
    /// A user's statement runs.
    armed: AtomicBool,
    steps_left: AtomicU64,
    bytes_left: AtomicI64,
    /// Bytes of a value that cost a step when a function works on them; 0 counts none.
    step_bytes: AtomicU64,
    /// Which budget ran out, as an index into [`EXHAUSTED`] plus one.
    exhausted: AtomicU32,
    /// Where the stack stands in [`Self::step`].
    frame: AtomicUsize,
    /// How much deeper it stands in a tick of the statement itself; 0 while that is being measured.
    depth: AtomicUsize,
}

/// What an entry is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// Virtual-machine steps.
    pub(crate) steps: u64,
    /// Bytes of a value that cost a step when a function works on them; 0 counts none.
    pub(crate) step_bytes: u64,
    /// Bytes of rows stored.
    pub(crate) stored_bytes: u64,
}

/// What is left of a budget.
#[derive(Clone, Copy)]
pub(crate) struct Left {
    steps: u64,
    bytes: i64,
}

impl Budget {
    /// Gives the entry its budgets.
    pub(crate) fn grant(&self, grant: Grant) {
        self.step_bytes.store(grant.step_bytes, Relaxed);
        self.take_back(Left {
            // Whole ticks: a last one that is not whole counts as one.
            steps: grant
                .steps
                .div_ceil(STEPS_PER_TICK as u64)
                .saturating_mul(STEPS_PER_TICK as u64),
            bytes: i64::try_from(grant.stored_bytes).unwrap_or(i64::MAX),
        });
        self.exhausted.store(0, Relaxed);
    }

    /// What is left.
    pub(crate) fn left(&self) -> Left {
        Left {
            steps: self.steps_left.load(Relaxed),
            bytes: self.bytes_left.load(Relaxed),
        }
    }

    /// Goes on with what was left.
    pub(crate) fn take_back(&self, left: Left) {
        self.steps_left.store(left.steps, Relaxed);
        self.bytes_left.store(left.bytes, Relaxed);
    }

    /// A statement begins: what stopped an earlier one is its own.
    pub(crate) fn arm(&self) {
        self.exhausted.store(0, Relaxed);
        self.armed.store(true, Relaxed);
    }

    /// It has ended.
    pub(crate) fn disarm(&self) {
        self.armed.store(false, Relaxed);
    }

    /// Steps a statement whose ticks count.
    #[inline(never)]
    pub(crate) fn step(&self, execution: &mut Execution<'_>) -> Result<Step, StatementError> {
        let marker = 0_u8;
        self.frame.store(address(&marker), Relaxed);
        execution.step()
    }

    /// Measures the depth of a tick by `execution`, which must take more than [`STEPS_PER_TICK`] steps and touch no
    /// virtual table; answers whether there was one.
    pub(crate) fn measure(&self, execution: &mut Execution<'_>) -> Result<bool, StatementError> {
        self.depth.store(0, Relaxed);
        self.grant(Grant {
            steps: u64::MAX,
            step_bytes: 0,
            stored_bytes: u64::MAX,
        });
        self.arm();
        let run = loop {
            match self.step(execution) {
                Ok(Step::Row) => {}
                Ok(Step::Done) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.disarm();
        run.map(|()| self.depth.load(Relaxed) != 0)
    }

    /// The progress handler; answers whether the statement must stop.
    #[inline(never)]
    pub(crate) fn tick(&self) -> bool {
        if !self.armed.load(Relaxed) {
            return false;
        }
        if self.interrupt.is_asked() {
            return true;
        }
        let marker = 0_u8;
        let here = self.frame.load(Relaxed).abs_diff(address(&marker));
        match self.depth.load(Relaxed) {
            0 => {
                self.depth.store(here, Relaxed);
                return false;
            }
            depth if here > depth + DEPTH_TOLERANCE_BYTES => return false,
            _ => {}
        }
        self.spend(STEPS_PER_TICK as u64);
        self.exhausted.load(Relaxed) != 0
    }

    /// A function is about to work on `bytes`; answers whether the statement must stop instead.
    pub(crate) fn charge(&self, bytes: u64) -> bool {
        if !self.armed.load(Relaxed) {
            return false;
        }
        self.spend(bytes.checked_div(self.step_bytes.load(Relaxed)).unwrap_or(0));
        self.exhausted.load(Relaxed) != 0 || self.interrupt.is_asked()
    }

    fn spend(&self, steps: u64) {
        let left = self.steps_left.load(Relaxed);
        if left < steps {
            self.exhausted.store(1, Relaxed);
        }
        self.steps_left.store(left.saturating_sub(steps), Relaxed);
    }

    /// `bytes` were stored; answers whether the statement must stop.
    pub(crate) fn store(&self, bytes: i64) -> bool {
        let exhausted = self.bytes_left.fetch_sub(bytes, Relaxed) < bytes;
        if exhausted {
            self.exhausted.store(2, Relaxed);
        }
        exhausted
    }

    /// The statement has written too much to its files.
    pub(crate) fn overflow(&self) {
        self.exhausted.store(3, Relaxed);
    }

    /// What the statement says that used up a budget; `None` while none is.
    pub(crate) fn exhausted(&self) -> Option<&'static str> {
        let which = self.exhausted.load(Relaxed) as usize;
        which.checked_sub(1).and_then(|which| EXHAUSTED.get(which).copied())
    }
}

fn address(marker: &u8) -> usize {
    black_box(std::ptr::from_ref(marker)).addr()
}

//! Prepared statements as SQLite has them: kept by text, values bound without a copy, cells shown without a copy.
//!
//! Owns a connection and its statements in one [`Session`], so that statements can be kept between uses. Knows nothing
//! of requests or results.
//!
//! ```text
//!  Session ──prepare──► Statement ──begin──► Execution ──bind, step──► cells
//!     ▲                     │                    │
//!     └──────kept by text───┘◄──reset, cleared───┘
//! ```
//!
//! Invariants:
//! * A statement that is not being executed is reset: it holds no lock and no snapshot.
//! * Values are bound by pointer and never read after the [`Execution`] that they were bound for: only an execution
//!   steps, and each clears the bindings before it begins.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;
use std::ptr::NonNull;
use std::sync::Arc;

use command::rows::{CellRef, Columns};
use rusqlite::{Connection, ffi};

use crate::kept::Kept;

/// Longer texts are not kept: they are bulk loads, rarely sent twice, and would take the place of many short ones.
const KEPT_TEXT_BYTES_MAX: usize = 16 * 1024;

/// What SQLite said against a statement: a result for its user, text unchanged (spec §7.6).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StatementError {
    /// SQLite's extended result code.
    pub code: i32,
    /// SQLite's text.
    pub message: String,
}

/// A connection and the statements kept for it.
pub struct Session {
    // Before the connection, so that its statements are finalized before it closes.
    kept: RefCell<Kept<Raw>>,
    connection: Connection,
}

/// A prepared statement; it returns to its session's keep when dropped.
pub struct Statement<'s> {
    session: &'s Session,
    /// `None` only while it is being dropped.
    raw: Option<Raw>,
    /// The text to keep it under; `None` for one that is not kept.
    key: Option<Arc<str>>,
}

/// One run of a statement, from its bindings to its reset.
pub struct Execution<'a> {
    raw: &'a mut Raw,
    values: PhantomData<&'a [u8]>,
}

/// Where a step led.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A row is ready.
    Row,
    /// The statement has run to its end.
    Done,
}

impl StatementError {
    /// A failure found before SQLite was asked.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            code: ffi::SQLITE_ERROR,
            message: message.into(),
        }
    }

    /// The primary result code, such as `SQLITE_READONLY`.
    pub fn primary(&self) -> i32 {
        self.code & 0xff
    }
}

impl Session {
    /// A session that keeps at most `kept_max` statements.
    pub fn new(connection: Connection, kept_max: usize) -> Self {
        Self {
            kept: RefCell::new(Kept::new(kept_max)),
            connection,
        }
    }

    /// The connection underneath.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection underneath, for setting its hooks.
    pub fn connection_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Prepares the first statement of `sql`, or takes it from the keep, and returns the text after it.
    ///
    /// The statement is `None` when the text holds none: blanks, comments, semicolons. Only a text that is one
    /// statement without a tail is kept.
    ///
    /// # Errors
    ///
    /// What SQLite says against the text.
    pub fn prepare<'s, 'q>(&'s self, sql: &'q str) -> Result<(Option<Statement<'s>>, &'q str), StatementError> {
        if let Some((key, raw)) = self.kept.borrow_mut().take(sql) {
            let statement = Statement {
                session: self,
                raw: Some(raw),
                key: Some(key),
            };
            return Ok((Some(statement), ""));
        }
        let keep = sql.len() <= KEPT_TEXT_BYTES_MAX;
        let (raw, tail) = self.prepare_raw(sql, keep)?;
        let key = (keep && tail.is_empty()).then(|| Arc::from(sql));
        let statement = raw.map(|raw| Statement {
            session: self,
            raw: Some(raw),
            key,
        });
        Ok((statement, tail))
    }

    /// Finalizes every kept statement.
    pub fn forget(&self) {
        self.kept.borrow_mut().clear();
    }

    fn prepare_raw<'q>(&self, sql: &'q str, persistent: bool) -> Result<(Option<Raw>, &'q str), StatementError> {
        let Ok(length) = c_int::try_from(sql.len()) else {
            return Err(StatementError {
                code: ffi::SQLITE_TOOBIG,
                message: "string or blob too big".to_owned(),
            });
        };
        let flags = if persistent { ffi::SQLITE_PREPARE_PERSISTENT } else { 0 };
        let text = sql.as_ptr().cast::<c_char>();
        let mut statement = ptr::null_mut();
        let mut tail = ptr::null();
        // SAFETY: the connection is open as long as `self` lives; `text` holds `length` readable bytes; both out
        // pointers are valid for the call.
        let code = unsafe {
            let db = self.connection.handle();
            ffi::sqlite3_prepare_v3(db, text, length, flags, &raw mut statement, &raw mut tail)
        };
        if code != ffi::SQLITE_OK {
            return Err(self.failure(code));
        }
        // `tail` points into `sql`, or just past it, always behind a complete token.
        let consumed = (tail as usize).saturating_sub(text as usize).min(sql.len());
        let tail = sql.get(consumed..).unwrap_or_default();
        let blank = |byte: u8| byte.is_ascii_whitespace() || byte == b';';
        let tail = if tail.bytes().all(blank) { "" } else { tail };
        Ok((NonNull::new(statement).map(Raw::new), tail))
    }

    fn failure(&self, code: c_int) -> StatementError {
        // SAFETY: the connection is open as long as `self` lives.
        unsafe { failure(self.connection.handle(), code) }
    }
}

impl Statement<'_> {
    /// Begins a run, with nothing bound.
    pub fn begin(&mut self) -> Execution<'_> {
        let raw = self.raw_mut();
        // Normally already so. After an execution that was leaked, its values may be gone: forget them unread.
        raw.rest();
        raw.is_at_rest = false;
        Execution {
            raw,
            values: PhantomData,
        }
    }

    /// Finalizes it when it is dropped, instead of keeping it.
    pub fn release(&mut self) {
        self.key = None;
    }

    /// Number of parameters: the largest index in the statement.
    pub fn parameter_count(&self) -> usize {
        // SAFETY: the statement is alive.
        usize::try_from(unsafe { ffi::sqlite3_bind_parameter_count(self.pointer()) }).unwrap_or(0)
    }

    /// SQLite holds that it changes no database; true for BEGIN, ATTACH and some PRAGMAs too.
    pub fn is_readonly(&self) -> bool {
        // SAFETY: the statement is alive.
        unsafe { ffi::sqlite3_stmt_readonly(self.pointer()) != 0 }
    }

    /// It is an EXPLAIN or EXPLAIN QUERY PLAN.
    pub fn is_explain(&self) -> bool {
        // SAFETY: the statement is alive.
        unsafe { ffi::sqlite3_stmt_isexplain(self.pointer()) != 0 }
    }

    /// What [`Self::set_note`] left on it, at this or an earlier use; `None` when it was just prepared.
    pub fn note(&self) -> Option<u32> {
        self.raw.as_ref().and_then(|raw| raw.note)
    }

    /// Keeps a word of the caller's own with the statement.
    pub fn set_note(&mut self, note: u32) {
        self.raw_mut().note = Some(note);
    }

    /// How often SQLite has prepared it anew by itself, since the schema had changed.
    pub fn reprepared(&self) -> u32 {
        self.raw.as_ref().map_or(0, Raw::reprepared)
    }

    /// It will be kept under its text.
    pub fn is_kept(&self) -> bool {
        self.key.is_some()
    }

    /// Number of result columns.
    pub fn column_count(&self) -> usize {
        // SAFETY: the statement is alive.
        usize::try_from(unsafe { ffi::sqlite3_column_count(self.pointer()) }).unwrap_or(0)
    }

    fn pointer(&self) -> *mut ffi::sqlite3_stmt {
        self.raw.as_ref().map_or(ptr::null_mut(), Raw::pointer)
    }

    #[expect(clippy::expect_used, reason = "only drop takes the statement out")]
    fn raw_mut(&mut self) -> &mut Raw {
        self.raw.as_mut().expect("a statement is whole until it is dropped")
    }
}

impl Drop for Statement<'_> {
    fn drop(&mut self) {
        let Some(mut raw) = self.raw.take() else { return };
        raw.rest();
        if let Some(key) = self.key.take() {
            self.session.kept.borrow_mut().put(key, raw);
        }
    }
}

impl<'a> Execution<'a> {
    /// Number of parameters: the largest index in the statement.
    pub fn parameter_count(&self) -> usize {
        // SAFETY: the statement is alive.
        usize::try_from(unsafe { ffi::sqlite3_bind_parameter_count(self.raw.pointer()) }).unwrap_or(0)
    }

    /// Index, from 1, of the parameter `name`, which is given with its prefix character.
    pub fn parameter_index(&self, name: &str) -> Option<usize> {
        let name = CString::new(name).ok()?;
        // SAFETY: the statement is alive and `name` ends with NUL.
        let index = unsafe { ffi::sqlite3_bind_parameter_index(self.raw.pointer(), name.as_ptr()) };
        usize::try_from(index).ok().filter(|index| *index > 0)
    }

    /// Binds `value` to the parameter `index`, from 1, without copying it.
    ///
    /// # Errors
    ///
    /// `SQLITE_TOOBIG` and `SQLITE_RANGE`, as SQLite words them.
    pub fn bind(&mut self, index: usize, value: CellRef<'a>) -> Result<(), StatementError> {
        let index = c_int::try_from(index).unwrap_or(c_int::MAX);
        let statement = self.raw.pointer();
        // SAFETY: the statement is alive. Bytes are bound by pointer: they live for 'a, which outlasts this execution,
        // and no later one reads them (see the head of this file).
        let code = unsafe {
            match value {
                CellRef::Null => ffi::sqlite3_bind_null(statement, index),
                CellRef::Integer(value) => ffi::sqlite3_bind_int64(statement, index, value),
                CellRef::Real(value) => ffi::sqlite3_bind_double(statement, index, value),
                CellRef::Text(text) => ffi::sqlite3_bind_text64(
                    statement,
                    index,
                    text.as_ptr().cast(),
                    text.len() as u64,
                    ffi::SQLITE_STATIC(),
                    ffi::SQLITE_UTF8 as u8,
                ),
                CellRef::Blob(bytes) => ffi::sqlite3_bind_blob64(
                    statement,
                    index,
                    bytes.as_ptr().cast(),
                    bytes.len() as u64,
                    ffi::SQLITE_STATIC(),
                ),
            }
        };
        if code == ffi::SQLITE_OK {
            return Ok(());
        }
        Err(self.raw.failure(code))
    }

    /// Starts the count of virtual-machine steps at zero, so that a progress handler's ticks fall where they would fall
    /// in a statement without a past.
    pub fn forget_steps(&mut self) {
        // SAFETY: the statement is alive.
        unsafe { ffi::sqlite3_stmt_status(self.raw.pointer(), ffi::SQLITE_STMTSTATUS_VM_STEP, 1) };
    }

    /// Virtual-machine steps since [`Self::forget_steps`].
    pub fn steps(&self) -> u32 {
        // SAFETY: the statement is alive.
        let steps = unsafe { ffi::sqlite3_stmt_status(self.raw.pointer(), ffi::SQLITE_STMTSTATUS_VM_STEP, 0) };
        u32::try_from(steps).unwrap_or(u32::MAX)
    }

    /// Runs to the next row or to the end.
    ///
    /// # Errors
    ///
    /// What SQLite says; the run is over.
    pub fn step(&mut self) -> Result<Step, StatementError> {
        // SAFETY: the statement is alive, and the cells shown before are not: they borrow this execution.
        match unsafe { ffi::sqlite3_step(self.raw.pointer()) } {
            ffi::SQLITE_ROW => Ok(Step::Row),
            ffi::SQLITE_DONE => Ok(Step::Done),
            code => Err(self.raw.failure(code)),
        }
    }

    /// The cells of the row that the last step made ready; none when it made none ready.
    ///
    /// # Errors
    ///
    /// `SQLITE_NOMEM` when SQLite could not show a text.
    pub fn row(&mut self) -> Result<&[CellRef<'_>], StatementError> {
        self.raw.row()
    }

    /// The columns, named and typed; the same `Arc` until the schema changes.
    ///
    /// Final only after the first step, which may find the schema changed.
    pub fn columns(&mut self) -> Arc<Columns> {
        self.raw.columns()
    }

    /// The columns, with the tables that they come from.
    pub fn columns_with_tables(&mut self) -> Columns {
        let mut columns = Columns::clone(&self.raw.columns());
        columns.tables = self.raw.read_tables();
        columns
    }
}

impl Drop for Execution<'_> {
    fn drop(&mut self) {
        self.raw.rest();
    }
}

/// A `sqlite3_stmt` and what is remembered with it.
struct Raw {
    statement: NonNull<ffi::sqlite3_stmt>,
    /// Columns, and the number of automatic re-preparations at which they were read.
    columns: Option<(u32, Arc<Columns>)>,
    /// Reset, with nothing bound.
    is_at_rest: bool,
    /// A word of the preparer's own, kept with the statement.
    note: Option<u32>,
    /// The cells of the current row: a buffer whose lifetime is only true while [`Raw::row`] lends it.
    cells: Vec<CellRef<'static>>,
}

// SAFETY: SQLite's multi-thread mode lets a connection and its statements move between threads, used by one at a time;
// a `Raw` never leaves the session that owns its connection, and a session is not `Sync`.
unsafe impl Send for Raw {}

impl Raw {
    fn new(statement: NonNull<ffi::sqlite3_stmt>) -> Self {
        Self {
            statement,
            columns: None,
            is_at_rest: true,
            note: None,
            cells: Vec::new(),
        }
    }

    fn pointer(&self) -> *mut ffi::sqlite3_stmt {
        self.statement.as_ptr()
    }

    /// Resets, and forgets the bound values.
    fn rest(&mut self) {
        if self.is_at_rest {
            return;
        }
        self.is_at_rest = true;
        self.cells.clear();
        // SAFETY: the statement is alive. The code of `reset` repeats the failure of the last step, already reported.
        unsafe {
            ffi::sqlite3_reset(self.pointer());
            ffi::sqlite3_clear_bindings(self.pointer());
        }
    }

    fn failure(&self, code: c_int) -> StatementError {
        // SAFETY: the statement is alive, so its connection is.
        unsafe { failure(ffi::sqlite3_db_handle(self.pointer()), code) }
    }

    fn row(&mut self) -> Result<&[CellRef<'_>], StatementError> {
        self.cells.clear();
        // SAFETY: the statement is alive.
        let count = unsafe { ffi::sqlite3_data_count(self.pointer()) };
        for column in 0..count {
            // SAFETY: the column exists in the current row. The bytes shown stay valid until the next step or reset;
            // both need `&mut self`, while the slice returned below borrows it.
            let cell = unsafe { cell(self.pointer(), column) };
            let Some(cell) = cell else {
                return Err(self.failure(ffi::SQLITE_NOMEM));
            };
            self.cells.push(cell);
        }
        Ok(&self.cells)
    }

    fn reprepared(&self) -> u32 {
        // SAFETY: the statement is alive.
        let count = unsafe { ffi::sqlite3_stmt_status(self.pointer(), ffi::SQLITE_STMTSTATUS_REPREPARE, 0) };
        u32::try_from(count).unwrap_or(0)
    }

    fn columns(&mut self) -> Arc<Columns> {
        let prepared = self.reprepared();
        match &self.columns {
            Some((at, columns)) if *at == prepared => Arc::clone(columns),
            Some(_) | None => {
                let columns = Arc::new(self.read_columns());
                self.columns = Some((prepared, Arc::clone(&columns)));
                columns
            }
        }
    }

    fn read_columns(&self) -> Columns {
        let mut columns = Columns::default();
        // SAFETY: the statement is alive.
        for column in 0..unsafe { ffi::sqlite3_column_count(self.pointer()) } {
            // SAFETY: the column exists; each text is copied before the next call.
            unsafe {
                columns
                    .names
                    .push(text(ffi::sqlite3_column_name(self.pointer(), column)));
                let declared = text(ffi::sqlite3_column_decltype(self.pointer(), column));
                columns.types.push(declared.to_lowercase());
            }
        }
        columns
    }

    fn read_tables(&self) -> Vec<String> {
        // SAFETY: the statement is alive, and the column exists; the text is copied before the next call.
        unsafe {
            (0..ffi::sqlite3_column_count(self.pointer()))
                .map(|column| text(ffi::sqlite3_column_table_name(self.pointer(), column)))
                .collect()
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // SAFETY: the statement is alive and nothing refers to it any more.
        unsafe { ffi::sqlite3_finalize(self.pointer()) };
    }
}

/// Reads one cell; `None` when SQLite had no memory for its text.
///
/// # Safety
///
/// `statement` is alive with a current row that has `column`; the cell is dropped before the next step or reset.
unsafe fn cell(statement: *mut ffi::sqlite3_stmt, column: c_int) -> Option<CellRef<'static>> {
    // SAFETY: promised by the caller. Length is asked after the pointer, as SQLite demands.
    unsafe {
        Some(match ffi::sqlite3_column_type(statement, column) {
            ffi::SQLITE_INTEGER => CellRef::Integer(ffi::sqlite3_column_int64(statement, column)),
            ffi::SQLITE_FLOAT => CellRef::Real(ffi::sqlite3_column_double(statement, column)),
            ffi::SQLITE_TEXT => {
                let text = NonNull::new(ffi::sqlite3_column_text(statement, column).cast_mut())?;
                CellRef::Text(bytes(text.as_ptr(), ffi::sqlite3_column_bytes(statement, column)))
            }
            ffi::SQLITE_BLOB => {
                let blob = ffi::sqlite3_column_blob(statement, column).cast::<u8>();
                CellRef::Blob(bytes(blob, ffi::sqlite3_column_bytes(statement, column)))
            }
            _ => CellRef::Null,
        })
    }
}

/// # Safety
///
/// `pointer` is null, or has `length` readable bytes for as long as the result is used.
unsafe fn bytes(pointer: *const u8, length: c_int) -> &'static [u8] {
    let length = usize::try_from(length).unwrap_or(0);
    if pointer.is_null() || length == 0 {
        return &[];
    }
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(pointer, length) }
}

/// # Safety
///
/// `pointer` is null or a text that ends with NUL.
unsafe fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: promised by the caller.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}

/// # Safety
///
/// `db` is an open connection whose last call failed with `code`.
unsafe fn failure(db: *mut ffi::sqlite3, code: c_int) -> StatementError {
    // SAFETY: promised by the caller; the text is copied at once.
    let message = unsafe { text(ffi::sqlite3_errmsg(db)) };
    StatementError { code, message }
}

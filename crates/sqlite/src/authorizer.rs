//! What a user's statement may do on the writer.
//!
//! Refuses what would make replicas differ, leave the database, or touch our own tables; notes facts about the
//! statement for the writer. SQLite's own refusals (dropping or indexing a `sqlite_` table, for one) stay SQLite's.

use std::sync::atomic::Ordering::Relaxed;

use rusqlite::ffi;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};

use crate::context::{Context, Facts};
use crate::meta;
use crate::pragma::{self, Form, Verdict};

const ATTACH: &str = "ATTACH, DETACH and VACUUM INTO are not supported";
const TEMP: &str = "TEMP objects are not supported: they would exist on one connection only";
const TRANSACTION: &str = "explicit transactions are not supported: send the statements as one request";
const OWN_TABLE: &str = "table sqlite_quorlite is Quorlite's own: writes cannot use it";
const PHYSICAL: &str = "this table shows how one node stores its data: writes cannot use it";
const MODULE: &str = "this virtual table module cannot be used in a replicated schema";

/// Tables that show pages or connections, which differ between nodes.
const PHYSICAL_TABLES: &[&str] = &["dbstat", "sqlite_dbpage", "sqlite_stmt", "bytecode", "tables_used"];
/// Modules that may not be instantiated: they show pages.
const PHYSICAL_MODULES: &[&str] = &["dbstat", "sqlite_dbpage"];
/// Functions that reach outside of the database.
const FUNCTIONS: &[&str] = &[
    "load_extension",
    "fts3_tokenizer",
    "readfile",
    "writefile",
    "edit",
    "sqlite_offset",
];
/// Pragmas that answer a row for each table, or may.
const PRAGMAS_THAT_LIST: &[&str] = &["foreign_key_check", "table_list"];
/// The pragma that ALTER TABLE ADD COLUMN asks whether the rows fit a constraint: in that statement, and while it runs.
const ALTER_ASKS: &str = "quick_check";
/// Pragmas that modules ask while a statement runs: FTS5 the first, R-Tree and Geopoly the second. A user's statement
/// that reads their tables was refused when it was prepared.
const MODULES_ASK: &[&str] = &["data_version", "page_size"];

/// Judges one action of a statement.
pub(crate) fn judge(context: &Context, action: &AuthContext<'_>) -> Authorization {
    if context.ours.load(Relaxed) {
        return Authorization::Allow;
    }
    match refusal(context, action) {
        Ok(authorization) => authorization,
        Err(why) => {
            context.refuse(why);
            Authorization::Deny
        }
    }
}

fn refusal(context: &Context, asked: &AuthContext<'_>) -> Result<Authorization, &'static str> {
    let vacuuming = context.vacuuming.load(Relaxed);
    match asked.action {
        AuthAction::Insert { table_name } | AuthAction::Delete { table_name } => modify(context, asked, table_name)?,
        AuthAction::Update { table_name, .. } => {
            context.found(Facts::MULTIPLIES);
            modify(context, asked, table_name)?;
        }
        AuthAction::Read {
            table_name,
            column_name,
        } => read(context, table_name, column_name)?,
        AuthAction::Select => context.found(Facts::MULTIPLIES),
        AuthAction::Recursive => {}
        AuthAction::Function { function_name } => return Ok(function(context, function_name)),
        AuthAction::Pragma {
            pragma_name,
            pragma_value,
        } => return pragma(context, pragma_name, pragma_value),
        AuthAction::CreateTable { .. }
        | AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateVtable { .. }
            if asked.database_name == Some("temp") =>
        {
            return Err(TEMP);
        }
        AuthAction::CreateTable { .. } => context.found(Facts::SCHEMA.and(Facts::REFERENCES)),
        AuthAction::AlterTable { .. } => {
            context.found(Facts::SCHEMA.and(Facts::REFERENCES).and(Facts::ALTERS));
        }
        AuthAction::Analyze { .. } => context.found(Facts::SCHEMA.and(Facts::STATISTICS).and(Facts::LISTS)),
        AuthAction::CreateVtable { module_name, .. } if PHYSICAL_MODULES.contains(&module_name) => return Err(MODULE),
        AuthAction::CreateIndex { .. }
        | AuthAction::CreateTrigger { .. }
        | AuthAction::CreateView { .. }
        | AuthAction::CreateVtable { .. }
        | AuthAction::DropIndex { .. }
        | AuthAction::DropTable { .. }
        | AuthAction::DropTrigger { .. }
        | AuthAction::DropView { .. }
        | AuthAction::DropVtable { .. }
        | AuthAction::Reindex { .. } => context.found(Facts::SCHEMA),
        AuthAction::CreateTempIndex { .. }
        | AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. }
        | AuthAction::DropTempIndex { .. }
        | AuthAction::DropTempTable { .. }
        | AuthAction::DropTempTrigger { .. }
        | AuthAction::DropTempView { .. } => return Err(TEMP),
        // VACUUM attaches a nameless database and begins a transaction of its own.
        AuthAction::Attach { filename: "" } | AuthAction::Transaction { .. } if vacuuming => {}
        AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => return Err(TRANSACTION),
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => return Err(ATTACH),
        AuthAction::Unknown { code, .. } if code == ffi::SQLITE_ATTACH => return Err(ATTACH),
        AuthAction::Unknown { .. } => {}
        // The enum is rusqlite's and may grow: what this release does not know is not allowed.
        _ => return Ok(Authorization::Deny),
    }
    Ok(Authorization::Allow)
}

fn modify(context: &Context, asked: &AuthContext<'_>, table: &str) -> Result<(), &'static str> {
    if meta::is_own_table(table) {
        let copy = asked.database_name.is_some_and(|name| name.starts_with("vacuum_"));
        return if copy && context.vacuuming.load(Relaxed) {
            Ok(())
        } else {
            Err(OWN_TABLE)
        };
    }
    // A virtual table's own statement, prepared while it is connected, says nothing of the user's.
    if !context.preparing.load(Relaxed) || context.is_shadow(table) {
        return Ok(());
    }
    if context.is_virtual(table) {
        context.found(Facts::VIRTUAL);
    }
    if strip_prefix(table, "sqlite_stat").is_some() {
        context.found(Facts::STATISTICS);
    }
    if asked.accessor.is_some() {
        // In a trigger: one row stored by the user may become many.
        context.found(Facts::MULTIPLIES);
    } else {
        context.found(Facts::COUNTS);
    }
    Ok(())
}

fn read(context: &Context, table: &str, column: &str) -> Result<(), &'static str> {
    if meta::is_own_table(table) && !context.vacuuming.load(Relaxed) {
        return Err(OWN_TABLE);
    }
    if let Some(name) = strip_prefix(table, "pragma_") {
        if name.eq_ignore_ascii_case(ALTER_ASKS) && context.has_found(Facts::ALTERS) {
            return Ok(());
        }
        if let Verdict::Refuse(why) = pragma::judge(name, None, Form::Table, context.foreign_keys) {
            return Err(why);
        }
        note_list(context, name);
    }
    if PHYSICAL_TABLES.iter().any(|name| table.eq_ignore_ascii_case(name)) {
        return Err(PHYSICAL);
    }
    if context.preparing.load(Relaxed) && context.is_virtual(table) {
        context.found(Facts::VIRTUAL);
        if column.eq_ignore_ascii_case("rank") {
            context.found(Facts::RANKS);
        }
    }
    Ok(())
}

fn function(context: &Context, name: &str) -> Authorization {
    if FUNCTIONS.iter().any(|refused| name.eq_ignore_ascii_case(refused)) {
        return Authorization::Deny;
    }
    if name.eq_ignore_ascii_case("bm25") {
        context.found(Facts::RANKS);
    }
    if name.eq_ignore_ascii_case("changes") || name.eq_ignore_ascii_case("total_changes") {
        context.found(Facts::ASKS_CHANGES);
    }
    Authorization::Allow
}

fn pragma(context: &Context, name: &str, value: Option<&str>) -> Result<Authorization, &'static str> {
    let form = if context.preparing.load(Relaxed) {
        Form::Statement
    } else {
        let is_asked = MODULES_ASK.iter().any(|asked| name.eq_ignore_ascii_case(asked)) && value.is_none();
        if is_asked || name.eq_ignore_ascii_case(ALTER_ASKS) {
            return Ok(Authorization::Allow);
        }
        Form::Table
    };
    context.found(Facts::PRAGMA);
    if name.eq_ignore_ascii_case("defer_foreign_keys") {
        context.found(Facts::DEFERS);
    }
    note_list(context, name);
    match pragma::judge(name, value, form, context.foreign_keys) {
        Verdict::Allow => Ok(Authorization::Allow),
        Verdict::Ignore => Ok(Authorization::Ignore),
        Verdict::Refuse(why) => Err(why),
    }
}

/// Notes a pragma that goes through all tables.
fn note_list(context: &Context, pragma: &str) {
    if PRAGMAS_THAT_LIST.iter().any(|name| pragma.eq_ignore_ascii_case(name)) {
        context.found(Facts::LISTS);
    }
}

/// `name` after `prefix`, whatever the case of its letters.
fn strip_prefix<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    let (head, tail) = name.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

//! Which pragmas a write may use: an allow-list (design: determinism).
//!
//! What sets a connection and changes results would make replicas differ by their connections' histories: it is
//! cluster state, or refused. What sets a connection and changes nothing is passed over.

/// What becomes of a pragma on the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It runs.
    Allow,
    /// It is accepted and does nothing.
    Ignore,
    /// The statement fails with this text.
    Refuse(&'static str),
}

/// How the pragma was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// `PRAGMA name`, as a statement.
    Statement,
    /// `pragma_name(…)`, in the FROM of a statement: what it answers may be stored.
    Table,
}

const DISALLOWED: &str = "disallowed pragma";
const CLUSTER: &str = "this pragma is fixed for the whole cluster: start every node with the flag instead";
const OPTIMIZE: &str = "PRAGMA optimize depends on the connection's history: send ANALYZE instead";
const LOCAL: &str = "what this pragma answers differs between nodes: it cannot be used in a write";

/// Answers from the schema and the data alone; an argument names a table or bounds the work.
const INTROSPECTION: &[&str] = &[
    "collation_list",
    "foreign_key_check",
    "foreign_key_list",
    "function_list",
    "index_info",
    "index_list",
    "index_xinfo",
    "pragma_list",
    "table_info",
    "table_list",
    "table_xinfo",
];
/// Part of the database, read and written.
const CONTENT: &[&str] = &["application_id", "defer_foreign_keys", "user_version"];
/// Moves pages, changes no content.
const MAINTENANCE: &[&str] = &["incremental_vacuum"];
/// Asked, these answer for this node alone; set, they are fixed or disallowed.
const FIXED: &[&str] = &[
    "auto_vacuum",
    "data_version",
    "database_list",
    "freelist_count",
    "legacy_file_format",
    "max_page_count",
    "page_count",
    "page_size",
    "schema_version",
];
/// Settings of a connection that change no result.
const INERT: &[&str] = &[
    "busy_timeout",
    "cache_size",
    "cache_spill",
    "encoding",
    "journal_size_limit",
    "locking_mode",
    "mmap_size",
    "secure_delete",
    "shrink_memory",
    "temp_store",
    "threads",
];
/// The spec's list (§6.5): refused with its text when set.
const SPEC_DISALLOWED: &[&str] = &["journal_mode", "query_only", "synchronous", "wal_autocheckpoint"];

/// Judges `PRAGMA name` or `PRAGMA name=value` on a connection whose foreign keys are enforced or not.
pub(crate) fn judge(name: &str, value: Option<&str>, form: Form, foreign_keys: bool) -> Verdict {
    let name = name.to_ascii_lowercase();
    let listed = |list: &[&str]| list.contains(&name.as_str());
    if listed(INTROSPECTION) {
        return Verdict::Allow;
    }
    if (listed(CONTENT) || listed(MAINTENANCE)) && (form == Form::Statement || value.is_none()) {
        return Verdict::Allow;
    }
    if name == "optimize" {
        return Verdict::Refuse(OPTIMIZE);
    }
    // Modules of `pragma_…` tables are known to a connection once it has used them.
    if name == "integrity_check" || name == "quick_check" || name == "module_list" {
        return Verdict::Refuse(LOCAL);
    }
    if name == "wal_checkpoint" {
        return Verdict::Refuse(DISALLOWED);
    }
    if form == Form::Table {
        return Verdict::Refuse(LOCAL);
    }
    match value {
        None if listed(FIXED) || listed(INERT) || listed(SPEC_DISALLOWED) || name == "compile_options" => {
            Verdict::Allow
        }
        None if name == "foreign_keys" || name == "recursive_triggers" => Verdict::Allow,
        None => Verdict::Refuse(DISALLOWED),
        Some(_) if listed(INERT) => Verdict::Ignore,
        Some(value) if name == "foreign_keys" && is_on(value) == foreign_keys => Verdict::Ignore,
        Some(_) if name == "foreign_keys" => Verdict::Refuse(CLUSTER),
        Some(_) => Verdict::Refuse(DISALLOWED),
    }
}

/// A boolean as SQLite reads one in a pragma.
fn is_on(value: &str) -> bool {
    let word = value.trim_matches(['\'', '"']).to_ascii_lowercase();
    match word.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => matches!(word.as_str(), "on" | "yes" | "true"),
    }
}

#[cfg(test)]
mod tests;

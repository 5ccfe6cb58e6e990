//! What is known of a column before its first row.

use command::rows::{CellRef, Columns};

use crate::http::json::push_string;

/// One column of a result.
pub struct Column {
    /// Its name as JSON, qualified if that was asked for.
    pub key: Vec<u8>,
    /// The same before it became JSON.
    name: String,
    /// Its declared type, lower-cased; empty where there is none.
    declared: String,
    /// Integers are truth values.
    pub is_boolean: bool,
    /// Integers and texts are moments.
    pub is_time: bool,
    /// BLOBs are shown as text.
    pub is_text: bool,
    /// Columns in the order of their keys, of several with one key the last; filled in the first column only.
    order: Vec<usize>,
}

impl Column {
    /// All columns of a result.
    pub fn all(columns: &Columns) -> Vec<Self> {
        let mut all: Vec<Self> = columns
            .names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let table = columns.tables.get(at).map_or("", String::as_str);
                let declared = columns.types.get(at).map_or("", String::as_str);
                Self::new(name, table, declared)
            })
            .collect();
        let order = sorted(&all);
        if let Some(first) = all.first_mut() {
            first.order = order;
        }
        all
    }

    /// The type that is shown: the declared one, or that of the first row's value.
    pub fn kind(&self, first: Option<&CellRef<'_>>) -> &str {
        if !self.declared.is_empty() {
            return &self.declared;
        }
        match first {
            Some(CellRef::Integer(_)) => "integer",
            Some(CellRef::Real(_)) => "real",
            Some(CellRef::Text(_) | CellRef::Blob(_)) => "text",
            Some(CellRef::Null) | None => "",
        }
    }

    fn new(name: &str, table: &str, declared: &str) -> Self {
        let name = match table {
            "" => name.to_owned(),
            table => format!("{table}.{name}"),
        };
        let mut key = Vec::with_capacity(name.len() + 2);
        push_string(&mut key, name.as_bytes());
        Self {
            key,
            name,
            declared: declared.to_owned(),
            is_boolean: declared == "boolean",
            is_time: matches!(declared, "date" | "datetime" | "timestamp"),
            is_text: is_text(declared),
            order: Vec::new(),
        }
    }
}

/// The places of a result's columns in ascending order of their names, of several with one name the last.
pub fn in_order(columns: &[Column]) -> &[usize] {
    columns.first().map_or(&[], |first| &first.order)
}

fn sorted(columns: &[Column]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..columns.len()).rev().collect();
    order.sort_by(|a, b| columns[*a].name.cmp(&columns[*b].name));
    order.dedup_by(|next, kept| columns[*next].name == columns[*kept].name);
    order
}

/// Declared types whose BLOBs are shown as text.
fn is_text(declared: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "varchar",
        "varying character",
        "nchar",
        "native character",
        "nvarchar",
        "clob",
    ];
    matches!(declared, "" | "text" | "json") || PREFIXES.iter().any(|prefix| declared.starts_with(prefix))
}

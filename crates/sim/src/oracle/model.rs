//! What the generator believes to be in the database: names, shapes and columns, so that most of what it says is valid.
//!
//! It may be wrong, since nobody knows what became of a request whose node died. What turns out not to exist is forgotten.

use crate::chance::Chance;

/// What a column takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Integers.
    Integer,
    /// Text.
    Text,
    /// Floating-point numbers.
    Real,
    /// Bytes.
    Blob,
    /// Anything.
    Any,
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: Type,
    /// SQLite computes it.
    pub is_generated: bool,
}

/// What kind of table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// With `id INTEGER PRIMARY KEY` as its first column.
    Rowid,
    /// WITHOUT ROWID, with a primary key of the first two columns.
    Keyed,
    /// STRICT, with `id INTEGER PRIMARY KEY` as its first column.
    Strict,
    /// Nothing but columns.
    Loose,
    /// FTS5.
    Search,
    /// R-Tree.
    Box,
    /// A view without triggers.
    View,
    /// A view with INSTEAD OF triggers.
    WritableView,
}

/// A table, or what stands for one.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub shape: Shape,
    /// Its columns.
    pub columns: Vec<Column>,
    /// The first table that its foreign key names.
    pub parent: Option<String>,
}

/// See the head of this file.
#[derive(Default)]
pub struct Model {
    /// Tables and views.
    pub tables: Vec<Table>,
    /// Indexes.
    pub indexes: Vec<String>,
    /// Triggers.
    pub triggers: Vec<String>,
    next: u64,
}

impl Table {
    /// SQLite's own, with rows that are stored.
    pub fn is_ordinary(&self) -> bool {
        matches!(self.shape, Shape::Rowid | Shape::Keyed | Shape::Strict | Shape::Loose)
    }

    /// Its first column is its rowid.
    pub fn has_id(&self) -> bool {
        matches!(self.shape, Shape::Rowid | Shape::Strict)
    }

    /// Rows may be put into it as into any table.
    pub fn is_writable(&self) -> bool {
        self.is_ordinary() || self.shape == Shape::WritableView
    }

    /// The columns that a statement may set, without the first of those with an id.
    pub fn settable(&self) -> Vec<Column> {
        let skipped = usize::from(self.has_id());
        let columns = self.columns.iter().skip(skipped);
        columns.filter(|column| !column.is_generated).cloned().collect()
    }
}

impl Model {
    /// A new name.
    pub fn name(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Some table of those that `is_fit`.
    pub fn pick(&self, chance: &mut Chance, is_fit: impl Fn(&Table) -> bool) -> Option<Table> {
        let fit: Vec<&Table> = self.tables.iter().filter(|table| is_fit(table)).collect();
        (!fit.is_empty()).then(|| (*chance.pick(&fit)).clone())
    }

    /// How many tables are of those that `is_fit`.
    pub fn count(&self, is_fit: impl Fn(&Table) -> bool) -> usize {
        self.tables.iter().filter(|table| is_fit(table)).count()
    }

    /// An object is gone, or has never been; what rests on it goes too.
    pub fn forget(&mut self, name: &str) {
        self.tables.retain(|table| table.name != name);
        self.indexes.retain(|index| index != name);
        self.triggers.retain(|trigger| trigger != name);
    }

    /// A column is gone.
    pub fn forget_column(&mut self, name: &str) {
        for table in &mut self.tables {
            table.columns.retain(|column| column.name != name);
        }
        self.tables.retain(|table| table.columns.len() > 1);
    }

    /// Learns from an error's text what is not there.
    pub fn learn(&mut self, error: &str) {
        for (head, is_column) in [
            ("no such table: ", false),
            ("no such column: ", true),
            ("has no column named ", true),
        ] {
            if let Some((_, name)) = error.split_once(head) {
                let name = name.split([' ', ':']).next().unwrap_or_default();
                let name = name.rsplit('.').next().unwrap_or_default();
                if is_column {
                    self.forget_column(name);
                } else {
                    self.forget(name);
                }
            }
        }
    }
}

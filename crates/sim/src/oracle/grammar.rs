//! Random requests over a schema that they make themselves.
//!
//! ```text
//!  request ─┬─ define: tables, views, indexes, triggers, FTS5, R-Tree; alter, drop     definitions
//!           ├─ change: INSERT, UPDATE, DELETE, upsert, RETURNING, CTEs                 changes
//!           ├─ ask: window functions, recursion, JSON, MATCH                           queries
//!           └─ several of these, together or each for itself; what must fail           here
//! ```
//!
//! Most of it is valid; a tail is not, on purpose or because the model is behind.

use std::collections::BTreeSet;

use command::request::Kind;
use command::statement::{Parameter, Statement, Value};

use crate::chance::Chance;
use crate::oracle::model::{Model, Type};

/// Tables below which another is made before anything else, and beyond which one goes.
const TABLES: std::ops::Range<usize> = 4..9;

/// Kinds of statement that a run counts, each of which must come within some seeds.
pub const KINDS: &[&str] = &[
    "alter",
    "atomic",
    "conflict clause",
    "counters",
    "create index",
    "create table",
    "create trigger",
    "create view",
    "cte",
    "deferred foreign key",
    "delete",
    "drop",
    "each for itself",
    "expression index",
    "failing",
    "foreign key",
    "fts5",
    "generated column",
    "insert",
    "instead of",
    "json",
    "maintenance",
    "now",
    "parameters",
    "partial index",
    "pragma",
    "query",
    "raise",
    "random",
    "recursive cte",
    "returning",
    "rtree",
    "several in one text",
    "strict",
    "update",
    "upsert",
    "vacuum",
    "view",
    "window function",
    "without rowid",
];

/// A request that nobody has sent yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its texts.
    pub statements: Vec<Statement>,
    /// All succeed or fail together.
    pub is_atomic: bool,
    /// Whose rules it follows.
    pub kind: Kind,
    /// What is in it.
    pub kinds: BTreeSet<&'static str>,
    /// Objects that exist if it succeeds.
    pub created: Vec<String>,
}

/// See the head of this file.
pub struct Grammar {
    pub(super) chance: Chance,
    pub(super) model: Model,
    /// A definition is being made: `changes()` within a trigger is another one (docs/compatibility.md).
    pub(super) is_defining: bool,
    /// Virtual tables come.
    pub(super) has_modules: bool,
    /// VACUUM comes; then `total_changes()` does not, which the oracle cannot keep right.
    pub(super) has_vacuum: bool,
    /// `changes()` comes. The connection's own is disturbed by modules, and by DROP TABLE where foreign keys are enforced.
    pub(super) has_changes: bool,
    /// What the request that is being made holds.
    pub(super) kinds: BTreeSet<&'static str>,
    pub(super) created: Vec<String>,
}

impl Grammar {
    /// The grammar of a seed.
    pub fn new(mut chance: Chance, foreign_keys: bool) -> Grammar {
        let has_modules = chance.one_in(2);
        let has_vacuum = chance.one_in(2);
        Grammar {
            has_modules,
            has_vacuum,
            has_changes: !has_modules && !foreign_keys && !has_vacuum,
            chance,
            is_defining: false,
            model: Model::default(),
            kinds: BTreeSet::new(),
            created: Vec::new(),
        }
    }

    /// What must be there before anything else: a table that triggers write into.
    pub fn prelude() -> Vec<Statement> {
        vec![Statement::new(
            "CREATE TABLE IF NOT EXISTS audit(id INTEGER PRIMARY KEY AUTOINCREMENT, what, n, m, x, \
             at DEFAULT CURRENT_TIMESTAMP)",
        )]
    }

    /// Something of this kind is in the request.
    pub(super) fn note(&mut self, kind: &'static str) {
        self.kinds.insert(kind);
    }

    /// Makes a request.
    pub fn draft(&mut self) -> Draft {
        self.kinds.clear();
        self.created.clear();
        let mut kind = if self.chance.one_in(2) {
            Kind::Execute
        } else {
            Kind::Request
        };
        let mut is_atomic = self.chance.one_in(2);
        let statements = match self.choose() {
            0 => vec![self.change()],
            1 => {
                kind = Kind::Request;
                vec![self.query()]
            }
            2 => self.several(&mut is_atomic),
            3 => {
                self.is_defining = true;
                let statements = self.define(&mut is_atomic);
                self.is_defining = false;
                statements
            }
            4 => vec![self.one_text()],
            5 => vec![self.maintain()],
            6 => self.fail(),
            7 => self.defer(&mut is_atomic),
            _ => vec![self.with_parameters()],
        };
        Draft {
            statements,
            is_atomic,
            kind,
            kinds: std::mem::take(&mut self.kinds),
            created: std::mem::take(&mut self.created),
        }
    }

    fn choose(&mut self) -> u64 {
        let ordinary = self.model.count(|table| table.is_ordinary());
        if ordinary < TABLES.start {
            return 3;
        }
        self.chance.weighted(&[
            (44, 0),
            (10, 1),
            (18, 2),
            (9, 3),
            (5, 4),
            (3, 5),
            (4, 6),
            (4, 7),
            (6, 8),
        ])
    }

    /// Something became of a request: its objects are not there if it failed, and its errors say what else is not.
    pub fn learn(&mut self, draft: &Draft, errors: &[String]) {
        if errors.is_empty() {
            return;
        }
        for name in &draft.created {
            self.model.forget(name);
        }
        for error in errors {
            self.model.learn(error);
        }
    }

    /// There is room for no more tables.
    pub(super) fn is_full(&self) -> bool {
        self.model.tables.len() >= TABLES.end + 4
    }

    fn several(&mut self, is_atomic: &mut bool) -> Vec<Statement> {
        self.note(if *is_atomic { "atomic" } else { "each for itself" });
        let count = self.chance.between(2, 6);
        let mut statements = Vec::new();
        for _ in 0..count {
            statements.push(match self.chance.below(9) {
                0 => self.query(),
                1 => self.with_parameters(),
                _ => self.change(),
            });
        }
        if self.chance.one_in(5) {
            let place = self.chance.index(statements.len());
            statements[place] = self.failing();
        }
        statements
    }

    /// Several statements in one text.
    fn one_text(&mut self) -> Statement {
        self.note("several in one text");
        let count = self.chance.between(2, 4);
        let mut texts: Vec<String> = (0..count).map(|_| self.change().sql).collect();
        if self.chance.one_in(5) {
            texts.push("INSERT INTO nowhere VALUES(1)".to_owned());
        }
        let mut text = texts.join("; ");
        text += *self.chance.pick(&["", ";", "; -- a remark"]);
        Statement::new(text)
    }

    fn with_parameters(&mut self) -> Statement {
        self.note("parameters");
        let Some(table) = self
            .model
            .pick(&mut self.chance, |table| table.is_ordinary() && table.parent.is_none())
        else {
            return self.query();
        };
        let columns = table.settable();
        let Some(column) = columns.last() else {
            return self.query();
        };
        let key = table.columns[0].name.clone();
        let sql = if self.chance.one_in(2) {
            format!("UPDATE {} SET {} = :v WHERE {key} > :k", table.name, column.name)
        } else {
            format!("UPDATE {} SET {} = ? WHERE {key} > ?", table.name, column.name)
        };
        let is_named = sql.contains(":v");
        let value = self.bound(column.kind);
        let key = Value::Integer(self.small().cast_signed());
        let mut parameters = if is_named {
            vec![Parameter::named("k", key), Parameter::named("v", value)]
        } else {
            vec![Parameter::positional(value), Parameter::positional(key)]
        };
        if self.chance.one_in(12) {
            parameters.pop();
        }
        Statement { sql, parameters }
    }

    fn bound(&mut self, kind: Type) -> Value {
        let small = self.small();
        match kind {
            Type::Integer => Value::Integer(small.cast_signed() - 3),
            Type::Text => Value::Text(format!("bound{small}")),
            Type::Real => Value::Real(small as f64 / 8.0),
            Type::Blob => Value::Blob(vec![small as u8; 3].into()),
            Type::Any => Value::Text(format!("any{small}")),
        }
    }

    fn maintain(&mut self) -> Statement {
        let small = self.small();
        let table = self.model.pick(&mut self.chance, |table| table.is_ordinary());
        let table = table.map_or("audit".to_owned(), |table| table.name);
        match self.chance.below(9) {
            0 | 1 if self.has_vacuum => {
                self.note("vacuum");
                Statement::new("VACUUM")
            }
            2 => {
                self.note("maintenance");
                Statement::new("ANALYZE")
            }
            3 => {
                self.note("maintenance");
                Statement::new(format!("REINDEX {table}"))
            }
            4 => {
                self.note("pragma");
                Statement::new(format!("PRAGMA user_version = {small}"))
            }
            5 => {
                self.note("pragma");
                Statement::new(format!("PRAGMA application_id = {small}"))
            }
            6 => {
                self.note("pragma");
                Statement::new(format!("PRAGMA table_info({table})"))
            }
            7 => {
                self.note("pragma");
                Statement::new(format!("PRAGMA foreign_key_list({table})"))
            }
            _ => {
                self.note("maintenance");
                Statement::new("DELETE FROM audit WHERE id < (SELECT max(id) FROM audit) - 40")
            }
        }
    }

    fn fail(&mut self) -> Vec<Statement> {
        vec![self.failing()]
    }

    /// What cannot succeed, for one reason or another.
    fn failing(&mut self) -> Statement {
        self.note("failing");
        let small = self.small();
        let table = self.model.pick(&mut self.chance, |table| table.is_ordinary());
        let table = table.map_or("audit".to_owned(), |table| table.name);
        Statement::new(match self.chance.below(12) {
            0 => "INSERT INTO nowhere VALUES(1)".to_owned(),
            1 => format!("UPDATE {table} SET no_column = {small}"),
            2 => "this is no statement".to_owned(),
            3 => "CREATE TEMP TABLE passing(x)".to_owned(),
            4 => "BEGIN".to_owned(),
            5 => "SAVEPOINT mine".to_owned(),
            6 => "ATTACH ':memory:' AS other".to_owned(),
            7 => format!("INSERT INTO {table} DEFAULT VALUES RETURNING nothing"),
            8 => format!("INSERT INTO audit(id, what) VALUES({small}, 1), (NULL, 2), ({small}, 3)"),
            9 => "INSERT INTO audit(what) SELECT abs(-9223372036854775808)".to_owned(),
            10 => "INSERT INTO audit(what) SELECT json_extract('{no json', '$')".to_owned(),
            _ => format!("CREATE TABLE {table}(again)"),
        })
    }

    /// A child before its parent, who may or may not come.
    fn defer(&mut self, is_atomic: &mut bool) -> Vec<Statement> {
        let parent = self.model.pick(&mut self.chance, |table| table.parent.is_some());
        let Some(child) = parent else {
            return vec![self.change()];
        };
        self.note("deferred foreign key");
        *is_atomic = !self.chance.one_in(3);
        let parent = child.parent.clone().unwrap_or_default();
        let column = child.columns.iter().find(|column| column.name.starts_with('p'));
        let column = column.map_or("p".to_owned(), |column| column.name.clone());
        let id = 1000 + self.small();
        let mut statements = Vec::new();
        if self.chance.one_in(2) {
            statements.push(Statement::new("PRAGMA defer_foreign_keys = ON"));
        }
        statements.push(Statement::new(format!(
            "INSERT INTO {}({column}) VALUES({id})",
            child.name
        )));
        if self.chance.one_in(2) {
            statements.push(Statement::new(
                "INSERT INTO audit(what) VALUES('between child and parent')",
            ));
        }
        if !self.chance.one_in(3) {
            statements.push(Statement::new(format!(
                "INSERT OR IGNORE INTO {parent}(id) VALUES({id})"
            )));
        }
        statements
    }
}

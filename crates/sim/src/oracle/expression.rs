//! Random expressions: values of a type, and conditions over columns.

use crate::oracle::grammar::Grammar;
use crate::oracle::model::{Column, Type};

const MOMENTS: &[&str] = &[
    "CURRENT_TIMESTAMP",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "datetime('now')",
    "datetime('now', 'localtime')",
    "date('now', '-1 month')",
    "strftime('%Y-%m-%d %H:%M:%f', 'now')",
    "time('now', 'subsec')",
];

const JSON: &[&str] = &[
    "json_object('k', 3, 'l', json_array(1, 'x', NULL))",
    "json_set('{\"a\":{\"b\":1}}', '$.a.c', 7)",
    "json_extract('[1,{\"x\":\"y\"}]', '$[1].x')",
    "'{\"a\":[10,20]}' ->> '$.a[1]'",
    "json_patch('{\"a\":1}', '{\"b\":2}')",
    "(SELECT json_group_array(value * 2) FROM json_each('[1,2,3]'))",
];

impl Grammar {
    /// A value for a column of this kind, computed from nothing but the entry and the tables.
    pub fn value(&mut self, kind: Type) -> String {
        if self.chance.one_in(14) {
            return "NULL".to_owned();
        }
        match kind {
            Type::Integer => self.integer(),
            Type::Text => self.text(),
            Type::Real => self.real(),
            Type::Blob => self.blob(),
            Type::Any => match self.chance.below(5) {
                0 | 1 => self.integer(),
                2 => self.text(),
                3 => self.real(),
                _ => self.blob(),
            },
        }
    }

    /// A small number.
    pub fn small(&mut self) -> u64 {
        self.chance.between(1, 24)
    }

    fn integer(&mut self) -> String {
        let small = self.small();
        match self
            .chance
            .weighted(&[(18, 0), (4, 1), (2, 2), (1, 3), (2, 4), (1, 5), (1, 6)])
        {
            0 => small.to_string(),
            1 => {
                self.note("random");
                format!("abs(random() % {small})")
            }
            2 => {
                self.note("counters");
                let changes = self.changes();
                let total_changes = self.total_changes();
                let counter = *self.chance.pick(&["last_insert_rowid()", changes, total_changes]);
                format!("{counter} % 1000")
            }
            3 => {
                self.note("now");
                "unixepoch('now') % 100".to_owned()
            }
            4 => format!("-{small}"),
            5 => match self.model.pick(&mut self.chance, |table| table.is_ordinary()) {
                Some(table) => format!("(SELECT count(*) FROM {})", table.name),
                None => small.to_string(),
            },
            _ => {
                self.note("json");
                format!("json_array_length('[1,[2],{small}]')")
            }
        }
    }

    /// `changes()`, or what stands for it.
    pub(super) fn changes(&self) -> &'static str {
        if self.has_changes && !self.is_defining {
            "changes()"
        } else {
            "1"
        }
    }

    /// `total_changes()`, or what stands for it.
    pub(super) fn total_changes(&self) -> &'static str {
        if self.has_vacuum { "2" } else { "total_changes()" }
    }

    fn text(&mut self) -> String {
        let small = self.small();
        match self.chance.weighted(&[(12, 0), (3, 1), (3, 2), (3, 3), (1, 4), (1, 5)]) {
            0 => format!("'word{}'", small % 8),
            1 => {
                self.note("random");
                format!("hex(randomblob({}))", small % 9)
            }
            2 => {
                self.note("now");
                (*self.chance.pick(MOMENTS)).to_owned()
            }
            3 => {
                self.note("json");
                (*self.chance.pick(JSON)).to_owned()
            }
            4 => format!("printf('%05d|%s', {small}, quote('x'))"),
            _ => format!("replace(upper('abcab'), 'B', '{small}') || char({})", 64 + small),
        }
    }

    fn real(&mut self) -> String {
        let small = self.small();
        match self.chance.weighted(&[(6, 0), (2, 1), (1, 2), (1, 3)]) {
            0 => format!("{small}.25"),
            1 => {
                self.note("now");
                "julianday('now')".to_owned()
            }
            2 => format!("sqrt({small})"),
            _ => {
                self.note("random");
                format!("round(abs(random() % 1000) / {small}.0, 3)")
            }
        }
    }

    fn blob(&mut self) -> String {
        let small = self.small();
        match self.chance.below(3) {
            0 => format!("x'{small:02x}ff'"),
            1 => {
                self.note("random");
                format!("randomblob({small})")
            }
            _ => format!("zeroblob({})", small % 5),
        }
    }

    /// An expression over `columns`, each written after `prefix`.
    pub fn expression(&mut self, columns: &[Column], prefix: &str, kind: Type) -> String {
        if columns.is_empty() || self.chance.one_in(3) {
            return self.value(kind);
        }
        let name = format!("{prefix}{}", self.chance.pick(columns).name);
        let small = self.small();
        match kind {
            Type::Integer => match self.chance.below(5) {
                0 => format!("length({name})"),
                1 => format!("CAST({name} AS INTEGER) + {small}"),
                2 => format!("CASE WHEN {name} > {small} THEN 1 ELSE {small} END"),
                3 => format!("coalesce(CAST({name} AS INTEGER) % 50, {small})"),
                _ => format!("instr(coalesce({name}, ''), 'w') + {small}"),
            },
            Type::Text => match self.chance.below(4) {
                0 => format!("CAST(coalesce({name}, '') || '-' || {small} AS TEXT)"),
                1 => format!("typeof({name})"),
                2 => format!("substr(quote({name}), 1, {small})"),
                _ => format!("lower(CAST({name} AS TEXT))"),
            },
            Type::Real => format!("CAST(CAST({name} AS REAL) / {small} AS REAL)"),
            Type::Blob => format!("CAST(substr(CAST({name} AS TEXT), 1, {small}) AS BLOB)"),
            Type::Any => format!("iif({name} IS NULL, {small}, {name})"),
        }
    }

    /// A condition over `columns`, each written after `prefix`.
    pub fn condition(&mut self, columns: &[Column], prefix: &str) -> String {
        if columns.is_empty() {
            return "1".to_owned();
        }
        let name = format!("{prefix}{}", self.chance.pick(columns).name);
        let small = self.small();
        match self.chance.below(9) {
            0 => format!("{name} = {small}"),
            1 => format!("{name} > {small}"),
            2 => format!("{name} BETWEEN {small} AND {}", small + 6),
            3 => format!("{name} IN ({small}, {}, 'word{}')", small + 3, small % 8),
            4 => format!("{name} LIKE '%{}%'", small % 10),
            5 => format!("{name} IS NOT NULL AND {}", self.condition(columns, prefix)),
            6 => format!("length({name}) % 3 = {}", small % 3),
            7 => match self.model.pick(&mut self.chance, |table| table.is_ordinary()) {
                Some(other) => {
                    let column = self.chance.pick(&other.columns).name.clone();
                    format!("EXISTS (SELECT 1 FROM {} o WHERE o.{column} = {name})", other.name)
                }
                None => format!("{name} < {small}"),
            },
            _ => {
                self.note("random");
                "random() % 3 = 0".to_owned()
            }
        }
    }
}

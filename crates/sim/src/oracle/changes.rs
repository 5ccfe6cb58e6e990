//! Random changes of rows, in tables of every shape.

use command::statement::Statement;

use crate::oracle::grammar::Grammar;
use crate::oracle::model::{Column, Shape, Table};

impl Grammar {
    /// An INSERT, UPDATE or DELETE.
    pub(super) fn change(&mut self) -> Statement {
        let is_virtual = |table: &Table| matches!(table.shape, Shape::Search | Shape::Box);
        if self.chance.one_in(6)
            && let Some(table) = self.model.pick(&mut self.chance, is_virtual)
        {
            return match table.shape {
                Shape::Search => self.change_search(&table.name),
                _ => self.change_box(&table.name),
            };
        }
        let Some(table) = self.model.pick(&mut self.chance, Table::is_writable) else {
            return Statement::new("INSERT INTO audit(what) VALUES('nothing else')");
        };
        if table.shape == Shape::WritableView {
            self.note("view");
        }
        let sql = match self.chance.weighted(&[(9, 0), (3, 1), (5, 2), (2, 3), (3, 4)]) {
            0 => self.insert(&table),
            1 => self.insert_rows_of_others(&table),
            2 => self.update(&table),
            3 => self.delete(&table),
            _ => self.upsert(&table),
        };
        Statement::new(sql)
    }

    fn conflict(&mut self, table: &Table) -> &'static str {
        if table.shape == Shape::WritableView || !self.chance.one_in(3) {
            return "";
        }
        self.note("conflict clause");
        self.chance
            .pick::<&str>(&["OR ROLLBACK ", "OR ABORT ", "OR FAIL ", "OR IGNORE ", "OR REPLACE "])
    }

    fn insert(&mut self, table: &Table) -> String {
        self.note("insert");
        let conflict = self.conflict(table);
        let sql = self.plain_insert(table, conflict);
        sql + &self.returning(table)
    }

    /// `INSERT … VALUES …`, of one to three rows.
    pub(super) fn plain_insert(&mut self, table: &Table, conflict: &str) -> String {
        let mut columns = table.settable();
        if table.has_id() && self.chance.one_in(4) {
            columns.insert(0, table.columns[0].clone());
        }
        let rows = self.chance.between(1, 4);
        let rows: Vec<String> = (0..rows).map(|_| self.row(table, &columns)).collect();
        format!(
            "INSERT {conflict}INTO {}({}) VALUES {}",
            table.name,
            names(&columns),
            rows.join(", ")
        )
    }

    fn row(&mut self, table: &Table, columns: &[Column]) -> String {
        let values: Vec<String> = columns.iter().map(|column| self.cell(table, column)).collect();
        format!("({})", values.join(", "))
    }

    fn cell(&mut self, table: &Table, column: &Column) -> String {
        let is_key = table.columns.iter().take(2).any(|key| key.name == column.name);
        if column.name == "id" || table.shape == Shape::Keyed && is_key {
            return self.chance.between(1, 60).to_string();
        }
        match &table.parent {
            Some(parent) if column.name.starts_with('p') => match self.chance.below(8) {
                0 => self.small().to_string(),
                1 => "NULL".to_owned(),
                nth => format!("(SELECT id FROM {parent} ORDER BY id LIMIT 1 OFFSET {nth})"),
            },
            _ => self.value(column.kind),
        }
    }

    /// `INSERT … SELECT`, from another table, a recursion or JSON.
    fn insert_rows_of_others(&mut self, table: &Table) -> String {
        self.note("insert");
        let columns = table.settable();
        let conflict = self.conflict(table);
        let conflict = if table.shape == Shape::Keyed {
            "OR REPLACE "
        } else {
            conflict
        };
        let head = format!("INSERT {conflict}INTO {}({})", table.name, names(&columns));
        let small = self.small();
        let (with, of, from) = match self.chance.below(3) {
            0 => {
                self.note("recursive cte");
                let with =
                    format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {small}) ");
                (with, vec![named("i")], "n".to_owned())
            }
            1 => {
                self.note("json");
                (
                    String::new(),
                    vec![named("value"), named("key")],
                    "json_each('[3, \"x\", 4.5]')".to_owned(),
                )
            }
            _ => match self.model.pick(&mut self.chance, Table::is_ordinary) {
                Some(other) => {
                    self.note("cte");
                    let with = format!("WITH few AS (SELECT * FROM {} LIMIT {}) ", other.name, small % 7);
                    (with, other.columns, "few".to_owned())
                }
                None => (String::new(), Vec::new(), "(SELECT 1)".to_owned()),
            },
        };
        let values: Vec<String> = columns
            .iter()
            .map(|column| {
                let is_key = column.name.starts_with('p') || table.shape == Shape::Keyed;
                if is_key {
                    self.cell(table, column)
                } else {
                    self.expression(&of, "", column.kind)
                }
            })
            .collect();
        format!(
            "{with}{head} SELECT {} FROM {from} LIMIT 12{}",
            values.join(", "),
            self.returning(table)
        )
    }

    fn upsert(&mut self, table: &Table) -> String {
        if !table.is_ordinary() || table.shape == Shape::Loose {
            return self.insert(table);
        }
        self.note("upsert");
        let mut columns = table.settable();
        let target = if table.has_id() {
            columns.insert(0, table.columns[0].clone());
            "id".to_owned()
        } else {
            names(&table.columns[..2])
        };
        let row = self.row(table, &columns);
        let Some(set) = columns.last() else {
            return self.insert(table);
        };
        let action = match self.chance.below(4) {
            0 => "NOTHING".to_owned(),
            1 => format!("UPDATE SET {0} = excluded.{0} WHERE {0} IS NOT excluded.{0}", set.name),
            _ => format!("UPDATE SET {0} = coalesce(excluded.{0}, {0})", set.name),
        };
        format!(
            "INSERT INTO {}({}) VALUES {row} ON CONFLICT({target}) DO {action}{}",
            table.name,
            names(&columns),
            self.returning(table)
        )
    }

    fn update(&mut self, table: &Table) -> String {
        self.note("update");
        let conflict = self.conflict(table);
        let condition = self.condition(&table.columns, "");
        if self.chance.one_in(6)
            && let Some(other) = self.model.pick(&mut self.chance, Table::is_ordinary)
            && other.name != table.name
        {
            self.note("cte");
            let set = self.assignment(table, &other.columns, "few.");
            return format!(
                "WITH few AS (SELECT * FROM {} LIMIT 3) UPDATE {conflict}{} SET {set} FROM few",
                other.name, table.name
            );
        }
        let set = self.assignment(table, &table.columns, "");
        format!(
            "UPDATE {conflict}{} SET {set} WHERE {condition}{}",
            table.name,
            self.returning(table)
        )
    }

    /// `column = value`, for a column of `table`.
    pub(super) fn assignment(&mut self, table: &Table, of: &[Column], prefix: &str) -> String {
        let columns = table.settable();
        if columns.is_empty() {
            return format!("{0} = {0}", table.columns[0].name);
        }
        let column = self.chance.pick(&columns).clone();
        let is_key = table.columns.iter().take(2).any(|key| key.name == column.name);
        let value = if column.name.starts_with('p') || table.shape == Shape::Keyed && is_key {
            self.cell(table, &column)
        } else {
            self.expression(of, prefix, column.kind)
        };
        format!("{} = {value}", column.name)
    }

    fn delete(&mut self, table: &Table) -> String {
        self.note("delete");
        let condition = self.condition(&table.columns, "");
        format!("DELETE FROM {} WHERE {condition}{}", table.name, self.returning(table))
    }

    fn returning(&mut self, table: &Table) -> String {
        if !table.is_ordinary() || !self.chance.one_in(3) {
            return String::new();
        }
        self.note("returning");
        let column = self.chance.pick(&table.columns).clone();
        match self.chance.below(3) {
            0 => " RETURNING *".to_owned(),
            1 => format!(" RETURNING {0}, typeof({0}) AS kind", column.name),
            _ => format!(" RETURNING {}, {}", column.name, self.value(column.kind)),
        }
    }

    fn change_search(&mut self, name: &str) -> Statement {
        self.note("fts5");
        let small = self.small();
        let word = small % 8;
        Statement::new(match self.chance.below(12) {
            0..4 => format!(
                "INSERT INTO {name}(body, title) VALUES('word{word} and ' || {}, 'title {small}'), ('more {small}', {})",
                self.value(crate::oracle::model::Type::Text),
                self.value(crate::oracle::model::Type::Integer)
            ),
            4 => format!("INSERT OR REPLACE INTO {name}(rowid, body) VALUES({small}, 'again word{word}')"),
            5 => format!(
                "UPDATE {name} SET body = body || ' word{word}' WHERE rowid % 5 = {}",
                small % 5
            ),
            6 => format!("DELETE FROM {name} WHERE {name} MATCH 'word{word}'"),
            7 => format!("DELETE FROM {name} WHERE rowid = {small}"),
            8 => format!("INSERT INTO {name}({name}) VALUES('optimize')"),
            9 => format!("INSERT INTO {name}({name}, rank) VALUES('merge', {small})"),
            10 => format!("INSERT INTO {name}({name}) VALUES('no such command')"),
            _ => format!("INSERT INTO {name}({name}) VALUES('rebuild')"),
        })
    }

    fn change_box(&mut self, name: &str) -> Statement {
        self.note("rtree");
        let small = self.small();
        Statement::new(match self.chance.below(7) {
            0..3 => format!(
                "INSERT OR REPLACE INTO {name}(id, x0, x1, y0, y1) VALUES({small}, {small}, {small} + 3, random() % 50, 60)"
            ),
            3 => format!("INSERT INTO {name}(x0, x1, y0, y1) VALUES({small}, 99, 1.5, 2.5), (1, {small}, 0, 0)"),
            4 => format!("UPDATE {name} SET x1 = x1 + {small} WHERE id % 4 = {}", small % 4),
            5 => format!("DELETE FROM {name} WHERE x0 > {small} AND y1 < 60"),
            _ => format!("INSERT INTO {name}(id, x0, x1, y0, y1) VALUES({small}, 9, 1, 0, 0)"),
        })
    }
}

fn names(columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    names.join(", ")
}

fn named(name: &str) -> Column {
    Column {
        name: name.to_owned(),
        kind: crate::oracle::model::Type::Any,
        is_generated: false,
    }
}

//! Random definitions: tables of every shape, indexes, triggers, views; changes to them, and their end.

use command::statement::Statement;

use crate::oracle::grammar::Grammar;
use crate::oracle::model::{Column, Shape, Table, Type};

/// Triggers beyond which one goes: each may fire others.
const TRIGGERS_MAX: usize = 7;
/// The same for indexes.
const INDEXES_MAX: usize = 8;

impl Grammar {
    /// Defines, changes or drops something.
    pub(super) fn define(&mut self, is_atomic: &mut bool) -> Vec<Statement> {
        let ordinary = self.model.count(|table| table.is_ordinary());
        if ordinary < 4 {
            return vec![self.create_table()];
        }
        if self.is_full() {
            return vec![self.drop()];
        }
        match self
            .chance
            .weighted(&[(4, 0), (4, 1), (5, 2), (2, 3), (2, 4), (2, 5), (3, 6), (2, 7)])
        {
            0 => vec![self.create_table()],
            1 => vec![self.create_index()],
            2 => vec![self.create_trigger()],
            3 => self.create_view(is_atomic),
            4 if self.has_modules => vec![self.create_search()],
            5 if self.has_modules => vec![self.create_box()],
            4 | 5 => vec![self.create_table()],
            6 => vec![self.alter()],
            _ => vec![self.drop()],
        }
    }

    fn create_table(&mut self) -> Statement {
        self.note("create table");
        let name = self.model.name("t");
        let shape = *self
            .chance
            .pick(&[Shape::Rowid, Shape::Rowid, Shape::Keyed, Shape::Strict, Shape::Loose]);
        let mut columns = Vec::new();
        let mut parts = Vec::new();
        if matches!(shape, Shape::Rowid | Shape::Strict) {
            let auto = if self.chance.one_in(3) { " AUTOINCREMENT" } else { "" };
            parts.push(format!("id INTEGER PRIMARY KEY{auto}"));
            columns.push(column("id", Type::Integer));
        }
        for place in 0..self.chance.between(2, 5) {
            let kind = *self.chance.pick(&[
                Type::Integer,
                Type::Integer,
                Type::Text,
                Type::Real,
                Type::Blob,
                Type::Any,
            ]);
            let name = self.model.name("c");
            let is_key = shape == Shape::Keyed && place < 2;
            parts.push(self.column_definition(&name, kind, shape, is_key));
            columns.push(column(&name, kind));
        }
        let parent = self.reference(shape, &mut parts, &mut columns);
        if self.chance.one_in(2) {
            self.note("generated column");
            let name = self.model.name("g");
            let of = columns.last().map_or("1".to_owned(), |column| column.name.clone());
            let kind = if shape == Shape::Strict { "TEXT" } else { "" };
            let how = *self.chance.pick(&["STORED", "VIRTUAL"]);
            parts.push(format!("{name} {kind} AS (typeof({of}) || length({of})) {how}"));
            columns.push(Column {
                is_generated: true,
                ..column(&name, Type::Text)
            });
        }
        let tail = match shape {
            Shape::Keyed => {
                self.note("without rowid");
                parts.push(format!("PRIMARY KEY({}, {})", columns[0].name, columns[1].name));
                " WITHOUT ROWID"
            }
            Shape::Strict => {
                self.note("strict");
                " STRICT"
            }
            _ => "",
        };
        let sql = format!("CREATE TABLE {name}({}){tail}", parts.join(", "));
        self.made(Table {
            name,
            shape,
            columns,
            parent,
        });
        Statement::new(sql)
    }

    fn column_definition(&mut self, name: &str, kind: Type, shape: Shape, is_key: bool) -> String {
        let declared = match (kind, shape) {
            (Type::Integer, _) => "INTEGER",
            (Type::Text, Shape::Strict) => "TEXT",
            (Type::Text, _) => *self.chance.pick(&["TEXT", "VARCHAR(20)", "datetime"]),
            (Type::Real, _) => "REAL",
            (Type::Blob, _) => "BLOB",
            (Type::Any, Shape::Strict) => "ANY",
            (Type::Any, _) => *self.chance.pick(&["", "NUMERIC", "boolean"]),
        };
        let mut definition = format!("{name} {declared}");
        if is_key {
            return definition;
        }
        if self.chance.one_in(3) {
            let value = self.constant(kind);
            definition += &format!(" DEFAULT ({value})");
        }
        match self.chance.below(16) {
            0 => definition += " UNIQUE",
            1 => definition += &format!(" CHECK({name} IS NULL OR length({name}) < 40)"),
            2 if kind == Type::Text => definition += " COLLATE NOCASE",
            3 => definition += " UNIQUE ON CONFLICT REPLACE",
            4 => {
                definition += &format!(
                    " NOT NULL ON CONFLICT REPLACE DEFAULT {}",
                    if kind == Type::Text { "'x'" } else { "7" }
                )
            }
            _ => {}
        }
        if kind == Type::Blob && definition.contains("DEFAULT 7") {
            definition = definition.replace("DEFAULT 7", "DEFAULT x'07'");
        }
        definition
    }

    /// A value without a query in it, as a default must be.
    fn constant(&mut self, kind: Type) -> String {
        loop {
            let value = self.value(kind);
            if !value.contains("SELECT") {
                return value;
            }
        }
    }

    /// A column that names a row of another table.
    fn reference(&mut self, shape: Shape, parts: &mut Vec<String>, columns: &mut Vec<Column>) -> Option<String> {
        if shape == Shape::Keyed || !self.chance.one_in(2) {
            return None;
        }
        let parent = self.model.pick(&mut self.chance, |table| table.has_id())?.name;
        self.note("foreign key");
        let name = self.model.name("p");
        let action = *self.chance.pick(&[
            "",
            " ON DELETE CASCADE",
            " ON DELETE SET NULL",
            " ON UPDATE CASCADE",
            " ON DELETE RESTRICT",
        ]);
        let deferred = *self
            .chance
            .pick(&["", " DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE INITIALLY DEFERRED"]);
        parts.push(format!("{name} INTEGER REFERENCES {parent}(id){action}{deferred}"));
        columns.push(column(&name, Type::Integer));
        Some(parent)
    }

    fn create_index(&mut self) -> Statement {
        if self.model.indexes.len() >= INDEXES_MAX {
            return self.drop();
        }
        let Some(table) = self.model.pick(&mut self.chance, |table| table.is_ordinary()) else {
            return self.create_table();
        };
        self.note("create index");
        let name = self.model.name("i");
        let unique = if self.chance.one_in(8) { "UNIQUE " } else { "" };
        let one = self.chance.pick(&table.columns).name.clone();
        let other = self.chance.pick(&table.columns).name.clone();
        let mut sql = format!("CREATE {unique}INDEX {name} ON {}({one}", table.name);
        if self.chance.one_in(3) {
            self.note("expression index");
            sql += &format!(", length({other}) + 1, lower({one})");
        } else if one != other {
            sql += &format!(", {other} DESC");
        }
        sql += ")";
        if self.chance.one_in(3) {
            self.note("partial index");
            sql += &format!(" WHERE {other} IS NOT NULL AND {one} > {}", self.small());
        }
        self.model.indexes.push(name.clone());
        self.created.push(name);
        Statement::new(sql)
    }

    fn create_trigger(&mut self) -> Statement {
        if self.model.triggers.len() >= TRIGGERS_MAX {
            return self.drop_trigger();
        }
        let Some(table) = self.model.pick(&mut self.chance, |table| table.is_ordinary()) else {
            return self.create_table();
        };
        self.note("create trigger");
        let name = self.model.name("tr");
        let moment = *self.chance.pick(&["BEFORE", "AFTER"]);
        let event = *self.chance.pick(&["INSERT", "UPDATE", "DELETE"]);
        let prefix = if event == "DELETE" { "old." } else { "new." };
        let mut sql = format!("CREATE TRIGGER {name} {moment} {event} ON {}", table.name);
        if self.chance.one_in(2) {
            sql += &format!(" WHEN {}", self.condition(&table.columns, prefix));
        }
        sql += " BEGIN ";
        for _ in 0..self.chance.between(1, 4) {
            sql += &self.trigger_step(&name, &table, prefix);
            sql += "; ";
        }
        sql += "END";
        self.model.triggers.push(name.clone());
        self.created.push(name);
        Statement::new(sql)
    }

    fn trigger_step(&mut self, name: &str, table: &Table, prefix: &str) -> String {
        let other = self.model.pick(&mut self.chance, |other| {
            other.is_ordinary() && other.name != table.name
        });
        let column = format!("{prefix}{}", self.chance.pick(&table.columns).name);
        let small = self.small();
        match (self.chance.below(7), other) {
            (0, _) => {
                self.note("raise");
                let how = *self.chance.pick(&["ROLLBACK, ", "ABORT, ", "FAIL, "]);
                format!("SELECT RAISE({how}'{name} says no') WHERE {column} = {small}")
            }
            (1, _) => {
                self.note("raise");
                format!("SELECT RAISE(IGNORE) WHERE {column} = {small}")
            }
            (2, Some(other)) => {
                let set = self.assignment(&other, &table.columns, prefix);
                let condition = self.condition(&other.columns, "");
                format!("UPDATE {} SET {set} WHERE {condition}", other.name)
            }
            (3, Some(other)) => {
                let key = self.chance.pick(&other.columns).name.clone();
                format!("DELETE FROM {} WHERE {key} = {column}", other.name)
            }
            (4, Some(other)) if other.parent.is_none() => self.plain_insert(&other, "OR IGNORE "),
            _ => {
                self.note("counters");
                self.note("now");
                format!(
                    "INSERT INTO audit(what, n, m, x) VALUES('{name} ' || quote({column}), {}, \
                     last_insert_rowid(), {})",
                    self.changes(),
                    self.total_changes()
                )
            }
        }
    }

    fn create_view(&mut self, is_atomic: &mut bool) -> Vec<Statement> {
        let Some(table) = self
            .model
            .pick(&mut self.chance, |table| table.is_ordinary() && table.parent.is_none())
        else {
            return vec![self.create_table()];
        };
        self.note("create view");
        *is_atomic = true;
        let name = self.model.name("v");
        let columns: Vec<Column> = table.settable().into_iter().take(3).collect();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let condition = self.condition(&table.columns, "");
        let view = format!(
            "CREATE VIEW {name} AS SELECT {} FROM {} WHERE {condition}",
            names.join(", "),
            table.name
        );
        let mut statements = vec![Statement::new(view)];
        let mut shape = Shape::View;
        if self.chance.one_in(2) && !columns.is_empty() {
            self.note("instead of");
            shape = Shape::WritableView;
            let new: Vec<String> = names.iter().map(|name| format!("new.{name}")).collect();
            let first = names[0];
            let last = names[names.len() - 1];
            for (event, body) in [
                (
                    "INSERT",
                    format!(
                        "INSERT OR REPLACE INTO {}({}) VALUES({})",
                        table.name,
                        names.join(", "),
                        new.join(", ")
                    ),
                ),
                (
                    "UPDATE",
                    format!(
                        "UPDATE {} SET {last} = new.{last} WHERE {first} IS old.{first}",
                        table.name
                    ),
                ),
                (
                    "DELETE",
                    format!("DELETE FROM {} WHERE {first} IS old.{first}", table.name),
                ),
            ] {
                let trigger = self.model.name("tv");
                statements.push(Statement::new(format!(
                    "CREATE TRIGGER {trigger} INSTEAD OF {event} ON {name} BEGIN {body}; END"
                )));
            }
        }
        self.made(Table {
            name,
            shape,
            columns,
            parent: None,
        });
        statements
    }

    fn create_search(&mut self) -> Statement {
        self.note("fts5");
        let name = self.model.name("f");
        let options = *self.chance.pick(&[
            "",
            ", prefix='2 3'",
            ", tokenize='porter'",
            ", detail=column",
            ", columnsize=0",
        ]);
        let columns = vec![column("body", Type::Text), column("title", Type::Text)];
        let sql = format!("CREATE VIRTUAL TABLE {name} USING fts5(body, title{options})");
        self.made(Table {
            name,
            shape: Shape::Search,
            columns,
            parent: None,
        });
        Statement::new(sql)
    }

    fn create_box(&mut self) -> Statement {
        self.note("rtree");
        let name = self.model.name("r");
        let extra = *self.chance.pick(&["", ", +label TEXT"]);
        let sql = format!("CREATE VIRTUAL TABLE {name} USING rtree(id, x0, x1, y0, y1{extra})");
        let columns = ["id", "x0", "x1", "y0", "y1"].map(|name| column(name, Type::Integer));
        self.made(Table {
            name,
            shape: Shape::Box,
            columns: columns.to_vec(),
            parent: None,
        });
        Statement::new(sql)
    }

    fn alter(&mut self) -> Statement {
        let Some(table) = self.model.pick(&mut self.chance, |table| table.is_ordinary()) else {
            return self.create_table();
        };
        self.note("alter");
        let last = table
            .columns
            .last()
            .map(|column| column.name.clone())
            .unwrap_or_default();
        match self.chance.below(5) {
            0 => {
                let name = self.model.name("t");
                for it in &mut self.model.tables {
                    if it.name == table.name {
                        it.name.clone_from(&name);
                    }
                    if it.parent.as_ref() == Some(&table.name) {
                        it.parent = Some(name.clone());
                    }
                }
                Statement::new(format!("ALTER TABLE {} RENAME TO {name}", table.name))
            }
            1 if last != "id" => {
                let name = self.model.name(if last.starts_with('p') { "p" } else { "c" });
                for it in self.model.tables.iter_mut().flat_map(|table| &mut table.columns) {
                    if it.name == last {
                        it.name.clone_from(&name);
                    }
                }
                Statement::new(format!("ALTER TABLE {} RENAME COLUMN {last} TO {name}", table.name))
            }
            2 if table.columns.len() > 3 => {
                let sql = format!("ALTER TABLE {} DROP COLUMN {last}", table.name);
                if let Some(it) = self.model.tables.iter_mut().find(|it| it.name == table.name) {
                    if last.starts_with('p') {
                        it.parent = None;
                    }
                    it.columns.pop();
                }
                Statement::new(sql)
            }
            _ => {
                let name = self.model.name("c");
                let kind = if table.shape == Shape::Strict { "INTEGER" } else { "" };
                let default = *self.chance.pick(&["", " DEFAULT 5", " DEFAULT NULL"]);
                if let Some(it) = self.model.tables.iter_mut().find(|it| it.name == table.name) {
                    it.columns.push(column(&name, Type::Integer));
                }
                Statement::new(format!("ALTER TABLE {} ADD COLUMN {name} {kind}{default}", table.name))
            }
        }
    }

    fn drop(&mut self) -> Statement {
        self.note("drop");
        let is_table = self.is_full() || self.chance.one_in(3);
        if !is_table && !self.model.indexes.is_empty() {
            let name = self.chance.pick(&self.model.indexes).clone();
            self.model.forget(&name);
            return Statement::new(format!("DROP INDEX IF EXISTS {name}"));
        }
        let Some(table) = self.model.pick(&mut self.chance, |_| true) else {
            return self.create_table();
        };
        self.model.forget(&table.name);
        let what = match table.shape {
            Shape::View | Shape::WritableView => "VIEW",
            _ => "TABLE",
        };
        Statement::new(format!("DROP {what} IF EXISTS {}", table.name))
    }

    fn drop_trigger(&mut self) -> Statement {
        self.note("drop");
        let name = self.chance.pick(&self.model.triggers).clone();
        self.model.forget(&name);
        Statement::new(format!("DROP TRIGGER IF EXISTS {name}"))
    }

    fn made(&mut self, table: Table) {
        self.created.push(table.name.clone());
        self.model.tables.push(table);
    }
}

fn column(name: &str, kind: Type) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        is_generated: false,
    }
}

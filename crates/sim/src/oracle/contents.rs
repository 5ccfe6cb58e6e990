//! Everything that a database holds, as SQL shows it: schema, settings, and the rows of every table, shadow tables included.
//!
//! Plain SELECTs, the same ones for the oracle and for a node; the content hash has no part in it.

use command::reply::Row;

/// Answers a query; all queries of one comparison see one state.
pub type Ask<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<Row>, String>;

/// What a query answers, by the query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents(Vec<(String, Vec<Row>)>);

const SCHEMA: &str = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' \
                      AND tbl_name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' ORDER BY type, name";
const TABLES: &str = "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow', 'virtual') \
                      AND name NOT LIKE 'sqlite\\_quorlite%' ESCAPE '\\' AND name NOT IN ('sqlite_schema') ORDER BY name";
const SETTINGS: &[&str] = &["PRAGMA user_version", "PRAGMA application_id"];

impl Contents {
    /// Reads everything.
    ///
    /// # Errors
    ///
    /// What a query answered.
    pub fn of(ask: Ask<'_>) -> Result<Contents, String> {
        let mut contents = Contents::default();
        for sql in SETTINGS.iter().chain([&SCHEMA]) {
            contents.take(ask, sql)?;
        }
        for table in ask(TABLES)? {
            let name = text(&table, 0).replace('"', "\"\"");
            let sql = match text(&table, 1).as_str() {
                // ANALYZE takes tables in an order that depends on how many there are, and we have some of our own.
                _ if name == "sqlite_stat1" => "SELECT * FROM sqlite_stat1 ORDER BY 1, 2, 3".to_owned(),
                _ if name == "sqlite_stat4" => "SELECT * FROM sqlite_stat4 ORDER BY 1, 2, 3, 4, 5, 6".to_owned(),
                "1" => format!("SELECT * FROM \"{name}\" NOT INDEXED"),
                _ => format!("SELECT rowid, * FROM \"{name}\" NOT INDEXED ORDER BY rowid"),
            };
            contents.take(ask, &sql)?;
        }
        Ok(contents)
    }

    fn take(&mut self, ask: Ask<'_>, sql: &str) -> Result<(), String> {
        let rows = ask(sql).map_err(|error| format!("{sql}: {error}"))?;
        self.0.push((sql.to_owned(), rows));
        Ok(())
    }

    /// The first difference from what is `right`, in words; `None` when there is none.
    pub fn difference(&self, right: &Contents) -> Option<String> {
        for place in 0..self.0.len().max(right.0.len()) {
            let (here, there) = (self.0.get(place), right.0.get(place));
            if here == there {
                continue;
            }
            let (Some((sql, rows)), Some((right_sql, right_rows))) = (here, there) else {
                return Some(format!(
                    "{:?} where SQLite has {:?}",
                    here.map(|it| &it.0),
                    there.map(|it| &it.0)
                ));
            };
            if sql != right_sql {
                return Some(format!("`{sql}` where SQLite has `{right_sql}`"));
            }
            let row = (0..).find(|row| rows.get(*row) != right_rows.get(*row))?;
            let shown = |row: Option<&Row>| row.map_or("no row".to_owned(), shown);
            return Some(format!(
                "`{sql}`, row {row} of {}: {} where SQLite has {}",
                rows.len(),
                shown(rows.get(row)),
                shown(right_rows.get(row))
            ));
        }
        None
    }
}

/// A row in a line.
pub fn shown(row: &Row) -> String {
    let cells: Vec<String> = (0..row.cells.len()).map(|column| text(row, column)).collect();
    format!("({})", cells.join(", "))
}

fn text(row: &Row, column: usize) -> String {
    use command::statement::Value;
    match row.cells.get(column).and_then(|cell| cell.value.as_ref()) {
        None => "NULL".to_owned(),
        Some(Value::Integer(value)) => value.to_string(),
        Some(Value::Real(value)) => format!("{value:?}"),
        Some(Value::Text(value)) => value.clone(),
        Some(Value::Blob(value)) => {
            let digits: String = value.iter().map(|byte| format!("{byte:02X}")).collect();
            format!("x'{digits}'")
        }
    }
}

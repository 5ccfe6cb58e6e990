//! Random reads, which run in apply as part of a request. Each says in which order its rows come.

use command::statement::Statement;

use crate::oracle::grammar::Grammar;
use crate::oracle::model::{Shape, Table};

impl Grammar {
    /// A SELECT.
    pub(super) fn query(&mut self) -> Statement {
        self.note("query");
        let small = self.small();
        let table = self.model.pick(&mut self.chance, |table| {
            !matches!(table.shape, Shape::Search | Shape::Box)
        });
        let Some(table) = table else {
            return Statement::new("SELECT count(*) FROM audit");
        };
        let one = self.chance.pick(&table.columns).name.clone();
        let other = self.chance.pick(&table.columns).name.clone();
        let name = &table.name;
        if matches!(table.shape, Shape::View | Shape::WritableView) {
            self.note("view");
        }
        Statement::new(match self.chance.below(10) {
            0 => {
                self.note("window function");
                format!(
                    "SELECT {one}, row_number() OVER (ORDER BY {one}, {other}), sum(length({other})) OVER (PARTITION BY \
                     typeof({one}) ORDER BY {one}, {other} ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), lag({other}, 1, 'none') \
                     OVER w FROM {name} WINDOW w AS (ORDER BY {one}, {other}) ORDER BY 1, 2, 3, 4"
                )
            }
            1 => format!(
                "SELECT {one}, count(*), max({other}), group_concat({other}, ',' ORDER BY {other}) FROM {name} GROUP BY 1 \
                 HAVING count(*) < {small} ORDER BY 1"
            ),
            2 => {
                self.note("recursive cte");
                format!(
                    "WITH RECURSIVE f(n, a, b) AS (SELECT 1, 0, 1 UNION ALL SELECT n + 1, b, a + b FROM f WHERE n < {small}) \
                     SELECT n, b, random() FROM f"
                )
            }
            3 => {
                self.note("counters");
                format!(
                    "SELECT {}, {}, last_insert_rowid()",
                    self.changes(),
                    self.total_changes()
                )
            }
            4 => {
                self.note("json");
                format!(
                    "SELECT j.key, j.value, j.type FROM json_each((SELECT json_group_array(typeof({one})) FROM {name})) j ORDER BY 1"
                )
            }
            5 => self
                .query_virtual()
                .unwrap_or_else(|| format!("SELECT * FROM {name} ORDER BY 1, 2")),
            6 => {
                let condition = self.condition(&table.columns, "");
                format!(
                    "SELECT {one}, {} FROM {name} WHERE {condition} ORDER BY 1",
                    self.value(table.columns[0].kind)
                )
            }
            7 => format!("SELECT {one} FROM {name} UNION SELECT {other} FROM {name} EXCEPT SELECT {small} ORDER BY 1"),
            8 => {
                self.note("cte");
                format!(
                    "WITH c AS (SELECT {one} AS x FROM {name}) SELECT a.x, count(*) FROM c a LEFT JOIN c b ON a.x = b.x GROUP BY 1 ORDER BY 1"
                )
            }
            _ => format!("SELECT * FROM {name} ORDER BY 1, 2 LIMIT {small}"),
        })
    }

    fn query_virtual(&mut self) -> Option<String> {
        let is_virtual = |table: &Table| matches!(table.shape, Shape::Search | Shape::Box);
        let Table { name, shape, .. } = self.model.pick(&mut self.chance, is_virtual)?;
        let small = self.small();
        Some(match shape {
            Shape::Search => {
                self.note("fts5");
                let word = small % 8;
                match self.chance.below(3) {
                    0 => format!(
                        "SELECT rowid, highlight({name}, 0, '[', ']') FROM {name}('word{word} OR more') ORDER BY rowid"
                    ),
                    1 => format!(
                        "SELECT rowid, snippet({name}, -1, '<', '>', '…', 3) FROM {name} WHERE {name} MATCH 'wo*' ORDER BY rowid"
                    ),
                    _ => format!("SELECT count(*), max(rowid) FROM {name} WHERE {name} MATCH 'and NOT word{word}'"),
                }
            }
            _ => {
                self.note("rtree");
                format!("SELECT id, x0, y1 FROM {name} WHERE x0 < {small} AND y1 > 1 ORDER BY id")
            }
        })
    }
}

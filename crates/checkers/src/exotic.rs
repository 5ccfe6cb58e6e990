//! Requests that are hard to run the same everywhere: whatever depends on a clock, a random number, a connection's past,
//! a batch's boundaries, or that undoes more than it did.
//!
//! Nobody counts their effects. What they leave must be the same on every node, and that is all (D3).

use command::statement::Statement;

use crate::chance::Chance;

/// A request: its statements, and whether they succeed or fail together.
pub type Request = (Vec<Statement>, bool);

/// What must be there for the others.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS odd(id INTEGER PRIMARY KEY, a, b UNIQUE, c AS (a || '-' || b) STORED, at DEFAULT (datetime('now')));
CREATE TABLE IF NOT EXISTS child(id INTEGER PRIMARY KEY, odd INTEGER REFERENCES odd(id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE IF NOT EXISTS seen(id INTEGER PRIMARY KEY AUTOINCREMENT, rowid_before, changes_before, total_before, x);
CREATE VIRTUAL TABLE IF NOT EXISTS docs USING fts5(body);
CREATE VIRTUAL TABLE IF NOT EXISTS box USING rtree(id, x0, x1);
CREATE TRIGGER IF NOT EXISTS odd_refuses BEFORE INSERT ON odd WHEN NEW.a = 13 BEGIN
  SELECT RAISE(ROLLBACK, 'thirteen');
END;
CREATE TRIGGER IF NOT EXISTS odd_ignores BEFORE INSERT ON odd WHEN NEW.a = 17 BEGIN
  SELECT RAISE(IGNORE);
END";

/// One text each, run alone.
const ALONE: &[&str] = &[
    "INSERT OR ROLLBACK INTO odd(a, b) VALUES(abs(random()) % 20, abs(random()) % 50)",
    "INSERT OR REPLACE INTO odd(a, b) VALUES(abs(random()) % 20, abs(random()) % 50) RETURNING *",
    "INSERT OR FAIL INTO odd(a, b) SELECT abs(random()) % 20, abs(random()) % 50 FROM (SELECT 1 UNION ALL SELECT 2)",
    "INSERT INTO odd(a, b) VALUES(1, abs(random()) % 50) ON CONFLICT(b) DO UPDATE SET a = excluded.a + 1",
    "DELETE FROM odd WHERE id IN (SELECT id FROM odd ORDER BY random() LIMIT 3)",
    "UPDATE OR IGNORE odd SET b = abs(random()) % 50 WHERE id % 3 = 0",
    "INSERT INTO seen(rowid_before, changes_before, total_before, x)
     VALUES(last_insert_rowid(), changes(), total_changes(), sqrt(abs(random()) % 1000) * sin(julianday('now')))",
    "INSERT INTO docs(body) VALUES(hex(randomblob(6)) || ' ' || strftime('%s %f', 'now') || ' word' || abs(random()) % 9)",
    "INSERT INTO docs(docs) VALUES('optimize')",
    "INSERT INTO docs(docs) VALUES('no such command')",
    "INSERT INTO docs(docs, rank) VALUES('merge', 16)",
    "DELETE FROM docs WHERE docs MATCH 'word' || abs(random()) % 9",
    "INSERT OR REPLACE INTO box VALUES(abs(random()) % 40, abs(random()) % 100, 200)",
    "INSERT INTO child(odd) VALUES(abs(random()) % 9)",
    "PRAGMA user_version = 7",
    "ANALYZE",
    "REINDEX",
    "PRAGMA optimize",
    "CREATE TABLE IF NOT EXISTS extra(x, y)",
    "INSERT INTO extra SELECT value, random() FROM json_each('[1,2,3]')",
    "CREATE INDEX IF NOT EXISTS extra_x ON extra(x, lower(y))",
    "ALTER TABLE extra RENAME COLUMN x TO z",
    "DROP TABLE IF EXISTS extra",
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
     INSERT INTO seen(x) SELECT hex(randomblob(i)) FROM n",
    "DELETE FROM seen WHERE id < (SELECT max(id) FROM seen) - 100",
    "INSERT INTO seen(x) SELECT localtime FROM (SELECT datetime('now', 'localtime') AS localtime)",
    "INSERT INTO nowhere VALUES(1)",
    "this is no statement",
];

/// Several texts, of which some fail, together or each for itself.
const TOGETHER: &[&[&str]] = &[
    &[
        "PRAGMA defer_foreign_keys = 1",
        "INSERT INTO child(odd) VALUES(-1)",
        "DELETE FROM child WHERE odd = -1",
    ],
    &[
        "INSERT INTO child(odd) VALUES(-1)",
        "INSERT INTO seen(x) VALUES('after a dangling child')",
    ],
    &[
        "INSERT INTO seen(x) VALUES('before thirteen')",
        "INSERT INTO odd(a, b) VALUES(13, random())",
    ],
    &[
        "INSERT INTO docs(body) VALUES('one'), ('two')",
        "INSERT OR ROLLBACK INTO odd(id, b) VALUES(1, 1), (1, 2)",
    ],
    &[
        "INSERT INTO seen(x) VALUES(last_insert_rowid())",
        "INSERT INTO seen(x) VALUES(changes())",
    ],
    &[
        "UPDATE odd SET a = a + 1",
        "INSERT INTO odd(a, b) VALUES(17, 1)",
        "INSERT INTO seen(x) VALUES(changes())",
    ],
    &[
        "CREATE TABLE t(x); INSERT INTO t VALUES(1)",
        "INSERT INTO t VALUES(random())",
        "DROP TABLE t",
    ],
];

/// Some request; the first that a cluster sees must be [`tables`].
pub fn request(chance: &mut Chance) -> Request {
    if chance.one_in(2) {
        let alone = *chance.pick(ALONE);
        return (vec![Statement::new(alone)], true);
    }
    let together = *chance.pick(TOGETHER);
    let mut statements: Vec<Statement> = together.iter().map(|sql| Statement::new(*sql)).collect();
    if chance.one_in(3) {
        statements.push(Statement::new(*chance.pick(ALONE)));
    }
    (statements, chance.one_in(2))
}

/// The tables that the requests are about.
pub fn tables() -> Statement {
    Statement::new(TABLES)
}

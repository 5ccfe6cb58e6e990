//! SQLite's floor: inserts by the size of the transaction, point selects, and stepping through a large table.
//!
//! WAL with `synchronous=NORMAL`, SQLite's own checkpoints, statements prepared once: what a server could reach if all
//! its other work were free.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};

use super::per_s;
use crate::values;

/// Rows of the table for point selects; as many as the load generator fills in.
pub const READ_KEYS: u64 = 10_000;
/// Rows of the large table; as above.
pub const BIG_ROWS: u64 = 10_000;
const BATCH: u64 = 64;

/// Rows per second of each loop.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Inserts, one per transaction.
    pub inserts: f64,
    /// Inserts, 64 per transaction.
    pub inserts_batched: f64,
    /// Inserts, one per transaction, each in a savepoint.
    pub inserts_savepoint: f64,
    /// Inserts, 64 per transaction, each in a savepoint.
    pub inserts_batched_savepoint: f64,
    /// Point selects with a cached statement.
    pub selects: f64,
    /// Times that a table of 10,000 rows and 5 columns is read through.
    pub scans: f64,
}

/// Measures each loop for `time`, in new databases in `dir`.
///
/// # Errors
///
/// SQLite's.
pub fn figures(dir: &Path, time: Duration) -> anyhow::Result<Figures> {
    let insert = |name: &str, batch, savepoint| inserts(&dir.join(name), time, batch, savepoint);
    Ok(Figures {
        inserts: insert("one", 1, false)?,
        inserts_batched: insert("batched", BATCH, false)?,
        inserts_savepoint: insert("one-savepoint", 1, true)?,
        inserts_batched_savepoint: insert("batched-savepoint", BATCH, true)?,
        selects: selects(&dir.join("selects"), time)?,
        scans: scans(&dir.join("scans"), time)?,
    })
}

/// Opens a new database as the floors use it.
///
/// # Errors
///
/// SQLite's.
pub fn open(path: &Path) -> anyhow::Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "wal")?;
    db.pragma_update(None, "synchronous", "normal")?;
    Ok(db)
}

/// Makes the table for point selects.
///
/// # Errors
///
/// SQLite's.
pub fn fill_read(db: &Connection) -> anyhow::Result<()> {
    db.execute_batch("CREATE TABLE bench_read (k INTEGER PRIMARY KEY, v TEXT NOT NULL); BEGIN")?;
    let mut insert = db.prepare("INSERT INTO bench_read(k,v) VALUES(?,?)")?;
    for key in 1..=READ_KEYS {
        insert.execute(params![key as i64, values::value(key)])?;
    }
    Ok(db.execute_batch("COMMIT")?)
}

fn inserts(path: &Path, time: Duration, batch: u64, savepoint: bool) -> anyhow::Result<f64> {
    let db = open(path)?;
    db.execute_batch("CREATE TABLE bench_write (k INTEGER PRIMARY KEY, v TEXT NOT NULL)")?;
    let mut insert = db.prepare("INSERT INTO bench_write(k,v) VALUES(?,?)")?;
    let (mut begin, mut commit) = (db.prepare("BEGIN IMMEDIATE")?, db.prepare("COMMIT")?);
    let (mut open, mut release) = (db.prepare("SAVEPOINT one")?, db.prepare("RELEASE one")?);
    let mut key = 0;
    let batches = per_s(time, || {
        begin.execute([])?;
        for _ in 0..batch {
            key += 1;
            if savepoint {
                open.execute([])?;
            }
            insert.execute(params![key as i64, values::value(key)])?;
            if savepoint {
                release.execute([])?;
            }
        }
        commit.execute([])?;
        Ok(())
    })?;
    Ok(batches * batch as f64)
}

fn selects(path: &Path, time: Duration) -> anyhow::Result<f64> {
    let db = open(path)?;
    fill_read(&db)?;
    let mut key = 0;
    per_s(time, || {
        // Steps through the keys in an order that is not theirs: 7,919 is prime to 10,000.
        key = (key + 7_919) % READ_KEYS;
        let mut select = db.prepare_cached("SELECT v FROM bench_read WHERE k=?")?;
        select.query_row([(key + 1) as i64], |row| Ok(row.get_ref(0)?.as_bytes()?.len()))?;
        Ok(())
    })
}

fn scans(path: &Path, time: Duration) -> anyhow::Result<f64> {
    let db = open(path)?;
    db.execute_batch("CREATE TABLE bench_big (id INTEGER PRIMARY KEY, name, weight, born, note); BEGIN")?;
    let mut insert = db.prepare("INSERT INTO bench_big VALUES(?,?,?,?,?)")?;
    for id in 1..=BIG_ROWS as i64 {
        let text = values::value(id as u64);
        insert.execute(params![
            id,
            &text[..16],
            (id % 1000) as f64 + 0.25,
            1_700_000_000 + id,
            &text[20..32]
        ])?;
    }
    db.execute_batch("COMMIT")?;
    let mut select = db.prepare("SELECT id,name,weight,born,note FROM bench_big ORDER BY id")?;
    per_s(time, || {
        let (mut rows, mut count) = (select.query([])?, 0);
        while let Some(row) = rows.next()? {
            for column in 0..5 {
                std::hint::black_box(row.get_ref(column)?);
            }
            count += 1;
        }
        anyhow::ensure!(count == BIG_ROWS, "{count} rows");
        Ok(())
    })
}

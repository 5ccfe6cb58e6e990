//! The bare write floor: whatever waits becomes one append and one flush, then one SQLite transaction, then the replies.
//!
//! No Raft, no JSON parser (the body is the value), no linger, no second thread: while a flush runs, requests wait in
//! the sockets and make up the next batch.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::{Notify, oneshot};

use super::{Handler, serve};
use crate::floors::{disk, sqlite};

const LOG_BYTES: u64 = 64 * 1024 * 1024;
const REPLY: &[u8] = br#"{"results":[{"last_insert_id":1,"rows_affected":1}]}"#;

struct Waiting {
    value: Bytes,
    done: oneshot::Sender<()>,
}

/// What the connections share with the flusher.
#[derive(Default)]
struct Shared {
    waiting: RefCell<Vec<Waiting>>,
    wake: Notify,
    rows: Cell<u64>,
    flushes: Cell<u64>,
}

struct Writer(Rc<Shared>);

impl Handler for Writer {
    async fn answer(&self, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        if path != "/db/execute" {
            let (rows, flushes) = (self.0.rows.get(), self.0.flushes.get());
            return Ok(format!(r#"{{"rows":{rows},"flushes":{flushes}}}"#).into());
        }
        let (done, flushed) = oneshot::channel();
        self.0.waiting.borrow_mut().push(Waiting { value: body, done });
        self.0.wake.notify_one();
        flushed.await.context("the flusher has ended")?;
        Ok(Bytes::from_static(REPLY))
    }
}

/// The log and the database.
struct Disk {
    log: File,
    offset: u64,
    buffer: Vec<u8>,
    db: Connection,
}

impl Disk {
    fn store(&mut self, batch: &[Waiting]) -> anyhow::Result<()> {
        self.buffer.clear();
        for waiting in batch {
            self.buffer
                .extend_from_slice(&(waiting.value.len() as u64).to_le_bytes());
            self.buffer.extend_from_slice(&waiting.value);
        }
        if self.offset + self.buffer.len() as u64 > LOG_BYTES {
            self.offset = 0;
        }
        self.log.write_all_at(&self.buffer, self.offset)?;
        self.log.sync_data()?;
        self.offset += self.buffer.len() as u64;
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut insert = self.db.prepare_cached("INSERT INTO bench_write(v) VALUES(?)")?;
        for waiting in batch {
            insert.execute([std::str::from_utf8(&waiting.value)?])?;
        }
        self.db.prepare_cached("COMMIT")?.execute([])?;
        Ok(())
    }
}

/// Makes log and database in `dir` and serves for ever.
///
/// # Errors
///
/// If it cannot listen, or a file cannot be made.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    let db = sqlite::open(&dir.join("write.db"))?;
    db.execute_batch("CREATE TABLE bench_write (k INTEGER PRIMARY KEY, v TEXT NOT NULL)")?;
    let log = disk::zero_filled(&dir.join("log"), LOG_BYTES)?;
    let disk = Disk {
        log,
        offset: 0,
        buffer: Vec::new(),
        db,
    };
    serve(|| {
        let shared = Rc::new(Shared::default());
        tokio::task::spawn_local(flush(Rc::clone(&shared), disk));
        Ok(Writer(shared))
    })
}

async fn flush(shared: Rc<Shared>, mut disk: Disk) -> anyhow::Result<()> {
    loop {
        shared.wake.notified().await;
        let batch = shared.waiting.take();
        if batch.is_empty() {
            continue;
        }
        disk.store(&batch)?;
        shared.rows.set(shared.rows.get() + batch.len() as u64);
        shared.flushes.set(shared.flushes.get() + 1);
        for waiting in batch {
            // A client that has gone away needs no reply.
            let _ = waiting.done.send(());
        }
    }
}

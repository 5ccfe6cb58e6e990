//! The writer's database is written to by checkpoints alone, and only from frames that its floor names.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Fixture;
use crate::checkpoint::Checkpointer;
use crate::faults::{self, Action, FileFaults};
use crate::open::Options;

const PAGE_BYTES: usize = 4096;
/// WAL: a header, then frames of a header and a page.
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// Looks at each page that is written to the database.
struct Witness {
    dir: PathBuf,
    copied: AtomicU64,
    /// What was wrong: a test would not hear of a panic from within SQLite.
    wrong: Mutex<Vec<String>>,
}

impl Witness {
    /// The newest frame of the page that the durable floor lets a checkpoint copy is the page that is written.
    fn judge(&self, offset: u64, page: &[u8]) -> Result<(), String> {
        let read = |name: &str| std::fs::read(self.dir.join(name)).map_err(|error| format!("{name}: {error}"));
        let (wal, floor) = (read("db.sqlite-wal")?, read("db.sqlite-floor")?);
        if wal[16..24] != floor[16..24] {
            return Err("the floor is of another life of the WAL".to_owned());
        }
        let frames = floor[24] as usize | (floor[25] as usize) << 8;
        let number = (offset / PAGE_BYTES as u64 + 1) as u32;
        let mut below = wal[HEADER_BYTES..]
            .chunks_exact(FRAME_HEADER_BYTES + PAGE_BYTES)
            .take(frames);
        let newest = below.rfind(|frame| frame[..4] == number.to_be_bytes());
        match newest {
            Some(frame) if &frame[FRAME_HEADER_BYTES..] == page => Ok(()),
            Some(_) => Err(format!("page {number} is not what its frame below {frames} is")),
            None => Err(format!("page {number} has no frame below {frames}")),
        }
    }
}

impl FileFaults for Witness {
    fn on_write(&self, path: &Path, offset: u64, data: &[u8]) -> Action {
        if path.ends_with("db.sqlite") {
            self.copied.fetch_add(1, Ordering::Relaxed);
            self.wrong.lock().unwrap().extend(self.judge(offset, data).err());
        }
        Action::Proceed
    }
}

#[test]
fn nothing_is_copied_from_above_the_floor() {
    let fixture = Fixture::new();
    let witness = Arc::new(Witness {
        dir: fixture.dir.path().to_owned(),
        copied: AtomicU64::new(0),
        wrong: Mutex::default(),
    });
    faults::install(fixture.dir.path(), Arc::clone(&witness) as Arc<dyn FileFaults>);
    let mut it = fixture.reopen();
    let mut beside = Checkpointer::open(&it.path(), &Options::default()).unwrap();
    it.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, x)");
    for round in 0..6 {
        let reader = rusqlite::Connection::open(it.path()).unwrap();
        it.execute("INSERT INTO t(x) SELECT randomblob(3000) FROM json_each('[1,2,3,4,5,6,7]')");
        it.execute("CREATE INDEX IF NOT EXISTS t_x ON t(x)");
        // In every other round a reader keeps a checkpoint from its end.
        if round % 2 == 0 {
            reader.execute_batch("BEGIN; SELECT * FROM t").unwrap();
        }
        it.execute("UPDATE t SET x=randomblob(100) WHERE id%5=0");
        beside.backfill().unwrap().unwrap();
        it.execute("DELETE FROM t WHERE id%3=0");
        it.execute("VACUUM");
        it.writer.finish_checkpoint().unwrap().unwrap();
        it.execute("DROP INDEX t_x");
        if round == 3 {
            it = it.reopen();
        }
    }
    faults::remove(it.dir.path());
    assert_eq!(*witness.wrong.lock().unwrap(), Vec::<String>::new());
    assert!(witness.copied.load(Ordering::Relaxed) > 50);
}

//! Disks that fail and power that goes: nothing is lost, nothing is answered that did not happen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sqlite::faults::{self, Action, FileFaults};
use sqlite::{Error, Options};

use super::{Entry, Fixture, entry, execute};

/// A file as the disk would have it after a power loss, and what was written since the last flush.
#[derive(Default)]
struct Image {
    flushed: Vec<u8>,
    unflushed: Vec<(u64, Vec<u8>)>,
}

/// A disk that remembers what was flushed, and fails on demand.
#[derive(Default)]
struct Disk {
    files: Mutex<BTreeMap<PathBuf, Image>>,
    /// The suffix of the files whose next operation of a kind fails, and how.
    fail: Mutex<Option<(&'static str, &'static str, Action)>>,
}

impl Disk {
    fn fail(&self, operation: &'static str, suffix: &'static str, action: Action) {
        *self.fail.lock().unwrap() = Some((operation, suffix, action));
    }

    fn heal(&self) {
        *self.fail.lock().unwrap() = None;
    }

    fn ask(&self, operation: &str, path: &Path) -> Action {
        match *self.fail.lock().unwrap() {
            Some((what, suffix, action)) if what == operation && path.to_string_lossy().ends_with(suffix) => action,
            Some(_) | None => Action::Proceed,
        }
    }

    /// Leaves in `folder` what a power loss would: what was flushed, and any part of what was not, torn or not.
    fn power_loss(&self, folder: &Path, random: &mut ChaCha8Rng) {
        for (path, image) in self.files.lock().unwrap().iter() {
            let mut bytes = image.flushed.clone();
            for (offset, data) in &image.unflushed {
                let kept = match random.next_u32() % 3 {
                    0 => data.len(),
                    1 => 0,
                    _ => random.next_u32() as usize % data.len(),
                };
                put(&mut bytes, *offset, &data[..kept]);
            }
            let path = folder.join(path.file_name().unwrap());
            fs::write(path, bytes).unwrap();
        }
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let end = offset as usize + data.len();
    if !data.is_empty() && bytes.len() < end {
        bytes.resize(end, 0);
    }
    if !data.is_empty() {
        bytes[offset as usize..end].copy_from_slice(data);
    }
}

impl FileFaults for Disk {
    fn on_read(&self, path: &Path, _: u64, _: usize) -> Action {
        self.ask("read", path)
    }

    fn on_write(&self, path: &Path, offset: u64, data: &[u8]) -> Action {
        let action = self.ask("write", path);
        if action == Action::Proceed {
            let mut files = self.files.lock().unwrap();
            let image = files.entry(path.to_owned()).or_default();
            image.unflushed.push((offset, data.to_vec()));
        }
        action
    }

    fn on_sync(&self, path: &Path) -> Action {
        match self.ask("sync", path) {
            // What counts as flushed is remembered here: the real disk need not be waited for.
            Action::Proceed => Action::Pretend,
            action => action,
        }
    }

    fn on_delete(&self, path: &Path) -> Action {
        self.files.lock().unwrap().remove(path);
        Action::Proceed
    }

    fn synced(&self, path: &Path) {
        let mut files = self.files.lock().unwrap();
        let image = files.entry(path.to_owned()).or_default();
        for (offset, data) in std::mem::take(&mut image.unflushed) {
            put(&mut image.flushed, offset, &data);
        }
    }
}

/// A core whose disk is ours.
struct Faulty {
    it: Option<Fixture>,
    disk: Arc<Disk>,
    dir: tempfile::TempDir,
}

impl Faulty {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::default());
        faults::install(dir.path(), Arc::clone(&disk) as Arc<dyn FileFaults>);
        let it = Some(Fixture::at(dir.path(), Options::default()));
        Self { it, disk, dir }
    }

    fn apply(&mut self, entries: &[Entry]) -> Result<usize, Error> {
        let applier = self.it.as_mut().unwrap().applier();
        applier.apply(entries).map(|replies| replies.len())
    }

    fn fixture(&mut self) -> &mut Fixture {
        self.it.as_mut().unwrap()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.it = None;
        faults::remove(self.dir.path());
    }
}

fn table() -> Entry {
    entry(1, execute(&["CREATE TABLE t(id INTEGER PRIMARY KEY, v)"]))
}

fn insert(index: u64, bytes: usize) -> Entry {
    entry(
        index,
        execute(&[&format!("INSERT INTO t(v) VALUES(randomblob({bytes}))")]),
    )
}

#[test]
fn a_failed_write_stops_the_core_and_loses_nothing() {
    for action in [Action::Fail, Action::Full] {
        let mut faulty = Faulty::new();
        faulty.apply(&[table(), insert(2, 100)]).unwrap();
        faulty.disk.fail("write", "-wal", action);
        let error = faulty.apply(&[insert(3, 100), insert(4, 100)]).unwrap_err();
        assert!(matches!(error, Error::Node { .. }), "{error}");
        assert!(error.to_string().contains("-wal"), "{error}");
        faulty.disk.heal();
        faulty.fixture().reopen();
        assert_eq!(
            faulty.fixture().next_index(),
            3,
            "neither entry of the failed batch counts as applied"
        );
        faulty.apply(&[insert(3, 100), insert(4, 100)]).unwrap();
        assert_eq!(faulty.fixture().ask("SELECT count(*) FROM t"), "Integer(3)");
    }
}

#[test]
fn a_failed_read_is_no_result() {
    let mut faulty = Faulty::new();
    let entries: Vec<Entry> = (2..200).map(|index| insert(index, 20_000)).collect();
    faulty.apply(&[table()]).unwrap();
    faulty.apply(&entries).unwrap();
    faulty.fixture().reopen();
    faulty.disk.fail("read", "", Action::Fail);
    let error = faulty
        .apply(&[entry(200, execute(&["UPDATE t SET v=length(v)"]))])
        .unwrap_err();
    assert!(matches!(error, Error::Node { .. }), "{error}");
}

#[test]
fn a_failed_flush_is_never_retried() {
    let mut faulty = Faulty::new();
    faulty.apply(&[table()]).unwrap();
    faulty.disk.fail("sync", "-wal", Action::Fail);
    assert!(faulty.fixture().applier().make_durable().is_err());
    faulty.disk.heal();
    let error = faulty.fixture().applier().make_durable().unwrap_err();
    assert!(matches!(error, Error::Poisoned { .. }), "{error}");
}

#[test]
fn a_failed_flush_of_a_checkpoint_is_fatal() {
    for suffix in ["-wal", ".sqlite"] {
        let mut faulty = Faulty::new();
        faulty.apply(&[table()]).unwrap();
        faulty.disk.fail("sync", suffix, Action::Fail);
        let entries: Vec<Entry> = (2..1000).map(|index| insert(index, 20_000)).collect();
        let error = faulty.apply(&entries).unwrap_err();
        assert!(matches!(error, Error::Node { .. }), "{error}");
        faulty.disk.heal();
        // SQLite itself would try again, and be told that all is well.
        let error = faulty.fixture().applier().maintain().unwrap_err();
        assert!(matches!(error, Error::Node { .. }), "{error}");
    }
}

#[test]
fn after_a_power_loss_the_durable_index_is_there() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut faulty = Faulty::new();
        let entries: Vec<Entry> = (2..400)
            .map(|index| insert(index, random.next_u32() as usize % 20_000))
            .collect();
        faulty.apply(&[table()]).unwrap();
        faulty.fixture().applier().make_durable().unwrap();
        let mut durable = 1;
        let mut rest = &entries[..];
        for _ in 0..20 + random.next_u32() % 40 {
            let taken = (1 + random.next_u32() as usize % 12).min(rest.len());
            faulty.apply(&rest[..taken]).unwrap();
            rest = &rest[taken..];
            if random.next_u32().is_multiple_of(4) {
                durable = faulty.fixture().applier().make_durable().unwrap().unwrap().index;
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let mut other = Fixture::at(dir.path(), Options::default());
        let database = other.home.current().database();
        other.applier = None;
        for name in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{name}", database.display()));
        }
        faulty.disk.power_loss(database.parent().unwrap(), &mut random);
        other.reopen();
        let next = other.next_index();
        assert!(
            next > durable,
            "seed {seed}: durable through {durable}, but the next entry is {next}"
        );
        // The log has the rest.
        let replayed = &entries[next as usize - 2..];
        let upto = entries.len() - rest.len();
        let replayed = &replayed[..upto + 2 - next as usize];
        other.applier().apply(replayed).unwrap();
        assert_eq!(other.content(), faulty.fixture().content(), "seed {seed}");
        assert_eq!(
            other.applier().applied().effect,
            faulty.fixture().applier().applied().effect
        );
    }
}

#[test]
fn the_wal_stays_small_under_steady_writes() {
    for beside in [false, true] {
        let mut faulty = Faulty::new();
        if beside {
            faulty.fixture().applier().backfill_beside();
        }
        faulty.apply(&[table()]).unwrap();
        let mut largest = 0;
        for index in 2..2000 {
            faulty.apply(&[insert(index, 10_000)]).unwrap();
            largest = largest.max(faulty.fixture().applier().wal_bytes());
        }
        assert!(largest < 40 << 20, "beside {beside}: {largest} bytes");
    }
}

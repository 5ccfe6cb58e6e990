//! The folder of a siege: removed when the siege ends, or by the next one.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::shell;

const PREFIX: &str = "quorlite-siege-";

/// A folder that is younger may not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// What is kept of a siege that failed.
const KEPT: &str = "target/siege";

/// A folder, locked while its siege lives.
pub struct Work {
    path: PathBuf,
    _lock: File,
}

impl Work {
    /// A new one; takes away what sieges left that were killed.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new() -> Result<Work> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let path = parent.join(format!("{PREFIX}{}", since.as_nanos()));
        std::fs::create_dir(&path).with_context(|| format!("make {}", path.display()))?;
        let lock = File::create(path.join("lock"))?;
        lock.try_lock().context("lock a new folder")?;
        Ok(Work { path, _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps logs and data of a siege that failed; returns where.
    ///
    /// # Errors
    ///
    /// When they cannot be copied.
    pub fn keep(&self, name: &str, nodes: usize) -> Result<PathBuf> {
        let to = Path::new(KEPT).join(name);
        std::fs::create_dir_all(&to)?;
        for node in 1..=nodes {
            let own = self.path.join(format!("n{node}"));
            let copy = |from: PathBuf, name: String| -> Result<()> {
                let to = to.join(name);
                if from.exists() {
                    shell::run(&[
                        "cp",
                        "-a",
                        "--sparse=always",
                        &from.to_string_lossy(),
                        &to.to_string_lossy(),
                    ])?;
                }
                Ok(())
            };
            copy(self.path.join(format!("n{node}.log")), format!("n{node}.log"))?;
            copy(own.join("mount/disk"), format!("n{node}.disk"))?;
            copy(own.join("shadow"), format!("n{node}.shadow"))?;
        }
        Ok(to)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(&self.path).into_iter().flatten().flatten() {
            for mount in ["mount", "shadow"] {
                let path = entry.path().join(mount);
                if path.is_dir() {
                    // Where it is none, this fails, and there is nothing to do.
                    shell::succeeds(&["umount", "-l", &path.to_string_lossy()]);
                }
            }
        }
        _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of sieges that are dead; their mounts died with them.
fn sweep(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let age = entry
            .metadata()
            .and_then(|about| about.modified())
            .ok()
            .and_then(|at| at.elapsed().ok());
        if !is_ours || age.is_none_or(|age| age < YOUNG) {
            continue;
        }
        let lock = File::open(entry.path().join("lock"));
        if lock.is_ok_and(|lock| lock.try_lock().is_ok()) {
            _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

//! A node's disk: a small file system of its own, that can be full, slow, fail, lie, and lose its power.
//!
//! ```text
//!  mount/disk      what the node sees: its data directory is in it
//!  mount/ballast   what fills it
//!  shadow/now         what a power cut leaves (scripts/powerloss); elsewhere, so that it is never full
//!  faults          what goes wrong next; the powerloss library in the node reads it
//! ```

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::FallocateFlags;

use crate::enclosure::Enclosure;
use crate::shell;

/// Size of the file system: a node's log, its WAL and its database many times.
const BYTES: u64 = 768 * 1024 * 1024;

/// Bytes of the file of faults, and where what stands (scripts/powerloss/faults.c).
const FAULTS_BYTES: u64 = 64;
const FLUSH_DELAY: u64 = 0;
const FLUSH_FUSE: u64 = 4;
const WRITE_FUSE: u64 = 8;
const ERROR: u64 = 12;
const CLOCK_OFFSET: u64 = 16;
const FAILURES: u64 = 24;

/// The errors that a disk answers.
pub const EIO: u32 = 5;
/// No space left.
pub const ENOSPC: u32 = 28;

/// Where the library and the power cut come from.
const POWERLOSS: &str = "scripts/powerloss/disk.py";

/// Compiles the powerloss library into `folder`; returns its path.
///
/// # Errors
///
/// When there is no compiler, or this is not the top of a checkout.
pub fn build(folder: &Path) -> Result<PathBuf> {
    let folder = folder.to_str().context("a folder whose name is text")?;
    let path = shell::run(&["python3", POWERLOSS, "build", folder])?;
    Ok(PathBuf::from(path.trim()))
}

/// What is left of what was not flushed.
#[derive(Debug, Clone, Copy)]
pub enum Cut {
    /// Nothing.
    Drop,
    /// Some of it, some of that torn.
    Mix,
}

/// A disk.
pub struct Disk {
    mount: PathBuf,
    shadow: PathBuf,
    faults_path: PathBuf,
    faults: File,
    library: PathBuf,
    lie: Option<String>,
    /// It is a file system of its own.
    is_own: bool,
}

impl Disk {
    /// Makes the disk `name` below `folder`.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new(folder: &Path, name: &str, library: &Path, lie: Option<String>, enclosure: Enclosure) -> Result<Disk> {
        let mount = folder.join(name).join("mount");
        let shadow = folder.join(name).join("shadow");
        let faults_path = folder.join(name).join("faults");
        for path in [&mount, &shadow] {
            std::fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        }
        let is_own = mount_own(folder, name, &mount, enclosure)?;
        if enclosure != Enclosure::Open {
            mount_memory(&shadow)?;
        }
        // A power cut replaces it, which a mount does not allow.
        let shadow = shadow.join("now");
        std::fs::create_dir(&shadow)?;
        std::fs::create_dir_all(mount.join("disk"))?;
        std::fs::write(&faults_path, [0; FAULTS_BYTES as usize])?;
        let faults = OpenOptions::new().read(true).write(true).open(&faults_path)?;
        Ok(Disk {
            mount,
            shadow,
            faults_path,
            faults,
            library: library.to_owned(),
            lie,
            is_own,
        })
    }

    /// What the node sees as its disk.
    pub fn root(&self) -> PathBuf {
        self.mount.join("disk")
    }

    /// It can be filled.
    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Puts the powerloss library before a program.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut variables = vec![
            ("LD_PRELOAD", text(&self.library)),
            ("POWERLOSS_ROOT", text(&self.root())),
            ("POWERLOSS_SHADOW", text(&self.shadow)),
            ("POWERLOSS_FAULTS", text(&self.faults_path)),
        ];
        variables.extend(self.lie.clone().map(|lie| ("POWERLOSS_LIE_PATTERN", lie)));
        variables
    }

    /// The power fails, while nobody uses the disk; returns the bytes that are lost.
    ///
    /// # Errors
    ///
    /// When the disk cannot be read.
    pub fn cut(&self, cut: Cut, seed: u64) -> Result<u64> {
        self.empty()?;
        let mode = match cut {
            Cut::Drop => "drop",
            Cut::Mix => "mix",
        };
        let (root, shadow) = (self.root(), &self.shadow);
        let words = [
            "python3",
            POWERLOSS,
            "cut",
            &root.to_string_lossy(),
            &shadow.to_string_lossy(),
            mode,
            &seed.to_string(),
        ];
        let told = shell::run(&words)?;
        let lost = told.split_whitespace().next().and_then(|text| text.parse().ok());
        lost.with_context(|| format!("what was lost, of {told}"))
    }

    /// Everything on it is gone, while nobody uses it.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn wipe(&self) -> Result<()> {
        self.empty()?;
        std::fs::remove_dir_all(self.root())?;
        std::fs::create_dir_all(self.root())?;
        std::fs::remove_dir_all(&self.shadow)?;
        std::fs::create_dir_all(&self.shadow)?;
        Ok(())
    }

    /// Leaves so many bytes free.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn fill(&self, left: u64) -> Result<()> {
        let ballast = File::create(self.ballast())?;
        let space = rustix::fs::fstatvfs(&ballast)?;
        let free = space.f_bavail * space.f_frsize;
        let filled = rustix::fs::fallocate(&ballast, FallocateFlags::empty(), 0, free.saturating_sub(left).max(1));
        match filled {
            // The node was faster: what is left is full as well.
            Ok(()) | Err(rustix::io::Errno::NOSPC) => Ok(()),
            Err(error) => Err(error).context("fill a disk"),
        }
    }

    /// Takes away what fills it.
    ///
    /// # Errors
    ///
    /// When the file system refuses.
    pub fn empty(&self) -> Result<()> {
        match std::fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    /// Each flush takes so much longer.
    ///
    /// # Errors
    ///
    /// When the order cannot be written, as for all orders.
    pub fn slow(&self, delay_us: u32) -> Result<()> {
        self.order(FLUSH_DELAY, &delay_us.to_ne_bytes())
    }

    /// The `number`-th flush from now fails.
    ///
    /// # Errors
    ///
    /// As [`Disk::slow`].
    pub fn fail_flush(&self, number: u32, error: u32) -> Result<()> {
        self.order(ERROR, &error.to_ne_bytes())?;
        self.order(FLUSH_FUSE, &number.to_ne_bytes())
    }

    /// The `number`-th write from now fails.
    ///
    /// # Errors
    ///
    /// As [`Disk::slow`].
    pub fn fail_write(&self, number: u32, error: u32) -> Result<()> {
        self.order(ERROR, &error.to_ne_bytes())?;
        self.order(WRITE_FUSE, &number.to_ne_bytes())
    }

    /// The node's wall clock is wrong by so much.
    ///
    /// # Errors
    ///
    /// As [`Disk::slow`].
    pub fn shift_clock(&self, offset_ns: i64) -> Result<()> {
        self.order(CLOCK_OFFSET, &offset_ns.to_ne_bytes())
    }

    /// Neither slow nor failing any more; returns how often it has failed since the last time.
    ///
    /// # Errors
    ///
    /// As [`Disk::slow`].
    pub fn calm(&self) -> Result<u32> {
        for place in [FLUSH_DELAY, FLUSH_FUSE, WRITE_FUSE] {
            self.order(place, &0_u32.to_ne_bytes())?;
        }
        let mut failures = [0; 4];
        self.faults.read_exact_at(&mut failures, FAILURES)?;
        self.order(FAILURES, &0_u32.to_ne_bytes())?;
        Ok(u32::from_ne_bytes(failures))
    }

    fn order(&self, place: u64, bytes: &[u8]) -> Result<()> {
        self.faults
            .write_all_at(bytes, place)
            .context("order a fault of a disk")
    }
}

/// A file system of its own: ext4 in a file, or in memory, or none.
fn mount_own(folder: &Path, name: &str, mount: &Path, enclosure: Enclosure) -> Result<bool> {
    let image = folder.join(format!("{name}.ext4"));
    let (image_text, mount_text) = (image.to_string_lossy(), mount.to_string_lossy());
    if enclosure == Enclosure::Root {
        File::create(&image)?.set_len(BYTES)?;
        let made = shell::run(&["mkfs.ext4", "-q", "-m", "0", &image_text])
            .and_then(|_| shell::run(&["mount", "-o", "loop", &image_text, &mount_text]));
        if made.is_ok() {
            return Ok(true);
        }
        std::fs::remove_file(&image)?;
    }
    if enclosure == Enclosure::Open {
        return Ok(false);
    }
    mount_memory(mount)?;
    Ok(true)
}

fn mount_memory(path: &Path) -> Result<()> {
    let size = format!("size={BYTES}");
    shell::run(&["mount", "-t", "tmpfs", "-o", &size, "siege", &path.to_string_lossy()]).map(drop)
}

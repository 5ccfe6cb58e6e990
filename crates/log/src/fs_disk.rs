//! A real directory as a [`Disk`].
//!
//! Files are written with `pwrite` and flushed with `fdatasync`. A new file is allocated, filled with zeros and flushed
//! before its first use: from then on a flush changes no metadata, and on a journalled file system that halves its cost.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::{Disk, File};

/// Zeros that are written at once. One page: what is written in larger pieces stands in the page cache as large folios, and
/// Linux then writes a whole folio for each small record that is flushed (measured: 256 KiB of write_bytes per record).
const ZEROS_BYTES: usize = 4096;

/// A directory of a file system.
#[derive(Debug, Clone)]
pub struct FsDisk {
    directory: PathBuf,
    /// Nothing is created, written, renamed or deleted.
    is_read_only: bool,
}

#[derive(Debug)]
struct FsFile(fs::File);

impl FsDisk {
    /// The directory `directory`, created with its parents if it is missing. The caller keeps other processes out of it.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn new(directory: impl AsRef<Path>) -> io::Result<FsDisk> {
        let directory = directory.as_ref().to_path_buf();
        if !directory.is_dir() {
            fs::create_dir_all(&directory)?;
            if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                fs::File::open(parent)?.sync_all()?;
            }
        }
        Ok(FsDisk {
            directory,
            is_read_only: false,
        })
    }

    /// The directory `directory`, to look at: whatever would change it fails, and if it is missing it stays so.
    pub fn read_only(directory: impl AsRef<Path>) -> FsDisk {
        FsDisk {
            directory: directory.as_ref().to_path_buf(),
            is_read_only: true,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn changeable(&self) -> io::Result<()> {
        if self.is_read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(())
    }
}

impl Disk for FsDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            // A name that is not UTF-8 is not ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(FsFile(
            fs::OpenOptions::new()
                .read(true)
                .write(!self.is_read_only)
                .open(self.path(name))?,
        )))
    }

    fn create(&self, name: &str, bytes: u64) -> io::Result<Box<dyn File>> {
        self.changeable()?;
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.path(name))?;
        reserve(&file, bytes)?;
        let zeros = vec![0; ZEROS_BYTES];
        let mut offset = 0;
        while offset < bytes {
            let count = zeros.len().min(usize::try_from(bytes - offset).unwrap_or(usize::MAX));
            file.write_all_at(&zeros[..count], offset)?;
            offset += count as u64;
        }
        file.sync_all()?;
        Ok(Box::new(FsFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.changeable()?;
        fs::rename(self.path(from), self.path(to))
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        self.changeable()?;
        fs::remove_file(self.path(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.changeable()?;
        fs::File::open(&self.directory)?.sync_all()
    }

    fn describe(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl File for FsFile {
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Asks for the space in one piece, before zeros are written into it. A full disk says so here.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &fs::File, bytes: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
        // Not every file system can; the zeros that follow reserve the space just as well.
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(file: &fs::File, bytes: u64) -> io::Result<()> {
    file.set_len(bytes)
}

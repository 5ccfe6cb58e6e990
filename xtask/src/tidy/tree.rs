//! The files that tidy looks at, by path from the root.
//!
//! Owns reading them, and what a path says about a file (is it a test, which room is it in). Paths use `/`.

use super::code;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Other people's code, kept as they wrote it but for what its README says.
const THIRD_PARTY: &str = "third_party/";

/// A text file and its path from the root.
pub struct File {
    pub path: String,
    pub text: String,
    /// `text` with comments and literals blanked, for Rust; empty otherwise.
    pub code: String,
}

/// The text files of a checkout.
pub struct Tree {
    files: Vec<File>,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        let code = if path.ends_with(".rs") {
            code::blanked(text)
        } else {
            String::new()
        };
        File {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
        }
    }

    /// Whether this is Rust.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether this file holds tests and what they need, and nothing else.
    pub fn is_test(&self) -> bool {
        let in_folder = self.path.split('/').rev().skip(1).any(|folder| folder == "tests");
        in_folder || self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs")
    }

    /// Whether people wrote it to be run: Rust, C, Python, shell, and the nameless scripts.
    pub fn is_source(&self) -> bool {
        let extensions = [".rs", ".c", ".h", ".py", ".sh"];
        extensions.iter().any(|e| self.path.ends_with(e)) || self.text.starts_with("#!/")
    }
}

impl Tree {
    /// Reads what git tracks below `root`, and what it would track.
    ///
    /// # Errors
    ///
    /// When git cannot list the files or one of them cannot be read. Files that are not UTF-8, and other
    /// people's, are left out.
    pub fn of_checkout(root: &Path) -> Result<Tree> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .context("start git ls-files")?;
        ensure!(
            listed.status.success(),
            "git ls-files: {}",
            String::from_utf8_lossy(&listed.stderr)
        );
        let names = String::from_utf8(listed.stdout).context("decode the names that git lists")?;
        let mut files = Vec::new();
        let ours = |name: &&str| !name.is_empty() && !name.starts_with(THIRD_PARTY);
        for name in names.split('\0').filter(ours) {
            let path = root.join(name);
            // Removed in the working tree but not yet in the index, or a link to a folder.
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).with_context(|| format!("read {name}"))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.push(File::new(name, &text));
            }
        }
        Ok(Tree { files })
    }

    /// A tree in memory.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree {
            files: files.iter().map(|(path, text)| File::new(path, text)).collect(),
        }
    }

    /// All files, in git's order.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.is_rust())
    }
}

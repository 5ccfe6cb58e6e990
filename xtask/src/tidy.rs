//! What the compiler cannot hold of the house rules: directions, sizes, heads, words, sections without a row.
//!
//! Owns the list of rules and the printing of what they find. Never rewrites, never looks at a file that git ignores.
//!
//! ```text
//!  checkout ──git ls-files──► Tree ──► rooms, modules, sources, words ──► findings ──► exit code
//! ```
//!
//! A rule is a function from a [`Tree`] to findings, so that its tests are small trees in memory.

mod code;
mod modules;
mod rooms;
mod sections;
mod sources;
mod tree;
mod words;

#[cfg(test)]
mod tests;

use anyhow::{Result, ensure};
use std::fmt;
use std::path::Path;
use tree::{File, Tree};

/// One breach of a rule, at one place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    path: String,
    line: usize,
    text: String,
}

impl Finding {
    fn at(file: &File, line: usize, text: String) -> Finding {
        Finding {
            path: file.path.clone(),
            line,
            text,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.text)
    }
}

/// Checks the files below `root` that git tracks or would track, and prints each finding.
///
/// # Errors
///
/// When there is a finding, or when the files cannot be listed or read.
#[expect(clippy::print_stdout, reason = "findings are this command's output")]
pub fn run(root: &Path) -> Result<()> {
    let tree = Tree::of_checkout(root)?;
    let findings = check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "tidy: {} findings", findings.len());
    println!("tidy: {} files, nothing found", tree.files().len());
    Ok(())
}

fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(rooms::check(tree));
    findings.extend(modules::check(tree));
    findings.extend(sections::check(tree));
    findings.extend(sources::check(tree));
    findings.extend(words::check(tree));
    findings.sort();
    findings.dedup();
    findings
}

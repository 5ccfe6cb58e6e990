//! Each section of the HTTP specification that states rules has a row in the conformance suite.
//!
//! The specification is not in the repository; the numbers of its sections are, in [`LIST`]: one a line, and behind
//! ` - ` the reason of one that has no row.

use super::Finding;
use super::tree::{File, Tree};
use std::collections::BTreeSet;

/// The sections.
const LIST: &str = "crates/quorlited/tests/conformance/SECTIONS";

/// Where the rows are.
const FOLDER: &str = "crates/quorlited/tests/conformance/";

/// A row's section when it only prepares.
const NONE: &str = "-";

/// Checks that sections and rows fit each other.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let Some(list) = tree.files().iter().find(|file| file.path == LIST) else {
        return Vec::new();
    };
    let asked: BTreeSet<&str> = rows(tree).map(|(_, _, section)| section).collect();
    let mut findings: Vec<Finding> = Vec::new();
    let mut listed = BTreeSet::new();
    for (index, line) in list.text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let section = line.split(' ').next().unwrap_or_default();
        listed.insert(section);
        let text = match (asked.contains(section), line.contains(" - ")) {
            (false, false) => format!("section {section} has no row"),
            (true, true) => format!("section {section} has rows: take its excuse away"),
            (true, false) | (false, true) => continue,
        };
        findings.push(Finding::at(list, index + 1, text));
    }
    let unlisted = rows(tree).filter(|(_, _, section)| !listed.contains(section));
    findings.extend(unlisted.map(|(file, line, section)| {
        let text = format!("section {section} is not in {LIST}");
        Finding::at(file, line, text)
    }));
    findings
}

/// File, line and section of each row.
fn rows(tree: &Tree) -> impl Iterator<Item = (&File, usize, &str)> {
    let scripts = tree
        .files()
        .iter()
        .filter(|file| file.path.starts_with(FOLDER) && file.path.ends_with(".txt"));
    scripts.flat_map(|file| {
        let lines = file.text.lines().enumerate();
        lines.filter_map(move |(index, line)| {
            let section = line.strip_prefix("## ")?.split(' ').next()?;
            (section != NONE).then_some((file, index + 1, section))
        })
    })
}

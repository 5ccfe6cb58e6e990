//! What holds for each file on its own: its size, its head, and where dangerous things may stand.

use super::Finding;
use super::code::words;
use super::tree::{File, Tree};

/// Beyond this a file holds more than one idea. Tests are lists and may be longer.
const LINES_MAX: usize = 600;

/// The Porch only opens the door: flags, config and server do the work.
const MAIN_LINES_MAX: usize = 80;

const MAINS: &[&str] = &["crates/quorlited/src/main.rs", "crates/quorlite/src/main.rs"];

/// Where `unsafe` may stand: at SQLite's boundary, and in the simulator's stand-in for the kernel's entropy.
const UNSAFE_HOMES: &[&str] = &["crates/sqlite/src/ffi", "crates/sim/src/entropy.rs"];

/// Where openraft may be named.
const OPENRAFT_HOMES: &[&str] = &[
    "crates/store/src/consensus",
    "crates/store/tests/consensus",
    "crates/sim/",
];

/// Checks every source file.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files().iter().filter(|file| file.is_source()) {
        findings.extend(size(file));
        if file.is_rust() {
            findings.extend(head(file));
            findings.extend(places(file));
            findings.extend(inline_tests(file));
        }
    }
    findings
}

fn size(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    let lines_max = if MAINS.contains(&file.path.as_str()) {
        MAIN_LINES_MAX
    } else {
        LINES_MAX
    };
    let too_long = lines > lines_max && !file.is_test();
    too_long.then(|| Finding::at(file, lines, format!("{lines} lines, where {lines_max} are the limit")))
}

/// Attributes may come before the head, nothing else may.
fn head(file: &File) -> Option<Finding> {
    let first = file
        .text
        .lines()
        .find(|line| !line.trim().is_empty() && !line.starts_with("#!["));
    let missing = !first.is_some_and(|line| line.starts_with("//!"));
    missing.then(|| {
        Finding::at(
            file,
            1,
            "no `//!` head: say what the file owns and what it never does".to_owned(),
        )
    })
}

fn places(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.code.lines().enumerate() {
        for (_, word) in words(line) {
            if word == "unsafe" && !UNSAFE_HOMES.iter().any(|home| file.path.starts_with(home)) {
                findings.push(Finding::at(
                    file,
                    index + 1,
                    format!("`unsafe` outside {UNSAFE_HOMES:?}"),
                ));
            }
            if word == "openraft" && !OPENRAFT_HOMES.iter().any(|home| file.path.starts_with(home)) {
                findings.push(Finding::at(
                    file,
                    index + 1,
                    "`openraft` outside store's consensus".to_owned(),
                ));
            }
        }
    }
    findings
}

fn inline_tests(file: &File) -> Vec<Finding> {
    let opens = |line: &str| line.trim_start().starts_with("mod ") && line.trim_end().ends_with('{');
    let lines: Vec<&str> = file.code.lines().collect();
    let pairs = lines
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].trim() == "#[cfg(test)]" && opens(pair[1]));
    pairs
        .map(|(index, _)| Finding::at(file, index + 2, "tests stand in a file of their own".to_owned()))
        .collect()
}

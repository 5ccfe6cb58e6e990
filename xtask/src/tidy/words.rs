//! Words that the house does without: unfinished work, sleeping tests, names that say nothing, this machine's paths.

use super::Finding;
use super::code::words;
use super::tree::{File, Tree};

/// Parts of a type's, trait's or module's name that hide what it is.
const EMPTY_NAMES: &[&str] = &["Manager", "Helper", "Util", "Info"];

/// The same as module and file names.
const EMPTY_MODULES: &[&str] = &["manager", "helper", "helpers", "util", "utils", "info"];

/// Code that may not stand anywhere, and why.
const REFUSED: &[(&str, &str)] = &[
    ("#[ignore", "a test runs or goes"),
    ("todo!(", "finished work only"),
    ("unimplemented!(", "finished work only"),
];

/// Code that may not stand in tests: wait for a condition with a deadline instead.
const SLEEPS: &[&str] = &["thread::sleep", "time::sleep"];

/// A test file with this runs on tokio's virtual clock, where sleeping takes no time.
const VIRTUAL_CLOCK: &str = "start_paused";

/// Folders of the machines that the project was built on.
const MACHINE_PATHS: &[&str] = &[concat!("/", "work/"), concat!("/", "root/"), concat!("/", "tmp/wt")];

/// Checks every text file for paths, and the Rust files for the rest.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        findings.extend(machine_paths(file));
    }
    for file in tree.rust() {
        findings.extend(file_name(file));
        for (index, line) in file.code.lines().enumerate() {
            let texts = refused(line)
                .chain(sleeps(file, line))
                .chain(names(line))
                .chain(globs(file, line));
            findings.extend(texts.map(|text| Finding::at(file, index + 1, text)));
        }
    }
    findings
}

fn machine_paths(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for path in MACHINE_PATHS {
            let begins = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-*".contains(c));
            if line.match_indices(path).any(|(at, _)| begins(at)) {
                findings.push(Finding::at(file, index + 1, format!("a path of one machine: {path}")));
            }
        }
    }
    findings
}

/// Names that a trait of another crate prescribes: openraft's storage traits.
const FOREIGN_NAMES: &[&str] = &[
    "get_log_state",
    "get_log_reader",
    "get_snapshot_builder",
    "get_current_snapshot",
];

fn file_name(file: &File) -> Option<Finding> {
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let stem = name.strip_suffix(".rs").unwrap_or(name);
    EMPTY_MODULES
        .contains(&stem)
        .then(|| Finding::at(file, 1, format!("`{name}` does not say what the file is about")))
}

fn refused(line: &str) -> impl Iterator<Item = String> {
    REFUSED
        .iter()
        .filter(|(code, _)| line.contains(code))
        .map(|(code, why)| format!("`{code}`: {why}"))
}

fn sleeps<'a>(file: &File, line: &'a str) -> impl Iterator<Item = String> + use<'a> {
    let is_test = file.is_test();
    let is_virtual = file.code.contains(VIRTUAL_CLOCK);
    let takes_time = move |code: &str| is_test && (code.starts_with("thread") || !is_virtual);
    let found = SLEEPS
        .iter()
        .filter(move |code| takes_time(code) && line.contains(**code));
    found.map(|code| format!("`{code}` in a test: wait for a condition with a deadline"))
}

fn names(line: &str) -> impl Iterator<Item = String> {
    let keywords = words(line).map(|(_, word)| word);
    let named = keywords.clone().skip(1);
    let empty = keywords
        .zip(named)
        .filter(|(keyword, name)| is_empty_name(keyword, name));
    empty.map(|(_, name)| format!("the name `{name}` does not say what it is"))
}

fn is_empty_name(keyword: &str, name: &str) -> bool {
    match keyword {
        "struct" | "enum" | "trait" | "type" | "union" => EMPTY_NAMES.iter().any(|empty| name.contains(empty)),
        "mod" => EMPTY_MODULES.contains(&name),
        "fn" => name.starts_with("get_") && !FOREIGN_NAMES.contains(&name),
        _ => false,
    }
}

/// A test stands inside its module with `use super::*`, and some test crates are made to be used by their prelude.
fn globs(file: &File, line: &str) -> Option<String> {
    let line = line.trim();
    let imports = line.starts_with("use ") || line.starts_with("pub use ") || line.starts_with("pub(crate) use ");
    let for_tests = file.is_test() && (line == "use super::*;" || line.ends_with("::prelude::*;"));
    (imports && line.contains("::*") && !for_tests).then(|| "a glob hides where names come from".to_owned())
}

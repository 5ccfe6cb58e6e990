//! Which module of the server may know which, read from the `crate::` paths in its code.
//!
//! Each top-level module of `crates/quorlited/src` has a line below; what has none is refused, so that a new module
//! takes its place in the order before it is used.

use super::Finding;
use super::code::words;
use super::tree::Tree;

const ROOM: &str = "crates/quorlited/src/";

/// A module and the siblings that it may know. `*` stands for all.
const ARROWS: &[(&str, &str)] = &[
    ("net", ""),
    ("auth", ""),
    ("metrics", ""),
    ("duration", ""),
    ("signals", ""),
    ("logging", ""),
    ("machine", ""),
    ("flags", "duration"),
    ("forwarded", "auth"),
    ("cluster", "forwarded net auth"),
    ("discovery", "net cluster"),
    ("queue", "forwarded cluster"),
    ("cdc", "net"),
    ("backup", "net"),
    ("http", "duration forwarded auth cluster queue metrics"),
    (
        "config",
        "duration flags net auth cluster discovery queue cdc backup http metrics",
    ),
    ("check", "cluster"),
    ("server", "*"),
    ("lib", "*"),
    ("main", "check flags config server signals logging"),
];

/// Checks every file of the server that is not an integration test.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let Some(inner) = file.path.strip_prefix(ROOM) else {
            continue;
        };
        let inner = inner.strip_suffix(".rs").unwrap_or(inner);
        let module = inner.split('/').next().unwrap_or(inner);
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            findings.push(Finding::at(
                file,
                1,
                format!("module `{module}` has no line in the table of modules"),
            ));
            continue;
        };
        let depth = if module == "main" || module == "lib" {
            0
        } else {
            inner.split('/').count()
        };
        for (line, sibling) in siblings(&file.code, depth) {
            let is_module = ARROWS.iter().any(|(name, _)| *name == sibling);
            let known = sibling == module || allowed.split(' ').any(|name| name == "*" || name == sibling);
            if is_module && !known {
                findings.push(Finding::at(
                    file,
                    line,
                    format!("module `{module}` must not know module `{sibling}`"),
                ));
            }
        }
    }
    findings
}

/// The names that follow `crate::`, `quorlited::` or a chain of `super::` that reaches the root, with their lines.
fn siblings(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut supers = 0;
    for (column, word) in words(code) {
        let after = &code[column + word.len()..];
        let Some(path) = after.trim_start().strip_prefix("::") else {
            supers = 0;
            continue;
        };
        supers = if word == "super" { supers + 1 } else { 0 };
        let at_root = word == "crate" || word == "quorlited" || (word == "super" && supers == depth);
        if at_root {
            let line = code[..column].matches('\n').count() + 1;
            found.extend(heads(path).into_iter().map(|head| (line, head.to_owned())));
        }
    }
    found
}

/// The first names of a path: one, or several when a group `{a::b, c}` follows.
fn heads(path: &str) -> Vec<&str> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        return words(path).next().map(|(_, word)| word).into_iter().collect();
    };
    let mut depth = 0_usize;
    let mut begin = 0;
    let mut parts = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                parts.push(&group[begin..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&group[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts
        .into_iter()
        .filter_map(|part| words(part).next())
        .map(|(_, word)| word)
        .collect()
}

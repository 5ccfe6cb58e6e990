//! Which crate may know which: the arrows of the house, read from the manifests.
//!
//! Dev-dependencies obey the same arrows: a test that needs a room which its own room may not know belongs one room up.
//! The one exception is the simulator, which exists for tests.

use super::Finding;
use super::tree::{File, Tree};

/// A room and the rooms that it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("command", &[]),
    ("mutation", &[]),
    ("sqlite", &["command", "mutation"]),
    ("log", &["mutation"]),
    ("store", &["log", "sqlite", "command", "mutation"]),
    ("quorlited", &["store", "command", "sqlite"]),
    ("quorlite", &["command"]),
    ("bench", &["sqlite"]),
    ("checkers", &["command"]),
    ("siege", &["command", "checkers"]),
    (
        "sim",
        &["command", "checkers", "sqlite", "log", "store", "quorlited", "mutation"],
    ),
    ("targets", &["command", "sqlite", "store", "quorlited"]),
];

/// Outside crates that only some rooms may know, and which.
const RESERVED: &[(&str, &[&str])] = &[
    ("openraft", &["store", "sim"]),
    ("rusqlite", &["sqlite", "bench", "sim", "targets"]),
    ("anyhow", &["quorlited", "quorlite", "bench", "sim", "siege"]),
    ("hyper", &["quorlited", "quorlite", "bench"]),
];

/// One line of a manifest's dependency tables.
struct Dependency<'a> {
    line: usize,
    name: &'a str,
    is_dev: bool,
}

/// Checks every `crates/*/Cargo.toml`, and xtask's.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let packages = packages(tree);
    let mut findings = Vec::new();
    for (file, room) in manifests(tree) {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            findings.push(Finding::at(
                file,
                1,
                format!("room `{room}` has no line in the table of rooms"),
            ));
            continue;
        };
        for dependency in dependencies(&file.text) {
            if let Some(text) = refusal(room, allowed, &packages, &dependency) {
                findings.push(Finding::at(file, dependency.line, text));
            }
        }
    }
    if let Some(file) = tree.files().iter().find(|file| file.path == "xtask/Cargo.toml") {
        for dependency in dependencies(&file.text)
            .iter()
            .filter(|dependency| dependency.name != "anyhow")
        {
            findings.push(Finding::at(
                file,
                dependency.line,
                format!("xtask does with anyhow, not `{}`", dependency.name),
            ));
        }
    }
    findings
}

fn refusal(room: &str, allowed: &[&str], packages: &[(&str, &str)], dependency: &Dependency<'_>) -> Option<String> {
    let name = dependency.name;
    if let Some((_, target)) = packages.iter().find(|(package, _)| *package == name) {
        let for_tests = dependency.is_dev && *target == "sim" && ["store", "quorlited"].contains(&room);
        let refused = !for_tests && !allowed.contains(target);
        return refused.then(|| format!("room `{room}` must not know room `{target}`"));
    }
    let (_, rooms) = RESERVED.iter().find(|(outside, _)| *outside == name)?;
    let for_tests = dependency.is_dev && name != "openraft";
    let allowed = for_tests || rooms.contains(&room);
    (!allowed).then(|| {
        format!(
            "room `{room}` must not know `{name}`, which is for {}",
            rooms.join(", ")
        )
    })
}

fn manifests(tree: &Tree) -> impl Iterator<Item = (&File, &str)> {
    tree.files().iter().filter_map(|file| {
        let room = file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
        (!room.contains('/')).then_some((file, room))
    })
}

/// Each package of the house with its room: `quorlite-bench` lives in `bench`.
fn packages(tree: &Tree) -> Vec<(&str, &str)> {
    let name_of = |text| {
        let mut values = sections(text).filter(|(_, section, _)| *section == "package");
        values.find_map(|(_, _, line)| line.strip_prefix("name")?.trim_start().strip_prefix('=').map(unquoted))
    };
    manifests(tree)
        .filter_map(|(file, room)| Some((name_of(&file.text)?, room)))
        .collect()
}

fn dependencies(text: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    for (line, section, entry) in sections(text) {
        let table = section.rsplit('.').next().unwrap_or(section);
        // `[dependencies.name]` names its crate in the header.
        let owner = section.strip_suffix(table).unwrap_or("").trim_end_matches('.');
        let (kind, name) = if is_dependency_table(table) {
            let Some((key, _)) = entry.split_once('=') else {
                continue;
            };
            (table, key.split('.').next().unwrap_or(key).trim())
        } else if is_dependency_table(owner.rsplit('.').next().unwrap_or(owner)) {
            (owner, table)
        } else {
            continue;
        };
        found.push(Dependency {
            line,
            name: unquoted(name),
            is_dev: kind.ends_with("dev-dependencies"),
        });
    }
    found
}

fn is_dependency_table(name: &str) -> bool {
    ["dependencies", "dev-dependencies", "build-dependencies"].contains(&name)
}

/// The entries of a manifest, each with its line and its section.
fn sections(text: &str) -> impl Iterator<Item = (usize, &str, &str)> {
    let mut section = "";
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = header;
            return None;
        }
        let is_entry = !line.is_empty() && !line.starts_with('#') && line.contains('=');
        is_entry.then_some((index + 1, section, line))
    })
}

fn unquoted(value: &str) -> &str {
    value.trim().trim_matches('"')
}

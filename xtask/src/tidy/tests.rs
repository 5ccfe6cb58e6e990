//! Each rule on two small trees: one that keeps it and one that breaks it.

use super::code;
use super::{check, tree::Tree};

/// What tidy says of `files`, one finding a line.
fn said(files: &[(&str, &str)]) -> Vec<String> {
    check(&Tree::of(files)).iter().map(ToString::to_string).collect()
}

fn assert_silent(files: &[(&str, &str)]) {
    assert_eq!(said(files), Vec::<String>::new());
}

/// One finding, at `place`, whose text contains `part`.
fn assert_says(files: &[(&str, &str)], place: &str, part: &str) {
    let findings = said(files);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].starts_with(place) && findings[0].contains(part),
        "{findings:?}"
    );
}

fn manifest(name: &str, rest: &str) -> String {
    format!("[package]\nname = \"{name}\"\n\n{rest}")
}

#[test]
fn comments_and_literals_are_not_code() {
    let text = "let a = \"unsafe \\\" x\"; // unsafe\nlet b = r#\"todo!(\" \"#; /* /* unsafe */ */ let c = '\\''; let d: &'a str;";
    let code = code::blanked(text);
    assert_eq!(code.chars().count(), text.chars().count());
    assert_eq!(
        code.split_whitespace().collect::<Vec<_>>().join(" "),
        "let a = ; let b = ; let c = ; let d: &'a str;"
    );
    assert_eq!(code::blanked("let x = br\"un\"; hear\"t\""), "let x = b     ; hear   ");
    assert_eq!(code::blanked("r#type"), "r#type");
}

#[test]
fn a_room_may_know_the_rooms_below_it() {
    let store = manifest(
        "store",
        "[dependencies]\nlog = { workspace = true }\nopenraft = \"1\"\ncommand.workspace = true\n",
    );
    let log = manifest("log", "[dev-dependencies]\nanyhow = \"1\"\n");
    let command = manifest("command", "[features]\nx = []\n");
    assert_silent(&[
        ("crates/store/Cargo.toml", &store),
        ("crates/log/Cargo.toml", &log),
        ("crates/command/Cargo.toml", &command),
        ("xtask/Cargo.toml", "[dependencies]\nanyhow = { workspace = true }\n"),
    ]);
}

#[test]
fn a_room_may_not_know_the_rooms_above_it() {
    let store = manifest("store", "");
    let path = "crates/log/Cargo.toml";
    for table in [
        "dependencies",
        "dev-dependencies",
        "build-dependencies",
        "target.'cfg(unix)'.dependencies",
    ] {
        let log = manifest("log", &format!("[{table}]\n# why\nstore = {{ workspace = true }}\n"));
        assert_says(
            &[(path, &log), ("crates/store/Cargo.toml", &store)],
            "crates/log/Cargo.toml:6:",
            "`store`",
        );
    }
    let log = manifest("log", "[dependencies.store]\nworkspace = true\n");
    assert_says(
        &[(path, &log), ("crates/store/Cargo.toml", &store)],
        "crates/log/Cargo.toml:5:",
        "`store`",
    );
}

#[test]
fn a_package_is_known_by_its_room() {
    let sim = manifest("quorlite-sim", "");
    let for_tests = manifest("store", "[dev-dependencies]\nquorlite-sim = { workspace = true }\n");
    assert_silent(&[("crates/store/Cargo.toml", &for_tests), ("crates/sim/Cargo.toml", &sim)]);
    let always = manifest("store", "[dependencies]\nquorlite-sim = { workspace = true }\n");
    assert_says(
        &[("crates/store/Cargo.toml", &always), ("crates/sim/Cargo.toml", &sim)],
        "crates/store/",
        "room `sim`",
    );
}

#[test]
fn outside_crates_have_their_rooms_too() {
    let log = manifest("log", "[dependencies]\nopenraft = \"1\"\n");
    assert_says(
        &[("crates/log/Cargo.toml", &log)],
        "crates/log/Cargo.toml:5:",
        "openraft",
    );
    assert_says(
        &[("xtask/Cargo.toml", "[dependencies]\nclap = \"4\"\n")],
        "xtask/Cargo.toml:2:",
        "clap",
    );
    assert_says(
        &[("crates/attic/Cargo.toml", &manifest("attic", ""))],
        "crates/attic/Cargo.toml:1:",
        "no line",
    );
}

#[test]
fn a_module_of_the_server_may_know_those_below_it() {
    let http = "//! Head.\nuse crate::{auth, cluster::{Client, net}, http::route};\nuse super::encode;\n";
    assert_silent(&[
        ("crates/quorlited/src/http/route.rs", http),
        (
            "crates/quorlited/src/net.rs",
            "//! Head.\n// crate::http is not mentioned in code.\nuse self::tls;\n",
        ),
        (
            "crates/quorlited/src/main.rs",
            "//! Head.\nmod http;\nuse crate::config::Config;\n",
        ),
    ]);
}

#[test]
fn a_module_of_the_server_may_not_know_its_callers() {
    let cases = [
        ("crates/quorlited/src/net/tls.rs", "//! Head.\nuse crate::auth;\n", 2),
        (
            "crates/quorlited/src/net.rs",
            "//! Head.\n\nfn f() { super::cluster::call() }\n",
            3,
        ),
        (
            "crates/quorlited/src/net/tls.rs",
            "//! Head.\nuse super::super::server::Server;\n",
            2,
        ),
        (
            "crates/quorlited/src/cluster.rs",
            "//! Head.\nuse crate::{net, http::Reply};\n",
            2,
        ),
        (
            "crates/quorlited/src/main.rs",
            "//! Head.\nuse quorlited::http::serve;\n",
            2,
        ),
    ];
    for (path, text, line) in cases {
        assert_says(&[(path, text)], &format!("{path}:{line}:"), "must not know module");
    }
    assert_says(
        &[("crates/quorlited/src/misc.rs", "//! Head.\n")],
        "crates/quorlited/src/misc.rs:1:",
        "no line",
    );
}

#[test]
fn files_stay_small() {
    let long = format!("//! Head.\n{}", "// A line.\n".repeat(600));
    assert_says(
        &[("crates/log/src/lib.rs", &long)],
        "crates/log/src/lib.rs:601:",
        "601 lines",
    );
    assert_silent(&[
        ("crates/log/tests/door.rs", &long),
        ("crates/log/src/segment/tests.rs", &long),
    ]);
    assert_says(
        &[("scripts/run", &format!("#!/bin/sh\n{}", "true\n".repeat(600)))],
        "scripts/run:601:",
        "601 lines",
    );
    let main = format!("//! Head.\n{}", "// A line.\n".repeat(80));
    assert_says(
        &[("crates/quorlite/src/main.rs", &main)],
        "crates/quorlite/src/main.rs:81:",
        "80 are the limit",
    );
    assert_silent(&[("crates/sim/src/main.rs", &main)]);
}

#[test]
fn files_say_what_they_own() {
    assert_silent(&[(
        "crates/sqlite/src/ffi.rs",
        "#![allow(unsafe_code)]\n\n//! Head.\nunsafe fn f() {}\n",
    )]);
    assert_says(
        &[("crates/log/src/lib.rs", "use std::io;\n//! Late.\n")],
        "crates/log/src/lib.rs:1:",
        "head",
    );
}

#[test]
fn dangerous_things_have_their_places() {
    assert_silent(&[
        (
            "crates/log/src/lib.rs",
            "//! Head.\n#![deny(unsafe_code)]\nconst A: &str = \"unsafe openraft\"; // unsafe\n",
        ),
        (
            "crates/store/src/consensus/network.rs",
            "//! Head.\nuse openraft::Raft;\n",
        ),
    ]);
    assert_says(
        &[("crates/log/src/disk.rs", "//! Head.\nunsafe { f() }\n")],
        "crates/log/src/disk.rs:2:",
        "unsafe",
    );
    let apply = [("crates/store/src/apply.rs", "//! Head.\nuse openraft::Raft;\n")];
    assert_says(&apply, "crates/store/src/apply.rs:2:", "openraft");
}

#[test]
fn work_is_finished_and_tests_run() {
    for line in [
        "todo!()",
        "unimplemented!(\"later\")",
        "#[ignore]",
        "#[ignore = \"slow\"]",
    ] {
        assert_says(
            &[("crates/log/src/lib.rs", &format!("//! Head.\n{line}\n"))],
            "crates/log/src/lib.rs:2:",
            "`",
        );
    }
    let inline = "//! Head.\n#[cfg(test)]\nmod tests {\n}\n";
    assert_says(
        &[("crates/log/src/lib.rs", inline)],
        "crates/log/src/lib.rs:3:",
        "file of their own",
    );
    assert_silent(&[("crates/log/src/lib.rs", "//! Head.\n#[cfg(test)]\nmod tests;\n")]);
}

#[test]
fn tests_wait_for_conditions() {
    let text = "//! Head.\nstd::thread::sleep(pause);\n";
    assert_silent(&[("crates/log/src/flush.rs", text)]);
    for path in ["crates/log/tests/door.rs", "crates/log/src/flush/tests.rs"] {
        assert_says(&[(path, text)], &format!("{path}:2:"), "thread::sleep");
        assert_says(
            &[(path, "//! Head.\ntokio::time::sleep(pause).await;\n")],
            &format!("{path}:2:"),
            "time::sleep",
        );
    }
}

#[test]
fn names_say_what_things_are() {
    assert_silent(&[(
        "crates/log/src/lib.rs",
        "//! Head.\nstruct Segment;\nfn getter() {}\nfn info() {}\n",
    )]);
    for line in [
        "struct LogManager;",
        "pub enum PathHelper {}",
        "mod utils;",
        "fn get_term() {}",
        "type NodeInfo = u8;",
    ] {
        assert_says(
            &[("crates/log/src/lib.rs", &format!("//! Head.\n{line}\n"))],
            "crates/log/src/lib.rs:2:",
            "name",
        );
    }
    assert_says(
        &[("crates/log/src/util.rs", "//! Head.\n")],
        "crates/log/src/util.rs:1:",
        "util.rs",
    );
}

#[test]
fn names_say_where_they_come_from() {
    let glob = "//! Head.\nuse std::io::*;\n";
    assert_says(&[("crates/log/src/lib.rs", glob)], "crates/log/src/lib.rs:2:", "glob");
    assert_says(
        &[("crates/log/tests/door.rs", glob)],
        "crates/log/tests/door.rs:2:",
        "glob",
    );
    assert_silent(&[(
        "crates/log/src/lib/tests.rs",
        "//! Head.\nuse super::*;\nuse proptest::prelude::*;\n",
    )]);
}

#[test]
fn files_hold_no_path_of_one_machine() {
    for folder in ["work", "root"] {
        let text = format!("See /{folder}/notes for more.\n");
        assert_says(&[("README.md", &text)], "README.md:1:", "one machine");
        assert_silent(&[("README.md", &format!("See docs/{folder}/notes for more.\n"))]);
    }
}

#[test]
fn each_section_has_a_row_and_each_row_a_section() {
    let list = (
        "crates/quorlited/tests/conformance/SECTIONS",
        "# sections\n1.1 one\n1.2 two - not built yet\n",
    );
    let rows = "crates/quorlited/tests/conformance/a.txt";
    assert_silent(&[list, (rows, "## - prepares\n## 1.1 a rule\n")]);
    assert_says(&[list], list.0, "section 1.1 has no row");
    assert_says(
        &[list, (rows, "## 1.1 a rule\n## 1.2 a rule\n")],
        list.0,
        "take its excuse away",
    );
    assert_says(
        &[list, (rows, "## 1.1 a rule\n## 1.3 a rule\n")],
        rows,
        "section 1.3 is not in",
    );
}

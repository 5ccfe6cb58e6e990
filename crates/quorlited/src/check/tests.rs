//! The words of the subcommand.

use super::{Asked, asked};

fn read(line: &str) -> Option<Asked> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    asked(&words)
}

fn check(dir: &str, is_json: bool) -> Option<Asked> {
    Some(Asked::Check {
        dir: dir.to_owned(),
        is_json,
    })
}

#[test]
fn a_servers_command_line_stays_one() {
    for line in ["", "check", "data", "-fk check data", "data check", "-check data"] {
        assert_eq!(read(line), None, "{line}");
    }
}

#[test]
fn words_of_a_check() {
    assert_eq!(read("check data"), check("data", false));
    assert_eq!(read("check --json data"), check("data", true));
    assert_eq!(read("check data -json"), check("data", true));
    assert_eq!(read("check check"), check("check", false));
    assert_eq!(read("check data --help"), Some(Asked::Help));
    for line in ["check --json", "check a b", "check --jsn a"] {
        assert!(matches!(read(line), Some(Asked::Misuse(_))), "{line}");
    }
}

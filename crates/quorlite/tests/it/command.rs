//! The command itself: what it says to a line that it cannot run, and with which exit code.

use std::process::{Command, Output};

fn quorlite(line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quorlite"))
        .args(line.split_whitespace())
        .output()
        .unwrap()
}

#[test]
fn without_bench_it_says_that_the_shell_is_to_come() {
    for line in ["", "-H localhost"] {
        let output = quorlite(line);
        assert_eq!(output.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&output.stderr).contains("the interactive shell is still to come"));
    }
}

#[test]
fn a_senseless_line_exits_with_2_and_help_with_0() {
    let output = quorlite("bench wrote");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("unknown work \"wrote\""));
    let output = quorlite("bench --help");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("--failover-trace"));
}

#[test]
fn a_node_that_is_not_there_is_named() {
    // A port that was free a moment ago and is closed again.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let output = quorlite(&format!("bench write -n 1 -a {address}"));
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains(&address.to_string()) && text.contains("refused"),
        "{text}"
    );
}

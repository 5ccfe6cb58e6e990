//! The command line, as a shell sees it.

use crate::server::{Addresses, Server, folder, run};

#[test]
fn outcomes_of_parsing() {
    for (words, code, text) in [
        (&[][..], 1, "data directory path argument is missing"),
        (&["-fk"], 1, "fatal: data directory path is required\n"),
        (&["-fk", " "], 1, "fatal: data directory path is required\n"),
        (&["-h"], 0, "Usage: quorlited [flags] <data directory>\n"),
        (&["-help"], 0, "Usage: quorlited [flags] <data directory>\n"),
        (&["--help"], 0, "Usage: quorlited [flags] <data directory>\n"),
        (&["-h", "-bogus"], 0, "Usage: quorlited [flags] <data directory>\n"),
        (&["-bogus"], 2, "flag provided but not defined: -bogus\n"),
        (&["-version", "-bogus"], 2, "flag provided but not defined: -bogus\n"),
        (&["-node-id"], 2, "flag needs an argument: -node-id\n"),
        (
            &["-raft-snap", "x", "d"],
            2,
            "invalid value \"x\" for flag -raft-snap: parse error\n",
        ),
        (
            &["-fk=maybe", "d"],
            2,
            "invalid boolean value \"maybe\" for -fk: parse error\n",
        ),
        (
            &["d", "-version"],
            1,
            "arguments after data directory (DIR) are not accepted ([-version])\n",
        ),
        (
            &["-auth", "f", "d"],
            1,
            "fatal: -auth is not supported yet: access control is still to come\n",
        ),
        (&["-join", "x", "d"], 1, "fatal: -join entry \"x\" must be host:port\n"),
    ] {
        let (exit, out, err) = run(words);
        assert_eq!(exit, Some(code), "{words:?}: {err}");
        assert!(err.contains(text), "{words:?}: {err}");
        assert_eq!(
            err.contains("Usage:"),
            code == 2 || text.contains("Usage:"),
            "{words:?}"
        );
        assert_eq!(out, "");
    }
}

#[test]
fn the_version_is_one_line_on_standard_error() {
    let (exit, out, err) = run(&["-version"]);
    assert_eq!((exit, out.as_str()), (Some(0), ""));
    let words: Vec<&str> = err.trim_end().split(' ').collect();
    assert_eq!(words[..2], ["quorlited", quorlited::VERSION]);
    assert!(words[5].starts_with("sqlite3."), "{err}");
    assert_eq!(err.lines().count(), 1);
}

#[tokio::test]
async fn a_port_in_use_ends_the_second() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = Addresses::free();
    for (addresses, flag) in [
        (
            Addresses {
                http: taken.local_addr().unwrap().to_string(),
                raft: free.raft.clone(),
            },
            "-http-addr",
        ),
        (
            Addresses {
                http: free.http.clone(),
                raft: taken.local_addr().unwrap().to_string(),
            },
            "-raft-addr",
        ),
    ] {
        let (_held, dir) = folder();
        let mut server = Server::launch(&dir, &addresses, &[]);
        assert_eq!(server.exit().await.code(), Some(1));
        assert!(!dir.exists(), "nothing is written before the ports are there");
        let text = format!("({flag}): Address already in use");
        assert!(server.log().contains(&text), "{}", server.log());
    }
}

#[tokio::test]
async fn two_processes_on_one_directory() {
    let (_held, dir) = folder();
    let first = Server::start(&dir, &[]).await;
    let mut second = Server::launch(&dir, &Addresses::free(), &[]);
    assert_eq!(second.exit().await.code(), Some(1));
    assert!(second.log().contains("is used by another process"), "{}", second.log());
    assert_eq!(first.get("/readyz").await.status, 200);
    first.stop().await;
}

#[tokio::test]
async fn directories_that_cannot_be_used() {
    let (held, _) = folder();
    let file = held.path().join("file");
    std::fs::write(&file, "no directory").unwrap();
    let foreign = held.path().join("foreign");
    std::fs::create_dir(&foreign).unwrap();
    std::fs::write(foreign.join("raft.db"), "another's").unwrap();
    for (dir, text) in [(file.join("below"), "create data directory"), (foreign, "raft.db")] {
        let mut server = Server::launch(&dir, &Addresses::free(), &[]);
        assert_eq!(server.exit().await.code(), Some(1), "{dir:?}");
        assert!(server.log().contains(text), "{}", server.log());
        assert!(server.log().contains("fatal: "), "{}", server.log());
    }
}

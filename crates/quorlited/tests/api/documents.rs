//! The examples of the documents, run as they are printed.
//!
//! A block of shell runs in an empty folder; where a block without a language follows it at once, that is what it prints, line
//! breaks aside, with `…` for what differs from run to run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::server::Server;

/// A block of shell, and what it prints, if that is told.
struct Example {
    script: String,
    prints: Option<String>,
}

/// What stands between two fences.
#[derive(Default)]
struct Block {
    language: String,
    text: String,
    /// Nothing but empty lines stands between it and the block before.
    follows: bool,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut is_inside, mut follows) = (false, false);
    for line in page.lines().map(str::trim_start) {
        match (line.strip_prefix("```"), is_inside) {
            (Some(_), true) => (is_inside, follows) = (false, true),
            (Some(language), false) => {
                is_inside = true;
                let language = language.to_owned();
                blocks.push(Block {
                    language,
                    follows,
                    ..Block::default()
                });
            }
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text.extend([line, "\n"]);
            }
            (None, false) => follows &= line.is_empty(),
        }
    }
    blocks
}

fn examples(page: &str) -> Vec<Example> {
    let page = std::fs::read_to_string(documents().join(page)).unwrap();
    let mut examples: Vec<Example> = Vec::new();
    for block in blocks(&page) {
        match block.language.as_str() {
            "sh" => examples.push(Example {
                script: block.text,
                prints: None,
            }),
            "" if block.follows => examples.last_mut().unwrap().prints = Some(block.text),
            _ => {}
        }
    }
    examples
}

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// What a script prints; it must end well.
fn run(script: &str, folder: &Path) -> String {
    let output = Command::new("bash")
        .args(["-euc", script])
        .current_dir(folder)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{script}\n{}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// Whether `text` is `pattern` with something for each `…`.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    true
}

fn unbroken(text: &str) -> String {
    text.replace('\n', "")
}

#[tokio::test]
async fn the_examples_of_the_api_answer_as_they_are_printed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]).await;
    let examples = examples("api.md");
    let told = examples.iter().filter(|example| example.prints.is_some()).count();
    assert!(told >= 9, "{told} examples with their answers");
    for example in examples {
        let script = example.script.replace("localhost:4001", &server.http);
        let printed = unbroken(&run(&script, folder.path()))
            .replace(&server.http, "localhost:4001")
            .replace(&server.raft, "localhost:4002");
        if let Some(prints) = example.prints {
            let prints = unbroken(&prints);
            assert!(
                matches(&prints, &printed),
                "{script}\nprinted  {printed}\nnot      {prints}"
            );
        }
    }
}

#[tokio::test]
async fn a_migration_goes_as_it_is_told() {
    let dirs = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let old = Server::start(dirs.0.path(), &[]).await;
    let new = Server::start(dirs.1.path(), &[]).await;
    let made = old
        .post(
            "/db/execute",
            r#"["CREATE TABLE t(x)", "CREATE INDEX i ON t(x)", "INSERT INTO t VALUES(7)"]"#,
        )
        .await;
    assert_eq!(made.status, 200, "{}", made.body);
    let scripts = examples("migrating-from-rqlite.md");
    assert_eq!(scripts.len(), 4);
    let mut printed = Vec::new();
    for example in scripts {
        let script = example
            .script
            .replace("old:4001", &old.http)
            .replace("localhost:4001", &new.http);
        printed.push(run(&script, folder.path()));
    }
    assert!(printed[2].contains("[[2]]"), "{printed:?}");
    let rows = new.get("/db/query?q=SELECT+x+FROM+t").await;
    assert!(rows.body.contains("[[7]]"), "{}", rows.body);
}

#[test]
fn a_pattern_matches_what_it_describes() {
    for (pattern, text, is_match) in [
        ("abc", "abc", true),
        ("abc", "abcd", false),
        ("a…c", "abbc", true),
        ("a…c", "abbd", false),
        ("a…b…d", "aXbYd", true),
        ("a…b…d", "aXYd", false),
        ("…", "", true),
    ] {
        assert_eq!(matches(pattern, text), is_match, "{pattern} {text}");
    }
}

//! `tests/conformance/`, asked of a lone node and of a follower of three.
//!
//! What a row expects comes from the specification, never from what the server happens to answer: a row that fails
//! is a fault of the server, or a row that misreads the specification. `cargo xtask tidy` tells which of its sections have
//! no row.
//!
//! `CONFORMANCE=results` asks only the files whose name holds that text.

mod pattern;
mod script;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::nodes::{Cluster, Node};
use crate::wire::{self, Request, Response};
use pattern::{Names, Pattern};
use script::{Exchange, Row, Script, Setting};

/// How often a read is asked: a reader runs a text that it knows in another place than one that is new.
const READS: usize = 3;

#[test]
fn a_lone_node_answers_as_specified() {
    run(Setting::One).unwrap();
}

#[test]
fn a_follower_answers_as_specified() {
    run(Setting::Follower).unwrap();
}

#[test]
fn a_node_without_a_leader_answers_as_specified() {
    run(Setting::Leaderless).unwrap();
}

#[test]
fn a_leader_without_a_majority_answers_as_specified() {
    run(Setting::Deposed).unwrap();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// Name and rows of each file, by name.
fn scripts() -> Result<Vec<(String, Script)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let script = Script::parse(&std::fs::read_to_string(&path)?).with_context(|| name.clone())?;
            found.push((name, script));
        }
    }
    found.sort_by(|(left, _), (right, _)| left.cmp(right));
    anyhow::ensure!(!found.is_empty(), "no script in {}", folder().display());
    Ok(found)
}

fn run(setting: Setting) -> Result<()> {
    let wanted = std::env::var("CONFORMANCE").unwrap_or_default();
    let mut asked = 0;
    let mut faults = Vec::new();
    for (name, script) in scripts()?.iter().filter(|(name, _)| name.contains(&wanted)) {
        let rows: Vec<&Row> = script.rows.iter().filter(|row| row.holds_in(setting)).collect();
        if rows.is_empty() {
            continue;
        }
        let cluster = start(setting, &script.flags).with_context(|| name.clone())?;
        for row in &rows {
            if let Err(fault) = ask(&cluster, setting, row) {
                faults.push(format!(
                    "{name}.txt:{} §{} {}\n{fault:#}\n",
                    row.line, row.section, row.title
                ));
            }
        }
        asked += rows.len();
    }
    anyhow::ensure!(asked > 0 || !wanted.is_empty(), "no row was asked");
    anyhow::ensure!(
        faults.is_empty(),
        "{} of {asked} rows fail\n\n{}",
        faults.len(),
        faults.join("\n")
    );
    Ok(())
}

fn start(setting: Setting, flags: &[String]) -> Result<Cluster> {
    match setting {
        Setting::One => Cluster::start(1, flags),
        Setting::Follower => Cluster::start(3, flags),
        Setting::Leaderless => {
            let mut cluster = Cluster::start(3, flags)?;
            cluster.lose_majority(|cluster| cluster.follower())?;
            Ok(cluster)
        }
        Setting::Deposed => {
            let mut cluster = Cluster::start(3, flags)?;
            cluster.lose_majority(|cluster| cluster.leader())?;
            Ok(cluster)
        }
    }
}

/// Asks everything in `row`; the first answer that differs is the fault.
fn ask(cluster: &Cluster, setting: Setting, row: &Row) -> Result<()> {
    let (here, leader) = match setting {
        Setting::One | Setting::Leaderless | Setting::Deposed => (&cluster.nodes()[0], &cluster.nodes()[0]),
        Setting::Follower => (cluster.follower()?, cluster.leader()?),
    };
    if row.applied {
        cluster.wait_applied(here)?;
    }
    let names = names(cluster, here, leader);
    for exchange in &row.exchanges {
        let body = pattern::fill(&exchange.body, &names)?;
        let target = String::from_utf8(pattern::fill(&exchange.target, &names)?)?;
        let request = Request {
            method: &exchange.method,
            target: &target,
            headers: exchange.headers.clone(),
            body,
        };
        let times = if target.starts_with("/db/query") { READS } else { 1 };
        for _ in 0..times {
            let response = wire::ask(&here.http, &request)?;
            check(exchange, &response, &names).with_context(|| format!("> {} {}", exchange.method, exchange.target))?;
        }
    }
    Ok(())
}

/// `here` is the node that is asked, `peer` one that is neither here nor the leader; and each by its own name.
fn names(cluster: &Cluster, here: &Node, leader: &Node) -> Names {
    let mut names = Names::new();
    for node in cluster.nodes() {
        name(&mut names, &node.id, node);
        names.insert(format!("{}.leads", node.id), (node.id == leader.id).to_string());
        if node.id != here.id && node.id != leader.id {
            name(&mut names, "peer", node);
        }
    }
    name(&mut names, "here", here);
    name(&mut names, "leader", leader);
    // Who answers an operation that needs the leader, as X-RQLITE-SERVED-BY tells it (§1.3).
    let served_by = if here.id == leader.id { &here.http } else { &leader.raft };
    names.insert("leader.served-by".to_owned(), served_by.clone());
    names
}

fn name(names: &mut Names, word: &str, node: &Node) {
    names.insert(format!("{word}.id"), node.id.clone());
    names.insert(format!("{word}.http"), node.http.clone());
    names.insert(format!("{word}.raft"), node.raft.clone());
}

fn check(exchange: &Exchange, response: &Response, names: &Names) -> Result<()> {
    let wanted = &exchange.answer;
    let said = || String::from_utf8_lossy(&response.body).into_owned();
    anyhow::ensure!(
        wanted.status == response.status,
        "status {} not {}: {}",
        response.status,
        wanted.status,
        said()
    );
    for (name, value) in &wanted.headers {
        let found = response.header(name);
        let fits = match (value, found) {
            (Some(value), Some(found)) => Pattern::parse(value, names)?.matches(found.as_bytes()),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        anyhow::ensure!(fits, "header {name}: got {found:?}, not {value:?}");
    }
    let body = Pattern::parse(&wanted.body, names)?;
    anyhow::ensure!(
        body.matches(&response.body),
        "  wanted {}\n  got    {}",
        wanted.body,
        said()
    );
    Ok(())
}

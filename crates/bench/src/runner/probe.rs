//! What a process and a server say of themselves: `/proc`, and single HTTP requests outside the measurement.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

#[cfg(test)]
mod tests;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Where a server may count its flushes, and the ends of the names under which it may.
const COUNTERS: [&str; 2] = ["/status", "/debug/vars"];
const FLUSHES: [&str; 2] = ["flushes", "num_flushes"];

/// The status of `GET path`.
///
/// # Errors
///
/// If there is no HTTP answer.
pub fn status(address: &str, path: &str) -> anyhow::Result<u16> {
    Ok(get(address, path)?.0)
}

/// The status and body of `GET path`. HTTP/1.0, so that the body ends with the connection.
///
/// # Errors
///
/// If there is no HTTP answer.
pub fn get(address: &str, path: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head_end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .context("no head")?;
    let status = answer
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    Ok((status.context("no status")?, answer.split_off(head_end + 4)))
}

/// How often a server has flushed its log, if it tells.
pub fn flushes(address: &str) -> Option<u64> {
    COUNTERS.iter().find_map(|path| {
        let (_, body) = get(address, path).ok()?;
        find_number(&serde_json::from_slice(&body).ok()?)
    })
}

/// HTTP address of the leader among `nodes`, if one of them knows it.
pub fn leader(nodes: &[String]) -> Option<String> {
    nodes.iter().find_map(|node| {
        let (_, body) = get(node, "/nodes?ver=2").ok()?;
        let list: Value = serde_json::from_slice(&body).ok()?;
        let leader = list["nodes"].as_array()?.iter().find(|node| node["leader"] == true)?;
        let url = leader["api_addr"].as_str()?;
        nodes.iter().find(|node| url.ends_with(node.as_str())).cloned()
    })
}

/// Resident memory in bytes.
///
/// # Errors
///
/// If `/proc` does not say.
pub fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    Ok(field(&format!("/proc/{process}/status"), "VmRSS:")? * 1024)
}

/// Bytes that a process has caused to be written to disks since it began.
///
/// # Errors
///
/// If `/proc` does not say.
pub fn written_bytes(process: u32) -> anyhow::Result<u64> {
    field(&format!("/proc/{process}/io"), "write_bytes:")
}

fn field(path: &str, name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    number_after(&text, name).with_context(|| format!("no {name} in {path}"))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first number whose name is that of a count of flushes, however deep.
fn find_number(value: &Value) -> Option<u64> {
    let members = value.as_object()?;
    let named = members
        .iter()
        .find(|(name, _)| FLUSHES.iter().any(|end| name.ends_with(end)));
    named
        .and_then(|(_, number)| number.as_u64())
        .or_else(|| members.values().find_map(find_number))
}

//! `/status` → `store`: consensus, membership, files.

use std::path::Path;

use serde_json::{Value, json};
use store::divergence::marks::{Mark, SOUND};
use store::status::{Role, Soundness, Status};

use super::database;
use crate::duration;
use crate::http::door::Door;
use crate::http::ledger::Ledger;

/// The section of an open store.
pub fn section(door: &Door, ledger: &dyn Ledger) -> Value {
    let status = ledger.status();
    let config = &door.options.store;
    let leader = status.leader.as_ref();
    let nodes: Vec<Value> = status.members.iter().map(node).collect();
    let bytes = bytes_in(&config.dir);
    json!({
        "open": true,
        "ready": status.ready,
        "node_id": status.peer.name,
        "addr": status.peer.address,
        "leader": {
            "node_id": leader.map_or("", |leader| &leader.name),
            "addr": leader.map_or("", |leader| &leader.address),
        },
        "nodes": nodes,
        "raft": raft(door, &status),
        "divergence": divergence(&status.soundness),
        "fsm_index": status.applied.0,
        "fsm_term": status.applied.1,
        "db_applied_index": status.applied.0,
        "apply_timeout": duration::text(config.apply_timeout),
        "heartbeat_timeout": duration::text(config.election_timeout),
        "election_timeout": duration::text(config.election_timeout),
        "commit_timeout": duration::text(config.heartbeat_interval),
        "reap_timeout": "0s",
        "reap_read_only_timeout": "0s",
        "snapshot_interval": "0s",
        "snapshot_cas": {"owner": null},
        "no_freelist_sync": true,
        "request_marshaler": {"compression_size": 0, "compression_batch": 0, "force_compression": false},
        "observer": {"observed": 0, "dropped": 0},
        "snapshot_threshold": config.snapshot_entries,
        "trailing_logs": config.snapshot_entries + config.snapshot_entries / 4,
        "snapshot_store": snapshots(&config.dir, &status),
        "dir": config.dir.display().to_string(),
        "dir_size": bytes,
        "dir_size_friendly": size_text(bytes),
        "cdc": {"enabled": false, "registered": false},
        "db_conf": {"fk_constraints": config.foreign_keys},
        "sqlite3": database::section(ledger, &status),
    })
}

fn node(member: &store::member::Member) -> Value {
    let mut node = json!({
        "id": member.peer.name,
        "addr": member.peer.address,
        "suffrage": if member.voter { "voter" } else { "nonvoter" },
    });
    if member.catching_up {
        node["catching_up"] = json!(true);
    }
    node
}

fn raft(door: &Door, status: &Status) -> Value {
    let config = &door.options.store;
    let voters = status.members.iter().filter(|member| member.voter);
    let is_other = |member: &&store::member::Member| member.peer.id != status.peer.id;
    json!({
        "state": match status.role {
            Role::Leader => "Leader",
            Role::Follower => "Follower",
            Role::Candidate => "Candidate",
            Role::Shutdown => "Shutdown",
        },
        "voter": status.voter,
        "term": status.term,
        "last_log_index": status.last_log.0,
        "last_log_term": status.last_log.1,
        "flushed_index": status.flushed,
        "commit_index": status.committed,
        "applied_index": status.applied.0,
        "applying_index": status.applying.map_or(0, |(index, _)| index),
        "applying_for": duration::text(status.applying.map_or(std::time::Duration::ZERO, |(_, since)| since)),
        "fsm_pending": status.committed.saturating_sub(status.applied.0),
        "last_snapshot_index": status.snapshot.0,
        "last_snapshot_term": status.snapshot.1,
        "purged_index": status.purged,
        "num_peers": voters.filter(is_other).count(),
        "last_contact": last_contact(status),
        "latest_configuration": configuration(status),
        "latest_configuration_index": status.membership_index,
        "log_size": status.log_bytes,
        "log_size_friendly": size_text(status.log_bytes),
        "protocol_version": 1,
        "protocol_version_min": 1,
        "protocol_version_max": 1,
        "snapshot_version_min": 1,
        "snapshot_version_max": 1,
        "log_flushes": status.log_flushes,
        "config": {
            "LocalID": status.peer.name,
            "HeartbeatTimeout": nanos(config.election_timeout),
            "ElectionTimeout": nanos(config.election_timeout),
            "CommitTimeout": nanos(config.heartbeat_interval),
            "SnapshotThreshold": config.snapshot_entries,
            "LogLevel": door.options.log_level,
        },
    })
}

fn divergence(soundness: &Soundness) -> Value {
    let mark =
        |mark: Option<Mark>| mark.map(|mark| json!({"index": mark.index, "hash": format!("{:016x}", mark.hash)}));
    json!({
        "quarantined": soundness.quarantine.is_some(),
        "reason": soundness.quarantine.as_deref().unwrap_or_default(),
        "alarms": soundness.alarms,
        "last_alarm": soundness.last_alarm.as_deref().unwrap_or_default(),
        "quarantines": soundness.quarantines,
        "last_quarantine": soundness.last_quarantine,
        "reseeds": soundness.reseeds,
        "effect": mark(soundness.effect),
        "content": mark(soundness.content),
        "sound": soundness.check.map(|check| check.hash == SOUND),
    })
}

/// 0 on the leader, `never`, or how long ago.
fn last_contact(status: &Status) -> Value {
    match (status.role, status.last_contact) {
        (Role::Leader, _) => json!(0),
        (Role::Follower | Role::Candidate | Role::Shutdown, None) => json!("never"),
        (Role::Follower | Role::Candidate | Role::Shutdown, Some(since)) => json!(duration::text(since)),
    }
}

fn configuration(status: &Status) -> String {
    let members: Vec<String> = status
        .members
        .iter()
        .map(|member| {
            let suffrage = if member.voter { "Voter" } else { "Nonvoter" };
            format!(
                "{{Suffrage:{suffrage} ID:{} Address:{}}}",
                member.peer.name, member.peer.address
            )
        })
        .collect();
    format!("[{}]", members.join(" "))
}

/// The database is its own snapshot: there is one, at the index that was last made durable.
fn snapshots(dir: &Path, status: &Status) -> Value {
    let (index, term) = status.snapshot;
    let ids: Vec<String> = (index > 0).then(|| format!("{term}-{index}")).into_iter().collect();
    json!({
        "dir": dir.display().to_string(),
        "dir_size": file_bytes(&status.database),
        "snapshots": ids,
    })
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A file's length; 0 if it is not there.
pub fn file_bytes(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// What all files below `dir` hold; what cannot be read counts nothing.
fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// A count of bytes for people: `0 B`, `25 kB`, `4.2 MB`.
pub fn size_text(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 || value >= 10.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

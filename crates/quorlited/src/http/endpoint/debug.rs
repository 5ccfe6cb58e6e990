//! `/debug/vars`: counters, in the form of Go's expvar; and `/debug/pprof`, which there is not.
//!
//! Every map that tools of rqlite look for is there with all of its keys. What has no counterpart here stays at zero.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use crate::http::call::Call;
use crate::http::door::Door;
use crate::http::json::{Pretty, Writer};
use crate::http::reply::Reply;
use crate::metrics::process;

/// Keys of the `db` map that count nothing here: SQLite's own counters are in `/metrics`.
#[rustfmt::skip]
const DB: [&str; 27] = [
    "open_duration_ms", "checkpoint_errors", "checkpointed_moves", "checkpoint_duration_ms",
    "create_compacted_wal_duration_ms", "precompact_wal_size", "compacted_wal_size", "checkpoint_total",
    "checkpoint_busy_errors", "checkpoint_invariant_errors", "checkpoint_partial", "checkpoint_wal_truncated",
    "checkpoints", "executions_force_queries", "backup_step_errors", "backup_step_dones", "backup_sleeps", "preupdates",
    "preupdates_errors", "preupdates_callback_errors", "update_hooks", "update_hooks_callback_errors",
    "update_hooks_errors", "commit_hooks", "dropped_cdc_events", "execution_errors",
    "query_errors",
];

/// Keys of the `store` map that count nothing here.
#[rustfmt::skip]
const STORE: [&str; 44] = [
    "num_snapshots_failed", "num_user_snapshots_failed", "num_wal_snapshots", "num_wal_snapshots_failed",
    "num_snapshots_full", "num_snapshots_incremental", "num_auto_vacuums", "num_auto_vacuums_failed",
    "auto_vacuum_duration", "num_auto_optimizes", "num_auto_optimizes_failed", "auto_optimize_duration",
    "num_restores_failed", "num_restores_start", "num_restores_start_skipped", "num_auto_restores",
    "num_auto_restores_skipped", "num_auto_restores_failed", "num_recoveries", "num_provider_checks",
    "num_provider_provides", "num_provider_provides_fail", "num_uncompressed_commands", "num_compressed_commands",
    "num_db_stats_errors", "num_verify_leader", "num_verify_leader_failed", "verify_leader_duration",
    "fsm_apply_duration_us", "snapshot_create_duration", "snapshot_sync_duration", "num_snapshot_persists",
    "num_snapshot_persists_failed", "snapshot_persist_duration", "snapshot_crc32_create_duration",
    "leader_changes_observed", "leader_changes_dropped", "failed_heartbeat_observed", "nodes_reaped_ok",
    "nodes_reaped_failed", "num_joins", "num_ignored_joins", "num_removed_before_joins", "num_user_snapshots",
];

#[rustfmt::skip]
const PROTO: [&str; 7] = [
    "num_requests", "num_compressed_requests", "num_uncompressed_requests", "num_compressed_bytes",
    "num_precompressed_bytes", "num_uncompressed_bytes", "num_compression_misses",
];

#[rustfmt::skip]
const SNAPSHOT: [&str; 15] = [
    "persist_size", "persist_duration_ms", "sink_full_total", "sink_incremental_total", "sink_errors",
    "auto_reap_duration_ms", "reap_execute_duration_ms", "reap_total", "reap_errors", "reap_snapshots", "reap_wals",
    "reap_plan_recovered", "read_timeout_total", "upgrade_ok", "upgrade_fail",
];

#[rustfmt::skip]
const UPLOADER: [&str; 7] = [
    "num_uploads_ok", "num_uploads_fail", "num_uploads_skipped", "num_uploads_skipped_id", "num_sum_get_fail",
    "total_upload_bytes", "last_upload_bytes",
];

const DOWNLOADER: [&str; 3] = ["num_downloads_ok", "num_downloads_fail", "download_bytes"];

const PROCESSOR: [&str; 2] = ["num_rewritten_stmts", "num_parser_panics"];

/// Answers `/debug/vars`.
pub fn vars(call: &Call) -> Reply {
    let mut vars = gather(&call.door);
    if let Some(key) = call.params.text("key") {
        vars.retain(|name, _| *name == key);
    }
    let mut text = String::from("{\n");
    for (place, (name, value)) in vars.iter().enumerate() {
        if place > 0 {
            text.push_str(",\n");
        }
        let mut json = Writer::new(Pretty::from(false));
        json.tree(value);
        text.push_str(&format!("\"{name}\": {}", String::from_utf8_lossy(&json.out)));
    }
    text.push_str("\n}\n");
    let mut reply = Reply::json(text.into_bytes().into());
    reply.head.status = StatusCode::OK.as_u16().into();
    reply
}

/// Answers `/debug/pprof`.
pub fn pprof() -> Reply {
    Reply::failure(
        StatusCode::NOT_FOUND,
        "no Go runtime, so no Go profiles: use perf on this process, and /metrics for its counters",
    )
}

/// The maps, by name.
fn gather(door: &Door) -> Map<String, Value> {
    let counters = &door.counters;
    let words: Vec<String> = std::env::args().collect();
    let mut vars = Map::new();
    vars.insert("cmdline".to_owned(), json!(words));
    vars.insert("memstats".to_owned(), memory());
    let mut set = |name: &str, map: Map<String, Value>| vars.insert(name.to_owned(), Value::Object(map));
    set("http", map(counters.http.all()));
    set("queue", map(counters.queue.all()));
    set("db", map(zeros(&DB).chain(counters.db.all())));
    set("proto", map(zeros(&PROTO)));
    set("snapshot", map(zeros(&SNAPSHOT)));
    set("uploader", map(zeros(&UPLOADER)));
    set("downloader", map(zeros(&DOWNLOADER)));
    set("sql.processor", map(zeros(&PROCESSOR)));
    for name in ["db.wal", "snapshot.plan", "cdc.service"] {
        set(name, Map::new());
    }
    let Some(opened) = door.opened() else {
        set("store", map(zeros(&STORE)));
        return vars;
    };
    let peers = opened.peers.counters();
    let status = opened.ledger.status();
    let http = counters.http.all();
    let count = |name: &str| {
        http.iter()
            .find(|(known, _)| *known == name)
            .map_or(0, |(_, value)| *value)
    };
    let here = [
        ("num_snapshots", status.snapshots),
        ("num_restores", status.restores),
        ("num_user_snapshots", count("user_snapshots")),
        ("num_backups", count("backups")),
        ("num_loads", count("loads")),
        ("num_boots", count("boot")),
    ];
    set("store", map(zeros(&STORE).chain(here).chain(peers.store)));
    set("cluster", map(peers.cluster));
    set("mux", map(peers.mux));
    set("proxy", map(peers.proxy));
    vars
}

fn zeros<'a>(names: &'a [&'static str]) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    names.iter().map(|name| (*name, 0))
}

/// The last of a name counts.
fn map(counters: impl IntoIterator<Item = (&'static str, u64)>) -> Map<String, Value> {
    counters
        .into_iter()
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect()
}

/// The figures of Go's runtime that have a meaning here, in bytes.
fn memory() -> Value {
    let memory = process::memory();
    json!({
        "Alloc": memory.resident,
        "HeapAlloc": memory.resident,
        "HeapInuse": memory.resident,
        "HeapSys": memory.virtual_size,
        "Sys": memory.virtual_size,
        "NumGC": 0,
    })
}

//! `GET /metrics`: what this node counts and measures, in Prometheus' text form. Every name is in docs/metrics.md.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use store::divergence::marks::Mark;
use store::metrics::{BOUNDS_US, Histogram, LEVELS, Metrics, level_name};
use store::status::{Role, Soundness, Status};

use crate::VERSION;
use crate::http::call::Call;
use crate::http::door::{Door, Opened};
use crate::http::reply::Reply;
use crate::http::watch::OPERATIONS;
use crate::metrics::process;
use crate::metrics::text::{CONTENT_TYPE, Kind, Page};

/// Answers it.
pub async fn get(call: &Call) -> Reply {
    let door = Arc::clone(&call.door);
    // Sizes of files are read from the disk.
    match tokio::task::spawn_blocking(move || page(&door)).await {
        Ok(text) => {
            let mut reply = Reply::text(StatusCode::OK, text);
            reply.head.content_type = CONTENT_TYPE.to_owned();
            reply
        }
        Err(error) => Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}

fn page(door: &Door) -> String {
    let mut page = Page::default();
    page.family("quorlite_info", Kind::Gauge, "Always 1; the release and SQLite's.");
    page.sample(
        "quorlite_info",
        &[("version", VERSION), ("sqlite", sqlite::version())],
        1,
    );
    of_process(&mut page);
    of_http(&mut page, door);
    if let Some(opened) = door.opened() {
        let status = opened.ledger.status();
        of_raft(&mut page, &status);
        of_stages(&mut page, door, &opened.ledger.metrics());
        of_database(&mut page, opened, &status);
        of_peers(&mut page, opened);
    }
    page.into_text()
}

fn of_process(page: &mut Page) {
    let memory = process::memory();
    page.one(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "Memory in RAM.",
        memory.resident,
    );
    page.one(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "Address space.",
        memory.virtual_size,
    );
    page.one(
        "process_open_fds",
        Kind::Gauge,
        "Open file descriptors.",
        process::open_files(),
    );
}

fn of_http(page: &mut Page, door: &Door) {
    let watch = &door.watch;
    let name = "quorlite_http_events_total";
    page.family(name, Kind::Counter, "The http map of /debug/vars, by its keys.");
    for (event, count) in watch.counters.http.all() {
        page.sample(name, &[("event", event)], count);
    }
    let name = "quorlite_request_duration_seconds";
    page.family(
        name,
        Kind::Histogram,
        "Requests that ran here, until their answer began.",
    );
    for ((_, operation), durations) in OPERATIONS.iter().zip(&watch.durations) {
        histogram(page, name, &[("operation", operation)], durations);
    }
    page.one(
        "quorlite_reads_running",
        Kind::Gauge,
        "Reads that run or wait.",
        watch.queries.count(),
    );
    page.one(
        "quorlite_body_bytes",
        Kind::Gauge,
        "Bytes of request bodies in memory.",
        door.body_bytes(),
    );
    page.one(
        "quorlite_queue_requests",
        Kind::Gauge,
        "Queued writes that wait.",
        door.queue.waiting(),
    );
    page.one(
        "quorlite_queue_bytes",
        Kind::Gauge,
        "What they take of the queue's room.",
        door.queue.bytes(),
    );
    let name = "quorlite_queue_events_total";
    page.family(name, Kind::Counter, "The queue map of /debug/vars, by its keys.");
    for (event, count) in watch.counters.queue.all() {
        page.sample(name, &[("event", event)], count);
    }
}

fn of_raft(page: &mut Page, status: &Status) {
    use Kind::{Counter, Gauge};
    #[rustfmt::skip]
    let singles: [(&str, Kind, &str, u64); 15] = [
        ("quorlite_raft_is_leader", Gauge, "1 on the leader.", (status.role == Role::Leader).into()),
        ("quorlite_raft_has_leader", Gauge, "1 while a leader is known.", status.leader.is_some().into()),
        ("quorlite_ready", Gauge, "1 once the node is caught up.", status.ready.into()),
        ("quorlite_raft_term", Gauge, "The current term.", status.term),
        ("quorlite_raft_members", Gauge, "Nodes in the cluster.", status.members.len() as u64),
        ("quorlite_raft_last_log_index", Gauge, "The last entry of the log.", status.last_log.0),
        ("quorlite_raft_flushed_index", Gauge, "The last entry that is flushed here.", status.flushed),
        ("quorlite_raft_committed_index", Gauge, "The last entry known to be committed.", status.committed),
        ("quorlite_raft_applied_index", Gauge, "The last entry applied here.", status.applied.0),
        ("quorlite_raft_snapshot_index", Gauge, "The index of the last snapshot.", status.snapshot.0),
        ("quorlite_raft_purged_index", Gauge, "The log starts after this index.", status.purged),
        ("quorlite_log_bytes", Gauge, "Bytes of the log on disk.", status.log_bytes),
        ("quorlite_log_flushes_total", Counter, "Flushes of the log.", status.log_flushes),
        ("quorlite_snapshots_total", Counter, "Snapshots made.", status.snapshots),
        ("quorlite_snapshots_installed_total", Counter, "Snapshots installed.", status.restores),
    ];
    for (name, kind, help, value) in singles {
        page.one(name, kind, help, value);
    }
    of_soundness(page, &status.soundness);
    let contact = status.last_contact.map_or(f64::NAN, |since| since.as_secs_f64());
    let help = "Since the leader was heard.";
    page.one("quorlite_raft_last_contact_seconds", Gauge, help, contact);
    let name = "quorlite_raft_follower_lag_entries";
    page.family(name, Gauge, "On the leader: entries that a follower does not have yet.");
    for (follower, matched) in &status.matched {
        let lag = status.last_log.0.saturating_sub(*matched);
        page.sample(name, &[("follower", follower)], lag);
    }
}

fn of_soundness(page: &mut Page, soundness: &Soundness) {
    use Kind::{Counter, Gauge};
    let index = |mark: Option<Mark>| mark.map_or(0, |mark| mark.index);
    #[rustfmt::skip]
    let singles: [(&str, Kind, &str, u64); 6] = [
        ("quorlite_quarantined", Gauge, "1 while this node is in quarantine.", soundness.quarantine.is_some().into()),
        ("quorlite_quarantines_total", Counter, "Times that it was.", soundness.quarantines),
        ("quorlite_divergence_alarms_total", Counter, "Alarms: replicas differ.", soundness.alarms),
        ("quorlite_reseeds_total", Counter, "Databases that ended a quarantine.", soundness.reseeds),
        ("quorlite_effect_hash_index", Gauge, "The latest index at which effects are compared.", index(soundness.effect)),
        ("quorlite_content_hash_index", Gauge, "The latest index at which contents are compared.", index(soundness.content)),
    ];
    for (name, kind, help, value) in singles {
        page.one(name, kind, help, value);
    }
}

fn of_stages(page: &mut Page, door: &Door, metrics: &Metrics) {
    let name = "quorlite_write_stage_duration_seconds";
    page.family(name, Kind::Histogram, "The stages of a write (docs/metrics.md).");
    for (stage, histogram_of) in [
        ("parse", &door.watch.parse),
        ("queue", &metrics.queue),
        ("flush", &metrics.flush),
        ("replicate", &metrics.replicate),
        ("apply", &metrics.apply),
        ("reply", &metrics.reply),
    ] {
        histogram(page, name, &[("stage", stage)], histogram_of);
    }
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let entries = count(&metrics.applied_entries);
    page.one(
        "quorlite_applied_entries_total",
        Kind::Counter,
        "Entries applied.",
        entries,
    );
    let batches = count(&metrics.applied_batches);
    page.one(
        "quorlite_applied_batches_total",
        Kind::Counter,
        "SQLite transactions of apply.",
        batches,
    );
    let changes = count(&metrics.leader_changes);
    page.one(
        "quorlite_raft_leader_changes_total",
        Kind::Counter,
        "Changes of leader seen.",
        changes,
    );
    let won = count(&metrics.elections_won);
    page.one(
        "quorlite_raft_elections_won_total",
        Kind::Counter,
        "Times that this node began to lead.",
        won,
    );
    let name = "quorlite_reads_total";
    page.family(
        name,
        Kind::Counter,
        "Reads that were confirmed or refused here, by level.",
    );
    for (level, reads) in LEVELS.iter().zip(&metrics.reads) {
        page.sample(name, &[("level", level_name(*level))], count(reads));
    }
    let name = "quorlite_read_confirm_duration_seconds";
    page.family(name, Kind::Histogram, "Until a read may begin, by level.");
    for (level, confirm) in LEVELS.iter().zip(&metrics.confirm) {
        histogram(page, name, &[("level", level_name(*level))], confirm);
    }
}

fn of_database(page: &mut Page, opened: &Opened, status: &Status) {
    let bytes = |suffix: &str| {
        let mut path = status.database.clone().into_os_string();
        path.push(suffix);
        std::fs::metadata(path).map_or(0, |metadata| metadata.len())
    };
    page.one(
        "quorlite_database_bytes",
        Kind::Gauge,
        "Bytes of the database file.",
        bytes(""),
    );
    page.one(
        "quorlite_wal_bytes",
        Kind::Gauge,
        "Bytes of its write-ahead log.",
        bytes("-wal"),
    );
    let (open, most) = opened.ledger.readers_open();
    page.one(
        "quorlite_readers_open",
        Kind::Gauge,
        "Reading connections that are open.",
        open,
    );
    page.one(
        "quorlite_readers_max",
        Kind::Gauge,
        "Reading connections at most; 0 = no limit.",
        most,
    );
}

fn of_peers(page: &mut Page, opened: &Opened) {
    let counted = opened.peers.counters();
    for (name, help, counters) in [
        (
            "quorlite_cluster_events_total",
            "The cluster map of /debug/vars, by its keys.",
            counted.cluster,
        ),
        (
            "quorlite_proxy_events_total",
            "The proxy map of /debug/vars, by its keys.",
            counted.proxy,
        ),
        (
            "quorlite_mux_events_total",
            "The mux map of /debug/vars, by its keys.",
            counted.mux,
        ),
    ] {
        page.family(name, Kind::Counter, help);
        for (event, count) in counters {
            page.sample(name, &[("event", event)], count);
        }
    }
}

fn histogram(page: &mut Page, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
    let observed = histogram.read();
    page.histogram(name, labels, &BOUNDS_US, &observed.counts, observed.sum_us);
}

//! `GET /status`: the truth about this node, as one tree.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::cluster::pool::{PER_PEER_MAX, Usage};
use crate::http::call::Call;
use crate::http::door::Door;
use crate::http::reply::Reply;
use crate::http::timestamp;
use crate::{VERSION, duration};

mod database;
mod network;
mod store;
#[cfg(test)]
mod tests;

/// Answers it.
pub async fn get(call: &Call) -> Reply {
    let door = Arc::clone(&call.door);
    // Sizes of files and SQLite's own words are read from the disk.
    let gathered = tokio::task::spawn_blocking(move || gather(&door)).await;
    let tree = gathered.unwrap_or_else(|error| json!({"error": error.to_string()}));
    match call.params.text("key") {
        Some(key) => Reply::tree(&select(tree, &key), false),
        None => Reply::tree(&tree, call.params.flag("pretty")),
    }
}

/// The sub-tree at `a.b.c`; what is reached early is answered as it is, what is missing is `{}`.
fn select(mut tree: Value, key: &str) -> Value {
    for name in key.split('.') {
        tree = match tree {
            Value::Object(mut members) => match members.remove(name) {
                Some(member) => member,
                None => return json!({}),
            },
            scalar => return scalar,
        };
    }
    tree
}

fn gather(door: &Door) -> Value {
    let mut tree = Map::new();
    tree.insert("build".to_owned(), build());
    tree.insert("http".to_owned(), http(door));
    tree.insert("node".to_owned(), node(door));
    tree.insert("os".to_owned(), os());
    tree.insert("runtime".to_owned(), runtime(door));
    let Some(opened) = door.opened() else {
        tree.insert("store".to_owned(), json!({"open": false}));
        return Value::Object(tree);
    };
    tree.insert("store".to_owned(), store::section(door, &*opened.ledger));
    tree.insert("cluster".to_owned(), cluster(door));
    tree.insert("mux".to_owned(), mux(door));
    tree.insert("network".to_owned(), network::section());
    tree.insert("extensions".to_owned(), json!({"dir": "", "names": []}));
    if let Some(time) = door.last_backup() {
        tree.insert("last_backup_time".to_owned(), json!(timestamp::from_time(time)));
    }
    Value::Object(tree)
}

fn build() -> Value {
    json!({
        "version": VERSION,
        "commit": option_env!("QUORLITE_COMMIT").unwrap_or("unknown"),
        "build_time": option_env!("QUORLITE_BUILD_TIME").unwrap_or("unknown"),
        "compiler_toolchain": "rustc",
        "compiler_command": "cargo",
    })
}

fn http(door: &Door) -> Value {
    let options = &door.options;
    let mut section = json!({
        "bind_addr": options.bind,
        "auth": "disabled",
        "tls": {"enabled": "false"},
        "queue": {"_default": {
            "max_size": options.queue.capacity,
            "batch_size": options.queue.batch_size,
            "timeout": duration::text(options.queue.timeout),
            "sequence_number": door.queue.sequence(),
        }},
        "cluster": {
            "local_node_addr": options.store.address,
            "timeout": duration::text(options.connect_timeout),
        },
    });
    let pools = door
        .opened()
        .map(|opened| opened.peers.connections())
        .unwrap_or_default();
    if !pools.is_empty() {
        section["cluster"]["conn_pool_stats"] = pools.into_iter().map(pool).collect();
    }
    if let Some(origin) = &options.allow_origin {
        section["allow_origin"] = json!(origin);
    }
    section
}

/// The connections to one peer, by its address.
fn pool((address, usage): (String, Usage)) -> (String, Value) {
    let stats = json!({
        "idle": usage.idle,
        "open_connections": usage.idle + usage.in_use,
        "max_open_connections": PER_PEER_MAX,
    });
    (address, stats)
}

fn node(door: &Door) -> Value {
    json!({
        "start_time": timestamp::from_time(door.started),
        "current_time": timestamp::from_time(SystemTime::now()),
        "uptime": duration::text(door.started_at.elapsed()),
    })
}

fn os() -> Value {
    let path = std::env::current_exe().map(|path| path.display().to_string());
    json!({
        "pid": std::process::id(),
        "ppid": rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get()),
        "page_size": rustix::param::page_size(),
        "executable": path.unwrap_or_default(),
        "hostname": rustix::system::uname().nodename().to_string_lossy(),
    })
}

fn runtime(door: &Door) -> Value {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "GOARCH": match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        "GOOS": std::env::consts::OS,
        "GOMAXPROCS": cpus,
        "num_cpu": cpus,
        "num_goroutine": tokio::runtime::Handle::try_current().map_or(0, |runtime| runtime.metrics().num_alive_tasks()),
        "version": "rust",
        "kubernetes_hint": door.options.is_in_kubernetes,
    })
}

fn cluster(door: &Door) -> Value {
    json!({
        "addr": door.options.store.address,
        "api_addr": door.options.advertised,
        "https": "false",
    })
}

fn mux(door: &Door) -> Value {
    json!({
        "addr": door.options.inter_node_bind,
        "timeout": duration::text(door.options.connect_timeout),
        "tls": "disabled",
        "handlers": "control append bulk service",
    })
}

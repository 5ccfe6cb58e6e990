//! `/status` → `network`: the machine's interfaces.

use std::path::Path;

use serde_json::{Map, Value, json};

/// Flags of an interface, by their bits in `/sys/class/net/NAME/flags`.
const FLAGS: [(u32, &str); 6] = [
    (0x1, "up"),
    (0x2, "broadcast"),
    (0x8, "loopback"),
    (0x10, "pointtopoint"),
    (0x1000, "multicast"),
    (0x40, "running"),
];

/// The section; empty where the machine does not tell.
pub fn section() -> Value {
    let mut interfaces = Map::new();
    for found in if_addrs::get_if_addrs().unwrap_or_default() {
        let address = format!("{}/{}", found.ip(), prefix(&found.addr));
        let interface = interfaces
            .entry(found.name.clone())
            .or_insert_with(|| interface(&found.name));
        if let Some(addresses) = interface["addresses"].as_array_mut() {
            addresses.push(json!({"address": address}));
        }
    }
    json!({"interfaces": interfaces})
}

fn interface(name: &str) -> Value {
    let read = |what: &str| {
        let path = Path::new("/sys/class/net").join(name).join(what);
        std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
    };
    let bits = u32::from_str_radix(read("flags").trim_start_matches("0x"), 16).unwrap_or(0);
    let flags: Vec<&str> = FLAGS
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, flag)| *flag)
        .collect();
    let hardware = read("address");
    let is_none = hardware.bytes().all(|byte| byte == b'0' || byte == b':');
    json!({
        "flags": flags.join("|"),
        "hardware_address": if is_none { "" } else { &hardware },
        "addresses": [],
    })
}

fn prefix(address: &if_addrs::IfAddr) -> u8 {
    match address {
        if_addrs::IfAddr::V4(v4) => v4.prefixlen,
        if_addrs::IfAddr::V6(v6) => v6.prefixlen,
    }
}

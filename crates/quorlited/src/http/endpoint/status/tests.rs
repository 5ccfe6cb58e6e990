//! Selection and sizes.

use serde_json::json;

use super::select;
use super::store::size_text;

#[test]
fn keys_select_sub_trees() {
    let tree = json!({"store": {"raft": {"state": "Leader", "term": 3}}, "list": [1]});
    for (key, expected) in [
        ("store.raft.state", json!("Leader")),
        ("store.raft", json!({"state": "Leader", "term": 3})),
        ("store.raft.state.beyond", json!("Leader")),
        ("list.0", json!([1])),
        ("store.nothing", json!({})),
        ("nothing.at.all", json!({})),
        ("", json!({})),
    ] {
        assert_eq!(select(tree.clone(), key), expected, "{key}");
    }
}

#[test]
fn sizes_for_people() {
    for (bytes, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (4_194_304, "4.2 MB"),
        (25_000, "25 kB"),
        (1_500_000_000, "1.5 GB"),
    ] {
        assert_eq!(size_text(bytes), text);
    }
}

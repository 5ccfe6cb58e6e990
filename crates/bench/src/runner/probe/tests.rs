//! Tests of what is read from /proc and from servers.

use super::*;

#[test]
fn fields_of_proc_are_found_by_their_whole_name() {
    let text = "rchar: 1\ncancelled_write_bytes: 7\nwrite_bytes: 4096\nVmRSS:\t   1234 kB\n";
    assert_eq!(number_after(text, "write_bytes:"), Some(4096));
    assert_eq!(number_after(text, "VmRSS:"), Some(1234));
    assert_eq!(number_after(text, "VmHWM:"), None);
}

#[test]
fn this_process_has_memory_and_a_count_of_written_bytes() {
    assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    assert!(written_bytes(std::process::id()).is_ok());
}

#[test]
fn a_count_of_flushes_is_found_where_the_server_puts_it() {
    let floor = serde_json::json!({"rows": 5, "flushes": 3});
    let deep = serde_json::json!({"build": {"x": 1}, "store": {"raft": {"log_flushes": 9, "term": 2}}});
    assert_eq!((find_number(&floor), find_number(&deep)), (Some(3), Some(9)));
    assert_eq!(find_number(&serde_json::json!({"store": {"flushes_per_s": "x"}})), None);
}

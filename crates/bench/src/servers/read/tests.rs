//! Tests of the key in a body.

use super::last_number;

#[test]
fn the_key_is_the_last_number_of_the_body() {
    assert_eq!(last_number(br#"[["SELECT v FROM t1 WHERE k=?",4711]]"#), 4711);
    assert_eq!(last_number(b"7"), 7);
    assert_eq!(last_number(b"none"), 0);
}

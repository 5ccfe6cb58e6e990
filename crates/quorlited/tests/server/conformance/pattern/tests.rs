//! What matches, and above all what must not.

use super::{Names, Pattern, fill};

fn names() -> Names {
    Names::from([("leader.raft".to_owned(), "127.0.0.1:4002".to_owned())])
}

fn matches(pattern: &str, text: &str) -> bool {
    Pattern::parse(pattern, &names()).unwrap().matches(text.as_bytes())
}

#[test]
fn what_looks_like_the_pattern_matches() {
    for (pattern, text) in [
        ("", ""),
        (r#"{"results":[]}"#, r#"{"results":[]}"#),
        (r#"{"id":<int>}"#, r#"{"id":-9223372036854775808}"#),
        (r#"{"time":<float>}"#, r#"{"time":1.5e-7}"#),
        (r#"{"a":<int>,"b":<int>}"#, r#"{"a":1,"b":22}"#),
        (r#"{"error":"<text>"}"#, r#"{"error":"no \"such\" table"}"#),
        ("invalid JSON body<nl>", "invalid JSON body\n"),
        ("unsupported type <lt>nil><nl>", "unsupported type <nil>\n"),
        ("a <any> c", "a  c"),
        ("<any>", ""),
        ("<any>x<any>", "axbxc"),
        ("<hex:C3A9>", "é"),
        ("took <duration>.", "took 1m2.5s."),
        ("<duration>", "412.3µs"),
        ("at <time>", "at 2031-05-06T07:08:09.12Z"),
        ("at <time>", "at 2031-05-06T07:08:09+02:00"),
        ("<leader.raft>", "127.0.0.1:4002"),
        ("a < b > c", "a < b > c"),
    ] {
        assert!(matches(pattern, text), "{pattern:?} should match {text:?}");
    }
}

#[test]
fn what_differs_in_anything_does_not_match() {
    for (pattern, text) in [
        ("", " "),
        ("", "{}"),
        (r#"{"results":[]}"#, "{\"results\":[]}\n"),
        (r#"{"results":[]}"#, r#"{"results": []}"#),
        (r#"{"results":[]}"#, r#"{"results":[]"#),
        (r#"{"results":[{}]}"#, r#"{"results":[{"rows_affected":1}]}"#),
        (r#"{"id":<int>}"#, r#"{"id":}"#),
        (r#"{"id":<int>}"#, r#"{"id":1.0}"#),
        (r#"{"id":<int>}"#, r#"{"id":01}"#),
        (r#"{"id":<int>}"#, r#"{"id":"1"}"#),
        (r#"{"id":<int>}"#, r#"{"id":9223372036854775808}"#),
        (r#"{"time":<float>}"#, r#"{"time":}"#),
        (r#"{"time":<float>}"#, r#"{"time":.5}"#),
        (r#"{"error":"<text>"}"#, r#"{"error":"a","more":"b"}"#),
        (r#"{"error":"<text>"}"#, "{\"error\":\"two\nlines\"}"),
        ("invalid JSON body<nl>", "invalid JSON body"),
        ("invalid JSON body", "invalid JSON body\n"),
        ("<any>x", "xy"),
        ("took <duration>", "took 5"),
        ("took <duration>", "took "),
        ("took <duration>", "took 1d"),
        ("at <time>", "at 2031-05-06 07:08:09Z"),
        ("at <time>", "at 2031-05-06T07:08:09"),
        ("<leader.raft>", "127.0.0.1:4003"),
    ] {
        assert!(!matches(pattern, text), "{pattern:?} should not match {text:?}");
    }
}

#[test]
fn bytes_that_are_no_text_match_only_any() {
    let any = Pattern::parse("<any>", &names()).unwrap();
    let text = Pattern::parse("<text>", &names()).unwrap();
    assert!(any.matches(&[0xff, 0x00]));
    assert!(!text.matches(&[0xff, 0x00]));
}

#[test]
fn a_word_that_means_nothing_is_refused() {
    for pattern in ["<nil>", "<integer>", "<hex:F>", "<hex:XX>", "<leader.http>"] {
        assert!(Pattern::parse(pattern, &names()).is_err(), "{pattern:?}");
    }
}

#[test]
fn a_request_is_filled_and_its_other_brackets_stay() {
    let filled = fill(r#"["SELECT 1<2, '<b>', '<hex:FF>', '<leader.raft>'"]"#, &names()).unwrap();
    assert_eq!(filled, b"[\"SELECT 1<2, '<b>', '\xff', '127.0.0.1:4002'\"]");
    assert!(fill("<hex:0>", &names()).is_err());
}

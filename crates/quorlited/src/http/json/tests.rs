//! Texts, byte for byte.

use super::{Pretty, Writer, push_string};

fn string(text: &[u8]) -> String {
    let mut out = Vec::new();
    push_string(&mut out, text);
    String::from_utf8(out).unwrap()
}

#[test]
fn strings_escape_as_go_does() {
    for (text, json) in [
        (&b""[..], r#""""#),
        (b"plain", r#""plain""#),
        (b"a\"b\\c", r#""a\"b\\c""#),
        (b"\n\r\t\x08\x0c", r#""\n\r\t\b\f""#),
        (b"\x00\x1f\x7f", "\"\\u0000\\u001f\x7f\""),
        (b"<b>&", r#""\u003cb\u003e\u0026""#),
        ("grün 日本 🦀".as_bytes(), "\"grün 日本 🦀\""),
        ("a\u{2028}b\u{2029}".as_bytes(), r#""a\u2028b\u2029""#),
        (b"a\xffb", r#""a\ufffdb""#),
        (b"\xf0\x9f\xa6", r#""\ufffd\ufffd\ufffd""#),
        (b"\xc3\xa9\xff\xc3\xa9", "\"é\\ufffdé\""),
        (b"\xed\xa0\x80", r#""\ufffd\ufffd\ufffd""#),
    ] {
        assert_eq!(string(text), json, "{text:?}");
    }
}

fn sample(pretty: Pretty) -> String {
    let mut json = Writer::new(pretty);
    json.begin_object();
    json.key("a");
    json.begin_array();
    json.integer(1);
    json.begin_array();
    json.end_array();
    json.begin_object();
    json.end_object();
    json.string("x");
    json.end_array();
    json.key("b");
    json.begin_object();
    json.key("c");
    json.null();
    json.key("d");
    json.boolean(true);
    json.end_object();
    json.end_object();
    String::from_utf8(json.out).unwrap()
}

#[test]
fn compact_has_no_white_space() {
    assert_eq!(sample(Pretty::No), r#"{"a":[1,[],{},"x"],"b":{"c":null,"d":true}}"#);
}

#[test]
fn pretty_indents_by_four() {
    let expected = r#"{
    "a": [
        1,
        [],
        {},
        "x"
    ],
    "b": {
        "c": null,
        "d": true
    }
}"#;
    assert_eq!(sample(Pretty::Yes), expected);
}

#[test]
fn a_rewound_element_leaves_no_trace() {
    let mut json = Writer::new(Pretty::No);
    json.begin_array();
    let mark = json.mark();
    json.begin_object();
    json.key("half");
    json.rewind(mark);
    json.integer(1);
    let mark = json.mark();
    json.begin_array();
    json.rewind(mark);
    json.integer(2);
    json.end_array();
    assert_eq!(json.out, b"[1,2]");
}

#[test]
fn trees_are_written_in_the_order_of_keys() {
    let mut json = Writer::new(Pretty::No);
    json.tree(&serde_json::json!({"b": 1.0, "a": [null, true, "<"], "c": 18446744073709551615u64, "d": -1}));
    assert_eq!(
        String::from_utf8(json.out).unwrap(),
        r#"{"a":[null,true,"\u003c"],"b":1,"c":18446744073709551615,"d":-1}"#
    );
}

//! The grammar, the values, and every way to be wrong.

use command::statement::{Parameter, Statement, Value};

use super::{Malformed, statements};

fn read(body: &str) -> Vec<Statement> {
    statements(body.as_bytes()).unwrap_or_else(|malformed| panic!("{body}: {malformed}"))
}

fn wrong(body: &str) -> String {
    match statements(body.as_bytes()) {
        Ok(statements) => panic!("{body}: {statements:?}"),
        Err(malformed) => malformed.to_string(),
    }
}

/// The one value of `[["", VALUE]]`.
fn value(json: &str) -> Option<Value> {
    let mut statements = read(&format!(r#"[["s",{json}]]"#));
    let statement = statements.remove(0);
    assert_eq!(statement.parameters.len(), 1, "{json}");
    assert_eq!(statement.parameters[0].name, "", "{json}");
    statement.parameters[0].value.clone()
}

fn integer(value: i64) -> Option<Value> {
    Some(Value::Integer(value))
}

fn blob(bytes: &[u8]) -> Option<Value> {
    Some(Value::Blob(bytes.to_vec().into()))
}

fn string(text: &str) -> Option<Value> {
    Some(Value::Text(text.to_owned()))
}

#[test]
fn both_forms_mix() {
    let body = r#" ["CREATE TABLE pet (id INTEGER PRIMARY KEY)",
        ["INSERT INTO pet(nick, weight) VALUES(?, ?)", "Momo", 4.25],
        ["INSERT INTO pet(nick, weight) VALUES(:n, :w)", {"n": "Rex", "w": null}],
        ["UPDATE pet SET pic=? WHERE nick=?", [137,80,78,71], "Rex"],
        ["SELECT count(*) FROM pet"], ""]"#;
    let expected = vec![
        Statement::new("CREATE TABLE pet (id INTEGER PRIMARY KEY)"),
        Statement {
            sql: "INSERT INTO pet(nick, weight) VALUES(?, ?)".to_owned(),
            parameters: vec![
                Parameter::positional(string("Momo")),
                Parameter::positional(Some(Value::Real(4.25))),
            ],
        },
        Statement {
            sql: "INSERT INTO pet(nick, weight) VALUES(:n, :w)".to_owned(),
            parameters: vec![Parameter::named("n", string("Rex")), Parameter::named("w", None)],
        },
        Statement {
            sql: "UPDATE pet SET pic=? WHERE nick=?".to_owned(),
            parameters: vec![
                Parameter::positional(blob(b"\x89PNG")),
                Parameter::positional(string("Rex")),
            ],
        },
        Statement::new("SELECT count(*) FROM pet"),
        Statement::new(""),
    ];
    assert_eq!(read(body), expected);
}

#[test]
fn bytes_after_the_closing_bracket_do_not_count() {
    for body in [r#"["a"]"#, r#"["a"] garbage"#, r#"["a"]]"#, "[\"a\"]\n", "[\"a\"]\0"] {
        assert_eq!(read(body), [Statement::new("a")], "{body}");
    }
}

#[test]
fn wrong_bodies() {
    for (body, text) in [
        ("", "invalid JSON body"),
        ("  ", "invalid JSON body"),
        ("nul", "invalid JSON body"),
        ("\"x", "invalid JSON body"),
        ("]", "invalid JSON body"),
        (",", "invalid JSON body"),
        ("SELECT 1", "invalid JSON body"),
        ("[", "invalid JSON body"),
        ("[\"a\"", "invalid JSON body"),
        ("[\"a\",", "invalid JSON body"),
        ("[\"a\",]", "invalid JSON body"),
        ("[,\"a\"]", "invalid JSON body"),
        ("[\"a\" \"b\"]", "invalid JSON body"),
        ("[[\"a\" 1]]", "invalid JSON body"),
        ("[[\"a\",]]", "invalid JSON body"),
        ("[[\"a\",{\"b\"}]]", "invalid JSON body"),
        ("[[\"a\",{\"b\":1,}]]", "invalid JSON body"),
        ("[[\"a\",{b:1}]]", "invalid JSON body"),
        ("[[\"a\",01]]", "invalid JSON body"),
        ("[[\"a\",1.]]", "invalid JSON body"),
        ("[[\"a\",.5]]", "invalid JSON body"),
        ("[[\"a\",-]]", "invalid JSON body"),
        ("[[\"a\",1e]]", "invalid JSON body"),
        ("[[\"a\",+1]]", "invalid JSON body"),
        ("[[\"a\",tru]]", "invalid JSON body"),
        ("[[\"a\",NaN]]", "invalid JSON body"),
        ("[\"a\nb\"]", "invalid JSON body"),
        ("[\"\\x\"]", "invalid JSON body"),
        ("[\"\\u12\"]", "invalid JSON body"),
        ("[\"\\u12g4\"]", "invalid JSON body"),
        ("[\"\\ud800\\u\"]", "invalid JSON body"),
        ("[\"\\", "invalid JSON body"),
        ("[{\"a\":", "invalid JSON body"),
        ("[[\"a\",[1,2", "invalid JSON body"),
        ("[[\"a\",[\"b\"", "invalid JSON body"),
        ("{}", "invalid request"),
        ("{", "invalid request"),
        ("null", "invalid request"),
        ("\"x\"", "invalid request"),
        ("12x", "invalid request"),
        ("true", "invalid request"),
        ("[1]", "invalid request"),
        ("[null]", "invalid request"),
        ("[true]", "invalid request"),
        ("[{\"a\":[1,{}]}]", "invalid request"),
        ("[[]]", "invalid request"),
        ("[[1]]", "invalid request"),
        ("[[null,1]]", "invalid request"),
        ("[]", "no statements"),
        (" [ ] ", "no statements"),
    ] {
        assert_eq!(wrong(body), text, "{body}");
    }
}

#[test]
fn wrong_parameters() {
    for (json, text) in [
        ("[\"a\"]", "unsupported type string"),
        ("[1,true]", "unsupported type bool"),
        ("[null]", "unsupported type <nil>"),
        ("[[1]]", "unsupported type []interface {}"),
        ("[{}]", "unsupported type map[string]interface {}"),
        ("[300]", "unsupported type 300"),
        ("[256]", "unsupported type 256"),
        ("[-4]", "unsupported type -4"),
        ("[1.5]", "unsupported type 1.5"),
        ("[0,\"first\",-1]", "unsupported type string"),
        ("{\"a\":{\"b\":1}}", "unsupported type map[string]interface {}"),
        ("{\"a\":[\"b\"]}", "unsupported type string"),
        ("1e999", "invalid number 1e999"),
        ("-1e999", "invalid number -1e999"),
        ("{\"a\":1e999}", "invalid number 1e999"),
    ] {
        assert_eq!(wrong(&format!("[[\"s\",{json}]]")), text, "{json}");
    }
}

#[test]
fn numbers_are_judged_by_their_literal() {
    for (json, expected) in [
        ("0", integer(0)),
        ("-0", integer(0)),
        ("7", integer(7)),
        ("9223372036854775807", integer(i64::MAX)),
        ("-9223372036854775808", integer(i64::MIN)),
        ("9007199254740993", integer(9_007_199_254_740_993)),
        ("9223372036854775808", Some(Value::Real(9_223_372_036_854_775_808.0))),
        ("1.0", Some(Value::Real(1.0))),
        ("2e3", Some(Value::Real(2000.0))),
        ("2E+3", Some(Value::Real(2000.0))),
        ("1e-400", Some(Value::Real(0.0))),
        ("-1.5e-7", Some(Value::Real(-1.5e-7))),
        ("true", integer(1)),
        ("false", integer(0)),
        ("null", None),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
}

#[test]
fn blob_literals() {
    for (json, expected) in [
        (r#""x'00ff'""#, blob(b"\x00\xff")),
        (r#""X'aBCd'""#, blob(b"\xab\xcd")),
        (r#""x''""#, blob(b"")),
        (r#"" \tx'41'\n""#, blob(b"A")),
        (r#""x'0'""#, string("x'0'")),
        (r#""x'0g'""#, string("x'0g'")),
        (r#""x'00""#, string("x'00")),
        (r#""x'""#, string("x'")),
        (r#""yx'00'""#, string("yx'00'")),
        (r#"" plain ""#, string(" plain ")),
        ("[]", blob(b"")),
        ("[ 0 , 255 ]", blob(b"\x00\xff")),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
}

#[test]
fn strings_are_unescaped() {
    for (json, text) in [
        (r#""a\"b\\c\/d""#, "a\"b\\c/d"),
        (r#""\b\f\n\r\t""#, "\u{8}\u{c}\n\r\t"),
        (r#""\u0041\u00e9\u65e5""#, "Aé日"),
        (r#""\ud83e\udd80""#, "🦀"),
        (r#""\ud83e""#, "\u{fffd}"),
        (r#""\ud83e\u0041""#, "\u{fffd}A"),
        (r#""\udd80x""#, "\u{fffd}x"),
        (r#""\ud83e\ud83e\udd80""#, "\u{fffd}🦀"),
        ("\"grün 🦀\"", "grün 🦀"),
    ] {
        assert_eq!(value(json), string(text), "{json}");
    }
}

#[test]
fn bytes_that_are_no_utf8_become_replacements() {
    assert_eq!(statements(b"[\"a\xffb\"]").unwrap(), [Statement::new("a\u{fffd}b")]);
    assert_eq!(statements(b"\xff[\"a\"]"), Err(Malformed::Json));
}

#[test]
fn objects_are_named_parameters_in_their_order() {
    let statements = read(r#"[["s", 1, {"b": 2, "a": 3}, 4, {}, {"c": [5]}]]"#);
    assert_eq!(
        statements[0].parameters,
        [
            Parameter::positional(integer(1)),
            Parameter::named("b", integer(2)),
            Parameter::named("a", integer(3)),
            Parameter::positional(integer(4)),
            Parameter::named("c", blob(&[5])),
        ]
    );
    let statements = read(r#"[["s", 0, {"a": 1, "b": 2, "a": 3}, {"a": 4}]]"#);
    assert_eq!(
        statements[0].parameters,
        [
            Parameter::positional(integer(0)),
            Parameter::named("b", integer(2)),
            Parameter::named("a", integer(3)),
            Parameter::named("a", integer(4)),
        ]
    );
}

#[test]
fn depth_is_bounded_without_recursion() {
    let deep = format!("[[\"s\",{}", "[".repeat(1_000_000));
    assert_eq!(wrong(&deep), "invalid JSON body");
    let nested = format!("[[\"s\",{}{}]]", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(wrong(&nested), "unsupported type []interface {}");
}

#[test]
fn every_prefix_of_a_body_is_wrong_and_none_panics() {
    let body = r#"["a\u00e9", ["b", 1.5e3, -7, true, null, {"n": "x'00'", "m": [1, 2]}, [3]]]"#;
    for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
        assert_eq!(wrong(&body[..end]), "invalid JSON body", "{}", &body[..end]);
    }
    assert_eq!(read(body).len(), 2);
}

//! Bodies and answers.

use checkers::history::{Effect, WriteId};
use checkers::workload;
use serde_json::json;

use super::{Envelope, body, integer, items, pairs, written};

#[test]
fn a_body_holds_texts_and_numbers() {
    let id = WriteId { client: 3, sequence: 4 };
    let statements = workload::statements(id, Effect::Row);
    let sql = &statements[0].sql;
    assert_eq!(body(&statements), json!([[sql, 3, 4, 0, 0]]).to_string());
}

#[test]
fn an_answer_is_read() {
    let text =
        br#"{"results":[{"columns":["id","n"],"types":["integer","integer"],"values":[[1,7],[2,9]]},{"error":"no"}]}"#;
    let envelope = Envelope::parse(text).unwrap();
    assert_eq!(envelope.problem().as_deref(), Some("no"));
    assert_eq!(pairs(&envelope.rows()[0]), [(1, 7), (2, 9)].into());
    assert_eq!(integer(&[], 0), i64::MIN);
}

#[test]
fn a_failure_is_read() {
    let envelope = Envelope::parse(br#"{"results":[],"error":"lost","code":"outcome_unknown"}"#).unwrap();
    assert_eq!(envelope.error.as_deref(), Some("lost"));
    assert_eq!(envelope.code.as_deref(), Some("outcome_unknown"));
    assert_eq!(Envelope::parse(b"leader not found\n"), None);
}

#[test]
fn lists_and_rows_are_read() {
    assert_eq!(items(Some(&json!("1,22,"))), [1, 22]);
    assert_eq!(items(Some(&json!(""))), Vec::<i64>::new());
    assert_eq!(items(Some(&json!("1,x"))), [i64::MIN]);
    let row = [json!(1), json!(2), json!("move"), json!(3), json!(4)];
    let id = WriteId { client: 1, sequence: 2 };
    assert_eq!(written(&row), (id, Effect::Move { from: 3, to: 4 }));
}

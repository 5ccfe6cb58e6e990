//! Tests of what is taken for a true answer.

use super::*;

fn verdict(expected: Expected, body: &str) -> Result<(), Failure> {
    check(expected, 200, body.as_bytes())
}

fn value_body(key: u64) -> String {
    let value = String::from_utf8(value(key).to_vec()).unwrap();
    format!(r#"{{"results":[{{"columns":["v"],"types":["text"],"values":[["{value}"]]}}],"time":0.1}}"#)
}

fn big_body(ids: &[u64]) -> String {
    let row = |id: &u64| {
        format!(
            r#"[{id},"{}",1.25,17,"x"]"#,
            std::str::from_utf8(&value(*id)[..16]).unwrap()
        )
    };
    let rows: Vec<String> = ids.iter().map(row).collect();
    format!(r#"{{"results":[{{"columns":["id"],"values":[{}]}}]}}"#, rows.join(","))
}

#[test]
fn true_answers_pass() {
    let one = r#"{"results":[{"last_insert_id":7,"rows_affected":1}],"raft_index":9}"#;
    let two = r#"{"results":[{"rows_affected":1},{"last_insert_id":8,"rows_affected":1}]}"#;
    assert_eq!(verdict(Expected::Written { rows: 1 }, one), Ok(()));
    assert_eq!(verdict(Expected::Written { rows: 2 }, two), Ok(()));
    assert_eq!(
        verdict(
            Expected::Queued,
            r#"{"results":[],"sequence_number":1653314298877648934}"#
        ),
        Ok(())
    );
    assert_eq!(verdict(Expected::ValueOf { key: 5 }, &value_body(5)), Ok(()));
    assert_eq!(verdict(Expected::BigRows { rows: 3 }, &big_body(&[1, 2, 3])), Ok(()));
    assert_eq!(verdict(Expected::Success, r#"{"results":[{}]}"#), Ok(()));
}

#[test]
fn answers_that_claim_success_and_lie_are_wrong() {
    for (expected, body) in [
        (Expected::Written { rows: 1 }, r#"{"results":[]}"#.to_owned()),
        (Expected::Written { rows: 1 }, r#"{"results":[{}]}"#.to_owned()),
        (
            Expected::Written { rows: 2 },
            r#"{"results":[{"rows_affected":1}]}"#.to_owned(),
        ),
        (
            Expected::Written { rows: 1 },
            r#"{"results":[{"rows_affected":2}]}"#.to_owned(),
        ),
        (Expected::Written { rows: 1 }, "OK".to_owned()),
        (Expected::Queued, r#"{"results":[]}"#.to_owned()),
        (Expected::ValueOf { key: 5 }, value_body(6)),
        (
            Expected::ValueOf { key: 5 },
            r#"{"results":[{"columns":["v"],"types":["text"]}]}"#.to_owned(),
        ),
        (Expected::BigRows { rows: 3 }, big_body(&[1, 2])),
        (Expected::BigRows { rows: 3 }, big_body(&[1, 3, 2])),
        (
            Expected::BigRows { rows: 3 },
            big_body(&[1, 2, 3]).replace("1.25,17,", "1.25,"),
        ),
        (Expected::Success, String::new()),
    ] {
        let verdict = verdict(expected, &body);
        assert!(
            matches!(verdict, Err(Failure::Wrong(_))),
            "{expected:?} {body}: {verdict:?}"
        );
    }
}

#[test]
fn refusals_are_told_apart_from_lies() {
    let expected = Expected::Written { rows: 1 };
    let statement = verdict(expected, r#"{"results":[{"error":"no such table: t"}]}"#);
    assert_eq!(statement, Err(Failure::Statement("no such table: t".to_owned())));
    let request = verdict(expected, r#"{"results":[],"error":"leadership lost"}"#);
    assert_eq!(request, Err(Failure::Request("leadership lost".to_owned())));
    let status = check(expected, 503, b"leader not found\n");
    assert_eq!(
        status,
        Err(Failure::Status {
            status: 503,
            text: "leader not found".to_owned()
        })
    );
    let read = verdict(Expected::ValueOf { key: 1 }, r#"{"results":[{"error":"interrupted"}]}"#);
    assert_eq!(read, Err(Failure::Statement("interrupted".to_owned())));
}

#[test]
fn counts_are_one_integer_each() {
    let body = br#"{"results":[{"columns":["count(*)"],"types":["integer"],"values":[[12]]},{"values":[[0]]}]}"#;
    assert_eq!(integers(200, body), Ok(vec![12, 0]));
    assert!(matches!(
        integers(200, br#"{"results":[{"values":[[1],[2]]}]}"#),
        Err(Failure::Wrong(_))
    ));
    assert!(matches!(
        integers(200, br#"{"results":[{"columns":["x"]}]}"#),
        Err(Failure::Wrong(_))
    ));
    assert!(matches!(integers(401, b""), Err(Failure::Status { status: 401, .. })));
}

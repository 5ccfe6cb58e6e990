//! Answers that a row must refuse, each for one thing that is wrong.

use super::check;
use super::pattern::Names;
use super::script::Script;
use crate::wire::Response;

const ROW: &str = "\
## 1 a row
> GET /
< 200
< Content-Type: application/json; charset=utf-8
< !Allow
{\"results\":[{\"last_insert_id\":<int>}]}
";

fn verdict(status: u16, headers: &[(&str, &str)], body: &str) -> Result<(), String> {
    let script = Script::parse(ROW).unwrap();
    let response = Response {
        status,
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        body: body.as_bytes().to_vec(),
    };
    check(&script.rows[0].exchanges[0], &response, &Names::new()).map_err(|fault| format!("{fault:#}"))
}

const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
const BODY: &str = r#"{"results":[{"last_insert_id":7}]}"#;

#[test]
fn the_answer_as_specified_passes() {
    verdict(200, &[JSON], BODY).unwrap();
    verdict(200, &[("X-Other", "1"), JSON], BODY).unwrap();
}

#[test]
fn anything_else_is_a_fault_that_says_what() {
    for (status, headers, body, why) in [
        (201, vec![JSON], BODY, "status 201 not 200"),
        (200, vec![], BODY, "header Content-Type: got None"),
        (
            200,
            vec![("Content-Type", "application/json")],
            BODY,
            "header Content-Type: got Some",
        ),
        (200, vec![JSON, ("Allow", "GET")], BODY, "header Allow: got Some"),
        (200, vec![JSON], "", "wanted"),
        (200, vec![JSON], r#"{"results":[{"last_insert_id":7}]} "#, "wanted"),
        (200, vec![JSON], r#"{"results":[{"last_insert_id":"7"}]}"#, "wanted"),
        (
            200,
            vec![JSON],
            r#"{"results":[{"last_insert_id":7,"rows_affected":1}]}"#,
            "wanted",
        ),
    ] {
        let fault = verdict(status, &headers, body).unwrap_err();
        assert!(
            fault.contains(why),
            "{status} {headers:?} {body:?} gives {fault:?}, not {why:?}"
        );
    }
}

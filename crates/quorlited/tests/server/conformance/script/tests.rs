//! What the scripts may say, and what is refused.

use super::{Script, Setting};

const GOOD: &str = "\
# Comment.
flags -fk -http-allow-origin http://a.example

## 5.2 an INSERT tells its rowid
# differs: nothing
@follower
@applied
> POST /db/execute?pretty
> Content-Type: application/json
[\"INSERT\",
 \"twice\"]
< 200
< Content-Type: application/json; charset=utf-8
< !Allow
{
    \"results\": []
}
> GET /nodes
< 503

## - prepare
> OPTIONS *
< 200
";

#[test]
fn a_script_is_read_as_written() {
    let script = Script::parse(GOOD).unwrap();
    assert_eq!(script.flags, ["-fk", "-http-allow-origin", "http://a.example"]);
    assert_eq!(script.rows.len(), 2);
    let row = &script.rows[0];
    assert_eq!(
        (row.line, row.section.as_str(), row.title.as_str()),
        (4, "5.2", "an INSERT tells its rowid")
    );
    assert_eq!(row.only, Some(Setting::Follower));
    assert!(row.applied);
    assert!(row.holds_in(Setting::Follower) && !row.holds_in(Setting::One));
    let [first, second] = row.exchanges.as_slice() else {
        panic!("{:?}", row.exchanges)
    };
    assert_eq!(
        (first.method.as_str(), first.target.as_str()),
        ("POST", "/db/execute?pretty")
    );
    assert_eq!(
        first.headers,
        [("Content-Type".to_owned(), "application/json".to_owned())]
    );
    assert_eq!(first.body, "[\"INSERT\",\n \"twice\"]");
    assert_eq!(first.answer.status, 200);
    let kind = "application/json; charset=utf-8".to_owned();
    assert_eq!(
        first.answer.headers,
        [("Content-Type".to_owned(), Some(kind)), ("Allow".to_owned(), None)]
    );
    assert_eq!(first.answer.body, "{\n    \"results\": []\n}");
    assert_eq!(
        (
            second.method.as_str(),
            second.body.as_str(),
            second.answer.body.as_str()
        ),
        ("GET", "", "")
    );
    assert_eq!(script.rows[1].section, "-");
    assert!(script.rows[1].holds_in(Setting::One) && !script.rows[1].holds_in(Setting::Leaderless));
}

#[test]
fn what_is_out_of_place_is_refused() {
    for (text, why) in [
        ("", "no row"),
        ("# only a comment\n", "no row"),
        (
            "flag -fk\n## 1 t\n> GET /\n< 200\n",
            "neither a comment, flags nor a row: flag -fk",
        ),
        ("## 1\n> GET /\n< 200\n", "a row needs a section and a title"),
        ("## 1 t\n", "a row asks at least once"),
        (
            "## 1 t\n@leader\n> GET /\n< 200\n",
            "neither a mark nor a request: @leader",
        ),
        ("## 1 t\n< 200\n", "neither a mark nor a request: < 200"),
        ("## 1 t\n> GET /\n", "a request without an answer"),
        ("## 1 t\n> GET /\n< 200\n> GET /\n", "a request without an answer"),
        ("## 1 t\n> GET\n< 200\n", "a request is METHOD PATH"),
        ("## 1 t\n> GET db\n< 200\n", "a path begins with `/`: db"),
        ("## 1 t\n> GET /\n> Content-Type\n< 200\n", "no header: Content-Type"),
        ("## 1 t\n> GET /\n< OK\n", "no status: OK"),
        ("## 1 t\n> GET /\n< 200\n< Location\n", "no header: Location"),
    ] {
        let error = format!("{:#}", Script::parse(text).unwrap_err());
        assert!(error.contains(why), "{text:?} gives {error:?}, not {why:?}");
    }
}

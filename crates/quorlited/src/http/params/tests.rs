//! Decoding, the order of checks, and what each name means.

use std::time::Duration;

use store::read::Level;

use super::Params;

fn params(query: &str) -> Params {
    Params::parse(query).unwrap_or_else(|invalid| panic!("{query}: {invalid}"))
}

#[test]
fn checks_in_their_order() {
    for (query, text) in [
        ("a=%ZZ", "invalid URL escape \"%ZZ\""),
        ("%Z=1", "invalid URL escape \"%Z\""),
        ("a=%", "invalid URL escape \"%\""),
        ("a=%4", "invalid URL escape \"%4\""),
        ("a=%gé", "invalid URL escape \"%g\u{fffd}\""),
        ("a=1;b=2", "invalid semicolon separator in query"),
        ("freshness_strict", "freshness_strict requires freshness"),
        ("freshness_strict&timeout=x", "freshness_strict requires freshness"),
        ("timeout=5", "timeout is not a valid duration"),
        ("timeout=", "timeout is not a valid duration"),
        ("timeout=1d", "timeout is not a valid duration"),
        ("freshness=x&timeout=x", "timeout is not a valid duration"),
        ("freshness=x", "freshness is not a valid duration"),
        ("db_timeout=x", "db_timeout is not a valid duration"),
        ("linearizable_timeout=x", "linearizable_timeout is not a valid duration"),
        (
            "retries=x&linearizable_timeout=x",
            "linearizable_timeout is not a valid duration",
        ),
        ("retries=1.5", "retries is not a valid integer"),
        ("retries=", "retries is not a valid integer"),
        ("trailing_logs=0x1", "trailing_logs is not a valid integer"),
        ("q", "query parameter not set"),
        ("q=", "query parameter not set"),
        ("q=&retries=x", "retries is not a valid integer"),
        ("min_index=-1", "min_index is not a valid integer"),
        ("min_index=x", "min_index is not a valid integer"),
        ("atomic=maybe", "atomic is not a valid boolean"),
    ] {
        let error = Params::parse(query).map(drop).unwrap_err();
        assert_eq!(error.to_string(), text, "{query}");
    }
}

#[test]
fn flags_are_true_whenever_present() {
    for query in [
        "pretty",
        "pretty=",
        "pretty=0",
        "pretty=false",
        "&&pretty=true",
        "a=1&pretty",
    ] {
        assert!(params(query).flag("pretty"), "{query}");
    }
    assert!(!params("Pretty").flag("pretty"));
    assert!(!params("").flag("pretty"));
}

#[test]
fn the_first_of_a_key_wins_and_unknown_ones_do_not_matter() {
    let params = params("level=none&level=strong&q[0]=x&q=SELECT+1%2B2");
    assert_eq!(params.level(), Level::None);
    assert_eq!(params.text("q").unwrap(), "SELECT 1+2");
}

#[test]
fn levels() {
    for (text, level) in [
        ("none", Level::None),
        ("NONE", Level::None),
        ("weak", Level::Weak),
        ("Linearizable", Level::Linearizable),
        ("strong", Level::Strong),
        ("auto", Level::Auto),
        ("nonsense", Level::Weak),
        ("", Level::Weak),
    ] {
        assert_eq!(params(&format!("level={text}")).level(), level, "{text}");
    }
    assert_eq!(params("").level(), Level::Weak);
}

#[test]
fn durations() {
    let none = params("");
    assert_eq!(none.timeout(), Duration::from_secs(30));
    assert_eq!(none.linearizable_timeout(), Duration::from_secs(10));
    assert_eq!(none.freshness(), None);
    assert_eq!(none.db_timeout(), None);
    let some = params("timeout=1m&linearizable_timeout=0&freshness=300ms&db_timeout=-1s");
    assert_eq!(some.timeout(), Duration::from_secs(60));
    assert_eq!(some.linearizable_timeout(), Duration::from_secs(1));
    assert_eq!(some.freshness(), Some(Duration::from_millis(300)));
    assert_eq!(some.db_timeout(), None);
    assert_eq!(params("freshness=0&freshness_strict=false").freshness(), None);
}

#[test]
fn atomic_has_a_value() {
    for (query, atomic) in [
        ("", None),
        ("atomic", Some(true)),
        ("atomic=true", Some(true)),
        ("atomic=1", Some(true)),
        ("atomic=false", Some(false)),
        ("atomic=0", Some(false)),
    ] {
        assert_eq!(params(query).atomic(), atomic, "{query}");
    }
}

#[test]
fn counts() {
    assert_eq!(params("min_index=18446744073709551615").min_index(), u64::MAX);
    assert_eq!(params("").min_index(), 0);
    assert_eq!(params("trailing_logs=7").trailing_logs(), Some(7));
    assert_eq!(params("trailing_logs=0").trailing_logs(), None);
    assert_eq!(params("trailing_logs=-7").trailing_logs(), None);
}

//! Query strings: read as `form_urlencoded` reads them, but for what is refused; and written and read again.

use std::collections::BTreeMap;

use quorlited::duration::parse_ns;
use quorlited::http::params::{Invalid, Params};

use crate::{Meter, bounded, duration};

const DURATIONS: [&str; 4] = ["timeout", "freshness", "db_timeout", "linearizable_timeout"];

/// Reads `data` as what follows the `?`.
pub fn run(data: &[u8], meter: &dyn Meter) {
    let query = String::from_utf8_lossy(data);
    let read = bounded(meter, query.len(), || Params::parse(&query));
    let mut model: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        model.entry(key.into_owned()).or_insert_with(|| value.into_owned());
    }
    if let Some(expected) = unreadable(&query) {
        assert_eq!(read.err(), Some(expected), "{query}");
        return;
    }
    for name in DURATIONS {
        if let Some(text) = model.get(name) {
            duration::check(text, parse_ns(text));
        }
    }
    match read {
        Ok(params) => {
            agrees(&params, &model);
            answers_every_question(&params);
        }
        Err(refused) => assert!(deserves(&refused, &model), "{query}: {refused}"),
    }
    survives(&model);
}

/// The first semicolon, or `%` without two digits.
fn unreadable(query: &str) -> Option<Invalid> {
    for pair in query.split('&') {
        if pair.contains(';') {
            return Some(Invalid::Semicolon);
        }
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let escapes = [key, value].into_iter().flat_map(|part| {
            let bytes = part.as_bytes();
            part.match_indices('%')
                .map(move |(at, _)| &bytes[at..bytes.len().min(at + 3)])
        });
        for escape in escapes {
            let escape = String::from_utf8_lossy(escape).into_owned();
            if escape.len() != 3 || !escape[1..].bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Some(Invalid::Escape(escape));
            }
        }
    }
    None
}

fn agrees(params: &Params, model: &BTreeMap<String, String>) {
    for (key, value) in model {
        assert_eq!(params.text(key).as_deref(), Some(value.as_str()), "{key}");
        assert!(params.flag(key), "{key}");
    }
    for name in DURATIONS {
        assert_eq!(params.flag(name), model.contains_key(name), "{name}");
    }
    assert!(!params.flag("freshness_strict") || params.flag("freshness"));
    assert!(params.bytes("q").is_none_or(|q| !q.is_empty()));
    let style = params.style();
    for (name, is_set) in [
        ("pretty", style.pretty),
        ("timings", style.timings),
        ("associative", style.associative),
        ("blob_array", style.blob_array),
        ("qualify_columns", style.qualify_columns),
        ("raft_index", style.raft_index),
    ] {
        assert_eq!(model.contains_key(name), is_set, "{name}");
    }
    let min_index = model.get("min_index").map_or(Ok(0), |text| text.parse());
    assert_eq!(min_index, Ok(params.min_index()));
}

fn answers_every_question(params: &Params) {
    assert!(params.timeout() <= std::time::Duration::from_nanos(i64::MAX as u64));
    assert!(params.db_timeout().is_none_or(|timeout| !timeout.is_zero()));
    assert!(!params.linearizable_timeout().is_zero());
    assert!(params.freshness().is_none_or(|freshness| !freshness.is_zero()));
    assert!(params.trailing_logs().is_none_or(|count| count > 0));
    let _ = (params.level(), params.index(), params.atomic());
}

fn deserves(refused: &Invalid, model: &BTreeMap<String, String>) -> bool {
    let text = |name: &str| model.get(name).map(String::as_str);
    match refused {
        Invalid::Escape(_) | Invalid::Semicolon => false,
        Invalid::Strict => text("freshness_strict").is_some() && text("freshness").is_none(),
        Invalid::Duration(name) => text(name).is_some_and(|text| parse_ns(text).is_none()),
        Invalid::Integer("min_index") => text("min_index").is_some_and(|text| text.parse::<u64>().is_err()),
        Invalid::Integer(name) => text(name).is_some_and(|text| text.parse::<i64>().is_err()),
        Invalid::Query => text("q") == Some(""),
        Invalid::Boolean(name) => text(name).is_some_and(|text| {
            !["", "0", "1", "t", "f", "true", "false"].contains(&text.to_lowercase().as_str()) || text.len() > 1
        }),
    }
}

/// What another encoder writes, under names that mean nothing, is read.
fn survives(model: &BTreeMap<String, String>) {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (key, value) in model {
        query.append_pair(&format!("x{key}"), value);
    }
    let query = query.finish();
    let params = Params::parse(&query).unwrap_or_else(|error| panic!("{query}: {error}"));
    for (key, value) in model {
        assert_eq!(
            params.text(&format!("x{key}")).as_deref(),
            Some(value.as_str()),
            "{query}"
        );
    }
}

//! Command lines: words become values, values become words that are read the same, and the whole is resolved or refused
//! in one line.

use quorlited::config::Config;
use quorlited::flags::parse::default_of;
use quorlited::flags::{self, Misuse, Parsed, TABLE, Value};

use crate::{Meter, bounded, duration};

/// Reads `data` as a command line, one word in each line of it.
pub fn run(data: &[u8], meter: &dyn Meter) {
    let text = String::from_utf8_lossy(data);
    let words: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let read = bounded(meter, text.len(), || flags::parse(words.iter().cloned()));
    match read {
        Ok(parsed) => {
            agrees(&parsed, &words);
            survives(&parsed);
            resolves(&parsed);
        }
        Err(Misuse::Help) => assert!(
            words.iter().any(|word| word.trim_start_matches('-').starts_with('h')),
            "{words:?}"
        ),
        Err(Misuse::Usage(line)) => assert!(
            !line.is_empty() && words.iter().any(|word| is_quoted(&line, word)),
            "{line}"
        ),
    }
}

/// A complaint names a word of the line, or the flag in it.
fn is_quoted(line: &str, word: &str) -> bool {
    let name = word.trim_start_matches('-');
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    line.contains(word) || line.contains(&format!("-{name}"))
}

/// Plain numbers and durations are read as second readers read them; the rest of the line is kept.
fn agrees(parsed: &Parsed, words: &[String]) {
    assert!(words.ends_with(&parsed.positional), "{words:?}: {parsed:?}");
    let given = &words[..words.len() - parsed.positional.len()];
    for flag in TABLE {
        let attached = |word: &String| {
            let body = word.strip_prefix("--").or_else(|| word.strip_prefix('-'))?;
            body.strip_prefix(flag.name)?.strip_prefix('=').map(str::to_owned)
        };
        // The last of a flag counts; whether a word is a flag or another's value, only a lone one shows.
        let [word] = given else {
            continue;
        };
        let Some(text) = attached(word) else {
            continue;
        };
        match parsed.given(flag.name) {
            Some(Value::Duration(ns)) => duration::check(&text, Some(*ns)),
            Some(Value::Int(value)) => assert_eq!(number(&text).unwrap_or(i128::from(*value)), i128::from(*value)),
            Some(Value::Uint(value)) => assert_eq!(number(&text).unwrap_or(i128::from(*value)), i128::from(*value)),
            Some(Value::Text(value)) => assert_eq!(*value, text),
            Some(Value::Bool(value)) => assert_eq!(*value, text == "1" || text.to_lowercase().starts_with('t')),
            None => assert!(text.is_empty(), "{word}"),
        }
    }
}

/// A plain decimal.
fn number(text: &str) -> Option<i128> {
    let digits = text.trim_start_matches(['-', '+']);
    (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// What was read, written out in full and read again.
fn survives(parsed: &Parsed) {
    let mut words = Vec::new();
    for flag in TABLE {
        if let Some(value) = parsed.given(flag.name) {
            words.push(format!("--{}={}", flag.name, text(value)));
        }
    }
    words.push("--".to_owned());
    words.extend(parsed.positional.iter().cloned());
    let again = flags::parse(words.iter().cloned()).unwrap_or_else(|misuse| panic!("{words:?}: {misuse:?}"));
    assert_eq!(again.positional, parsed.positional, "{words:?}");
    for flag in TABLE {
        assert_eq!(again.given(flag.name), parsed.given(flag.name), "{words:?}");
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::Text(text) => text.clone(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Duration(ns) => quorlited::duration::text_ns(*ns),
    }
}

/// What is resolved is what the parts of the server count on.
fn resolves(parsed: &Parsed) {
    let config = match Config::resolve(parsed) {
        Ok(config) => config,
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            return;
        }
    };
    assert!(config.store.heartbeat_interval * 2 <= config.store.election_timeout);
    assert!(!config.store.heartbeat_interval.is_zero());
    assert!(config.store.snapshot_entries > 0);
    assert!(config.store.dir.is_absolute());
    assert_ne!(config.http.bind, config.cluster.bind);
    assert!(config.http.limits.reads_max > 0 && config.http.limits.body_bytes_max > 0);
    assert!(config.http.queue.capacity > 0 && config.http.queue.batch_size > 0);
    assert!(!config.store.name.is_empty() && !config.api_url().is_empty());
    for flag in TABLE {
        if parsed.given(flag.name).is_none() {
            let _ = default_of(flag);
        }
    }
}

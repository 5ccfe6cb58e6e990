//! Tests of the grammar of command lines.

use super::*;

static TABLE: &[Flag] = &[
    Flag {
        long: "addresses",
        short: Some('a'),
        value: Some("HOST:PORT"),
        help: "nodes",
    },
    Flag {
        long: "clients",
        short: Some('c'),
        value: Some("N"),
        help: "clients",
    },
    Flag {
        long: "duration",
        short: Some('d'),
        value: Some("D"),
        help: "how long",
    },
    Flag {
        long: "json",
        short: Some('j'),
        value: None,
        help: "JSON",
    },
    Flag {
        long: "verify",
        short: Some('v'),
        value: None,
        help: "count",
    },
];

fn parse(line: &str) -> Result<Arguments, Error> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Arguments::parse(TABLE, &words)
}

#[test]
fn every_form_of_a_value_is_understood() {
    for line in ["--clients 8", "--clients=8", "-c 8", "-c8", "-c=8", "-c 3 --clients 8"] {
        let arguments = parse(line).unwrap();
        assert_eq!(arguments.number::<usize>("clients").unwrap(), Some(8), "{line}");
        assert!(arguments.words.is_empty(), "{line}");
    }
}

#[test]
fn booleans_stand_alone_combine_and_can_be_refused() {
    let arguments = parse("write -jv").unwrap();
    assert!(arguments.is_set("json") && arguments.is_set("verify"));
    assert_eq!(arguments.words, ["write"]);
    assert!(!parse("--json=false").unwrap().is_set("json"));
    assert!(!parse("write").unwrap().is_set("json"));
    assert_eq!(parse("-jc8").unwrap().text("clients"), Some("8"));
}

#[test]
fn two_dashes_end_the_flags() {
    assert_eq!(parse("a -- -c --json").unwrap().words, ["a", "-c", "--json"]);
}

#[test]
fn what_is_not_in_the_table_is_named() {
    for (line, text) in [
        ("--nope", "undefined option --nope"),
        ("-x", "undefined option -x"),
        ("-clients", "is not a number"),
        ("--clients", "option --clients needs a value"),
        ("--clients --json", "option --clients needs a value"),
    ] {
        let error = match parse(line) {
            Ok(arguments) => arguments.number::<usize>("clients").unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains(text), "{line}: {error}");
    }
}

#[test]
fn durations_are_go_text_or_seconds() {
    for (text, millis) in [
        ("250ms", 250),
        ("1.5s", 1500),
        ("1m30s", 90_000),
        ("2", 2000),
        ("0", 0),
        ("1h", 3_600_000),
    ] {
        assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
    }
    for text in ["", "1d", "s", "ms5", "-1s", "1.5.2s", "10s5"] {
        assert_eq!(duration(text), None, "{text}");
    }
}

#[test]
fn help_names_each_flag() {
    let text = help(TABLE);
    assert_eq!(text.lines().count(), TABLE.len());
    assert!(text.contains("-a, --addresses HOST:PORT"));
}

//! Tests of what command lines mean.

use super::*;

fn parse(line: &str) -> Result<Options, Error> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    Options::parse(&words).map(|options| options.expect("no help was asked for"))
}

#[test]
fn a_bare_work_gets_the_defaults() {
    let options = parse("write").unwrap();
    assert_eq!((options.kind, options.clients), (Kind::Write, 1));
    assert_eq!(options.addresses, ["127.0.0.1:4001"]);
    assert_eq!((options.extent, options.warmup), (Extent::For(DURATION), WARMUP));
    assert!(options.rate.is_none() && options.setup && !options.keep_going && !options.json);
}

#[test]
fn flags_say_the_rest() {
    let options = parse("read -a h1:1,h2:2 -c 64 -d 2s -r 500.5 --warmup 1s -l strong --keys 77 --json").unwrap();
    assert_eq!(options.addresses, ["h1:1", "h2:2"]);
    assert_eq!(
        (options.clients, options.rate, options.level),
        (64, Some(500.5), Level::Strong)
    );
    assert_eq!(
        (options.extent, options.warmup),
        (Extent::For(Duration::from_secs(2)), Duration::from_secs(1))
    );
    assert_eq!((options.keys, options.json), (77, true));
}

#[test]
fn a_count_of_requests_has_no_warmup_unless_asked() {
    let options = parse("bulk -n 10 -b 500").unwrap();
    assert_eq!(
        (options.extent, options.warmup, options.batch),
        (Extent::Requests(10), Duration::ZERO, 500)
    );
    assert_eq!(parse("bulk -n 10 -w 1s").unwrap().warmup, Duration::from_secs(1));
}

#[test]
fn a_failover_trace_goes_on_and_gives_up_early() {
    let options = parse("write --failover-trace").unwrap();
    assert!(options.keep_going);
    assert_eq!(options.timeout, TRACE_TIMEOUT);
}

#[test]
fn impossible_lines_are_refused_with_a_reason() {
    for (line, text) in [
        ("", "name one work: write, bulk"),
        ("write read", "name one work"),
        ("wrote", "unknown work \"wrote\""),
        ("write -c 0", "--clients"),
        ("write -c many", "--clients: \"many\" is not a number"),
        ("write -d 5x", "--duration: \"5x\" is not a duration"),
        ("write -n 5 -d 5s", "exclude each other"),
        ("write -r 0", "--rate"),
        ("write -n 0", "--requests"),
        ("write -a localhost", "--addresses"),
        ("read -l sure", "--level"),
        ("read --verify", "--verify: this work writes nothing"),
        ("write --verify --no-setup", "--verify"),
        ("read --failover-trace", "--failover-trace"),
        ("mixed --reads 101", "--reads"),
        ("write --nope", "undefined option --nope"),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.to_string().contains(text), "{line:?}: {error}");
    }
}

#[test]
fn help_names_every_work_and_flag() {
    assert!(Options::parse(&["--help".to_owned()]).unwrap().is_none());
    let text = usage();
    assert!(KINDS.iter().all(|(name, ..)| text.contains(name)));
    assert!(FLAGS.iter().all(|flag| text.contains(flag.long)));
}

//! Tests of the runner's flags.

use super::*;

#[test]
fn flags_are_read_and_have_defaults() {
    let options = Options::parse(&[]).unwrap();
    assert_eq!(
        (options.rounds, options.time, options.quorlited.clone()),
        (3, Duration::from_secs(2), None)
    );
    assert!(options.quorlite.ends_with("quorlite") && options.wants("anything"));
    let words = [
        "--quorlited",
        "/x/quorlited",
        "--consensus",
        "/x/writes",
        "--rounds",
        "5",
        "--seconds",
        "0.5",
        "--only",
        "reads",
    ];
    let options = Options::parse(&words).unwrap();
    assert_eq!((options.rounds, options.time), (5, Duration::from_millis(500)));
    assert_eq!(options.quorlited, Some("/x/quorlited".into()));
    assert_eq!(options.consensus, Some("/x/writes".into()));
    assert!(options.wants("point reads, none") && !options.wants("durable writes"));
}

#[test]
fn what_makes_no_sense_is_named() {
    for (words, text) in [
        (&["--rounds"][..], "--rounds needs a value"),
        (&["--rounds", "0"], "at least one"),
        (&["--rounds", "x"], "--rounds x"),
        (&["--seconds", "-1"], "--seconds -1"),
        (&["--fast", "1"], "unknown flag --fast"),
    ] {
        let error = format!("{:#}", Options::parse(words).unwrap_err());
        assert!(error.contains(text), "{words:?}: {error}");
    }
}

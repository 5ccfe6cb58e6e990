//! Command lines.

use super::{Arguments, Weakness};

fn parsed(text: &str) -> Result<Arguments, String> {
    Arguments::parse(text.split_whitespace().map(str::to_owned)).map_err(|error| format!("{error:#}"))
}

#[test]
fn defaults_are_the_long_run() {
    let arguments = parsed("").unwrap();
    assert_eq!((arguments.nodes, arguments.rounds, arguments.seconds), (3, 100, 10));
    assert!(!arguments.is_sabotage());
}

#[test]
fn every_word_is_read() {
    let arguments = parsed("--nodes 5 --rounds 2 --seconds 3 --seed 4 --bin b --weaken batches").unwrap();
    assert_eq!((arguments.nodes, arguments.rounds, arguments.seconds), (5, 2, 3));
    assert_eq!((arguments.seed, arguments.bin.to_str()), (Some(4), Some("b")));
    assert_eq!(arguments.weakness, Some(Weakness::Batches));
    assert!(parsed("--lie *.log").unwrap().is_sabotage());
}

#[test]
fn what_makes_no_sense_is_refused() {
    for text in [
        "--rounds",
        "--rounds x",
        "--nodes 2",
        "--rounds 0",
        "--weaken all",
        "--what",
    ] {
        assert!(parsed(text).is_err(), "{text}");
    }
}

//! Tests of reading what the example says.

use super::*;

#[test]
fn what_the_example_says_is_read() {
    let line = "31000/s, p50 29 us, p99 71 us, 0 flushes\n";
    assert_eq!(parse(line).unwrap(), (31_000.0, 29.0, 71.0));
    let error = parse("usage: writes").unwrap_err().to_string();
    assert!(error.contains("usage: writes"), "{error}");
}

#[test]
fn a_program_that_fails_is_an_error_with_its_reason() {
    let mut samples = Samples::default();
    let error = turns(Path::new("/bin/false"), Duration::from_secs(1), &mut samples).unwrap_err();
    assert!(
        error.to_string().starts_with("consensus in memory, 1 node, 1 client"),
        "{error}"
    );
}

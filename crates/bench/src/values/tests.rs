//! Tests of values and keys.

#[test]
fn values_are_those_of_the_load_generator() {
    assert_eq!(&*super::value(1), "1cc52098ced2a0192cea8ea9b59e7faf75c82a73");
}

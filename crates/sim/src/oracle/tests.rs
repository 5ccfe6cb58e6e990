//! The oracle's own parts: its stream, its grammar, and what it says of apply alone.

use command::request::Write;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::chance::Chance;
use crate::oracle::grammar::Grammar;
use crate::oracle::plain::{Plain, Ran};
use crate::oracle::shrink;
use crate::oracle::stream::Stream;

#[test]
fn the_stream_is_the_one_that_production_draws() {
    for seed in [0, 1, 42, u64::MAX, 0x0123_4567_89ab_cdef] {
        let mut theirs = ChaCha8Rng::seed_from_u64(seed);
        let mut ours = Stream::new(seed);
        for length in (0..90).chain([400]) {
            let mut bytes = vec![0; length];
            theirs.fill_bytes(&mut bytes);
            assert_eq!(ours.bytes(length), bytes, "seed {seed}, {length} bytes");
            let number = theirs.next_u64().cast_signed();
            let number = if number < 0 { -(number & i64::MAX) } else { number };
            assert_eq!(ours.integer(), number, "seed {seed}");
        }
    }
}

/// What a seed's clients would send, one after the other.
fn writes(seed: u64, count: u64) -> Vec<Write> {
    let mut grammar = Grammar::new(Chance::new(seed, "grammar"), seed.is_multiple_of(2));
    let mut plain = Plain::new(seed.is_multiple_of(2)).unwrap();
    let mut writes = Vec::new();
    for number in 0..count {
        let draft = grammar.draft();
        let statements = if number == 0 {
            Grammar::prelude()
        } else {
            draft.statements.clone()
        };
        let write = Write {
            statements,
            atomic: draft.is_atomic,
            kind: draft.kind.into(),
            clock_us: 1_790_000_000_000_000 + i64::try_from(number * 1_234_567).unwrap(),
            seed: seed * 1000 + number,
            steps_max: 0,
            key: None,
        };
        if let Ran::Answered(reply) = plain.run(&write) {
            grammar.learn(&draft, &super::client::errors(&reply));
        }
        writes.push(write);
    }
    writes
}

#[test]
fn apply_alone_is_plain_sqlite() {
    for seed in 1..=12 {
        let writes = writes(seed, 120);
        for batch in [1, 20] {
            let found = shrink::differs(&writes, seed.is_multiple_of(2), batch);
            if found.is_some() {
                panic!("seed {seed}: {}", shrink::told(&writes, seed.is_multiple_of(2)));
            }
        }
    }
}

//! Every input that fuzzing kept, and every seed, once more: what was mended stays mended.
//!
//! One test, since memory is counted for the whole process.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use peak_alloc::PeakAlloc;
use targets::{Meter, TARGETS, Target};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Room for what the test harness does beside the test.
const SLACK_BYTES: usize = 64 * 1024;

#[derive(Default)]
struct Heap {
    held: Cell<usize>,
}

impl Meter for Heap {
    fn start(&self) {
        MEMORY.reset_peak_usage();
        self.held.set(MEMORY.current_usage() + SLACK_BYTES);
    }

    fn peak(&self) -> usize {
        MEMORY.peak_usage().saturating_sub(self.held.get())
    }
}

#[test]
fn every_kept_input_passes() {
    for target in TARGETS {
        let kept = corpus(&target);
        assert!(kept.len() > 100, "{target:?} has a corpus of {}", kept.len());
        for input in kept.into_iter().chain((target.seeds)()) {
            // Shown only when what follows panics.
            eprintln!("{target:?} {}", input.escape_ascii());
            (target.run)(&input, &Heap::default());
        }
    }
}

/// A line for each input, in base64.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target.name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| STANDARD.decode(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

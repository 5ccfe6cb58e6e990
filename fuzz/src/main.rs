//! libFuzzer around one target of `crates/targets`, which the environment names: scripts/fuzz runs it.
#![no_main]

use std::cell::Cell;
use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use targets::{Meter, TARGETS, Target};

mod seeds;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TARGET").unwrap_or_default();
    let named = TARGETS.into_iter().find(|target| target.name == name);
    named.unwrap_or_else(|| panic!("TARGET must be one of {TARGETS:?}, not \"{name}\""))
});

/// What the allocator has given out; there is one thread that asks it.
#[derive(Default)]
struct Heap {
    held: Cell<usize>,
}

impl Meter for Heap {
    fn start(&self) {
        MEMORY.reset_peak_usage();
        self.held.set(MEMORY.current_usage());
    }

    fn peak(&self) -> usize {
        MEMORY.peak_usage().saturating_sub(self.held.get())
    }
}

/// With `SEEDS=FOLDER`, writes what runs begin with, and ends.
fn begin() {
    let Some(folder) = std::env::var_os("SEEDS") else {
        return;
    };
    match seeds::write_all(Path::new(&folder)) {
        Ok(()) => std::process::exit(0),
        Err(error) => panic!("write the seeds below {}: {error}", Path::new(&folder).display()),
    }
}

fuzz_target!(init: begin(), |input: &[u8]| (TARGET.run)(input, &Heap::default()));

//! Yard: what the fuzzer drives, and what must hold of it whatever the input.
//!
//! Each target is a function from bytes to nothing that panics when a promise is broken. `fuzz/` lets an engine look for
//! such bytes, guided by coverage; a test of this crate feeds each target the inputs that were kept. Nothing depends on
//! this crate but these two.
//!
//! Promises of every target:
//! * No input panics.
//! * Memory follows the input (D12): reading allocates at most [`BYTES_PER_BYTE`] times its length and a constant.

use std::fmt;

mod body;
mod duration;
mod flags;
mod frames;
mod parameters;
mod params;
mod seeds;

/// What reading may hold in memory for each byte that it reads. The worst is the list of parameters: `0,` becomes one of
/// 64 bytes, and a vector that grows holds three times what it had.
pub const BYTES_PER_BYTE: usize = 192;

/// What reading may hold besides: buffers for reads from sockets, most of all.
pub const BYTES_FIXED: usize = 256 * 1024;

/// One thing that is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its corpus.
    pub name: &'static str,
    /// Drives it.
    pub run: fn(&[u8], &dyn Meter),
    /// Inputs to begin with, from the specification's examples.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words of its input, which an engine would be long in finding.
    pub words: &'static [&'static str],
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Target").field(&self.name).finish()
    }
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "body",
        run: body::run,
        seeds: seeds::body,
        words: seeds::JSON,
    },
    Target {
        name: "query",
        run: params::run,
        seeds: seeds::query,
        words: seeds::QUERY,
    },
    Target {
        name: "parameters",
        run: parameters::run,
        seeds: seeds::parameters,
        words: seeds::JSON,
    },
    Target {
        name: "frames",
        run: frames::run,
        seeds: seeds::frames,
        words: seeds::FRAMES,
    },
    Target {
        name: "flags",
        run: flags::run,
        seeds: seeds::flags,
        words: seeds::FLAGS,
    },
];

/// Measures memory, for engines that can.
pub trait Meter {
    /// Begins to measure.
    fn start(&self);
    /// Most bytes that were held at a time since then, above what was held at [`Self::start`].
    fn peak(&self) -> usize;
}

/// Does `work`, which reads `input_bytes` of input, within its memory.
fn bounded<T>(meter: &dyn Meter, input_bytes: usize, work: impl FnOnce() -> T) -> T {
    let bytes_max = BYTES_FIXED + BYTES_PER_BYTE * input_bytes;
    meter.start();
    let done = work();
    let bytes = meter.peak();
    assert!(
        bytes <= bytes_max,
        "{bytes} bytes of memory for {input_bytes} bytes of input, where {bytes_max} are the limit"
    );
    done
}

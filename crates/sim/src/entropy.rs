//! The process's entropy: after [`seed`], every byte that the operating system would draw comes from the seed.
//!
//! tokio's `select!` and `watch`, the keys of hash maps and openraft's election timers all draw their randomness from
//! `getrandom(2)`, each in its own way. The executable's own definition of that one function stands before the C
//! library's, so that a run is a function of its seed without patching any of them. This is why a seed has a process
//! of its own, and why the simulation runs on a thread that was started after [`seed`]: keys are kept per thread.
//!
//! Owns nothing else; before [`seed`] the kernel answers as always.
#![allow(unsafe_code)]

use std::ffi::{c_uint, c_void};
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

static SEEDED: Mutex<Option<ChaCha8Rng>> = Mutex::new(None);

/// From now on entropy is a function of `seed`.
pub fn seed(seed: u64) {
    *SEEDED.lock().unwrap_or_else(PoisonError::into_inner) = Some(ChaCha8Rng::seed_from_u64(seed));
}

/// Stands in for the C library's function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let mut seeded = SEEDED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(generator) = seeded.as_mut() else {
        // SAFETY: the system call takes exactly these three arguments, which the caller vouches for.
        let drawn = unsafe { libc::syscall(libc::SYS_getrandom, buffer, length, flags) };
        return isize::try_from(drawn).unwrap_or(-1);
    };
    if length > 0 {
        // SAFETY: the caller gives `length` writable bytes at `buffer`.
        let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), length) };
        generator.fill_bytes(bytes);
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

#[cfg(test)]
mod tests;

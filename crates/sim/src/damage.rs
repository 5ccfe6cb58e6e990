//! What the simulator knows of a machine whose database it has damaged or led astray: until when it may be wrong.
//!
//! ```text
//!  pages rot, or astray ──► wrong ──┬─ another generation of the database (re-seeded, snapshot) ──► right
//!                                   ├─ wiped ──────────────────────────────────────────────────────► right
//!                                   └─ verified: the same as a machine that was never wrong ───────► right
//! ```

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use store::divergence::marks::{Mark, SOUND};
use store::status::Status;

/// A database that may be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Its pages are damaged: what it answers may be wrong. Otherwise only what nobody reads before the end.
    pub lies: bool,
    /// It may still become so: it is led astray.
    pub goes_on: bool,
    /// The generation that is wrong, by the name of its folder; `None` until that is known.
    pub generation: Option<OsString>,
    /// Marks after this index say whether it is; `u64::MAX` until that is known.
    pub through: u64,
}

/// The generation that counts in a data directory that no process has open.
pub fn generation_in(folder: &Path) -> Option<OsString> {
    // The pointer of docs/formats.md: magic, version, generation, checksum.
    let pointer = fs::read(folder.join("db/current")).ok()?;
    let number = u64::from_le_bytes(pointer.get(16..24)?.try_into().ok()?);
    Some(number.to_string().into())
}

/// The generation that a process has open.
pub fn generation(status: &Status) -> Option<OsString> {
    status.database.parent()?.file_name().map(OsString::from)
}

impl Damage {
    /// Whether what was wrong is gone, by what the process says that has it open, and what one says that was never wrong.
    pub fn is_over(&mut self, status: &Status, sound: Option<&Status>) -> bool {
        if self.goes_on {
            // Whatever takes its place goes astray as well.
            return false;
        }
        if self.generation.is_none() {
            self.generation = generation(status);
        }
        if self.through == u64::MAX {
            self.through = status.applied.0;
        }
        self.generation != generation(status) || sound.is_some_and(|sound| self.is_same(status, sound))
    }

    /// The same effects and content, found of both at one index each, after what may have made a difference.
    fn is_same(&self, status: &Status, sound: &Status) -> bool {
        let (mine, theirs) = (&status.soundness, &sound.soundness);
        let is_late = |mark: Option<Mark>| mark.is_some_and(|mark| mark.index > self.through);
        let is_sound = mine.check.is_some_and(|check| check.hash == SOUND);
        mine.effect == theirs.effect
            && mine.content == theirs.content
            && mine.memory == theirs.memory
            && mine.check == theirs.check
            && is_late(mine.effect)
            && is_late(mine.content)
            && is_sound
    }
}

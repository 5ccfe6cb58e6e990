//! A make-believe database, as a whole.

use std::ops::ControlFlow;
use std::sync::Mutex;

use sqlite::Cancel;
use store::backup::Form;

use crate::http::vault::Vault;

/// How a backup ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    #[default]
    Whole,
    /// Before its first byte.
    AtOnce,
    /// After a few chunks.
    Broken,
}

/// A database that is its form's name, ten thousand times.
#[derive(Default)]
pub struct Fake {
    end: Mutex<End>,
}

/// The whole of a backup.
pub fn content(form: &Form) -> String {
    format!("{form:?};").repeat(10_000)
}

impl Fake {
    pub fn end(&self, end: End) {
        *self.end.lock().unwrap() = end;
    }
}

impl Vault for Fake {
    fn backup(
        &self,
        form: &Form,
        _cancel: &Cancel,
        sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), sqlite::Error> {
        let end = *self.end.lock().unwrap();
        let broken = || sqlite::Error::Transfer("the disk is gone".to_owned());
        if end == End::AtOnce {
            return Err(broken());
        }
        for piece in content(form).as_bytes().chunks(1000) {
            if sink(piece).is_break() {
                return Err(sqlite::Error::Interrupted);
            }
        }
        if end == End::Broken { Err(broken()) } else { Ok(()) }
    }
}

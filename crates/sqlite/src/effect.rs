//! The effect hash: what an entry did, folded into one number that replicas compare (design: divergence alarm).
//!
//! It covers rows affected, last rowids, classes of errors and the rows of RETURNING: not texts, and not the results of
//! reads, which may differ without the content differing.

use command::reply::{Changes, Row};
use command::statement::Value;
use xxhash_rust::xxh3::Xxh3;

/// Folds one entry's effects onto those of all before it.
pub(crate) struct Fold {
    hash: Xxh3,
}

impl Fold {
    /// Begins with the hash over all earlier entries.
    pub(crate) fn new(before: u64) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&before.to_le_bytes());
        Self { hash }
    }

    /// A write's counters.
    pub(crate) fn changes(&mut self, changes: &Changes) {
        self.hash.update(b"C");
        self.hash.update(&changes.last_insert_id.to_le_bytes());
        self.hash.update(&changes.rows_affected.to_le_bytes());
    }

    /// A failure, by SQLite's primary code.
    pub(crate) fn error(&mut self, class: i32) {
        self.hash.update(b"E");
        self.hash.update(&class.to_le_bytes());
    }

    /// The whole request failed.
    pub(crate) fn request_failed(&mut self) {
        self.hash.update(b"F");
    }

    /// Rows of RETURNING.
    pub(crate) fn rows(&mut self, rows: &[Row]) {
        self.hash.update(b"R");
        for row in rows {
            self.hash.update(b"r");
            for cell in &row.cells {
                self.value(cell.value.as_ref());
            }
        }
    }

    /// The hash over all entries up to this one.
    pub(crate) fn finish(&self) -> u64 {
        self.hash.digest()
    }

    fn value(&mut self, value: Option<&Value>) {
        let (kind, bytes): (&[u8], &[u8]) = match value {
            None => (b"n", &[]),
            Some(Value::Integer(number)) => (b"i", &number.to_le_bytes()),
            Some(Value::Real(number)) => (b"d", &number.to_bits().to_le_bytes()),
            Some(Value::Text(text)) => (b"t", text.as_bytes()),
            Some(Value::Blob(blob)) => (b"b", blob),
        };
        self.hash.update(kind);
        self.hash.update(&(bytes.len() as u64).to_le_bytes());
        self.hash.update(bytes);
    }
}

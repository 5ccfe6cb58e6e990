//! The memory of keys (idempotency): rows of `sqlite_quorlite_keys` and `sqlite_quorlite_windows`.
//!
//! Stores and finds; what is remembered for how long is the store's business. All within the writer's transaction, so
//! that a key and the effect of its write are there together or not at all (D2).

use command::rows::CellRef;

use crate::error::Error;
use crate::writer::Writer;

const FIND_KEY: &str = "SELECT idx, body, reply FROM sqlite_quorlite_keys WHERE key=?1";
const KEEP_KEY: &str = "INSERT INTO sqlite_quorlite_keys(idx, key, body, reply) VALUES(?1,?2,?3,?4)";
const COUNT_KEYS: &str = "SELECT count(*) FROM sqlite_quorlite_keys";
const OLDEST_KEY: &str = "SELECT min(idx) FROM sqlite_quorlite_keys";
const FORGET_KEY: &str = "DELETE FROM sqlite_quorlite_keys WHERE idx=?1";
const WINDOWS: &str = "SELECT incarnation, boot, used, highest, bits FROM sqlite_quorlite_windows";
const KEEP_WINDOW: &str =
    "REPLACE INTO sqlite_quorlite_windows(incarnation, boot, used, highest, bits) VALUES(?1,?2,?3,?4,?5)";
const FORGET_WINDOW: &str = "DELETE FROM sqlite_quorlite_windows WHERE incarnation=?1 AND boot=?2";

/// A client's key and what its write answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// The log index at which the write was applied.
    pub index: u64,
    /// Hash of the request's body.
    pub body_hash: u64,
    /// The encoded reply; `None` when it was too large to keep.
    pub reply: Option<Vec<u8>>,
}

/// The sequences that one boot of a forwarding node has used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptWindow {
    /// The node's incarnation.
    pub incarnation: u64,
    /// Random per process start.
    pub boot: u64,
    /// The log index of the last write under it.
    pub used: u64,
    /// The highest sequence seen.
    pub highest: u64,
    /// One bit for each sequence at and below the highest.
    pub bits: Vec<u8>,
}

impl Writer {
    /// What is kept under a client's key.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn find_key(&self, key: &str) -> Result<Option<KeptKey>, Error> {
        let mut found = None;
        self.visit_own(FIND_KEY, &[CellRef::Text(key.as_bytes())], |row| {
            let [CellRef::Integer(index), CellRef::Integer(body), reply] = *row else {
                return;
            };
            found = Some(KeptKey {
                index: index as u64,
                body_hash: body as u64,
                reply: match reply {
                    CellRef::Blob(bytes) => Some(bytes.to_vec()),
                    CellRef::Null | CellRef::Integer(_) | CellRef::Real(_) | CellRef::Text(_) => None,
                },
            });
        })?;
        Ok(found)
    }

    /// Keeps a client's key, which is not kept yet.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn keep_key(&self, key: &str, kept: &KeptKey) -> Result<(), Error> {
        let reply = kept.reply.as_deref().map_or(CellRef::Null, CellRef::Blob);
        self.run_own(
            KEEP_KEY,
            &[
                CellRef::Integer(kept.index as i64),
                CellRef::Text(key.as_bytes()),
                CellRef::Integer(kept.body_hash as i64),
                reply,
            ],
        )
    }

    /// How many client keys are kept.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn count_keys(&self) -> Result<u64, Error> {
        Ok(self.number(COUNT_KEYS)?.unwrap_or(0))
    }

    /// The log index of the oldest client key.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn oldest_key(&self) -> Result<Option<u64>, Error> {
        self.number(OLDEST_KEY)
    }

    /// Forgets the client key that was kept at `index`.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn forget_key(&self, index: u64) -> Result<(), Error> {
        self.run_own(FORGET_KEY, &[CellRef::Integer(index as i64)])
    }

    /// All windows, ordered by incarnation and boot.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn windows(&self) -> Result<Vec<KeptWindow>, Error> {
        let mut windows = Vec::new();
        self.visit_own(WINDOWS, &[], |row| {
            let [
                CellRef::Integer(incarnation),
                CellRef::Integer(boot),
                CellRef::Integer(used),
                CellRef::Integer(highest),
                CellRef::Blob(bits),
            ] = *row
            else {
                return;
            };
            windows.push(KeptWindow {
                incarnation: incarnation as u64,
                boot: boot as u64,
                used: used as u64,
                highest: highest as u64,
                bits: bits.to_vec(),
            });
        })?;
        Ok(windows)
    }

    /// Keeps a window in place of what was kept for its boot.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn keep_window(&self, window: &KeptWindow) -> Result<(), Error> {
        self.run_own(
            KEEP_WINDOW,
            &[
                CellRef::Integer(window.incarnation as i64),
                CellRef::Integer(window.boot as i64),
                CellRef::Integer(window.used as i64),
                CellRef::Integer(window.highest as i64),
                CellRef::Blob(&window.bits),
            ],
        )
    }

    /// Forgets the window of a boot.
    ///
    /// # Errors
    ///
    /// [`Error::Node`].
    pub fn forget_window(&self, incarnation: u64, boot: u64) -> Result<(), Error> {
        self.run_own(
            FORGET_WINDOW,
            &[CellRef::Integer(incarnation as i64), CellRef::Integer(boot as i64)],
        )
    }

    fn number(&self, sql: &'static str) -> Result<Option<u64>, Error> {
        let mut number = None;
        self.visit_own(sql, &[], |row| {
            if let [CellRef::Integer(value)] = *row {
                number = Some(value as u64);
            }
        })?;
        Ok(number)
    }
}

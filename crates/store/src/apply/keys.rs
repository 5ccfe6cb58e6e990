//! Keys: a write that comes again is answered, not run (D9).
//!
//! A client's key is kept with its reply; both are replicated. A forwarding node's key is kept as one bit in a window
//! per boot of that node, and its reply only in this node's memory, for the common case of a lost answer.
//!
//! ```text
//!  window   highest ─────────────────────────── highest − SEQUENCES
//!           1 0 1 1 1 0 …            1 ran       below: too old, refused as unknown
//! ```
//!
//! Invariants:
//! * What is kept and forgotten depends on the log alone (D3).
//! * A key whose memory may be gone is refused as unknown, never run.

use std::collections::{BTreeMap, VecDeque};

use command::reply::Reply;
use command::request::{ClientKey, ForwardKey, Key, KeyOrigin};
use prost::Message;
use sqlite::keys::{KeptKey, KeptWindow};
use sqlite::{Error, Writer};

/// Client keys that are kept; the oldest goes first.
const CLIENT_KEYS_MAX: u64 = 32_768;
/// Log entries after which a client key is forgotten.
const CLIENT_KEY_AGE_MAX: u64 = 1_000_000;
/// Bytes of a reply that is kept with a client key; of a larger one it is only known that it was given.
const KEPT_REPLY_BYTES_MAX: usize = 16 * 1024;
/// Log entries after which a forwarding node's key is refused as unknown.
const FORWARD_HORIZON: u64 = 100_000;
/// Sequences that a window remembers: more than a node has under way at a time.
const SEQUENCES: u64 = 4096;
/// Windows that are kept: boots of forwarding nodes within the horizon.
const WINDOWS_MAX: usize = 1024;
/// Replies to forwarded writes in this node's memory.
const FORWARD_REPLIES_MAX: usize = 1024;

const REUSED: &str = "this idempotency key was used before with another request";
const NOT_KEPT: &str = "this request was applied before; its reply was too large to keep";
const REPLY_GONE: &str = "this request was applied before; its reply is no longer kept";
const UNKNOWN: &str = "whether this request was applied is not known any more: its key is too old";
const TOO_MANY: &str = "more nodes forward writes than are remembered: try again later";

/// What a key says about a write.
pub(super) enum Claim {
    /// It is new, or has no key.
    Run,
    /// It has an answer already, or is refused.
    Answered(Reply),
}

type WindowKey = (u64, u64);

/// See the head of this file.
pub(super) struct Keys {
    /// Client keys that are kept; with the running transaction, and without.
    client_keys: u64,
    client_keys_committed: u64,
    windows: BTreeMap<WindowKey, KeptWindow>,
    /// What the running transaction has changed, as it was before.
    before: BTreeMap<WindowKey, Option<KeptWindow>>,
    replies: VecDeque<(ForwardKey, Reply)>,
}

impl Keys {
    /// Reads what is kept.
    pub(super) fn load(writer: &Writer) -> Result<Self, Error> {
        let client_keys = writer.count_keys()?;
        let windows = writer.windows()?;
        Ok(Self {
            client_keys,
            client_keys_committed: client_keys,
            windows: windows.into_iter().map(|it| ((it.incarnation, it.boot), it)).collect(),
            before: BTreeMap::new(),
            replies: VecDeque::new(),
        })
    }

    /// Looks whether what came under `key`, at `index` in the log, may run.
    pub(super) fn claim(&mut self, writer: &Writer, index: u64, key: Option<&Key>) -> Result<Claim, Error> {
        match origin(key) {
            None => Ok(Claim::Run),
            Some(KeyOrigin::Client(key)) => self.claim_client(writer, index, key),
            Some(KeyOrigin::Forward(key)) => Ok(self.claim_forward(index, key)),
        }
    }

    /// Keeps the reply of a write that has run.
    pub(super) fn keep(&mut self, writer: &Writer, index: u64, key: Option<&Key>, reply: &Reply) -> Result<(), Error> {
        match origin(key) {
            None => Ok(()),
            Some(KeyOrigin::Client(key)) => {
                let bytes = timeless(reply).encode_to_vec();
                let kept = KeptKey {
                    index,
                    body_hash: key.body_hash,
                    reply: (bytes.len() <= KEPT_REPLY_BYTES_MAX).then_some(bytes),
                };
                writer.keep_key(&key.key, &kept)?;
                self.client_keys += 1;
                Ok(())
            }
            Some(KeyOrigin::Forward(key)) => {
                self.mark(index, key);
                if self.replies.len() == FORWARD_REPLIES_MAX {
                    self.replies.pop_front();
                }
                if reply.encoded_len() <= KEPT_REPLY_BYTES_MAX {
                    self.replies.push_back((*key, reply.clone()));
                }
                Ok(())
            }
        }
    }

    /// Writes the windows that changed, within the transaction.
    pub(super) fn write(&self, writer: &Writer) -> Result<(), Error> {
        for key @ (incarnation, boot) in self.before.keys() {
            match self.windows.get(key) {
                Some(window) => writer.keep_window(window)?,
                None => writer.forget_window(*incarnation, *boot)?,
            }
        }
        Ok(())
    }

    /// The transaction has committed.
    pub(super) fn committed(&mut self) {
        self.before.clear();
        self.client_keys_committed = self.client_keys;
    }

    /// The transaction was undone.
    pub(super) fn rolled_back(&mut self) {
        for (key, window) in std::mem::take(&mut self.before) {
            match window {
                Some(window) => self.windows.insert(key, window),
                None => self.windows.remove(&key),
            };
        }
        // The entries run again and answer again. A reply that is not in the window is not asked for.
        self.client_keys = self.client_keys_committed;
    }

    fn claim_client(&mut self, writer: &Writer, index: u64, key: &ClientKey) -> Result<Claim, Error> {
        while let Some(oldest) = writer.oldest_key()? {
            if self.client_keys < CLIENT_KEYS_MAX && oldest + CLIENT_KEY_AGE_MAX >= index {
                break;
            }
            writer.forget_key(oldest)?;
            self.client_keys -= 1;
        }
        let Some(kept) = writer.find_key(&key.key)? else {
            return Ok(Claim::Run);
        };
        if kept.body_hash != key.body_hash {
            return Ok(refused(index, REUSED, "key_reused"));
        }
        let reply = kept.reply.as_deref().map(Reply::decode);
        Ok(match reply {
            Some(Ok(reply)) => Claim::Answered(reply),
            Some(Err(_)) | None => refused(kept.index, NOT_KEPT, "reply_not_kept"),
        })
    }

    fn claim_forward(&mut self, index: u64, key: &ForwardKey) -> Claim {
        let at = (key.incarnation, key.boot);
        if key.issued_at + FORWARD_HORIZON < index {
            return refused(index, UNKNOWN, "unknown");
        }
        match self.windows.get(&at) {
            None if self.windows.len() >= WINDOWS_MAX => {
                self.forget_old(index);
                if self.windows.len() >= WINDOWS_MAX {
                    // It did not run under this key: whoever gave it may try again.
                    return refused(index, TOO_MANY, "not_appended");
                }
                Claim::Run
            }
            None => Claim::Run,
            Some(window) if key.sequence + SEQUENCES <= window.highest => refused(index, UNKNOWN, "unknown"),
            Some(window) if is_marked(window, key.sequence) => {
                let known = self.replies.iter().rev().find(|(known, _)| same(known, key));
                match known {
                    Some((_, reply)) => Claim::Answered(reply.clone()),
                    None => refused(index, REPLY_GONE, "reply_not_kept"),
                }
            }
            Some(_) => Claim::Run,
        }
    }

    /// Forgets windows under which no key can come that would not be refused as too old.
    fn forget_old(&mut self, index: u64) {
        let old: Vec<WindowKey> = self
            .windows
            .iter()
            .filter(|(_, window)| window.used + FORWARD_HORIZON < index)
            .map(|(key, _)| *key)
            .collect();
        for key in old {
            let window = self.windows.remove(&key);
            self.before.entry(key).or_insert(window);
        }
    }

    fn mark(&mut self, index: u64, key: &ForwardKey) {
        let at = (key.incarnation, key.boot);
        let before = self.windows.get(&at).cloned();
        self.before.entry(at).or_insert(before);
        let window = self.windows.entry(at).or_insert_with(|| KeptWindow {
            incarnation: key.incarnation,
            boot: key.boot,
            used: index,
            highest: key.sequence,
            bits: vec![0; (SEQUENCES / 8) as usize],
        });
        window.used = index;
        // The bits are a ring: a sequence has the place of the one that is `SEQUENCES` older.
        let newly = window.highest + 1..=key.sequence;
        for sequence in newly.clone().take(SEQUENCES as usize) {
            set(window, sequence, false);
        }
        if key.sequence > window.highest + SEQUENCES {
            window.bits.fill(0);
        }
        window.highest = window.highest.max(key.sequence);
        set(window, key.sequence, true);
    }
}

fn origin(key: Option<&Key>) -> Option<&KeyOrigin> {
    key.and_then(|key| key.origin.as_ref())
}

fn same(one: &ForwardKey, other: &ForwardKey) -> bool {
    (one.incarnation, one.boot, one.sequence) == (other.incarnation, other.boot, other.sequence)
}

fn refused(index: u64, message: &str, code: &str) -> Claim {
    let mut reply = Reply::failed(message, code);
    reply.index = index;
    Claim::Answered(reply)
}

/// A reply without the times of the node that gave it: they are no replicated state.
fn timeless(reply: &Reply) -> Reply {
    let mut reply = reply.clone();
    for outcome in &mut reply.outcomes {
        outcome.elapsed_ns = 0;
    }
    reply
}

fn place(sequence: u64) -> (usize, u8) {
    let bit = sequence % SEQUENCES;
    ((bit / 8) as usize, 1 << (bit % 8))
}

fn is_marked(window: &KeptWindow, sequence: u64) -> bool {
    let (byte, mask) = place(sequence);
    sequence <= window.highest && window.bits.get(byte).is_some_and(|bits| bits & mask != 0)
}

fn set(window: &mut KeptWindow, sequence: u64, ran: bool) {
    let (byte, mask) = place(sequence);
    if let Some(bits) = window.bits.get_mut(byte) {
        *bits = if ran { *bits | mask } else { *bits & !mask };
    }
}

//! A make-believe database, as a whole.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use command::entry::{self, Chunk};
use command::reply::Reply;
use sqlite::Cancel;
use store::Error;
use store::backup::Form;
use store::load::{Boot, Loading};
use store::member::Peer;
use store::transport::BoxFuture;

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
    loads: Mutex<Loads>,
}

/// What came to be loaded.
#[derive(Default)]
pub struct Loads {
    pub gathered: Vec<u8>,
    pub ends: Vec<Loading>,
    /// Answers to pieces, in order; success when there is none left.
    pub gather_answers: VecDeque<Result<Reply, Error>>,
    /// The answer to the end.
    pub end_answer: Option<Result<Reply, Error>>,
    /// Why no boot may begin.
    pub boot_refusal: Option<Error>,
}

/// The number that every load has.
pub const LOAD: u64 = 77;

/// The whole of a backup.
pub fn content(form: &Form) -> String {
    format!("{form:?};").repeat(10_000)
}

impl Fake {
    pub fn loads(&self) -> MutexGuard<'_, Loads> {
        self.loads.lock().unwrap()
    }

    /// How the loads ended, in order.
    pub fn forms(&self) -> Vec<entry::Form> {
        self.loads().ends.iter().map(|end| end.form).collect()
    }

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

    fn draw_load(&self) -> u64 {
        LOAD
    }

    fn gather(&self, chunk: Chunk, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let mut loads = self.loads();
        let answer = loads.gather_answers.pop_front().unwrap_or_else(|| Ok(Reply::default()));
        if matches!(&answer, Ok(reply) if reply.error.is_none()) {
            assert_eq!((chunk.load, chunk.offset), (LOAD, loads.gathered.len() as u64));
            loads.gathered.extend_from_slice(&chunk.bytes);
        }
        Box::pin(std::future::ready(answer))
    }

    fn load(&self, loading: Loading, _timeout: Duration) -> BoxFuture<'_, Result<Reply, Error>> {
        let mut loads = self.loads();
        loads.ends.push(loading);
        let answer = loads.end_answer.take().unwrap_or_else(|| Ok(Reply::default()));
        Box::pin(std::future::ready(answer))
    }

    fn begin_boot(&self) -> Result<Boot, Error> {
        let refusal = self.loads().boot_refusal.take();
        Err(refusal.unwrap_or(Error::NotLeader { leader: None::<Peer> }))
    }

    fn boot(&self, _boot: Boot, _timeout: Duration) -> BoxFuture<'_, Result<(), Error>> {
        panic!("no boot has begun")
    }
}

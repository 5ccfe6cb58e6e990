//! A backup on a thread of its own, and its bytes as they come.
//!
//! Invariants:
//! * At most [`CHUNKS_MAX`] chunks wait, and the thread with them (D12).
//! * A body that broke off ends in an error, never like one that is complete.
//! * A client that goes away cancels its backup.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sqlite::Cancel;
use store::backup::Form;
use tokio::sync::{mpsc, oneshot};

use super::reply::{Payload, Running, Stream};
use super::vault::Vault;
use crate::forwarded::{Broken, CHUNKS_MAX};

/// Bytes of one chunk of a body.
const CHUNK_BYTES: usize = 64 * 1024;

type Chunk = Result<Bytes, Broken>;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Its form.
    pub form: Form,
    /// It is compressed with gzip.
    pub compress: bool,
}

/// Begins a backup; resolves with its first bytes.
///
/// # Errors
///
/// Why there are none: nothing has been answered then.
pub async fn run(vault: Arc<dyn Vault>, backup: Backup) -> Result<Payload, sqlite::Error> {
    let (tx, chunks) = mpsc::channel(CHUNKS_MAX);
    let (begun, beginning) = oneshot::channel();
    let query = Running(Cancel::new());
    let cancel = query.0.clone();
    tokio::task::spawn_blocking(move || {
        let mut body = Body {
            tx,
            begun: Some(begun),
            buffer: Vec::with_capacity(CHUNK_BYTES),
        };
        let made = make(&*vault, &backup, &cancel, &mut body);
        body.end(made);
    });
    match beginning.await {
        Ok(Ok(())) => Ok(Payload::Stream(Stream {
            first: None,
            chunks,
            query,
        })),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(sqlite::Error::Interrupted),
    }
}

fn make(vault: &dyn Vault, backup: &Backup, cancel: &Cancel, body: &mut Body) -> Result<(), sqlite::Error> {
    if !backup.compress {
        return vault.backup(&backup.form, cancel, &mut |piece| flow(body.write_all(piece)));
    }
    let mut gzip = GzEncoder::new(body, Compression::fast());
    vault.backup(&backup.form, cancel, &mut |piece| flow(gzip.write_all(piece)))?;
    gzip.finish().map(drop).map_err(|_| sqlite::Error::Interrupted)
}

/// The client has gone, or not.
fn flow(written: io::Result<()>) -> ControlFlow<()> {
    match written {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

/// The thread's end of the body.
struct Body {
    tx: mpsc::Sender<Chunk>,
    /// Told once the first chunk is there, or that there is none.
    begun: Option<oneshot::Sender<Result<(), sqlite::Error>>>,
    buffer: Vec<u8>,
}

impl Body {
    fn send(&mut self, chunk: Chunk) -> io::Result<()> {
        if let Some(begun) = self.begun.take() {
            // Nobody waits for the beginning any more: then nobody takes the chunk either.
            begun.send(Ok(())).ok();
        }
        self.tx
            .blocking_send(chunk)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn end(mut self, made: Result<(), sqlite::Error>) {
        match (made, self.begun.take()) {
            (Ok(()), begun) => {
                self.begun = begun;
                // The client has gone: nobody is left to tell.
                self.send_buffer().ok();
            }
            (Err(error), Some(begun)) => drop(begun.send(Err(error))),
            (Err(error), None) => {
                tracing::info!(%error, "backup broke off");
                self.send(Err(Broken(error.to_string()))).ok();
            }
        }
    }

    fn send_buffer(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.send(Ok(chunk.into()))
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CHUNK_BYTES - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        if self.buffer.len() == CHUNK_BYTES {
            self.send_buffer()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

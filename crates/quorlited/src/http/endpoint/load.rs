//! `POST /db/load`: a SQLite file or SQL text for every node, in pieces, however long it is.
//!
//! ```text
//!  body ──► pieces ──► gathered, one after the other, by whoever leads ──► the end: loaded, and answered
//!              └── no UTF-8, broken off, refused: given up
//! ```
//!
//! Invariant: a piece whose fate is unknown is sent again, which is harmless; the end carries a key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use command::entry::{Chunk, Form};
use command::request::Key;
use command::statement::Statement;
use hyper::StatusCode;
use store::load::Loading;
use xxhash_rust::xxh3::Xxh3;

use crate::cluster;
use crate::forwarded::{self, Forwarded, Style};
use crate::http::call::Call;
use crate::http::door::{Opened, Place};
use crate::http::endpoint::data;
use crate::http::pieces::{Pieces, Utf8};
use crate::http::reply::Reply;
use crate::http::sql::{self, Detour};
use crate::http::vault::Vault;
use crate::http::{blocked, errors};

#[cfg(test)]
mod tests;

/// How long the end of a load may take when the request does not say: text runs for as long as it is.
const END_TIME: Duration = Duration::from_secs(600);

/// How long to wait before a piece is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes of a text that are looked at for a PRAGMA that no client may set.
const START_BYTES: usize = 4096;

const INVALID_TEXT: &str = "string field contains invalid UTF-8";

/// What stands before the leader's words on a file, on a node that asked it.
const REMOTE: &str = "remote node failed to load: ";

/// Answers it.
pub async fn post(mut call: Call) -> Reply {
    let mut pieces = Pieces::new(call.body.take());
    let reply = take(&call, &mut pieces).await;
    if !reply.status().is_redirection() {
        pieces.drain().await;
    }
    reply
}

async fn take(call: &Call, pieces: &mut Pieces) -> Reply {
    let style = call.params.style();
    let Some(opened) = call.door.opened().cloned() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    match opened.place_once_elected(call.params.timeout()).await {
        Place::Here => {}
        Place::There(leader) if call.params.flag("redirect") => return opened.redirect(&leader, call).await,
        Place::There(_) => {}
        Place::Nowhere if call.params.flag("redirect") => return errors::no_leader_to_redirect_to(),
        Place::Nowhere => return errors::no_leader(),
    }
    let first = match pieces.next().await {
        Ok(Some(first)) => first,
        Ok(None) => return errors::nothing_to_do(style, call.began),
        Err(reply) => return *reply,
    };
    let form = match sqlite::load::is_database(&first) {
        true => Form::File,
        false => Form::Text,
    };
    if form == Form::Text && is_blocked(&first) {
        return errors::request_failed(style, blocked::MESSAGE, None);
    }
    let carrier = Carrier {
        load: opened.vault.draw_load(),
        timeout: call.params.timeout(),
        call,
        opened: &opened,
    };
    match carrier.carry(first, pieces, form).await {
        Ok(carried) => carrier.end(carried).await,
        Err(reply) => {
            carrier.give_up().await;
            *reply
        }
    }
}

/// What was gathered.
struct Carried {
    bytes: u64,
    form: Form,
    key: Option<Key>,
}

/// Brings a load to whoever leads.
struct Carrier<'c> {
    load: u64,
    timeout: Duration,
    call: &'c Call,
    opened: &'c Opened,
}

/// What became of a piece.
enum Gathered {
    Done,
    /// Not here, or who knows: once more.
    Again(Reply),
    Refused(Reply),
}

impl Carrier<'_> {
    async fn carry(&self, first: Bytes, pieces: &mut Pieces, form: Form) -> Result<Carried, Box<Reply>> {
        let mut hasher = Xxh3::new();
        let mut utf8 = Utf8::default();
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(piece) = next {
            if form == Form::Text && !utf8.takes(&piece) {
                return Err(Box::new(self.invalid_text()));
            }
            hasher.update(&piece);
            let chunk = Chunk {
                load: self.load,
                offset: bytes,
                bytes: piece,
            };
            bytes += chunk.bytes.len() as u64;
            self.gather(chunk).await?;
            next = pieces.next().await?;
        }
        if form == Form::Text && !utf8.is_whole() {
            return Err(Box::new(self.invalid_text()));
        }
        Ok(Carried {
            bytes,
            form,
            key: data::client_key(self.call, hasher.digest())?,
        })
    }

    fn invalid_text(&self) -> Reply {
        errors::request_failed(self.call.params.style(), INVALID_TEXT, None)
    }

    /// Has a piece gathered, through changes of leadership.
    async fn gather(&self, chunk: Chunk) -> Result<(), Box<Reply>> {
        let deadline = Instant::now() + self.timeout;
        loop {
            let reply = match self.try_gather(chunk.clone()).await {
                Gathered::Done => return Ok(()),
                Gathered::Refused(reply) => return Err(Box::new(reply)),
                Gathered::Again(reply) => reply,
            };
            if Instant::now() >= deadline {
                return Err(Box::new(reply));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_gather(&self, chunk: Chunk) -> Gathered {
        match self.opened.place() {
            Place::Here => gather_here(&self.opened.vault, chunk, self.timeout).await,
            Place::There(_) => {
                let gather = forwarded::Gather {
                    load: chunk.load,
                    offset: chunk.offset,
                    bytes: chunk.bytes,
                };
                match self.forward(forwarded::Operation::Gather(gather), self.timeout).await {
                    Ok((reply, _)) if reply.status() == StatusCode::OK => Gathered::Done,
                    Ok((reply, _)) if reply.status() == StatusCode::SERVICE_UNAVAILABLE => Gathered::Again(reply),
                    Ok((reply, _)) => Gathered::Refused(reply),
                    Err(error) => Gathered::Again(errors::cluster_forwarded("", &error)),
                }
            }
            Place::Nowhere => Gathered::Again(errors::no_leader()),
        }
    }

    /// Has what was gathered loaded.
    async fn end(&self, carried: Carried) -> Reply {
        let style = self.call.params.style();
        let timeout = match self.call.params.flag("timeout") {
            true => self.timeout,
            false => END_TIME,
        };
        let form = carried.form;
        let ending = Ending {
            loading: Loading {
                load: self.load,
                bytes: carried.bytes,
                form,
                key: carried.key,
            },
            style,
            began: self.call.began,
            timeout,
        };
        // All of it is gathered: an election at the end is worth waiting for.
        let place = match self.opened.place_once_elected(timeout).await {
            Place::Here => match end_here(&self.opened.vault, ending.clone()).await {
                Ok(reply) => return data::served(reply, &self.call.door.options.advertised),
                Err(Detour::Leader(None)) => self.opened.place_once_elected(timeout).await,
                Err(Detour::Leader(leader)) => self.opened.place_of(leader),
                Err(Detour::Transferring) => self.opened.place_after_handover(timeout).await,
            },
            place => place,
        };
        let Place::There(_) = place else {
            return errors::no_leader();
        };
        match self.forward(forwarded::Operation::Load(ending.into()), timeout).await {
            Ok((reply, by)) if reply.status() == StatusCode::OK => data::served(reply, &by),
            Ok((reply, _)) if form == Form::File => reply.with_prefix(REMOTE).await,
            Ok((reply, _)) => reply,
            Err(error) => errors::forwarded(style, &error),
        }
    }

    /// Gives the load up, if somebody is there to be told; otherwise its place is taken by later ones.
    async fn give_up(&self) {
        let ending = Ending {
            loading: Loading {
                load: self.load,
                bytes: 0,
                form: Form::Nothing,
                key: None,
            },
            style: self.call.params.style(),
            began: self.call.began,
            timeout: self.timeout,
        };
        let told = match self.opened.place() {
            Place::Here => end_here(&self.opened.vault, ending).await.is_ok(),
            Place::There(_) => {
                let operation = forwarded::Operation::Load(ending.into());
                self.forward(operation, self.timeout).await.is_ok()
            }
            Place::Nowhere => false,
        };
        if !told {
            tracing::info!(load = self.load, "a load was not given up: nobody leads");
        }
    }

    async fn forward(
        &self,
        operation: forwarded::Operation,
        timeout: Duration,
    ) -> Result<(Reply, String), cluster::Error> {
        let forwarded = Forwarded {
            operation: Some(operation),
            credentials: self.call.credentials(),
            timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
            is_own: false,
        };
        let answered = self.opened.peers.forward(forwarded, timeout).await?;
        Ok((Reply::from(answered.answer), answered.by))
    }
}

/// The end of a load, wherever it is worked on.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What is asked for.
    pub loading: Loading,
    /// How the answer looks.
    pub style: Style,
    /// When the request came.
    pub began: Instant,
    /// How long its client waits.
    pub timeout: Duration,
}

impl From<Ending> for forwarded::Load {
    fn from(ending: Ending) -> Self {
        Self {
            load: ending.loading.load,
            bytes: ending.loading.bytes,
            form: ending.loading.form.into(),
            key: ending.loading.key,
            output: Some(ending.style.into()),
        }
    }
}

impl Ending {
    /// As it came from another node, just now.
    pub fn received(load: forwarded::Load, timeout: Duration) -> Self {
        Self {
            style: load.output.map(Style::from).unwrap_or_default(),
            loading: Loading {
                load: load.load,
                bytes: load.bytes,
                form: Form::try_from(load.form).unwrap_or(Form::Nothing),
                key: load.key,
            },
            began: Instant::now(),
            timeout,
        }
    }
}

/// Gathers a piece on this node, for a client of another one: 503 means that it may be sent again.
pub async fn gather_for_another(vault: &Arc<dyn Vault>, gather: forwarded::Gather, timeout: Duration) -> Reply {
    let chunk = Chunk {
        load: gather.load,
        offset: gather.offset,
        bytes: gather.bytes,
    };
    match gather_here(vault, chunk, timeout).await {
        Gathered::Done => Reply::empty(StatusCode::OK),
        Gathered::Refused(reply) => reply,
        Gathered::Again(mut reply) => {
            reply.head.status = u32::from(StatusCode::SERVICE_UNAVAILABLE.as_u16());
            reply
        }
    }
}

async fn gather_here(vault: &Arc<dyn Vault>, chunk: Chunk, timeout: Duration) -> Gathered {
    use store::Error as E;
    match vault.gather(chunk, timeout).await {
        Ok(reply) => match reply.error {
            None => Gathered::Done,
            Some(failure) => Gathered::Refused(Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, failure.message)),
        },
        Err(
            error @ (E::NotLeader { .. }
            | E::LeadershipLost
            | E::Unconfirmed
            | E::Enqueue
            | E::Transferring
            | E::Overloaded(_)),
        ) => Gathered::Again(errors::cluster_operation("", &error)),
        Err(error) => Gathered::Refused(errors::cluster_operation("", &error)),
    }
}

/// Has what was gathered loaded by this node, for a client of its own or of another.
///
/// # Errors
///
/// A [`Detour`] if another node must do it; nothing was appended here then.
pub async fn end_here(vault: &Arc<dyn Vault>, ending: Ending) -> Result<Reply, Detour> {
    let form = ending.loading.form;
    match vault.load(ending.loading, ending.timeout).await {
        Ok(reply) => Ok(match &reply.error {
            Some(failure) if form == Form::File => {
                let text = format!("error swapping databases: {}", failure.message);
                Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, text)
            }
            Some(_) | None => sql::encode(ending.style, &reply, ending.began),
        }),
        Err(error) => sql::detour(error).map_or_else(|error| Ok(failed(form, ending.style, &error)), Err),
    }
}

/// A file fails as text on one line, SQL text as a request does.
fn failed(form: Form, style: Style, error: &store::Error) -> Reply {
    match form {
        Form::File | Form::Boot => errors::cluster_operation("", error),
        Form::Text | Form::Nothing => errors::sql(style, error),
    }
}

fn is_blocked(first: &[u8]) -> bool {
    let start = &first[..first.len().min(START_BYTES)];
    blocked::any(&[Statement::new(String::from_utf8_lossy(start))])
}

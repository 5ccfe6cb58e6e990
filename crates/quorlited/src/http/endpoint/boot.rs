//! `POST /boot`: a SQLite file in the place of a lone node's database, around the log.

use bytes::Bytes;
use hyper::StatusCode;
use store::load::Boot;

use crate::http::call::Call;
use crate::http::door::Opened;
use crate::http::errors;
use crate::http::pieces::Pieces;
use crate::http::reply::Reply;

/// Fewer bytes are no file, whatever they are.
const BYTES_MIN: usize = 32;

const INVALID: &str = "invalid SQLite data";

/// Answers it.
pub async fn post(mut call: Call) -> Reply {
    let mut pieces = Pieces::new(call.body.take());
    match receive(&call, &mut pieces).await {
        Ok(()) => Reply::empty(StatusCode::OK),
        Err(reply) => {
            pieces.drain().await;
            *reply
        }
    }
}

async fn receive(call: &Call, pieces: &mut Pieces) -> Result<(), Box<Reply>> {
    let first = pieces.next().await?.unwrap_or_default();
    let (opened, mut boot) = begin(call, &first)?;
    let mut next = Some(first);
    while let Some(piece) = next {
        boot = write(boot, piece).await?;
        next = pieces.next().await?;
    }
    let booted = opened.vault.boot(boot, call.params.timeout()).await;
    booted.map_err(|error| Box::new(refused(&error)))
}

/// What is known by the first bytes: size, kind, and whether this node may be booted at all.
fn begin<'c>(call: &'c Call, first: &[u8]) -> Result<(&'c Opened, Boot), Box<Reply>> {
    if first.len() < BYTES_MIN {
        return Err(Box::new(unavailable("EOF")));
    }
    if !sqlite::load::is_database(first) {
        return Err(Box::new(Reply::failure(StatusCode::BAD_REQUEST, INVALID)));
    }
    let Some(opened) = call.door.opened() else {
        return Err(Box::new(unavailable(store::Error::NotOpen)));
    };
    match opened.vault.begin_boot() {
        Ok(boot) => Ok((opened, boot)),
        Err(error) => Err(Box::new(refused(&error))),
    }
}

async fn write(mut boot: Boot, bytes: Bytes) -> Result<Boot, Box<Reply>> {
    let written = tokio::task::spawn_blocking(move || boot.upload.write(&bytes).map(|()| boot)).await;
    match written {
        Ok(Ok(boot)) => Ok(boot),
        Ok(Err(error)) => Err(Box::new(refused(&error.into()))),
        Err(error) => Err(Box::new(unavailable(error))),
    }
}

fn refused(error: &store::Error) -> Reply {
    match error {
        store::Error::NotLeader { .. } => unavailable("not leader"),
        store::Error::Sqlite(unfit @ sqlite::Error::Unfit(_)) => Reply::failure(StatusCode::BAD_REQUEST, unfit),
        error => unavailable(errors::told(error)),
    }
}

fn unavailable(text: impl std::fmt::Display) -> Reply {
    Reply::failure(StatusCode::SERVICE_UNAVAILABLE, text)
}

//! `POST /boot`: a SQLite file in the place of a lone node's database, around the log.

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::StatusCode;
use store::load::Boot;

use crate::http::call::Call;
use crate::http::errors;
use crate::http::reply::Reply;

/// Fewer bytes are no file, whatever they are.
const BYTES_MIN: usize = 32;

/// Bytes that are written to the disk at a time.
const WRITE_BYTES: usize = 1024 * 1024;

const INVALID: &str = "invalid SQLite data";

/// Answers it.
pub async fn post(mut call: Call) -> Reply {
    let Some(mut body) = call.body.take() else {
        return unavailable("EOF");
    };
    let mut buffer = BytesMut::new();
    let mut boot: Option<Boot> = None;
    let mut is_ended = false;
    while !is_ended {
        match body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    buffer.extend_from_slice(&data);
                }
            }
            Some(Err(error)) => return unavailable(format!("read body: {error}")),
            None => is_ended = true,
        }
        if boot.is_none() && (buffer.len() >= BYTES_MIN || is_ended) {
            boot = match begin(&call, &buffer) {
                Ok(begun) => Some(begun),
                Err(reply) => return *reply,
            };
        }
        if buffer.len() >= WRITE_BYTES || is_ended {
            let Some(begun) = boot.take() else { continue };
            boot = match write(begun, buffer.split()).await {
                Ok(written) => Some(written),
                Err(reply) => return *reply,
            };
        }
    }
    match (boot, call.door.opened()) {
        (Some(boot), Some(opened)) => match opened.vault.boot(boot, call.params.timeout()).await {
            Ok(()) => Reply::empty(StatusCode::OK),
            Err(error) => refused(&error),
        },
        (_, _) => unavailable("EOF"),
    }
}

/// What is known by the first bytes: size, kind, and whether this node may be booted at all.
fn begin(call: &Call, first: &[u8]) -> Result<Boot, Box<Reply>> {
    if first.len() < BYTES_MIN {
        return Err(Box::new(unavailable("EOF")));
    }
    if !sqlite::load::is_database(first) {
        return Err(Box::new(Reply::failure(StatusCode::BAD_REQUEST, INVALID)));
    }
    let Some(opened) = call.door.opened() else {
        return Err(Box::new(unavailable(store::Error::NotOpen)));
    };
    opened.vault.begin_boot().map_err(|error| Box::new(refused(&error)))
}

async fn write(mut boot: Boot, bytes: BytesMut) -> Result<Boot, Box<Reply>> {
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

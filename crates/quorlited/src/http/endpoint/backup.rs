//! `GET /db/backup`: a copy of the database, from the leader or, with `noleader`, from this node.

use std::sync::Arc;
use std::time::SystemTime;

use hyper::StatusCode;
use sqlite::Journal;
use store::backup::Form;

use crate::forwarded::{self, Forwarded};
use crate::http::call::Call;
use crate::http::door::Place;
use crate::http::errors;
use crate::http::params::Params;
use crate::http::reply::Reply;
use crate::http::transfer::{self, Backup};
use crate::http::vault::Vault;

#[cfg(test)]
mod tests;

const OCTETS: &str = "application/octet-stream";
const SQL: &str = "application/sql";

/// What a combination of forms answers that there is none of.
const INVALID_FORMAT: &str = "invalid backup format";

/// Answers it.
pub async fn get(call: Call) -> Reply {
    let Some(opened) = call.door.opened() else {
        return errors::cluster_operation("", &store::Error::NotOpen);
    };
    let Some(backup) = wanted(&call.params) else {
        return Reply::failure(StatusCode::INTERNAL_SERVER_ERROR, INVALID_FORMAT);
    };
    let place = match call.params.flag("noleader") {
        true => Place::Here,
        false => opened.place_once_elected(call.params.timeout()).await,
    };
    let redirect = call.params.flag("redirect");
    let reply = match place {
        Place::Here => here(&opened.vault, backup).await,
        Place::There(leader) if redirect => return opened.redirect(&leader, &call).await,
        Place::There(_) => {
            let forwarded = Forwarded {
                operation: Some(forwarded::Operation::Backup(backup.into())),
                credentials: call.credentials(),
                timeout_ms: u64::try_from(call.params.timeout().as_millis()).unwrap_or(u64::MAX),
                is_own: false,
            };
            match opened.peers.forward(forwarded, call.params.timeout()).await {
                Ok(answered) => Reply::from(answered.answer),
                Err(error) => errors::cluster_forwarded("", &error),
            }
        }
        Place::Nowhere if redirect => return errors::no_leader_to_redirect_to(),
        Place::Nowhere => return errors::no_leader(),
    };
    if reply.status() == StatusCode::OK {
        call.door.backed_up(SystemTime::now());
    }
    reply
}

/// Makes a backup on this node, for a client of its own or of another node.
pub async fn here(vault: &Arc<dyn Vault>, backup: Backup) -> Reply {
    let content_type = match backup.form {
        Form::File(_) | Form::Compact => OCTETS,
        Form::Text(_) => SQL,
    };
    match transfer::run(Arc::clone(vault), backup).await {
        Ok(payload) => {
            let mut reply = Reply::empty(StatusCode::OK);
            reply.head.content_type = content_type.to_owned();
            reply.payload = payload;
            reply
        }
        Err(error) => errors::cluster_operation("", &store::Error::Sqlite(error)),
    }
}

/// What the query string asks for; `None` for what does not go together.
fn wanted(params: &Params) -> Option<Backup> {
    let format = params.text("fmt").unwrap_or_default().to_lowercase();
    let form = match (format.as_str(), params.flag("vacuum")) {
        ("sql" | "delete", true) => return None,
        ("sql", false) => Form::Text(tables(params)),
        ("delete", false) => Form::File(Journal::Rollback),
        (_, true) => Form::Compact,
        (_, false) => Form::File(Journal::Wal),
    };
    Some(Backup {
        form,
        compress: params.flag("compress"),
    })
}

fn tables(params: &Params) -> Vec<String> {
    let text = params.text("tables").unwrap_or_default();
    let names = text.split(',').map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

impl From<Backup> for forwarded::Backup {
    fn from(backup: Backup) -> Self {
        let (form, tables) = match backup.form {
            Form::File(Journal::Wal) => (forwarded::BackupForm::Wal, Vec::new()),
            Form::File(Journal::Rollback) => (forwarded::BackupForm::Rollback, Vec::new()),
            Form::Compact => (forwarded::BackupForm::Compact, Vec::new()),
            Form::Text(tables) => (forwarded::BackupForm::Text, tables),
        };
        Self {
            form: form.into(),
            tables,
            compress: backup.compress,
        }
    }
}

impl From<forwarded::Backup> for Backup {
    fn from(backup: forwarded::Backup) -> Self {
        let form = match backup.form() {
            forwarded::BackupForm::Wal => Form::File(Journal::Wal),
            forwarded::BackupForm::Rollback => Form::File(Journal::Rollback),
            forwarded::BackupForm::Compact => Form::Compact,
            forwarded::BackupForm::Text => Form::Text(backup.tables),
        };
        Self {
            form,
            compress: backup.compress,
        }
    }
}

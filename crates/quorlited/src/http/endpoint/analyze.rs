//! `/db/sql`: what would become of a text. Nothing would: it is run as it was sent (design: no rewriting).
//!
//! The texts are prepared against the database as it is, and never run.

use std::sync::Arc;

use hyper::{Method, StatusCode};

use crate::http::body;
use crate::http::call::Call;
use crate::http::errors;
use crate::http::json::{Pretty, Writer};
use crate::http::ledger::Syntax;
use crate::http::number;
use crate::http::reply::Reply;
use crate::http::stream::Failed;
use command::statement::Statement;

/// What a text without a statement answers.
const NOTHING: &str = "EOF";

/// Answers it.
pub async fn answer(mut call: Call) -> Reply {
    let statements = match statements(&mut call).await {
        Ok(statements) => statements,
        Err(reply) => return *reply,
    };
    let style = call.params.style();
    let Some(opened) = call.door.opened() else {
        return errors::sql(style, &store::Error::NotOpen);
    };
    let ledger = Arc::clone(&opened.ledger);
    let judged = tokio::task::spawn_blocking(move || {
        let syntaxes = ledger.syntax(&statements);
        (syntaxes, statements)
    });
    match judged.await {
        Ok((Ok(syntaxes), statements)) => tell(&call, &statements, &syntaxes),
        Ok((Err(error), _)) => errors::read(style, &Failed::Sqlite(error)),
        Err(_) => errors::read(style, &Failed::Lost),
    }
}

async fn statements(call: &mut Call) -> Result<Vec<Statement>, Box<Reply>> {
    if call.method == Method::GET {
        return match call.params.text("q") {
            Some(text) => Ok(vec![Statement::new(text)]),
            None => Err(Box::new(Reply::failure(StatusCode::BAD_REQUEST, "query not specified"))),
        };
    }
    let body = call.read_body().await.map_err(Box::new)?;
    body::statements(&body).map_err(|malformed| Box::new(Reply::failure(StatusCode::BAD_REQUEST, malformed)))
}

fn tell(call: &Call, statements: &[Statement], syntaxes: &[Syntax]) -> Reply {
    let style = call.params.style();
    let mut json = Writer::new(Pretty::from(style.pretty));
    json.begin_object();
    json.key("results");
    json.begin_array();
    for (statement, syntax) in statements.iter().zip(syntaxes) {
        json.begin_object();
        json.key("original");
        json.string(&statement.sql);
        match syntax {
            Syntax::Sound => {
                json.key("rewritten");
                json.string(&statement.sql);
            }
            Syntax::Nothing => {
                json.key("error");
                json.string(NOTHING);
            }
            Syntax::Wrong(error) => {
                json.key("error");
                json.string(error);
            }
        }
        json.end_object();
    }
    json.end_array();
    if style.timings {
        json.key("time");
        json.value(|out| number::push(out, number::seconds(call.began.elapsed())));
    }
    json.end_object();
    Reply::json(json.out.into())
}

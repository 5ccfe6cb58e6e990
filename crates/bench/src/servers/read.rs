//! The bare read floor: one cached point SELECT, run inline on the thread that serves HTTP.
//!
//! No JSON parser: the key is the last number in the body.

use std::path::Path;

use bytes::Bytes;
use rusqlite::Connection;

use super::{Handler, serve};
use crate::floors::sqlite;

#[cfg(test)]
mod tests;

struct Reader {
    db: Connection,
}

impl Handler for Reader {
    async fn answer(&self, _path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let mut select = self.db.prepare_cached("SELECT v FROM bench_read WHERE k=?")?;
        let mut rows = select.query([last_number(&body)])?;
        let mut reply = Vec::with_capacity(128);
        reply.extend_from_slice(br#"{"results":[{"columns":["v"],"types":["text"]"#);
        if let Some(row) = rows.next()? {
            reply.extend_from_slice(br#","values":[[""#);
            reply.extend_from_slice(row.get_ref(0)?.as_bytes()?);
            reply.extend_from_slice(br#""]]"#);
        }
        reply.extend_from_slice(b"}]}");
        Ok(reply.into())
    }
}

/// Fills a new database in `dir` and serves for ever.
///
/// # Errors
///
/// If it cannot listen, or SQLite's.
pub fn run(dir: &Path) -> anyhow::Result<()> {
    serve(|| {
        let db = sqlite::open(&dir.join("read.db"))?;
        sqlite::fill_read(&db)?;
        Ok(Reader { db })
    })
}

fn last_number(body: &[u8]) -> i64 {
    let Some(end) = body.iter().rposition(u8::is_ascii_digit) else {
        return 0;
    };
    let start = body[..end]
        .iter()
        .rposition(|byte| !byte.is_ascii_digit())
        .map_or(0, |at| at + 1);
    body[start..=end]
        .iter()
        .fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
}

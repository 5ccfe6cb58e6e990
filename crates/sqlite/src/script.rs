//! The text of a dump, statement by statement, however long it is.
//!
//! Finds where statements end, as SQLite's shell does, and recognises those that only a dump may hold: transactions,
//! two PRAGMAs, and the rows by which the shell writes down virtual tables. Everything else is left to SQLite.
//!
//! Memory is bounded by the longest statement, and that by a limit.
//!
//! Source: `sqlite3_complete()`, whose states these are.

use std::io::Read;

/// Bytes read at a time, until a statement turns out to be longer.
const READ_BYTES: usize = 64 * 1024;

/// Why there is no next statement.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// The text could not be read.
    Io(std::io::Error),
    /// It is no UTF-8.
    Encoding,
    /// A statement is longer than any may be.
    TooLong,
}

/// A text that is cut into statements.
pub(crate) struct Script<'r> {
    source: &'r mut dyn Read,
    statement_bytes_max: usize,
    buffer: Vec<u8>,
    /// Where the current statement begins.
    start: usize,
    /// Up to where it was looked through.
    seen: usize,
    state: State,
    ended: bool,
}

/// What a dump may say beside statements of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special<'q> {
    Begin,
    Commit,
    Rollback,
    /// `PRAGMA foreign_keys=…`.
    ForeignKeys(bool),
    /// `PRAGMA writable_schema=…`.
    WritableSchema(bool),
    /// A PRAGMA that would change how one node works, and no result.
    Local,
    /// `VALUES(…)`: a row of `sqlite_schema`.
    SchemaRow(&'q str),
}

/// How far a statement is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    Normal,
    Explain,
    Create,
    /// Inside CREATE TRIGGER, whose body has semicolons.
    Trigger,
    TriggerSemicolon,
    TriggerEnd,
}

#[derive(Clone, Copy)]
enum Token {
    Semicolon,
    Blank,
    Other,
    Explain,
    Create,
    Temp,
    Trigger,
    End,
}

/// Settings of a dump that are this cluster's business.
const LOCAL_PRAGMAS: [&str; 9] = [
    "auto_vacuum",
    "cache_size",
    "encoding",
    "journal_mode",
    "locking_mode",
    "page_size",
    "synchronous",
    "temp_store",
    "wal_autocheckpoint",
];

impl<'r> Script<'r> {
    /// Reads from `source`; no statement may be longer than `statement_bytes_max`.
    pub(crate) fn new(source: &'r mut dyn Read, statement_bytes_max: usize) -> Self {
        Self {
            source,
            statement_bytes_max,
            buffer: Vec::new(),
            start: 0,
            seen: 0,
            state: State::Start,
            ended: false,
        }
    }

    /// The next statement, with what stands before it; blanks alone are none, a comment at the end is one.
    pub(crate) fn next(&mut self) -> Result<Option<&str>, Unreadable> {
        let end = loop {
            if let Some(end) = self.find_end() {
                break end;
            }
            if self.ended {
                break self.buffer.len();
            }
            self.read_more()?;
        };
        let begin = std::mem::replace(&mut self.start, end);
        self.seen = end;
        self.state = State::Start;
        let text = str::from_utf8(&self.buffer[begin..end]).map_err(|_| Unreadable::Encoding)?;
        let is_blank = |character: char| character.is_whitespace() || character == ';';
        Ok((!text.trim_matches(is_blank).is_empty()).then_some(text))
    }

    fn read_more(&mut self) -> Result<(), Unreadable> {
        self.buffer.drain(..self.start);
        self.seen -= self.start;
        self.start = 0;
        if self.buffer.len() > self.statement_bytes_max {
            return Err(Unreadable::TooLong);
        }
        // A token is looked through from its start again: reading twice as much each time keeps that linear.
        let wanted = self.buffer.len().max(READ_BYTES) as u64;
        let read = (&mut *self.source)
            .take(wanted)
            .read_to_end(&mut self.buffer)
            .map_err(Unreadable::Io)?;
        self.ended = read == 0;
        Ok(())
    }

    /// The place behind the semicolon that ends the current statement.
    fn find_end(&mut self) -> Option<usize> {
        while self.seen < self.buffer.len() {
            let (token, length) = token(&self.buffer[self.seen..], self.ended)?;
            self.seen += length;
            let was_empty = self.state == State::Start;
            self.state = self.state.after(token);
            match token {
                // An empty statement: the next one begins here.
                Token::Semicolon if was_empty => self.skip_blank(),
                Token::Semicolon if self.state == State::Start => return Some(self.seen),
                _ => {}
            }
        }
        None
    }

    /// Begins the statement here, unless a comment stands before it.
    fn skip_blank(&mut self) {
        let before = &self.buffer[self.start..self.seen];
        if before.iter().all(|byte| byte.is_ascii_whitespace() || *byte == b';') {
            self.start = self.seen;
        }
    }
}

impl State {
    fn after(self, token: Token) -> Self {
        match (self, token) {
            (state, Token::Blank) => state,
            (Self::Trigger | Self::TriggerSemicolon, Token::Semicolon) => Self::TriggerSemicolon,
            (_, Token::Semicolon) => Self::Start,
            (Self::Start, Token::Explain) => Self::Explain,
            (Self::Start | Self::Explain, Token::Create) => Self::Create,
            (Self::Explain, Token::Other) => Self::Explain,
            (Self::Create, Token::Temp) => Self::Create,
            (Self::Create, Token::Trigger) => Self::Trigger,
            (Self::TriggerSemicolon, Token::End) => Self::TriggerEnd,
            (Self::Trigger | Self::TriggerSemicolon | Self::TriggerEnd, _) => Self::Trigger,
            (Self::Start | Self::Normal | Self::Explain | Self::Create, _) => Self::Normal,
        }
    }
}

/// The token at the start of `text`, and its length; `None` when more text may belong to it.
fn token(text: &[u8], ended: bool) -> Option<(Token, usize)> {
    let first = *text.first()?;
    let until = |end: Option<usize>| match end {
        Some(end) => Some(end),
        None => ended.then_some(text.len()),
    };
    match first {
        b';' => Some((Token::Semicolon, 1)),
        b' ' | b'\t' | b'\n' | b'\r' | 0x0c => Some((Token::Blank, 1)),
        b'/' | b'-' if text.len() == 1 && !ended => None,
        b'/' if text.get(1) == Some(&b'*') => {
            let end = find(&text[2..], b"*/").map(|at| at + 4);
            until(end).map(|length| (Token::Blank, length))
        }
        b'-' if text.get(1) == Some(&b'-') => {
            let end = text.iter().position(|byte| *byte == b'\n');
            until(end).map(|length| (Token::Blank, length))
        }
        b'[' => {
            let end = text.iter().position(|byte| *byte == b']').map(|at| at + 1);
            until(end).map(|length| (Token::Other, length))
        }
        b'\'' | b'"' | b'`' => {
            // A doubled quote is two strings side by side, which end in the same place.
            let end = text[1..].iter().position(|byte| *byte == first).map(|at| at + 2);
            until(end).map(|length| (Token::Other, length))
        }
        _ if is_word(first) => {
            let end = text.iter().position(|byte| !is_word(*byte));
            until(end).map(|length| (keyword(&text[..length]), length))
        }
        _ => Some((Token::Other, 1)),
    }
}

fn keyword(word: &[u8]) -> Token {
    match word.to_ascii_lowercase().as_slice() {
        b"explain" => Token::Explain,
        b"create" => Token::Create,
        b"temp" | b"temporary" => Token::Temp,
        b"trigger" => Token::Trigger,
        b"end" => Token::End,
        _ => Token::Other,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

impl<'q> Special<'q> {
    /// What `sql`, one statement, is to a dump; `None` for a statement as any other.
    pub(crate) fn of(sql: &'q str) -> Option<Self> {
        let mut rest = Words(skip_comments(sql).trim_end_matches(|end: char| end.is_whitespace() || end == ';'));
        match rest.word()?.to_ascii_lowercase().as_str() {
            "begin" => Some(Self::Begin),
            "commit" | "end" => Some(Self::Commit),
            "rollback" => {
                let whole = rest.is_done() || rest.is("transaction") && rest.is_done();
                whole.then_some(Self::Rollback)
            }
            "pragma" => rest.pragma(),
            "insert" => rest.schema_row(),
            _ => None,
        }
    }
}

/// What is left of a statement, read word by word.
struct Words<'q>(&'q str);

impl<'q> Words<'q> {
    /// The next word, or the next character that is none; without quotes.
    fn word(&mut self) -> Option<&'q str> {
        let text = self.0.trim_start();
        let first = text.chars().next()?;
        let end = match first {
            '\'' | '"' | '`' => text[1..].find(first).map_or(text.len(), |at| at + 2),
            first if first.is_alphanumeric() || first == '_' => text
                .find(|character: char| !character.is_alphanumeric() && character != '_')
                .unwrap_or(text.len()),
            first => first.len_utf8(),
        };
        self.0 = &text[end..];
        Some(text[..end].trim_matches(['\'', '"', '`']))
    }

    /// Takes the next word if it is `word`.
    fn is(&mut self, word: &str) -> bool {
        let before = self.0;
        let found = self.word().is_some_and(|next| next.eq_ignore_ascii_case(word));
        if !found {
            self.0 = before;
        }
        found
    }

    fn is_done(&self) -> bool {
        self.0.trim().is_empty()
    }

    fn pragma(mut self) -> Option<Special<'q>> {
        let name = self.word()?.to_ascii_lowercase();
        if !self.is("=") && !self.is("(") {
            return None;
        }
        let value = self.word()?.to_ascii_lowercase();
        let is_on =
            matches!(value.as_str(), "on" | "yes" | "true") || value.parse().is_ok_and(|number: i64| number != 0);
        match name.as_str() {
            "foreign_keys" => Some(Special::ForeignKeys(is_on)),
            "writable_schema" => Some(Special::WritableSchema(is_on)),
            name if LOCAL_PRAGMAS.contains(&name) => Some(Special::Local),
            _ => None,
        }
    }

    /// The form that the shell gives it, and no other.
    fn schema_row(mut self) -> Option<Special<'q>> {
        if !self.is("into") || !(self.is("sqlite_schema") || self.is("sqlite_master")) {
            return None;
        }
        let columns = [
            "(", "type", ",", "name", ",", "tbl_name", ",", "rootpage", ",", "sql", ")",
        ];
        if !columns.into_iter().all(|word| self.is(word)) {
            return None;
        }
        let values = self.0.trim_start();
        self.is("values").then_some(Special::SchemaRow(values))
    }
}

/// The text after blanks, semicolons and comments.
pub(crate) fn skip_comments(mut sql: &str) -> &str {
    loop {
        sql = sql.trim_start_matches(|character: char| character.is_whitespace() || character == ';');
        let rest = if let Some(line) = sql.strip_prefix("--") {
            line.split_once('\n').map(|(_, rest)| rest)
        } else if let Some(block) = sql.strip_prefix("/*") {
            block.split_once("*/").map(|(_, rest)| rest)
        } else {
            return sql;
        };
        sql = rest.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;

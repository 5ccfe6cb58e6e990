//! Requests that are refused whole because a text begins with a PRAGMA that no client may set (spec §6.5).
//!
//! Looks at the first statement of a text only, past comments and semicolons; what stands behind it is refused by
//! SQLite's authorizer when it is prepared.

use command::statement::Statement;

#[cfg(test)]
mod tests;

/// What the answer says.
pub const MESSAGE: &str = "disallowed pragma";

/// They may be read, but not set.
const UNSETTABLE: [&str; 4] = ["journal_mode", "wal_autocheckpoint", "synchronous", "query_only"];

/// It may not be used at all; a prefix.
const UNUSABLE: &str = "wal_checkpoint";

/// Is any of `statements` blocked?
pub fn any(statements: &[Statement]) -> bool {
    statements.iter().any(|statement| is_blocked(&statement.sql))
}

fn is_blocked(sql: &str) -> bool {
    let mut words = Words(sql);
    if !words.next().is_some_and(|word| word.eq_ignore_ascii_case("pragma")) {
        return false;
    }
    let Some(mut name) = words.next() else {
        return false;
    };
    let mut follows = words.next();
    if follows == Some(".") {
        name = words.next().unwrap_or_default();
        follows = words.next();
    }
    let name = unquoted(name).to_ascii_lowercase();
    let is_set = matches!(follows, Some("=" | "("));
    name.starts_with(UNUSABLE) || is_set && UNSETTABLE.contains(&name.as_str())
}

/// A name without the quotes around it; none of the names holds one inside.
fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\'', '`', '[', ']'])
}

/// The words and signs of a text, without white space, comments and leading semicolons.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.0 = behind_blanks(self.0);
        let first = self.0.chars().next()?;
        let length = match first {
            '"' | '\'' | '`' => self.0[1..].find(first).map_or(self.0.len(), |end| end + 2),
            '[' => self.0.find(']').map_or(self.0.len(), |end| end + 1),
            _ if is_word(first) => self.0.find(|letter| !is_word(letter)).unwrap_or(self.0.len()),
            sign => sign.len_utf8(),
        };
        let (word, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(word)
    }
}

fn is_word(letter: char) -> bool {
    letter == '_' || letter == '$' || letter.is_alphanumeric()
}

fn behind_blanks(mut text: &str) -> &str {
    loop {
        text = text.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ';' || letter == '\u{feff}');
        text = if let Some(comment) = text.strip_prefix("--") {
            comment.split_once('\n').map_or("", |(_, rest)| rest)
        } else if let Some(comment) = text.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, rest)| rest)
        } else {
            return text;
        };
    }
}

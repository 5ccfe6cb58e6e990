//! Rust text with comments, strings and characters blanked, so that rules see code alone.
//!
//! Keeps every line break and every column: a position in the result is the same position in the source. Not a parser:
//! it knows where literals and comments begin and end, and nothing more.

/// Replaces the inside of comments and literals by blanks.
pub fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_end(&chars, at);
        if end > at {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}

/// The whole words of `line` with the column (in bytes) at which each begins.
pub fn words(line: &str) -> impl Iterator<Item = (usize, &str)> + Clone {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.split(move |c| !is_word(c))
        .filter(|word| !word.is_empty())
        .map(move |word| {
            let column = word.as_ptr() as usize - line.as_ptr() as usize;
            (column, word)
        })
}

/// Where the comment or literal that begins at `at` ends; `at` itself if none begins there.
fn literal_end(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment_length(rest),
        ['"', ..] => at + quoted_length(rest, '"'),
        ['r', '"' | '#', ..] if begins_literal(chars, at) => at + raw_length(rest),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => at + quoted_length(rest, '\''),
        _ => at,
    }
}

/// Whether the `r` at `at` stands alone or behind the `b` or `c` of a byte or C string.
fn begins_literal(chars: &[char], at: usize) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    match &chars[..at] {
        [.., before, 'b' | 'c'] => !is_word(*before),
        [.., before] => !is_word(*before),
        [] => true,
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `r"…"` or `r#"…"#`; 0 for a raw identifier.
fn raw_length(rest: &[char]) -> usize {
    let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
    let open = 1 + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let mut at = open + 1;
    while at < rest.len() {
        let closes = rest[at] == '"' && rest[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
        if closes {
            return at + 1 + hashes;
        }
        at += 1;
    }
    rest.len()
}
